//! A command and a daemon of different versions meet: it is said so, and the way out works.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use serde_json::Value;
use spacedrive_testing::{Home, Outcome};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

/// Runs a command line that speaks another protocol.
fn other(home: &Home, protocol: &str, line: &str) -> Outcome {
    Outcome::of(home.command(line.split(' ')).env("SPACEDRIVE_PROTOCOL", protocol))
}

/// What works between all versions, and what does not. `daemon` and `command` are the protocols of the two sides.
fn meet(daemon: &str, command: &str) {
    let home = home();
    other(&home, daemon, "start --instance a").ok();
    let pid = home.pid("a");
    for line in [
        "--instance a library list",
        "--instance a library create One",
        "--instance a library open .",
        "--instance a library switch One",
        "--instance a library delete One --yes",
    ] {
        let outcome = other(&home, command, line).exits(9);
        let says = |text: &str| assert!(outcome.stderr.contains(text), "{line}: `{text}` is not in {outcome:?}");
        says(&format!("protocol {daemon}"));
        says(&format!("protocol {command}"));
        says("hint: ");
        says("restart");
        assert!(outcome.stdout.is_empty() && outcome.stderr.lines().count() == 2, "{outcome:?}");
    }
    let json = other(&home, command, "--instance a library list --json").exits(9);
    let error: Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!((error["error"]["kind"].as_str(), error["error"]["exit"].as_i64()), (Some("version"), Some(9)));

    let info = other(&home, command, "--instance a daemon --json").ok().json();
    assert_eq!((info["pid"].as_u64(), info["protocol"].to_string().as_str()), (Some(pid.into()), daemon));
    let status = other(&home, command, "--instance a status").ok();
    assert!(status.stdout.contains(&pid.to_string()) && status.stderr.contains("restart"), "{status:?}");
    assert_eq!(other(&home, command, "--instance a status --json").ok().json()["daemon"]["pid"], pid);
    let list = other(&home, command, "instance list --json").ok().json();
    assert_eq!((&list[0]["status"], &list[0]["pid"]), (&"running".into(), &pid.into()));
    assert!(other(&home, command, "start --instance a").ok().stdout.contains("already running"));

    // The way out, as the hint gives it.
    other(&home, command, "--instance a stop").ok();
    other(&home, command, "start --instance a").ok();
    other(&home, command, "--instance a library create One").ok();
    other(&home, daemon, "--instance a library list").exits(9);
    other(&home, daemon, "stop --all").ok();
    home.wait_for_no_daemon();
}

#[test]
fn a_newer_command_meets_an_older_daemon() {
    meet("1", "2");
}

#[test]
fn an_older_command_meets_a_newer_daemon() {
    meet("7", "1");
}
