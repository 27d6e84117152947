//! The daemon's life under abuse: starts that race, pids that are reused, daemons that are frozen, killed
//! or robbed of their files.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use spacedrive_testing::{Guarded, Home, Outcome, Signal, freeze, is_running, root_or_skip, signal, tree_hash, wait_until};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

/// A process that has nothing to do with us.
fn stranger() -> Guarded {
    Guarded(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
}

fn status_of(home: &Home, instance: &str) -> Value {
    let list = home.run("instance list --json").ok().json();
    list.as_array().unwrap().iter().find(|i| i["name"] == instance).cloned().unwrap_or(Value::Null)
}

#[test]
fn twenty_starts_at_once_make_one_daemon() {
    let home = home();
    let outcomes: Vec<(Outcome, Outcome)> = thread::scope(|scope| {
        let start = || (home.run("start --instance a --json"), home.run("--instance a daemon --json"));
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let pid = home.pid("a");
    let mut started = 0;
    for (start, after) in outcomes {
        let start = start.ok().json();
        assert_eq!(start["pid"], pid);
        started += u32::from(start["already_running"] == false);
        // None of them returned before the daemon answered.
        assert_eq!(after.ok().json()["pid"], pid);
    }
    assert_eq!(started, 1);
    assert_eq!(home.daemons(), [pid]);
}

#[test]
fn a_storm_of_starts_and_stops_leaves_no_orphan() {
    let home = home();
    home.run("start --instance a").ok();
    thread::scope(|scope| {
        for of in 0..4_usize {
            let home = &home;
            scope.spawn(move || {
                for round in 0..12 {
                    let command = ["start", "stop", "status", "daemon", "start", "instance list"][(of + round) % 6];
                    let begun = Instant::now();
                    let outcome = home.run(&format!("--instance a {command}"));
                    assert!(begun.elapsed() < Duration::from_secs(60), "{command} took {:?}", begun.elapsed());
                    let fine: &[i32] = match command {
                        "start" | "stop" | "instance list" => &[0],
                        // The daemon may be away, or on its way.
                        _ => &[0, 3, 8],
                    };
                    assert!(fine.contains(&outcome.code), "{command}: {outcome:?}");
                }
            });
        }
    });
    home.run("start --instance a").ok();
    assert_eq!(home.daemons(), [home.pid("a")]);
    home.run("stop --instance a").ok();
    home.wait_for_no_daemon();
    assert_eq!(fs::read_dir(home.run_dir()).unwrap().count(), 0);
}

#[test]
fn a_stale_pid_file_is_no_obstacle() {
    let home = home();
    fs::write(home.run_dir().join("spacedrive-a.pid"), "999999\n").unwrap();
    home.run("start --instance a").ok();
    assert_ne!(home.pid("a"), 999_999);
}

#[test]
fn a_stranger_whose_pid_is_in_the_pid_file_is_never_signalled() {
    let home = home();
    let stranger = stranger();
    let pid_file = home.run_dir().join("spacedrive-a.pid");
    fs::write(&pid_file, format!("{}\n", stranger.0.id())).unwrap();
    home.run("start --instance a").ok();
    assert_ne!(home.pid("a"), stranger.0.id());

    // The daemon is gone, its files name the stranger, and a stale socket lies beside them.
    home.kill("a");
    fs::write(&pid_file, format!("{}\n", stranger.0.id())).unwrap();
    assert_eq!(status_of(&home, "a")["status"], "stale");
    assert!(home.run("instance stop a").ok().stdout.contains("not running"));
    home.run("stop --all").ok();
    home.run("--instance a daemon").exits(3);
    assert!(is_running(stranger.0.id()));
    home.run("start --instance a").ok();
    home.run("--instance a stop").ok();
    assert!(is_running(stranger.0.id()), "the stranger was signalled");
}

#[test]
fn a_stranger_that_got_the_daemons_own_pid_is_never_signalled() {
    if !root_or_skip("it chooses the next pid") {
        return;
    }
    let home = home();
    home.run("start --instance a").ok();
    let pid = home.pid("a");
    home.kill("a");
    wait_until(Duration::from_secs(20), "the killed daemon was reaped", || !fs::exists(format!("/proc/{pid}")).unwrap());
    // Others start processes as well, so it may take some attempts.
    let stranger = (0..2_000).find_map(|_| {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let child = stranger();
        (child.0.id() == pid).then_some(child)
    });
    let stranger = stranger.expect("the pid could not be had again");
    assert_eq!(home.pid("a"), stranger.0.id(), "the files of the killed daemon name the stranger now");
    assert!(home.run("instance stop a").ok().stdout.contains("not running"));
    home.run("stop --all").ok();
    home.run("start --instance a").ok();
    home.run("--instance a stop").ok();
    assert!(is_running(stranger.0.id()), "the stranger was signalled");
}

#[test]
fn a_frozen_daemon_is_said_to_be_frozen() {
    let home = home();
    home.run("start --instance a").ok();
    let pid = home.pid("a");
    freeze(pid);
    let text = format!("(pid {pid})");
    thread::scope(|scope| {
        let expect = |line: &'static str, code: i32| {
            let (home, text) = (&home, &text);
            scope.spawn(move || {
                let begun = Instant::now();
                home.run(line).exits(code).says(text);
                assert!(begun.elapsed() < Duration::from_secs(60), "{line} took {:?}", begun.elapsed());
            });
        };
        expect("start --instance a", 6);
        expect("start --instance a --foreground", 6);
        expect("--instance a status", 8);
        expect("--instance a daemon", 8);
        expect("--instance a library list", 8);
        expect("--instance a library create One", 8);
        expect("--instance a stop", 8);
    });
    let seen = status_of(&home, "a");
    assert_eq!((seen["status"].as_str(), seen["pid"].as_u64()), (Some("unresponsive"), Some(pid.into())));
    assert_eq!(home.daemons(), [pid], "there is no second owner");
    // It goes on, and may or may not have heard that it was to stop; nothing else was left for it to do.
    assert!(signal(pid, Signal::CONT));
    home.run("--instance a stop").ok();
    wait_until(Duration::from_secs(20), "it has ended", || !is_running(pid));
    home.run("start --instance a").ok();
    assert_eq!(home.run("--instance a library list --json").ok().json().as_array().unwrap().len(), 0);
}

#[test]
fn removed_files_of_a_running_daemon_come_back() {
    let home = home();
    home.run("start --instance a").ok();
    home.run("--instance a library create One").ok();
    let pid = home.pid("a");
    // What the description says for cleaning up, while the daemon runs.
    for round in 0..2 {
        for entry in fs::read_dir(home.run_dir()).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if round == 1 || !name.ends_with(".lock") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        assert!(home.run("start --instance a").ok().stdout.contains("already running"));
        wait_until(Duration::from_secs(50), "socket and pid file are back", || {
            home.socket("a").exists() && home.socket("a").with_extension("pid").exists()
        });
        assert_eq!(home.pid("a"), pid);
        assert!(home.run("--instance a library list").ok().stdout.contains("One"));
        assert_eq!(home.daemons(), [pid]);
    }
    // The pid file alone.
    fs::remove_file(home.socket("a").with_extension("pid")).unwrap();
    wait_until(Duration::from_secs(50), "the pid file is back", || home.socket("a").with_extension("pid").exists());
    home.run("--instance a stop").ok();
    assert_eq!(fs::read_dir(home.run_dir()).unwrap().count(), 0);
}

#[test]
fn one_data_dir_never_has_two_daemons() {
    let home = home();
    home.run("start --instance a").ok();
    let pid = home.pid("a");
    let other_run = home.path().join("other-run");
    fs::create_dir(&other_run).unwrap();
    // From cron or ssh: the same instance, found by its record.
    let there = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("XDG_RUNTIME_DIR", &other_run);
        command
    };
    assert!(Outcome::of(&mut there(&["start", "--instance", "a"])).ok().stdout.contains("already running"));
    // Without the record there is nothing but the lock of the data dir.
    let outcome = Outcome::of(there(&["start", "--instance", "a"]).env("XDG_STATE_HOME", home.path().join("other-state")));
    outcome.exits(6).says(&format!("pid {pid}"));
    // Another name for the same folder.
    let data_dir = home.data_dir("a");
    let outcome = home.run_args(["start", "--data-dir", data_dir.to_str().unwrap()]).exits(6);
    assert!(outcome.stderr.contains(data_dir.to_str().unwrap()) && outcome.stderr.contains(&pid.to_string()), "{outcome:?}");
    assert_eq!(home.daemons(), [pid]);
    assert_eq!(fs::read_dir(&other_run).unwrap().filter(|e| e.as_ref().unwrap().path().ends_with("sock")).count(), 0);
}

#[test]
fn one_name_never_has_two_data_dirs_at_once() {
    let home = home();
    // Another folder holds a data dir of the same name, complete.
    let elsewhere = home.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let there = |args: &[&str]| Outcome::of(home.command(args).current_dir(&elsewhere));
    there(&["start", "--instance", "a"]).ok();
    there(&["--instance", "a", "stop"]).ok();
    // The record leads back to it, so it takes a flag to have another one here.
    home.run("start --instance a --data-dir data/sd-cli-data").ok();
    let outcome = there(&["start", "--instance", "a"]).exits(6);
    for dir in [&elsewhere, &home.cwd()] {
        let dir = dir.join("data/sd-cli-data/instance-a");
        assert!(outcome.stderr.contains(dir.to_str().unwrap()), "{outcome:?}");
    }
    assert_eq!(home.daemons().len(), 1);
    // With neither record nor answer, the lock of the name still holds.
    let outcome = Outcome::of(
        home.command(["start", "--instance", "a"]).current_dir(&elsewhere).env("XDG_STATE_HOME", home.path().join("s2")),
    );
    outcome.exits(6);
    assert_eq!(home.daemons().len(), 1);
}

#[test]
fn every_way_to_stop_ends_alike() {
    for how in ["TERM", "INT", "HUP", "TERM TERM", "stop"] {
        let home = home();
        let mut child = home.spawn_foreground("a");
        home.run("--instance a library create One").ok();
        let begun = Instant::now();
        for name in how.split(' ') {
            match name {
                "TERM" => drop(signal(child.id(), Signal::TERM)),
                "INT" => drop(signal(child.id(), Signal::INT)),
                "HUP" => drop(signal(child.id(), Signal::HUP)),
                _ => drop(home.run("--instance a stop").ok()),
            }
        }
        let ended = child.wait().unwrap();
        assert!(ended.success(), "{how}: {ended}");
        assert!(begun.elapsed() < Duration::from_secs(50), "{how}: {:?}", begun.elapsed());
        assert_eq!(fs::read_dir(home.run_dir()).unwrap().count(), 0, "{how}");
        // Everything is in the database files: what may be left of a WAL is empty.
        let is_left = |f: &String| (f.ends_with("-wal") && fs::metadata(f).unwrap().len() > 0) || f.contains(".unfinished");
        let left: Vec<_> = home.files().into_iter().filter(is_left).collect();
        assert!(left.is_empty(), "{how}: {left:?}");
        home.run("--instance a daemon").exits(3);
    }
}

#[test]
fn what_is_done_to_default_never_touches_the_others() {
    let home = home();
    for name in ["default", "alice", "bob"] {
        home.run_args(["start", "--instance", name]).ok();
        home.run_args(["--instance", name, "library", "create", &format!("Of {name}")]).ok();
    }
    // The folders of the others lie in the folder of the default instance.
    assert!(home.data_dir("alice").starts_with(home.data_dir("default")));
    home.run("instance stop bob").ok();
    let volatile = |path: &Path| path.extension().is_some_and(|e| e == "lock" || e == "db-shm" || e == "db-wal");
    let (alice, bob) = (home.pid("alice"), tree_hash(&home.data_dir("bob"), volatile));

    // A link from the default instance's libraries into another's data, and a library made beside it.
    let link = home.data_dir("default").join("libraries/Link.sdlibrary");
    std::os::unix::fs::symlink(home.data_dir("bob").join("libraries/Of bob.sdlibrary"), &link).unwrap();
    home.run("stop").ok();
    home.run("start").ok();
    for library in ["Of default", "Link", "Of bob"] {
        home.run_args(["library", "delete", library, "--yes", "--purge"]);
    }
    assert!(home.run("library list --json").ok().json().as_array().unwrap().is_empty());
    home.run("stop").ok();
    assert!(home.data_dir("bob").join("libraries/Of bob.sdlibrary/library.db").exists());
    assert_eq!(tree_hash(&home.data_dir("bob"), volatile), bob);
    assert_eq!(home.pid("alice"), alice);
    assert!(home.run("--instance alice library list").ok().stdout.contains("Of alice"));
    home.run("start --instance bob").ok();
    assert!(home.run("--instance bob library list").ok().stdout.contains("Of bob"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = home();
    home.run("start --instance a").ok();
    for index in 0..5 {
        home.run_args(["--instance", "a", "library", "create", &format!("Library {index}")]).ok();
    }
    for script in [
        "set -o pipefail; spacedrive --instance a library list | true",
        "set -o pipefail; spacedrive --instance a status | head -1",
        "set -o pipefail; spacedrive --help | head -1",
        "spacedrive --instance a library list >&-",
        "spacedrive --instance a library list >&- 2>&-",
        "spacedrive start --instance b >&- 2>&- <&-",
        "spacedrive --instance b daemon >&- 2>/dev/null <&-",
    ] {
        let outcome = Outcome::of(&mut home.shell(script)).ok();
        assert!(outcome.stderr.is_empty(), "{script}: {outcome:?}");
    }
    // A result that could not be written is one that nobody got.
    let outcome = Outcome::of(&mut home.shell("spacedrive --instance a library list >/dev/full"));
    outcome.exits(7).says("No space left");
}

#[test]
fn no_colours_where_nobody_looks() {
    let home = home();
    home.run("start --instance a").ok();
    for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C"), ("NO_COLOR", "1"), ("COLUMNS", "20")] {
        for line in ["status", "library list", "instance list", "daemon", "nonsense", "library switch nothing"] {
            let outcome = Outcome::of(home.command(["--instance", "a"]).args(line.split(' ')).env(name, value));
            assert!(!outcome.stdout.contains('\u{1b}') && !outcome.stderr.contains('\u{1b}'), "{line}: {outcome:?}");
        }
    }
}
