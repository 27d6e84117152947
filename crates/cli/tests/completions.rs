//! Completions in the shells themselves, and the manual pages.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, reason = "a test that cannot go on panics")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use spacedrive_testing::{Home, Lab, Outcome, Signal, signal, wait_until};

fn lab(instances: &[&str]) -> Lab {
    Lab::start(env!("CARGO_BIN_EXE_spacedrive"), instances)
}

/// Whether the shell is on this machine; CI has them all.
fn has(home: &Home, shell: &str) -> bool {
    let there = Outcome::of(&mut home.shell(&format!("command -v {shell}"))).code == 0;
    if !there {
        assert!(std::env::var_os("CI").is_none(), "{shell} is missing");
        eprintln!("skipped: there is no {shell} here");
    }
    there
}

/// The words that `shell` offers for the last of `words`, by the script that the program gives it.
#[track_caller]
fn offered(home: &Home, shell: &str, words: &[&str]) -> Vec<String> {
    let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect::<Vec<_>>().join(" ");
    let last = format!("'{}'", words.last().unwrap().replace('\'', "'\\''"));
    let index = words.len() - 1;
    let script = match shell {
        "bash" => format!(
            "set +u; source <(spacedrive completions bash); COMP_WORDS=({quoted}); COMP_CWORD={index}; COMP_TYPE=9
             _clap_complete_spacedrive spacedrive {last} ''; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        ),
        // The two functions of the line editor, which is not there in a script.
        "zsh" => format!(
            "exec zsh -f -c 'compdef() {{ }}; _describe() {{ print -rl -- \"${{(@P)3}}\" }}; source <(spacedrive completions zsh)
             words=({}); CURRENT={}; _clap_dynamic_completer_spacedrive'",
            quoted.replace('\'', "'\\''"),
            index + 1
        ),
        _ => format!(
            "exec fish --no-config -c 'spacedrive completions fish | source; complete -C \"{}\"'",
            words.join(" ").replace('\'', "'\\''")
        ),
    };
    let outcome = Outcome::of(&mut home.shell(&script)).ok();
    assert_eq!(outcome.stderr, "", "{outcome:?}");
    // What follows a word is its description.
    let word = |line: &str| line.split(['\t', ':']).next().unwrap().trim().to_owned();
    outcome.stdout.lines().filter(|line| !line.is_empty()).map(word).collect()
}

#[test]
fn every_shell_completes_commands_and_live_names() {
    let lab = lab(&["alice", "albert", "bob"]);
    for name in ["Photos", "Papers"] {
        lab.run(&format!("--instance alice library create {name}")).ok();
    }
    lab.run("--instance alice library create Gone").ok();
    lab.run("--instance alice library delete Gone --yes").ok();
    for shell in ["bash", "zsh", "fish"] {
        if !has(&lab, shell) {
            continue;
        }
        let offered = |words: &[&str]| {
            let mut words = offered(&lab, shell, words);
            words.sort();
            words
        };
        assert_eq!(offered(&["spacedrive", "inst"]), ["instance"], "{shell}");
        assert!(offered(&["spacedrive", "instance", "st"]).contains(&"start".to_owned()), "{shell}");
        assert_eq!(offered(&["spacedrive", "instance", "stop", "al"]), ["albert", "alice"], "{shell}");
        assert_eq!(offered(&["spacedrive", "instance", "start", "alice", "bo"]), ["bob"], "{shell}");
        assert_eq!(offered(&["spacedrive", "--instance", "b"]), ["bob"], "{shell}");
        assert_eq!(offered(&["spacedrive", "--instance", "alice", "library", "switch", "P"]), ["Papers", "Photos"], "{shell}");
        assert_eq!(offered(&["spacedrive", "--instance", "alice", "library", "restore", "G"]), ["Gone"], "{shell}");
        assert_eq!(offered(&["spacedrive", "--instance", "bob", "library", "switch", "P"]), [""; 0], "{shell}");
        assert_eq!(offered(&["spacedrive", "instance", "create", "al"]), [""; 0], "{shell}");
    }
}

#[test]
fn a_name_with_blanks_is_one_word_in_bash() {
    let lab = lab(&["alice"]);
    lab.run_args(["--instance", "alice", "library", "create", "Bob's Library"]).ok();
    assert_eq!(offered(&lab, "bash", &["spacedrive", "--instance", "alice", "library", "switch", "Bo"]), ["Bob\\'s\\ Library"]);
}

#[test]
fn completing_is_quick_and_silent_whatever_is_wrong() {
    let lab = lab(&["alice", "frozen"]);
    let pid = lab.pid("frozen");
    assert!(signal(pid, Signal::STOP));
    let is_frozen = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
    wait_until(Duration::from_secs(20), "the daemon is frozen", is_frozen);
    let ask = |words: &[&str]| {
        let mut command = lab.command(["--"].iter().chain(words));
        command.env("SPACEDRIVE_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        command
    };
    let cases: &[&[&str]] = &[
        &["spacedrive", "--instance", "frozen", "library", "switch", ""],
        &["spacedrive", "--instance", "nobody", "library", "switch", ""],
        &["spacedrive", "--instance", "../x", "library", "switch", ""],
        &["spacedrive", "no-such-command", "x", ""],
        &["spacedrive", "--no-such-flag", ""],
    ];
    for words in cases {
        let begun = Instant::now();
        let outcome = Outcome::of(&mut ask(words)).ok();
        assert_eq!(outcome.stderr, "", "{words:?}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{words:?}: {:?}", begun.elapsed());
    }
    for broken in [("SPACEDRIVE_COMPLETE", "no-such-shell"), ("XDG_RUNTIME_DIR", "relative"), ("_CLAP_COMPLETE_INDEX", "-1")] {
        let outcome = Outcome::of(ask(&["spacedrive", "instance", "stop", ""]).env(broken.0, broken.1)).ok();
        assert_eq!(outcome.stderr, "", "{broken:?}");
    }
    // A daemon of another version has no words to offer.
    Outcome::of(lab.command(["start", "--instance", "old"]).env("SPACEDRIVE_PROTOCOL", "99")).ok();
    assert_eq!(Outcome::of(&mut ask(&["spacedrive", "--instance", "old", "library", "switch", ""])).ok().stderr, "");
    assert!(signal(pid, Signal::CONT));
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let home = Home::new(env!("CARGO_BIN_EXE_spacedrive"));
    let page = home.run("man instance clone").ok().stdout;
    assert!(page.contains(".TH spacedrive-instance-clone 1") && page.contains("Examples"), "{page}");
    home.run("man instance clnoe").exits(4).says("clone");
    let pages = home.run("man --dir pages --json").ok().json();
    let pages: Vec<_> = pages.as_array().unwrap().iter().map(|page| page.as_str().unwrap().to_owned()).collect();
    for name in ["spacedrive.1", "spacedrive-start.1", "spacedrive-library-create.1", "spacedrive-instance-clone.1"] {
        assert!(pages.iter().any(|page| page.ends_with(&format!("/{name}"))), "{name} in {pages:?}");
    }
    assert!(!pages.iter().any(|page| page.ends_with("serve.1")), "what is hidden has no page");
    if !has(&home, "man") {
        return;
    }
    for page in &pages {
        let mut man = std::process::Command::new("man");
        man.args(["--warnings", "-l", page]).env("MANPAGER", "cat").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        let shown = Outcome::of(&mut man).ok();
        assert_eq!(shown.stderr, "", "{page}");
        assert!(shown.stdout.contains("NAME") && shown.stdout.contains("SYNOPSIS"), "{page}");
    }
}
