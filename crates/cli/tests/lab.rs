//! `instance run --ephemeral`: a lab for the time of one command, gone whatever ends it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use spacedrive_testing::{Home, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

/// Runs a shell script in a lab.
fn lab(home: &Home, options: &str, script: &str) -> spacedrive_testing::Outcome {
    let words = format!("instance run --ephemeral {options} --");
    home.run_args(words.split_whitespace().chain(["sh", "-c", script]))
}

/// Whether a process of this machine still names `folder` in its environment or its arguments.
fn alive(folder: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let has = |file: &str| {
            std::fs::read(process.path().join(file))
                .is_ok_and(|bytes| bytes.windows(folder.len()).any(|window| window == folder.as_bytes()))
        };
        process.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()) && (has("cmdline") || has("environ"))
    })
}

fn folder_of(text: &str) -> String {
    let run = text.lines().find_map(|line| line.strip_prefix("run=")).unwrap();
    Path::new(run).parent().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_paired_lab_stands_for_one_command_and_is_gone_afterwards() {
    let home = home();
    let script = "echo run=$XDG_RUNTIME_DIR; echo $SPACEDRIVE_LAB; spacedrive instance current; \
                  spacedrive network devices; spacedrive --instance bob network devices";
    let run = lab(&home, "--names alice,bob --paired", script).ok();
    assert!(run.stdout.contains("alice bob\n") && run.stdout.contains("alice (by SPACEDRIVE_INSTANCE)"), "{run:?}");
    assert_eq!(run.stdout.matches("connected").count(), 2, "{run:?}");
    let folder = folder_of(&run.stdout);
    assert!(!Path::new(&folder).exists());
    wait_until(PATIENCE, "its processes are gone", || !alive(&folder));
    assert!(home.run("instance list --json").ok().json().as_array().unwrap().is_empty(), "the caller's own instances are others");
}

#[test]
fn the_exit_code_is_the_commands() {
    let home = home();
    assert_eq!(lab(&home, "", "exit 7").code, 7);
    assert_eq!(lab(&home, "", "kill -TERM $$").code, 128 + 15);
    let missing = home.run("instance run --ephemeral -- no-such-program");
    assert_ne!(missing.code, 0);
    assert!(missing.stderr.contains("no-such-program"), "{missing:?}");
    lab(&home, "-n 0", "true").exits(2);
    lab(&home, "--names a,../b", "true").exits(2);
    home.run("instance run -- true").exits(2);
}

#[test]
fn the_files_of_a_failed_command_can_be_kept() {
    let home = home();
    let run = lab(&home, "--keep-on-failure", "echo run=$XDG_RUNTIME_DIR; exit 1").exits(1);
    let folder = folder_of(&run.stdout);
    assert!(run.stderr.contains(&folder), "{run:?}");
    assert!(Path::new(&folder).join("data/instance-n1/spacedrive.json").exists());
    wait_until(PATIENCE, "its processes are gone", || !alive(&folder));
    std::fs::remove_dir_all(&folder).unwrap();
    let run = lab(&home, "--keep-on-failure", "echo run=$XDG_RUNTIME_DIR").ok();
    assert!(!Path::new(&folder_of(&run.stdout)).exists());
}

#[test]
fn a_lab_whose_parent_is_killed_is_taken_down() {
    let home = home();
    let mut parent = home
        .command(["instance", "run", "--ephemeral", "-n", "2", "--", "sh", "-c", "echo run=$XDG_RUNTIME_DIR; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let folder = folder_of(&line);
    assert!(alive(&folder));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until(PATIENCE, "the lab is gone", || !Path::new(&folder).exists() && !alive(&folder));
}
