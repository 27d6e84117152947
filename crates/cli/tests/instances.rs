//! Instances side by side: start, stop, list, and that nothing of one is seen in another.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use spacedrive_testing::{Home, Outcome, wait_until};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

#[test]
fn each_instance_has_its_own_files() {
    let home = home();
    home.run("start").ok();
    home.run("start --instance alice").ok();
    home.run("--instance bob start").ok();
    for name in ["default", "alice", "bob"] {
        let mode = fs::metadata(home.socket(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        let pid_file = fs::read_to_string(home.socket(name).with_extension("pid")).unwrap();
        assert_eq!(pid_file, format!("{}\n", home.pid(name)));
        let data = home.data_dir(name);
        assert!(
            data.join("spacedrive.json").is_file() && data.join("libraries").is_dir() && data.join("cli_state.json").is_file()
        );
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    }
    assert!(!home.data_dir("alice").join("instance-alice").exists(), "the name is joined twice");
    let mut pids = ["default", "alice", "bob"].map(|name| home.pid(name));
    pids.sort_unstable();
    assert!(pids[0] != pids[1] && pids[1] != pids[2]);
}

#[test]
fn libraries_are_seen_in_their_own_instance_only() {
    let home = home();
    home.run("start --instance alice").ok();
    home.run("start --instance bob").ok();
    home.run_args(["--instance", "bob", "library", "create", "Bob's Library"]).ok();
    assert!(home.run("--instance bob library list").ok().stdout.contains("Bob's Library"));
    assert!(!home.run("--instance alice library list").ok().stdout.contains("Bob's Library"));
    home.run("--instance alice library current").exits(4);
    home.run("--instance bob library current").ok();
    home.run("instance stop bob").ok();
    home.run("start --instance bob").ok();
    assert!(home.run("--instance bob library list --json").ok().json()[0]["current"].as_bool().unwrap());
}

#[test]
fn starting_twice_says_so_and_changes_nothing() {
    let home = home();
    home.run("start --instance a").ok();
    let pid = home.pid("a");
    let again = home.run("start --instance a").ok();
    assert!(again.stdout.contains("already running") && again.stdout.contains(&pid.to_string()), "{again:?}");
    assert_eq!(home.pid("a"), pid);
    // The same from the foreground, and from another folder.
    assert!(home.run("start --instance a --foreground").ok().stdout.contains("already running"));
    let elsewhere = home.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let there = Outcome::of(home.command(["start", "--instance", "a"]).current_dir(&elsewhere)).ok();
    assert!(there.stdout.contains("already running"), "{there:?}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing was made in the other folder");
}

#[test]
fn background_and_foreground_use_the_same_data_dir() {
    let home = home();
    home.run("start --instance a").ok();
    home.run("--instance a library create One").ok();
    home.run("--instance a stop").ok();
    let mut child = home.spawn_foreground("a");
    let list = home.run("--instance a library list").ok();
    assert!(list.stdout.contains("One"), "{list:?}");
    home.run("--instance a stop").ok();
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_instance_is_found_from_another_folder_and_another_runtime_dir() {
    let home = home();
    home.run("start --instance a").ok();
    home.run("--instance a library create One").ok();
    let other_run = home.path().join("other-run");
    fs::create_dir(&other_run).unwrap();
    let list = Outcome::of(home.command(["--instance", "a", "library", "list"]).env("XDG_RUNTIME_DIR", &other_run)).ok();
    assert!(list.stdout.contains("One"));
    home.run("--instance a stop").ok();
    // Restarted elsewhere, it is the same instance with the same data, and says so.
    let elsewhere = home.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let started = Outcome::of(home.command(["start", "--instance", "a"]).current_dir(&elsewhere)).ok();
    assert!(started.stdout.contains(home.data_dir("a").to_str().unwrap()), "{started:?}");
    assert!(started.stdout.contains("not the data dir of the current folder"), "{started:?}");
    assert!(home.run("--instance a library list").ok().stdout.contains("One"));
}

#[test]
fn a_data_dir_that_is_asked_for_must_be_the_one_in_use() {
    let home = home();
    home.run("start --instance a").ok();
    let other = home.path().join("other");
    let other = other.to_str().unwrap();
    home.run(&format!("start --instance a --data-dir {other}")).exits(6).says("running with data dir");
    home.run(&format!("--instance a --data-dir {other} library list")).exits(6);
    home.run("--instance a --data-dir data/sd-cli-data library list").ok();
    assert!(!std::path::Path::new(other).exists(), "only `start` makes a data dir");
}

#[test]
fn stop_is_done_when_everything_is_gone() {
    let home = home();
    home.run("start --instance a").ok();
    home.run("start").ok();
    home.run("instance stop a").ok();
    home.run("--instance a daemon").exits(3).says("is not running");
    home.run("daemon").ok();
    assert!(home.run("instance stop a").ok().stdout.contains("not running"));
    home.run("instance stop alcie").exits(4);
    home.run("stop --all").ok();
    assert_eq!(fs::read_dir(home.run_dir()).unwrap().count(), 0);
    let list = home.run("instance list --json").ok().json();
    assert!(list.as_array().unwrap().iter().all(|i| i["status"] == "stopped"), "{list}");
}

#[test]
fn a_misspelt_name_is_an_error_with_the_nearest() {
    let home = home();
    home.run("start --instance alice").ok();
    home.run("--instance alcie stop").exits(4).says("alice");
    home.run("--instance alcie library list").exits(3).says("alice");
}

#[test]
fn the_environment_names_an_instance_and_the_flag_wins() {
    let home = home();
    let current = |name: &str, args: &[&str]| Outcome::of(home.command(args).env("SPACEDRIVE_INSTANCE", name)).ok().stdout;
    assert!(current("bob", &["instance", "current"]).starts_with("bob (by SPACEDRIVE_INSTANCE)"));
    assert!(current("bob", &["instance", "current", "--instance", "eve"]).starts_with("eve (by --instance)"));
    assert!(current("", &["instance", "current"]).starts_with("default"));
    home.run("--instance a start --instance b").exits(2);
    home.run("--instance a instance stop b").exits(2);
}

#[test]
fn the_daemon_survives_its_terminal_and_inherits_nothing() {
    let home = home();
    // An open descriptor, a secret of ours and one of somebody else's must not reach the daemon.
    let script = "exec 9>leak; SPACEDRIVE_PASSWORD=pw1 CLOUD_TOKEN=t2 spacedrive start --instance a";
    Outcome::of(&mut home.shell(script)).ok();
    let proc = std::path::PathBuf::from(format!("/proc/{}", home.pid("a")));
    let stat = fs::read_to_string(proc.join("stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!(fields[3], home.pid("a").to_string(), "the daemon leads a session of its own: {stat}");
    if let Ok(environ) = fs::read(proc.join("environ")) {
        let environ = String::from_utf8_lossy(&environ).into_owned();
        assert!(!environ.contains("pw1") && !environ.contains("t2"), "{environ}");
    }
    if let Ok(fds) = fs::read_dir(proc.join("fd")) {
        let targets: Vec<_> = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
        assert!(targets.iter().all(|target| !target.ends_with("leak")), "{targets:?}");
    }
}

#[test]
fn a_foreground_daemon_has_no_secret_in_its_environment() {
    let home = home();
    let mut child = home
        .command(["start", "--foreground", "--instance", "a"])
        .env("SPACEDRIVE_PASSWORD", "pw1")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_until(Duration::from_secs(30), "the daemon answers", || home.run("--instance a daemon").code == 0);
    assert_eq!(home.pid("a"), child.id(), "the process that was started is the daemon");
    if let Ok(environ) = fs::read(format!("/proc/{}/environ", child.id())) {
        assert!(!String::from_utf8_lossy(&environ).contains("pw1"));
    }
    home.run("--instance a stop").ok();
    assert!(child.wait().unwrap().success());
}
