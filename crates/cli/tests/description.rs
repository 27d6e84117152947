//! The command lines that this project was founded on, as they were written: people's scripts rely on them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::process::Command;

use spacedrive_testing::{Home, Outcome, root_or_skip};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

/// Runs a block, each line of which must succeed.
fn block(home: &Home, script: &str) -> String {
    Outcome::of(&mut home.shell(&format!("set -e\n{script}"))).ok().stdout
}

#[test]
fn starting_and_targeting_instances() {
    let home = home();
    block(
        &home,
        r#"
# Start default instance
spacedrive start

# Start named instances
spacedrive start --instance alice
spacedrive start --instance bob

# Start with networking enabled
spacedrive start --instance alice --enable-networking
spacedrive start --instance bob --enable-networking
"#,
    );
    block(
        &home,
        r#"
# Default instance
spacedrive library list

# Named instances
spacedrive --instance alice library list
spacedrive --instance bob library create "Bob's Library"
"#,
    );
    let seen = block(
        &home,
        r#"
# List all daemon instances
spacedrive instance list

# Stop specific instance
spacedrive instance stop alice
spacedrive --instance bob stop  # Alternative syntax
"#,
    );
    for name in ["default", "alice", "bob"] {
        assert!(seen.lines().any(|line| line.starts_with(name) && line.contains("running")), "{seen}");
    }
    home.run("daemon").ok();
    // Check status of specific instance
    home.run("--instance alice daemon").exits(3).says("`alice` is not running");
    block(&home, "spacedrive start --instance alice\nspacedrive --instance alice daemon");
    the_tree_is_as_described(&home);
}

/// The files, where the description has them.
fn the_tree_is_as_described(home: &Home) {
    home.run("start --instance bob").ok();
    for file in [
        "spacedrive.sock",
        "spacedrive.pid",
        "spacedrive-alice.sock",
        "spacedrive-alice.pid",
        "spacedrive-bob.sock",
        "spacedrive-bob.pid",
    ] {
        assert!(home.run_dir().join(file).exists(), "{file}");
    }
    for folder in ["data/sd-cli-data/", "data/sd-cli-data/instance-alice/", "data/sd-cli-data/instance-bob/"] {
        for file in ["spacedrive.json", "libraries/", "cli_state.json"] {
            assert!(home.cwd().join(folder).join(file).exists(), "{folder}{file}");
        }
    }
}

#[test]
fn two_daemons_in_the_foreground_of_two_terminals() {
    let home = home();
    // A script goes on at once, while the daemons are still starting.
    let seen = block(
        &home,
        r#"
# Start two instances for pairing test
spacedrive start --instance initiator --enable-networking --foreground &
spacedrive start --instance joiner --enable-networking --foreground &

spacedrive --instance initiator library list
spacedrive --instance joiner library list
spacedrive instance list

# Stop all instances
spacedrive instance list
spacedrive instance stop initiator
spacedrive instance stop joiner
spacedrive start
spacedrive stop  # Default instance
wait
"#,
    );
    assert!(seen.contains("initiator") && seen.contains("joiner"), "{seen}");
    assert_eq!(fs::read_dir(home.run_dir()).unwrap().count(), 0);
}

#[test]
fn cleaning_up_sockets_in_tmp_harms_nothing() {
    if !root_or_skip("it has a /tmp of its own") {
        return;
    }
    // The description removes everybody's sockets from /tmp; here it is a /tmp that nobody else sees.
    let script = r#"
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/bin /mnt/home
cp "$PROGRAM" /mnt/bin/spacedrive
mount --move /mnt /tmp
chmod 1777 /tmp
cd /tmp/home; export HOME=/tmp/home PATH="/tmp/bin:$PATH"
trap 'spacedrive stop --all' EXIT
spacedrive start
spacedrive start --instance alice
spacedrive start --instance bob
spacedrive --instance alice library create Kept
test -S /tmp/spacedrive.sock -a -f /tmp/spacedrive.pid -a -S /tmp/spacedrive-alice.sock

# Stop all instances
spacedrive instance list
spacedrive instance stop alice
spacedrive instance stop bob
spacedrive stop  # Default instance

spacedrive start --instance alice
before=$(cat /tmp/spacedrive-alice.pid)

# Clean up sockets (if needed)
rm /tmp/spacedrive*.sock /tmp/spacedrive*.pid

spacedrive start --instance alice
spacedrive --instance alice library list | grep -q Kept
test "$(cat /tmp/spacedrive-alice.pid)" = "$before"
spacedrive --instance alice stop
test -z "$(ls /tmp/spacedrive* 2>/dev/null)"
"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-u", "-c", script]).env_clear();
    command.env("PATH", std::env::var("PATH").unwrap()).env("PROGRAM", env!("CARGO_BIN_EXE_spacedrive"));
    Outcome::of(&mut command).ok();
}
