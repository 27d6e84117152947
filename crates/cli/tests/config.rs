//! Settings: their values, where they come from, and changing them with and without a daemon.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;

use serde_json::Value;
use spacedrive_testing::{Home, Outcome};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

/// Value and origin of a setting.
fn setting(outcome: &Outcome, key: &str) -> (String, String) {
    let settings = outcome.json();
    let found = settings.as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&found["value"]), text(&found["origin"]))
}

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let home = home();
    home.run("instance create alice").ok();
    let list = |variable: Option<&str>, flags: &[&str]| {
        let mut command = home.command(["--instance", "alice", "config", "list", "--json"].iter().chain(flags));
        command.envs(variable.map(|value| ("SPACEDRIVE_LOG", value)));
        Outcome::of(&mut command).ok()
    };
    assert_eq!(setting(&list(None, &[]), "log"), pair("info", "default"));
    home.run("--instance alice config set log warn").ok();
    assert_eq!(setting(&list(None, &[]), "log"), pair("warn", "file"));
    assert_eq!(setting(&list(Some("error"), &[]), "log"), pair("error", "environment"));
    assert_eq!(setting(&list(Some("error"), &["--verbose"]), "log"), pair("debug", "flag"));
    let list = list(None, &[]);
    assert_eq!(setting(&list, "instance"), pair("alice", "flag"));
    assert_eq!(setting(&list, "data_dir"), pair(home.data_dir("alice").to_str().unwrap(), "default"));
    assert_eq!(setting(&list, "color"), pair("auto", "default"));
    let shown = home.run("--instance alice config list --show-origin").ok().stdout;
    assert!(shown.contains("ORIGIN") && shown.contains("flag (--instance)"), "{shown}");
    let outcome =
        Outcome::of(home.command(["config", "list", "--json"]).env("SPACEDRIVE_INSTANCE", "alice").env("NO_COLOR", "1")).ok();
    assert_eq!(setting(&outcome, "instance"), pair("alice", "environment"));
    assert_eq!(setting(&outcome, "color"), pair("never", "environment"));
}

#[test]
fn a_setting_is_changed_for_the_next_start() {
    let home = home();
    home.run("start --instance alice").ok();
    let set = home.run("--instance alice config set log debug").ok();
    assert!(set.stdout.contains("instance restart alice"), "{set:?}");
    assert_eq!(home.run("--instance alice config get log").ok().stdout, "debug\n");
    assert!(!home.log("alice").contains("DEBUG"));
    home.run("instance restart alice").ok();
    // A call that fails is logged as DEBUG.
    home.run("--instance alice library info nothing").exits(4);
    assert!(home.log("alice").contains("DEBUG"));
    home.run("--instance alice config set log --default").ok();
    assert_eq!(home.run("--instance alice config get log").ok().stdout, "info\n");

    // What the daemon writes later does not undo what was set.
    home.run("--instance alice config set mdns false").ok();
    home.run("--instance alice network start").ok();
    let written: Value = serde_json::from_slice(&fs::read(home.data_dir("alice").join("spacedrive.json")).unwrap()).unwrap();
    assert_eq!((&written["mdns"], &written["networking"]), (&false.into(), &true.into()));
    home.run("--instance alice config set networking false").exits(6).says("network stop");
    home.run("--instance alice stop").ok();
    home.run("--instance alice config set networking false").ok();
    assert_eq!(home.run("--instance alice config get networking").ok().stdout, "false\n");
}

#[test]
fn what_is_wrong_changes_nothing() {
    let home = home();
    home.run("instance create alice").ok();
    let file = home.data_dir("alice").join("spacedrive.json");
    let before = fs::read(&file).unwrap();
    home.run("--instance alice config set mdns maybe").exits(2).says("true or false");
    home.run("--instance alice config set log ==").exits(2).says("tracing filter");
    home.run("--instance alice config set mdsn false").exits(4).says("mdns");
    home.run("--instance alice config set data_dir /x").exits(2).says("not kept in a file");
    home.run("--instance alice config set mdns").exits(2);
    home.run("--instance alice config get lgo").exits(4).says("log");
    home.run("--instance alcie config set mdns false").exits(4).says("alice");
    assert_eq!(fs::read(&file).unwrap(), before);
    fs::write(&file, "{").unwrap();
    home.run("--instance alice config set mdns false").exits(7);
    home.run("--instance alice config list").exits(7);
    assert_eq!(fs::read(&file).unwrap(), b"{");
}
