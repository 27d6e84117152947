//! `instance doctor`: a sound instance has nothing, and each fault is found, named and where possible mended.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;
use spacedrive_testing::{Lab, Outcome, Signal, signal, wait_until};

fn lab(instances: &[&str]) -> Lab {
    Lab::start(env!("CARGO_BIN_EXE_spacedrive"), instances)
}

/// The findings about `check`, as (verdict, message).
#[track_caller]
fn found(outcome: &Outcome, check: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = outcome.json().as_array().unwrap().clone();
    findings.iter().filter(|f| f["check"] == check).map(|f| (text(&f["verdict"]), text(&f["message"]))).collect()
}

#[track_caller]
fn finds(outcome: &Outcome, check: &str, verdict: &str, message: &str) {
    let found = found(outcome, check);
    assert!(found.iter().any(|(v, m)| v == verdict && m.contains(message)), "{check} in {outcome:?}");
}

#[test]
fn a_sound_instance_is_told_to_be_so() {
    let lab = lab(&["alice"]);
    lab.run("--instance alice library create One").ok();
    for state in ["running", "not running"] {
        let outcome = lab.run("instance doctor alice --json").ok();
        let findings = outcome.json();
        // How the machine itself stands is not the product's doing.
        let of_the_machine = ["disk space", "file watches"];
        let faults: Vec<_> = findings
            .as_array()
            .unwrap()
            .iter()
            .filter(|f| f["verdict"] != "ok" && !of_the_machine.contains(&f["check"].as_str().unwrap()))
            .collect();
        assert!(faults.is_empty(), "{faults:?}");
        finds(&outcome, "process", "ok", state);
        finds(&outcome, "databases", "ok", "2 sound");
        lab.run("instance stop alice").ok();
    }
    assert!(lab.run("instance doctor").ok().stdout.starts_with("Instance `alice`\n  ok       runtime dir: "));
    lab.run("instance doctor alcie").exits(4).says("alice");
}

#[test]
fn each_fault_is_found() {
    let lab = lab(&["alice"]);
    lab.run("--instance alice library create One").ok();
    lab.run("instance stop alice").ok();
    let dir = lab.data_dir("alice");
    fs::write(dir.join("libraries/One.sdlibrary/library.db"), "garbage").unwrap();
    fs::write(dir.join("spacedrive.json"), "{").unwrap();
    let outcome = lab.run("instance doctor alice --json").exits(1).says("2 checks failed");
    finds(&outcome, "databases", "failure", "One.sdlibrary");
    finds(&outcome, "configuration", "failure", "spacedrive.json");
}

#[test]
fn an_instance_that_was_copied_by_hand_is_found() {
    let lab = lab(&["alice"]);
    lab.run("instance stop alice").ok();
    let (alice, eve) = (lab.data_dir("alice"), lab.data_dir("eve"));
    Outcome::of(std::process::Command::new("cp").arg("-a").args([&alice, &eve])).ok();
    let outcome = lab.run("instance doctor --json").exits(1);
    finds(&outcome, "identity", "failure", "same identity as eve");
    finds(&outcome, "identity", "failure", "same identity as alice");
}

#[test]
fn what_can_be_mended_is_mended_only_when_asked() {
    let lab = lab(&["alice"]);
    let dir = lab.data_dir("alice");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(lab.socket("alice"), fs::Permissions::from_mode(0o666)).unwrap();
    let record = lab.path().join("state/spacedrive/instances/alice.json");
    fs::write(&record, "{").unwrap();
    for name in ["dead.sock", "dead.pid"] {
        fs::write(lab.run_dir().join(format!("spacedrive-{name}")), "").unwrap();
    }
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let outcome = lab.run("instance doctor alice --json").exits(1);
    for (check, verdict, message) in [
        ("permissions", "warning", "mode 755"),
        ("socket", "failure", "mode 666"),
        ("record", "warning", "damaged"),
        ("leftovers", "warning", "spacedrive-dead.pid"),
    ] {
        finds(&outcome, check, verdict, message);
    }
    assert_eq!((mode(&dir), mode(&lab.socket("alice")), fs::read(&record).unwrap()), (0o755, 0o666, b"{".to_vec()));
    let outcome = lab.run("instance doctor alice --fix --json").ok();
    finds(&outcome, "record", "warning", ": mended");
    assert_eq!((mode(&dir), mode(&lab.socket("alice"))), (0o700, 0o600));
    assert!(lab.run_dir().join("spacedrive-dead.sock").exists(), "what is no socket is nobody's to remove");
    assert!(!lab.run_dir().join("spacedrive-dead.pid").exists());
    let outcome = lab.run("instance doctor alice --json").ok();
    for check in ["permissions", "socket", "record", "leftovers"] {
        assert_eq!(found(&outcome, check)[0].0, "ok", "{check}");
    }
}

#[test]
fn networking_without_an_identity_is_found() {
    let lab = lab(&["alice"]);
    lab.run("--instance alice network start").ok();
    finds(&lab.run("instance doctor alice --json").ok(), "networking", "warning", "no identity");
    lab.run("--instance alice network init --no-password").ok();
    let outcome = lab.run("instance doctor alice --json").ok();
    finds(&outcome, "networking", "ok", "on, as `alice`");
    finds(&outcome, "discovery", "ok", "same-host");
}

#[test]
fn the_folders_to_watch_are_counted() {
    let lab = lab(&["alice"]);
    let folder = lab.path().join("Pictures");
    fs::create_dir_all(folder.join("a/b")).unwrap();
    lab.run("--instance alice library create One").ok();
    lab.run(&format!("--instance alice location add {} --wait", folder.display())).ok();
    let found = found(&lab.run("instance doctor alice --json").ok(), "file watches");
    // Where the kernel has no such limits there is nothing to tell.
    assert!(found.iter().all(|(_, message)| message.contains("3 to watch here")), "{found:?}");
}

#[test]
fn another_versions_daemon_is_found() {
    let lab = lab(&[]);
    Outcome::of(lab.command(["start", "--instance", "old"]).env("SPACEDRIVE_PROTOCOL", "99")).ok();
    let outcome = lab.run("instance doctor old --json").exits(1);
    finds(&outcome, "version", "failure", "speaks protocol 99");
    lab.run("instance restart old").ok();
    finds(&lab.run("instance doctor old --json").ok(), "version", "ok", "protocol");
}

#[test]
fn a_frozen_daemon_is_found() {
    let lab = lab(&["alice"]);
    let pid = lab.pid("alice");
    assert!(signal(pid, Signal::STOP));
    let is_frozen = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
    wait_until(Duration::from_secs(20), "the daemon is frozen", is_frozen);
    let outcome = lab.run("instance doctor alice --json").exits(1);
    assert!(signal(pid, Signal::CONT));
    finds(&outcome, "process", "failure", "does not answer");
}
