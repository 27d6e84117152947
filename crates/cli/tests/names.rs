//! Instance names: which are valid, which are one and the same, and that nothing else is an instance.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::thread;

use spacedrive_testing::{Home, Outcome};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

/// Names that are none, but for those with a NUL, which no argument can have.
fn invalid_names() -> Vec<String> {
    let odd =
        ["", ".", "..", "../x", "a/b", "/etc", "-x", "--", "_a", " ", "a b", "a ", " a", "a\nb", "a\tb", "\u{1b}[31m", "é", "Ａ"];
    let more =
        ["a.b", "a:b", "a*", "~", "$HOME", "`id`", "a\\b", "con", "CON", "nul", "NUL", "aux", "aux.txt", "Lpt1", "\u{202e}a"];
    let long = [65, 300].map(|length| "a".repeat(length));
    odd.into_iter().chain(more).map(str::to_owned).chain(long).collect()
}

/// Every command that takes a name, with `NAME` in its place.
const COMMANDS: &[&str] = &[
    "start --instance NAME",
    "start --foreground --instance NAME",
    "--instance NAME stop",
    "--instance NAME daemon",
    "--instance NAME status",
    "--instance NAME instance list",
    "--instance NAME instance current",
    "--instance NAME library list",
    "--instance NAME library create Name",
    "--instance NAME library open .",
    "--instance NAME library switch Name",
    "--instance NAME library current",
    "--instance NAME library close",
    "--instance NAME library info",
    "--instance NAME library delete Name --yes",
    "instance stop NAME",
];

fn with_name(command: &str, name: &str) -> Vec<String> {
    command.split(' ').map(|word| if word == "NAME" { name.to_owned() } else { word.to_owned() }).collect()
}

#[test]
fn an_invalid_name_is_refused_by_every_command_and_makes_nothing() {
    let home = home();
    let before = home.files();
    thread::scope(|scope| {
        for names in invalid_names().chunks(9) {
            let (names, home) = (names.to_vec(), &home);
            scope.spawn(move || {
                for name in &names {
                    for command in COMMANDS {
                        let outcome = home.run_args(with_name(command, name)).exits(2);
                        let line = outcome.stderr.lines().next().unwrap();
                        assert!(line.starts_with("error: ") && outcome.stdout.is_empty(), "{command} {name:?}: {outcome:?}");
                        let acts = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
                        assert!(!outcome.stderr.contains(acts), "{command} {name:?}: {outcome:?}");
                    }
                    // An empty variable is as good as none.
                    if !name.is_empty() {
                        Outcome::of(home.command(["start"]).env("SPACEDRIVE_INSTANCE", name)).exits(2);
                    }
                }
            });
        }
    });
    let not_text = OsStr::from_bytes(b"a\xff");
    home.run_args([OsStr::new("start"), OsStr::new("--instance"), not_text]).exits(2);
    home.run_args([OsStr::new("instance"), OsStr::new("stop"), not_text]).exits(2);
    Outcome::of(home.command(["start"]).env("SPACEDRIVE_INSTANCE", not_text)).exits(2);
    assert_eq!(home.files(), before);
}

#[test]
fn the_error_of_an_invalid_name_names_it() {
    let home = home();
    home.run_args(["start", "--instance", "a\u{1b}[31m"]).exits(2).says("invalid instance name `a\\u{1b}[31m`");
    home.run_args(["start", "--instance", "a".repeat(65).as_str()]).exits(2).says("65 bytes, the limit is 64");
    home.run("start --instance NUL").exits(2).says("Windows");
    let json = home.run("start --instance a/b --json").exits(2);
    let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!((error["error"]["kind"].as_str(), error["error"]["exit"].as_i64()), (Some("invalid"), Some(2)));
}

#[test]
fn the_longest_name_works() {
    let home = home();
    let name = "a".repeat(64);
    // The whole path must fit the system's limit, so the runtime dir is short.
    let run = tempfile::TempDir::with_prefix_in("s", "/tmp").unwrap();
    let at = |args: &[&str]| Outcome::of(home.command(args).env("XDG_RUNTIME_DIR", run.path()));
    at(&["start", "--instance", &name]).ok();
    assert!(run.path().join(format!("spacedrive-{name}.sock")).exists());
    at(&["--instance", &name, "library", "create", "One"]).ok();
    at(&["instance", "stop", &name]).ok();
}

#[test]
fn default_is_the_unnamed_instance() {
    let home = home();
    home.run("start --instance default").ok();
    assert!(home.run("start").ok().stdout.contains("already running"));
    assert!(home.data_dir("default").join("spacedrive.json").exists() && home.socket("default").exists());
    assert!(!home.data_dir("default").join("instance-default").exists());
    for name in ["Default", "DEFAULT"] {
        home.run(&format!("start --instance {name}")).exits(6);
    }
    // A name that looks like a folder or a file of ours is a name like any other.
    for name in ["instance-x", "spacedrive", "sock", "x", "instance-default"] {
        home.run(&format!("start --instance {name}")).ok();
        home.run(&format!("--instance {name} library create Of-{name}")).ok();
    }
    for name in ["instance-x", "spacedrive", "sock", "x", "instance-default"] {
        let list = home.run(&format!("--instance {name} library list --json")).ok().json();
        assert_eq!((list.as_array().unwrap().len(), &list[0]["name"]), (1, &format!("Of-{name}").into()));
    }
    home.run("instance stop default").ok();
    home.run("daemon").exits(3);
}

#[test]
fn names_that_differ_in_case_are_a_conflict() {
    let home = home();
    home.run("start --instance Alice").ok();
    for name in ["alice", "ALICE", "aLICE"] {
        home.run(&format!("start --instance {name}")).exits(6).says("`Alice`");
        assert!(!home.data_dir(name).exists());
    }
    // Also when it does not run, and when only its data tell of it.
    home.run("instance stop Alice").ok();
    home.run("start --instance alice").exits(6);
    fs::remove_dir_all(home.path().join("state")).unwrap();
    home.run("start --instance alice").exits(6).says("`Alice`");
    let elsewhere = home.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let root = home.data_dir("default");
    let args = ["start", "--instance", "alice", "--data-dir", root.to_str().unwrap()];
    Outcome::of(home.command(args).current_dir(&elsewhere)).exits(6).says("`Alice`");
    home.run("start --instance Alice").ok();
}

#[test]
fn two_names_that_differ_in_case_started_at_once_never_both_run() {
    let home = home();
    let outcomes: Vec<i32> = thread::scope(|scope| {
        let start = |name: &'static str| {
            let home = &home;
            scope.spawn(move || home.run(&format!("start --instance {name}")).code)
        };
        let threads: Vec<_> = ["bob", "Bob", "BOB", "boB"].into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    outcomes.iter().for_each(|code| assert!([0, 6].contains(code), "{outcomes:?}"));
    assert_eq!(outcomes.iter().filter(|code| **code == 0).count(), 1, "{outcomes:?}");
    assert_eq!(home.daemons().len(), 1, "{outcomes:?}");
}

#[test]
fn anagrams_are_separate_instances() {
    let home = home();
    let names = ["ab", "ba", "a-b", "b-a", "a_b"];
    for name in names {
        home.run(&format!("start --instance {name}")).ok();
        home.run(&format!("--instance {name} library create Of-{name}")).ok();
    }
    assert_eq!(home.daemons().len(), names.len());
    for name in names {
        let list = home.run(&format!("--instance {name} library list --json")).ok().json();
        assert_eq!((list.as_array().unwrap().len(), &list[0]["name"]), (1, &format!("Of-{name}").into()));
    }
    home.run("instance stop ab").ok();
    home.run("--instance ba daemon").ok();
    home.run("--instance ab daemon").exits(3);
}
