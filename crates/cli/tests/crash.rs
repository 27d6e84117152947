//! Crashes at any moment: what was acknowledged is there afterwards, and nobody has to clean up.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use spacedrive_testing::{FAILPOINTS, Guarded, Home, Mount, Oracle, is_running, root_or_skip, wait_until};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Makes and deletes libraries until told to stop.
fn load(home: &Home, oracle: &Oracle, stop: &AtomicBool, next: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let name = format!("L{number}");
        if oracle.create_library(home, "a", &name) && !number.is_multiple_of(4) {
            oracle.delete_library(home, "a", &name, number.is_multiple_of(2));
        }
    }
}

#[test]
fn killed_fifty_times_under_load_it_starts_again_and_has_lost_nothing() {
    let home = home();
    let (oracle, next, mut random) = (Oracle::new(&home), AtomicUsize::new(0), Random(1));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| load(&home, &oracle, &stop, &next));
        }
        let _stopped = StopOnDrop(&stop);
        for _ in 0..50 {
            home.run("start --instance a").ok();
            under_load(&oracle, random.below(3) as usize);
            // Not a wait for anything: the moment of the crash.
            thread::park_timeout(Duration::from_millis(random.below(60)));
            home.kill("a");
        }
        home.run("start --instance a").ok();
    });
    assert!(oracle.acknowledged() > 20, "there was no load: {}", oracle.acknowledged());
    oracle.check(&home, "a");
    home.run("--instance a stop").ok();
    home.run("start --instance a").ok();
    oracle.check(&home, "a");
}

/// Waits until so many more operations were acknowledged.
fn under_load(oracle: &Oracle, more: usize) {
    let target = oracle.acknowledged() + more;
    wait_until(Duration::from_secs(100), "the load goes on", || oracle.acknowledged() >= target);
}

/// Ends the load when a test ends, also when it fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn killed_while_it_starts_it_starts_again() {
    let home = home();
    let mut random = Random(2);
    for _ in 0..25 {
        let mut child = home.spawn_foreground("a");
        thread::park_timeout(Duration::from_millis(random.below(60)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    home.run("start --instance a").ok();
    Oracle::new(&home).check(&home, "a");
    home.run("--instance a library create One").ok();
    for file in ["spacedrive.json", "cli_state.json", "instance.db", "libraries"] {
        assert!(home.data_dir("a").join(file).exists(), "{file}");
    }
    let leftovers: Vec<_> = home.files().into_iter().filter(|f| f.ends_with(".tmp") || f.contains(".unfinished")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

/// What a person may do with libraries, each acknowledged step told to the oracle. Ends at the first that fails.
fn operations(home: &Home, oracle: &Oracle) -> bool {
    let elsewhere = home.path().join("elsewhere");
    oracle.create_library(home, "a", "One")
        && oracle.create_library(home, "a", "Two")
        && oracle.create_library(home, "a", "Three")
        && home.run_args(["--instance", "a", "library", "create", "Four", "--path", elsewhere.to_str().unwrap()]).code == 0
        && home.run("--instance a library close Three").code == 0
        && home.run("--instance a library switch Three").code == 0
        && oracle.delete_library(home, "a", "Two", false)
        && oracle.delete_library(home, "a", "One", true)
}

fn foreground(home: &Home, fail: Option<&str>) -> Guarded {
    let mut command = home.command(["start", "--foreground", "--instance", "a", "--enable-networking"]);
    if let Some(fail) = fail {
        command.env("SPACEDRIVE_FAIL", fail);
    }
    Guarded(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn has_ended(daemon: &mut Guarded) -> bool {
    daemon.0.try_wait().unwrap().is_some()
}

#[test]
fn killed_at_each_failpoint_it_starts_again_and_has_lost_nothing() {
    let passed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for part in FAILPOINTS.chunks(FAILPOINTS.len().div_ceil(3)) {
            let passed = &passed;
            scope.spawn(move || {
                for name in part {
                    for passage in 1..=2 {
                        let died = kill_at(name, passage);
                        let expected =
                            ["library.create.", "library.delete.", "config."].iter().any(|part| name.starts_with(part));
                        assert!(died || passage > 1 || !expected, "{name} was never passed");
                        passed.fetch_add(usize::from(died), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(passed.into_inner() >= 8);
}

/// Kills a daemon at a passage of a failpoint. Answers whether it came by.
fn kill_at(name: &str, passage: usize) -> bool {
    let home = home();
    let oracle = Oracle::new(&home);
    let mut daemon = foreground(&home, Some(&format!("{name}:{passage}:kill")));
    let mut died = false;
    wait_until(Duration::from_secs(50), "it answers or is dead", || {
        died = has_ended(&mut daemon);
        died || home.run("--instance a daemon").code == 0
    });
    if !died && !operations(&home, &oracle) {
        wait_until(Duration::from_secs(50), "the daemon is dead", || has_ended(&mut daemon));
        died = true;
    }
    if !died {
        home.run("--instance a stop").ok();
    }
    drop(daemon);
    home.run("start --instance a").ok();
    oracle.check(&home, "a");
    assert!(home.run("--instance a library list --json").ok().json().as_array().unwrap().iter().all(|l| l["state"] == "open"));
    // Whatever was cut short can be done, or done again.
    for library in ["One", "Two", "Three", "Four", "Five"] {
        let outcome = home.run_args(["--instance", "a", "library", "create", library]);
        assert!([0, 6].contains(&outcome.code), "{name}:{passage}: {outcome:?}");
    }
    oracle.create_library(&home, "a", "Six");
    home.run("--instance a stop").ok();
    home.run("start --instance a").ok();
    assert_eq!(home.run("--instance a library list --json").ok().json().as_array().unwrap().len(), 6, "{name}:{passage}");
    died
}

#[test]
fn a_failure_at_each_failpoint_is_told_and_harms_nothing() {
    for name in FAILPOINTS {
        let home = home();
        let oracle = Oracle::new(&home);
        let mut daemon = foreground(&home, Some(&format!("{name}:1:error")));
        let mut ended = false;
        wait_until(Duration::from_secs(50), "it answers or gave up", || {
            ended = has_ended(&mut daemon);
            ended || home.run("--instance a daemon").code == 0
        });
        if ended {
            assert_eq!(daemon.0.wait().unwrap().code(), Some(7), "{name}");
            daemon = foreground(&home, None);
            wait_until(Duration::from_secs(50), "it answers", || home.run("--instance a daemon").code == 0);
        }
        operations(&home, &oracle);
        assert!(!has_ended(&mut daemon), "{name}: it died of an error");
        for library in ["One", "Two", "Three", "Four", "Five"] {
            oracle.create_library(&home, "a", library);
        }
        oracle.check(&home, "a");
        assert_eq!(home.run("--instance a library list --json").ok().json().as_array().unwrap().len(), 5, "{name}");
        home.run("--instance a stop").ok();
        home.run("start --instance a").ok();
        oracle.check(&home, "a");
        assert_eq!(home.run("--instance a library list --json").ok().json().as_array().unwrap().len(), 5, "{name}");
    }
}

#[test]
fn killed_at_any_write_it_starts_again_and_has_lost_nothing() {
    if !root_or_skip("it traces a daemon that hides itself") {
        return;
    }
    let one = |call: &str, when: usize| {
        let home = home();
        let oracle = Oracle::new(&home);
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={call}:signal=SIGKILL:when={when}")]);
        let template = home.command(["start", "--foreground", "--instance", "a"]);
        command.arg(template.get_program()).args(template.get_args()).env_clear().current_dir(home.cwd());
        command.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut daemon = Guarded(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let mut ended = false;
        wait_until(Duration::from_secs(100), "it answers or is dead", || {
            ended = has_ended(&mut daemon);
            ended || home.run("--instance a daemon").code == 0
        });
        if !ended && operations(&home, &oracle) {
            home.run("--instance a stop").ok();
        }
        wait_until(Duration::from_secs(100), "it has ended", || has_ended(&mut daemon));
        home.run("start --instance a").ok();
        oracle.check(&home, "a");
        oracle.create_library(&home, "a", "Another");
        oracle.check(&home, "a");
    };
    thread::scope(|scope| {
        // The count is one of each thread, so a small one comes by in many places.
        scope.spawn(|| [1, 2, 4, 7, 11, 16, 25, 40].into_iter().for_each(|when| one("pwrite64", when)));
        scope.spawn(|| [1, 2, 3, 5, 8, 13].into_iter().for_each(|when| one("fsync,fdatasync", when)));
        scope.spawn(|| [1, 2, 3, 4].into_iter().for_each(|when| one("rename,renameat2,unlink", when)));
    });
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    if !root_or_skip("it mounts a disk whose power can be cut") {
        return;
    }
    let home = home();
    let (mut image, data) = (home.path().join("disk-0"), home.data_dir("default"));
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    assert!(Command::new("mkfs.ext4").arg("-q").arg(&image).status().unwrap().success());
    let (oracle, next, mut random) = (Oracle::new(&home), AtomicUsize::new(0), Random(3));
    for round in 1..=4 {
        let disk = Mount::image(&image, &data);
        let mut daemon = home.spawn_foreground("a");
        let pid = daemon.id();
        wait_until(Duration::from_secs(50), "it answers", || home.run("--instance a daemon").code == 0);
        oracle.check(&home, "a");
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| load(&home, &oracle, &stop, &next));
            }
            let _stopped = StopOnDrop(&stop);
            under_load(&oracle, 3);
            thread::park_timeout(Duration::from_millis(random.below(60)));
            cut_power(&data);
        });
        // What could not be written was not acknowledged, and nobody panicked over it.
        assert!(is_running(pid), "it died of a dead disk");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        drop(disk);
        // The dead disk may live on in a mount namespace of somebody else's: what is on it moves to another.
        let next = home.path().join(format!("disk-{round}"));
        fs::copy(&image, &next).unwrap();
        fs::remove_file(std::mem::replace(&mut image, next)).unwrap();
    }
    assert!(oracle.acknowledged() > 0);
    let _disk = Mount::image(&image, &data);
    home.run("start --instance a").ok();
    oracle.check(&home, "a");
    home.run("--instance a stop").ok();
}

/// Every later write fails, and what is not on the disk yet never gets there (EXT4_IOC_SHUTDOWN without a flush).
fn cut_power(at: &Path) {
    let script =
        "import fcntl,os,struct,sys; fcntl.ioctl(os.open(sys.argv[1],os.O_RDONLY|os.O_DIRECTORY),0x8004587d,struct.pack('I',2))";
    assert!(Command::new("python3").args(["-c", script]).arg(at).status().unwrap().success());
}
