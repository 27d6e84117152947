//! Drops through the real binary: two paired daemons, files, decisions, crashes.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use spacedrive_testing::{Home, Lab, Outcome, wait_until};

/// Ten times what anything in here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn lab() -> Lab {
    Lab::paired(env!("CARGO_BIN_EXE_spacedrive"), &["alice", "bob"])
}

fn network(home: &Home, instance: &str, args: &[&str]) -> Outcome {
    home.run_args(["--instance", instance, "network"].iter().chain(args))
}

fn drops(home: &Home, instance: &str) -> Vec<Value> {
    network(home, instance, &["drops", "list", "--json"]).ok().json().as_array().unwrap().clone()
}

/// The newest drop, once it is in this state.
#[track_caller]
fn until(home: &Home, instance: &str, state: &str) -> Value {
    wait_until(PATIENCE, state, || drops(home, instance).first().is_some_and(|drop| drop["state"] == state));
    drops(home, instance)[0].clone()
}

fn inbox(home: &Home, instance: &str) -> PathBuf {
    home.data_dir(instance).join("inbox")
}

fn content(path: &Path, size: usize) {
    let data: Vec<u8> =
        (0..size as u64 / 8 + 1).flat_map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).take(size).collect();
    fs::write(path, data).unwrap();
}

/// What is below a folder: paths, with the bytes of files and the targets of links.
fn picture(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = walkdir(root)
        .into_iter()
        .map(|path| {
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = match () {
                () if meta.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
                () if meta.is_file() => fs::read(&path).unwrap(),
                () => Vec::new(),
            };
            (path.strip_prefix(root).unwrap().to_owned(), content)
        })
        .collect();
    found.sort();
    found
}

fn walkdir(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(walkdir(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

fn tree(home: &Home) -> PathBuf {
    let tree = home.cwd().join("holiday");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("notes.txt"), "sunny\n").unwrap();
    fs::write(tree.join("-rf"), "").unwrap();
    fs::write(tree.join("new\nline"), "x").unwrap();
    symlink("b", tree.join("a/link")).unwrap();
    content(&tree.join("a/b/big"), 3_000_000);
    tree
}

#[test]
fn a_person_is_asked_and_decides() {
    let lab = lab();
    let tree = tree(&lab);
    let sent = network(&lab, "alice", &["spacedrop", "bob", "holiday", "-s", "Alice A.", "-m", "for \x1b[31myou", "--json"]);
    let id = sent.ok().json()["id"].as_str().unwrap().to_owned();
    let asked = until(&lab, "bob", "asked");
    assert_eq!((asked["id"].as_str().unwrap(), asked["sender"].as_str().unwrap()), (id.as_str(), "Alice A."));
    assert_eq!((asked["direction"].as_str(), asked["device"]["name"].as_str()), (Some("in"), Some("alice")));
    assert_eq!((asked["files"].as_u64(), asked["bytes"].as_u64()), (Some(4), Some(3_000_007)));
    assert_eq!(asked["names"][0], "holiday");
    assert!(!inbox(&lab, "bob").exists(), "nothing is written before somebody said yes");
    until(&lab, "alice", "asked");
    // What a peer says is escaped for a terminal.
    let list = network(&lab, "bob", &["drops", "list"]).ok().stdout;
    assert!(list.contains("Alice A.") && !list.contains('\x1b'), "{list}");

    // Only the receiver decides.
    network(&lab, "alice", &["drops", "accept", &id]).exits(6).says("cancel");
    network(&lab, "bob", &["drops", "accept", "0000"]).exits(4);
    network(&lab, "bob", &["drops", "accept", &id, "--into", "nowhere"]).exits(4).says("nowhere");

    // A restart of the receiver forgets nothing.
    lab.run("--instance bob stop").ok();
    lab.run("start --no-mdns --instance bob").ok();
    wait_until(PATIENCE, "connected", || network(&lab, "bob", &["devices", "--json"]).ok().json()[0]["status"] == "connected");
    let done = network(&lab, "bob", &["drops", "accept", &id[..23], "--wait", "--json"]).ok().json();
    assert_eq!((done["files"].as_u64(), done["verified"].as_bool()), (Some(4), Some(true)));
    until(&lab, "alice", "completed");
    assert_eq!(picture(&tree), picture(&inbox(&lab, "bob").join("holiday")));
    assert_eq!(fs::read_dir(inbox(&lab, "bob")).unwrap().count(), 1, "no staging folder is left");
    network(&lab, "bob", &["drops", "reject", &id]).exits(6).says("over");
}

#[test]
fn what_is_rejected_leaves_nothing_behind() {
    let lab = lab();
    fs::write(lab.cwd().join("spam"), "spam").unwrap();
    let mut waiting = spawn(&lab, &["--instance", "alice", "network", "spacedrop", "bob", "spam", "--wait"]);
    let asked = until(&lab, "bob", "asked");
    network(&lab, "bob", &["drops", "reject", asked["id"].as_str().unwrap()]).ok();
    assert_eq!(waiting.wait().unwrap().code(), Some(5), "the sender is told");
    assert_eq!(drops(&lab, "alice")[0]["state"], "declined");
    assert_eq!(drops(&lab, "bob")[0]["state"], "declined");
    assert!(!inbox(&lab, "bob").exists());

    // Withdrawn by the sender.
    let sent = network(&lab, "alice", &["spacedrop", "bob", "spam", "--json"]).ok().json();
    until(&lab, "bob", "asked");
    network(&lab, "alice", &["drops", "cancel", sent["id"].as_str().unwrap()]).ok();
    until(&lab, "bob", "cancelled");
    assert_eq!(drops(&lab, "alice")[0]["state"], "cancelled");
}

#[test]
fn trust_decides_for_a_person() {
    let lab = lab();
    let file = lab.cwd().join("photo.jpg");
    content(&file, 100_000);
    let send = || network(&lab, "alice", &["spacedrop", "bob", "photo.jpg", "--wait", "--json"]);
    assert_eq!(network(&lab, "bob", &["trust", "alice", "--json"]).ok().json()["drops"], "ask");
    network(&lab, "bob", &["trust", "alice", "--drops", "accept"]).ok();
    // Never over what is there.
    for name in ["photo.jpg", "photo (2).jpg", "photo (3).jpg"] {
        let done = send().ok().json();
        assert_eq!(
            (done["files"].as_u64(), done["bytes"].as_u64(), done["verified"].as_bool()),
            (Some(1), Some(100_000), Some(true))
        );
        assert_eq!(fs::read(inbox(&lab, "bob").join(name)).unwrap(), fs::read(&file).unwrap());
        assert_eq!(drops(&lab, "bob")[0]["names"][0], name);
    }
    network(&lab, "bob", &["trust", "alice", "--drops", "refuse"]).ok();
    send().exits(5).says("declined");
    assert_eq!(drops(&lab, "bob").len(), 3, "what is refused by itself is not listed");
    // The other direction was not touched.
    assert_eq!(network(&lab, "alice", &["trust", "bob", "--json"]).ok().json()["drops"], "ask");
    // A new pairing begins with nothing.
    network(&lab, "bob", &["revoke", "alice"]).ok();
    network(&lab, "bob", &["trust", "alice"]).exits(4);
    // Who is not paired any more sends nothing.
    wait_until(PATIENCE, "alice knows", || network(&lab, "alice", &["devices", "--json"]).ok().json() == serde_json::json!([]));
    send().exits(4);
}

#[test]
fn wrong_usage_is_told_at_once() {
    let lab = lab();
    fs::write(lab.cwd().join("a"), "a").unwrap();
    fs::create_dir_all(lab.cwd().join("x")).unwrap();
    fs::write(lab.cwd().join("x/a"), "a").unwrap();
    network(&lab, "alice", &["spacedrop", "nobody", "a"]).exits(4).says("nobody");
    network(&lab, "alice", &["spacedrop", "bob", "nothing"]).exits(4).says("nothing");
    network(&lab, "alice", &["spacedrop", "bob", "a", "x/a"]).exits(2).says("`a`");
    network(&lab, "alice", &["spacedrop", "bob"]).exits(2);
    assert!(drops(&lab, "alice").is_empty());
}

fn spawn(home: &Home, args: &[&str]) -> Child {
    home.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Either daemon is killed in the middle; the drop goes on by itself when it is started again.
#[test]
fn a_drop_survives_kills_of_both_sides() {
    let lab = lab();
    let file = lab.cwd().join("film");
    content(&file, 200_000_000);
    network(&lab, "bob", &["trust", "alice", "--drops", "accept"]).ok();
    let sent = network(&lab, "alice", &["spacedrop", "bob", "film", "--json"]).ok().json();
    let mut seen = 0;
    for victim in ["bob", "alice", "bob"] {
        wait_until(PATIENCE, "some bytes more", || {
            let drop = drops(&lab, "bob").first().cloned().unwrap_or_default();
            let done = drop["bytes_done"].as_u64().unwrap_or(0);
            let far = drop["state"] == "completed" || (drop["state"] == "running" && done > seen + 1_000_000);
            if far {
                seen = done;
            }
            far
        });
        let pid = rustix::process::Pid::from_raw(i32::try_from(lab.pid(victim)).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        lab.run(&format!("start --no-mdns --instance {victim}")).ok();
    }
    until(&lab, "bob", "completed");
    let done = until(&lab, "alice", "completed");
    assert_eq!(done["id"], sent["id"]);
    assert!(done["moved"].as_u64().unwrap() < 200_000_000, "the last try began where the one before ended: {done}");
    assert_eq!(fs::read(inbox(&lab, "bob").join("film")).unwrap(), fs::read(&file).unwrap());
    assert_eq!(fs::read_dir(inbox(&lab, "bob")).unwrap().count(), 1, "one file, no second one, no staging folder");
}

/// The receiver dies between putting the file in its place and telling so: the file is there once.
#[test]
fn a_receiver_that_dies_at_the_end_does_not_receive_twice() {
    let lab = lab();
    fs::write(lab.cwd().join("once"), "once").unwrap();
    network(&lab, "bob", &["trust", "alice", "--drops", "accept"]).ok();
    lab.run("--instance bob stop").ok();
    let mut start = lab.command(["start", "--no-mdns", "--instance", "bob"]);
    Outcome::of(start.env("SPACEDRIVE_FAIL", "transfer.receive.published:1")).ok();
    let mut waiting = spawn(&lab, &["--instance", "alice", "network", "spacedrop", "bob", "once", "--wait"]);
    wait_until(PATIENCE, "bob died", || lab.run("--instance bob daemon").code == 3);
    assert_eq!(fs::read_to_string(inbox(&lab, "bob").join("once")).unwrap(), "once");
    lab.run("start --no-mdns --instance bob").ok();
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    let names: Vec<_> = fs::read_dir(inbox(&lab, "bob")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["once"]);
}
