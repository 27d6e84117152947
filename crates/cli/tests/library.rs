//! Libraries as their users see them: made, listed, opened, switched, closed, deleted.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::Value;
use spacedrive_testing::{Home, Lab, Outcome, tree_hash};

fn lab(names: &[&str]) -> Lab {
    Lab::start(env!("CARGO_BIN_EXE_spacedrive"), names)
}

fn library(home: &Home, args: &[&str]) -> Outcome {
    home.run_args(["--instance", "a", "library"].iter().chain(args))
}

fn list(home: &Home) -> Vec<Value> {
    library(home, &["list", "--json"]).ok().json().as_array().unwrap().clone()
}

#[test]
fn a_library_lives_its_life() {
    let lab = lab(&["a"]);
    assert_eq!(library(&lab, &["list"]).ok().stdout, "No libraries\n");
    library(&lab, &["current"]).exits(4).says("no current library");
    let made = library(&lab, &["create", "Photos", "--json"]).ok().json();
    assert_eq!((made["name"].as_str(), made["current"].as_bool()), (Some("Photos"), Some(true)));
    let folder = lab.data_dir("a").join("libraries/Photos.sdlibrary");
    assert_eq!(made["path"].as_str(), folder.to_str());
    assert!(folder.join("library.json").is_file() && folder.join("library.db").is_file());
    library(&lab, &["create", "Photos"]).exits(6).says("exists already");
    library(&lab, &["create", "Music"]).ok();
    let id = made["id"].as_str().unwrap();

    // By name, id, and unique beginning of the id.
    for query in ["Photos", id, &id[..8], &id.to_uppercase()] {
        library(&lab, &["switch", "Music"]).ok();
        assert_eq!(library(&lab, &["switch", query, "--json"]).ok().json()["id"], id);
        assert_eq!(library(&lab, &["current", "--json"]).ok().json()["id"], id);
    }
    library(&lab, &["switch", &id[..3]]).exits(4);
    library(&lab, &["switch", "Photo"]).exits(4).says("`Photos`");

    // Closed, it stays known, also after a restart; nothing is current then.
    assert_eq!(library(&lab, &["close", "--json"]).ok().json()["state"], "closed");
    library(&lab, &["current"]).exits(4);
    lab.run("--instance a stop").ok();
    lab.run("start --instance a").ok();
    let states: Vec<_> = list(&lab).iter().map(|l| (l["name"].clone(), l["state"].clone())).collect();
    assert_eq!(states, [("Music".into(), "open".into()), ("Photos".into(), "closed".into())]);
    library(&lab, &["open", folder.to_str().unwrap()]).ok();
    assert_eq!(library(&lab, &["info", "--json"]).ok().json()["state"], "open");
    assert_eq!(library(&lab, &["current", "--json"]).ok().json()["id"], id);

    // Deleted only when somebody said so, and then to the trash.
    library(&lab, &["delete", "Photos"]).exits(2).says("--yes");
    assert_eq!(list(&lab).len(), 2);
    let deleted = library(&lab, &["delete", "Photos", "--yes", "--json"]).ok().json();
    let trash = std::path::Path::new(deleted["trash"].as_str().unwrap());
    assert!(trash.join("library.db").is_file() && !folder.exists());
    library(&lab, &["current"]).exits(4);
    library(&lab, &["delete", "Music", "--yes", "--purge"]).ok();
    assert!(list(&lab).is_empty());
    library(&lab, &["delete", "Music", "--yes"]).exits(4);

    // From the trash it can be had back.
    library(&lab, &["open", trash.to_str().unwrap()]).ok();
    assert_eq!(list(&lab)[0]["id"], id);
}

#[test]
fn names_are_what_people_write_and_no_paths() {
    let lab = lab(&["a"]);
    let long = "x".repeat(200);
    for name in ["Bob's Library", "日本語", "naïve ☕", "a b", "-rf", "con", "x.sdlibrary", "100%", "*", "~", long.as_str()]
    {
        let args = ["--instance", "a", "library", "create", "--json", "--", name];
        let made = lab.run_args(args).ok().json();
        assert_eq!(made["name"], name);
    }
    assert_eq!(list(&lab).len(), 11);
    let before = lab.files();
    let longer = "x".repeat(201);
    for name in ["", " ", "a/b", "../x", "/", ".", "..", ".hidden", "a\nb", "a\u{1b}[31m", "a\u{7f}", " a", "a ", longer.as_str()]
    {
        let outcome = lab.run_args(["--instance", "a", "library", "create", "--", name]).exits(2);
        assert!(!outcome.stderr.trim_end().contains(['\u{1b}', '\u{7f}']), "{outcome:?}");
        assert_eq!(outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{outcome:?}");
    }
    let not_text = OsStr::from_bytes(b"a\xff");
    lab.run_args([OsStr::new("--instance"), OsStr::new("a"), OsStr::new("library"), OsStr::new("create"), not_text]).exits(2);
    assert_eq!(lab.files(), before);
    // They are all there after a restart.
    lab.run("--instance a stop").ok();
    lab.run("start --instance a").ok();
    assert!(list(&lab).len() == 11 && list(&lab).iter().all(|l| l["state"] == "open"));
}

#[test]
fn a_library_lies_where_it_was_asked_for() {
    let lab = lab(&["a"]);
    // Relative to the caller, in a folder whose name is no text, and made on the way.
    let odd = lab.cwd().join(OsStr::from_bytes(b"odd-\xff"));
    fs::create_dir(&odd).unwrap();
    let args = [OsStr::new("--instance"), OsStr::new("a"), OsStr::new("library"), OsStr::new("create"), OsStr::new("One")];
    lab.run_args(args.into_iter().chain([OsStr::new("--path"), odd.file_name().unwrap()])).ok();
    assert!(odd.join("One.sdlibrary/library.db").is_file());
    library(&lab, &["create", "Two", "-p", "new/folder"]).ok();
    assert!(lab.cwd().join("new/folder/Two.sdlibrary").is_dir());
    lab.run("--instance a stop").ok();
    lab.run("start --instance a").ok();
    let all = list(&lab);
    assert_eq!(all.iter().map(|l| l["state"].as_str().unwrap()).collect::<Vec<_>>(), ["open", "open"], "{all:?}");

    // Moved, it is missing until it is opened in its new place, where it is the same library.
    lab.run("--instance a stop").ok();
    fs::rename(lab.cwd().join("new/folder/Two.sdlibrary"), lab.cwd().join("Moved.sdlibrary")).unwrap();
    lab.run("start --instance a").ok();
    let two = |all: Vec<Value>| all.into_iter().filter(|l| l["name"] == "Two").collect::<Vec<_>>();
    assert_eq!(two(list(&lab))[0]["state"], "missing");
    library(&lab, &["open", "Moved.sdlibrary"]).ok();
    assert_eq!(library(&lab, &["info", "--json"]).ok().json()["id"], all[1]["id"]);

    library(&lab, &["open", "nowhere"]).exits(4);
    library(&lab, &["open", "."]).exits(4).says("not a library");
    fs::write(lab.cwd().join("file"), "").unwrap();
    let outcome = library(&lab, &["create", "Three", "--path", "file"]);
    assert!(outcome.code != 0 && outcome.stderr.contains("file"), "{outcome:?}");
    assert_eq!(fs::read_to_string(lab.cwd().join("file")).unwrap(), "");
}

#[test]
fn one_library_is_open_in_one_instance() {
    let lab = lab(&["a", "b"]);
    library(&lab, &["create", "Shared", "--path", "shared"]).ok();
    lab.run("--instance b library open shared/Shared.sdlibrary").exits(6).says("in use by another daemon");
    library(&lab, &["close"]).ok();
    lab.run("--instance b library open shared/Shared.sdlibrary").ok();
    library(&lab, &["switch", "Shared"]).exits(6);
    // A copy is the same library a second time.
    lab.run("--instance b library close").ok();
    let copy = "cp -r shared/Shared.sdlibrary copy.sdlibrary";
    Outcome::of(&mut lab.shell(copy)).ok();
    lab.run("--instance b library open shared/Shared.sdlibrary").ok();
    lab.run("--instance b library open copy.sdlibrary").exits(6);
}

#[test]
fn deleting_a_library_in_one_instance_leaves_the_others_alone() {
    let lab = lab(&["default", "alice", "bob"]);
    for name in ["default", "alice", "bob"] {
        lab.run_args(["--instance", name, "library", "create", "Same"]).ok();
    }
    let hash = |name: &str| tree_hash(&lab.data_dir(name).join("libraries"), |_| false);
    let (alice, bob) = (hash("alice"), hash("bob"));
    lab.run("library delete Same --yes --purge").ok();
    lab.run("library create Same").ok();
    lab.run("library delete Same --yes").ok();
    assert_eq!((hash("alice"), hash("bob")), (alice, bob));
    lab.run("--instance alice library switch Same").ok();
    lab.run("--instance bob library switch Same").ok();
}
