//! Files that are damaged, disks that are full or read-only, and too few open files.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use spacedrive_testing::{Guarded, Home, Lab, Mount, Oracle, Outcome, is_running, root_or_skip, tree_hash, wait_until};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

/// An instance with two libraries that was stopped.
fn stopped() -> Home {
    let home = home();
    home.run("start --instance a").ok();
    for name in ["One", "Two"] {
        home.run(&format!("--instance a library create {name}")).ok();
    }
    home.run("--instance a stop").ok();
    home.wait_for_no_daemon();
    home
}

fn libraries(home: &Home) -> Vec<Value> {
    home.run("--instance a library list --json").ok().json().as_array().unwrap().clone()
}

fn state_of(home: &Home, name: &str) -> String {
    let all = libraries(home);
    let found = all.iter().find(|library| library["name"] == name).unwrap_or_else(|| panic!("{name} is not in {all:?}"));
    found["state"].as_str().unwrap().to_owned()
}

/// Ways in which a small JSON file can be damaged.
fn damages(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("empty", Vec::new()),
        ("half", good[..good.len() / 2].to_vec()),
        ("without its end", good[..good.len() - 3].to_vec()),
        ("binary", (0..=255).cycle().take(4_000).collect()),
        ("zeros", vec![0; good.len()]),
        ("an array", b"[]".to_vec()),
        ("a string", b"\"spacedrive\"".to_vec()),
        ("null", b"null".to_vec()),
        ("nothing in it", b"{}".to_vec()),
        ("deep", vec![b'['; 200_000]),
        ("wrong types", br#"{"version": "one", "id": 7, "name": [], "created_at": {}, "current_library": 3}"#.to_vec()),
        ("twice", [good, good].concat()),
        ("huge", vec![b' '; 100 << 20]),
    ]
}

#[test]
fn a_damaged_configuration_is_named_and_never_overwritten() {
    let home = stopped();
    let path = home.data_dir("a").join("spacedrive.json");
    let good = fs::read(&path).unwrap();
    let instance = || serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap()["id"].clone();
    let id = instance();
    let copy = home.data_dir("a").join("spacedrive.json.bak");
    assert_eq!(fs::read(&copy).unwrap(), good, "a good copy is kept");
    for (what, bytes) in damages(&good) {
        fs::write(&path, &bytes).unwrap();
        let before = tree_hash(&home.data_dir("a"), |path| path.ends_with("daemon.lock"));
        for line in ["start --instance a", "start --instance a --enable-networking", "start --instance a --foreground"] {
            let outcome = home.run(line).exits(7).says("spacedrive.json").says("spacedrive.json.bak");
            assert!(outcome.stderr.lines().count() == 2 && outcome.stdout.is_empty(), "{what}: {outcome:?}");
        }
        assert_eq!(tree_hash(&home.data_dir("a"), |path| path.ends_with("daemon.lock")), before, "{what}");
        home.run("--instance a daemon").exits(3);
        assert_eq!(home.run("instance list --json").ok().json()[0]["status"], "stopped");
    }
    // Not a file at all, or none, where there are data.
    fs::remove_file(&path).unwrap();
    home.run("start --instance a --data-dir data/sd-cli-data").exits(7).says("spacedrive.json.bak");
    fs::create_dir(&path).unwrap();
    home.run("start --instance a").exits(7).says("not a file");
    fs::remove_dir(&path).unwrap();
    // A newer version's file is left to that version.
    let mut newer: Value = serde_json::from_slice(&good).unwrap();
    newer["version"] = json!(2);
    fs::write(&path, newer.to_string()).unwrap();
    home.run("start --instance a").exits(9).says("newer version");
    assert_eq!(fs::read_to_string(&path).unwrap(), newer.to_string());
    // What the hint says works, and it is the same instance with the same libraries.
    fs::copy(&copy, &path).unwrap();
    home.run("start --instance a").ok();
    assert_eq!((instance(), libraries(&home).len()), (id, 2));
}

#[test]
fn what_a_newer_version_wrote_into_the_configuration_is_kept() {
    let home = stopped();
    let path = home.data_dir("a").join("spacedrive.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["colour"] = json!({"of": "the bikeshed"});
    fs::write(&path, config.to_string()).unwrap();
    home.run("start --instance a --enable-networking").ok();
    let after: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((&after["colour"], &after["networking"], &after["id"]), (&config["colour"], &json!(true), &config["id"]));
}

#[test]
fn a_damaged_cli_state_is_put_aside_with_a_warning() {
    let home = stopped();
    home.run("start --instance a").ok();
    let path = home.data_dir("a").join("cli_state.json");
    let good = fs::read(&path).unwrap();
    for (what, bytes) in damages(&good).into_iter().filter(|(what, _)| *what != "nothing in it") {
        fs::write(&path, &bytes).unwrap();
        let outcome = home.run("--instance a library list").ok();
        assert!(outcome.stderr.starts_with("warning: ") && outcome.stderr.contains("cli_state.json"), "{what}: {outcome:?}");
        home.run("--instance a daemon").ok();
        home.run("--instance a library current").exits(4);
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}: reading changes nothing");
        home.run("--instance a library switch One").ok();
        assert_eq!(home.run("--instance a library current --json").ok().json()["name"], "One", "{what}");
        let aside: Vec<PathBuf> = fs::read_dir(home.data_dir("a"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_str().unwrap().contains("cli_state.json.corrupt"))
            .collect();
        assert!(aside.iter().any(|path| fs::read(path).unwrap() == bytes), "{what}: {aside:?}");
        aside.iter().for_each(|path| fs::remove_file(path).unwrap());
    }
    // Gone, it is begun anew; and a library that it names and that is gone is no trouble.
    fs::remove_file(&path).unwrap();
    home.run("--instance a library list").ok();
    home.run("--instance a library switch Two").ok();
    fs::write(&path, json!({"current_library": "00000000-0000-4000-8000-000000000000"}).to_string()).unwrap();
    home.run("--instance a library list").ok();
    home.run("--instance a status").ok();
    home.run("--instance a library current").exits(4);
    // A folder in its place.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    home.run("--instance a library list").ok().says("warning");
    home.run("--instance a library switch One").ok();
    // The daemon starts whatever is in it.
    fs::write(&path, [0xff; 10]).unwrap();
    home.run("--instance a stop").ok();
    home.run("start --instance a").ok();
}

#[test]
fn a_damaged_library_json_harms_nobody_else() {
    let home = stopped();
    let folder = home.data_dir("a").join("libraries/One.sdlibrary");
    let path = folder.join("library.json");
    let good = fs::read(&path).unwrap();
    let volatile = |path: &Path| path.to_str().unwrap().ends_with("library.lock");
    for (what, bytes) in damages(&good) {
        fs::write(&path, &bytes).unwrap();
        expect_damaged(&home, what, &folder, volatile);
    }
    fs::remove_file(&path).unwrap();
    expect_damaged(&home, "missing", &folder, volatile);
    fs::create_dir(&path).unwrap();
    expect_damaged(&home, "a folder", &folder, volatile);
    fs::remove_dir(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    expect_damaged(&home, "a fifo", &folder, volatile);
    fs::remove_file(&path).unwrap();
    let mut newer: Value = serde_json::from_slice(&good).unwrap();
    newer["version"] = json!(2);
    fs::write(&path, newer.to_string()).unwrap();
    expect_damaged(&home, "newer", &folder, volatile);
    fs::write(&path, &good).unwrap();
    home.run("start --instance a").ok();
    assert_eq!((state_of(&home, "One"), state_of(&home, "Two")), ("open".into(), "open".into()));
}

/// Starts the instance, whose library One is damaged: it says so, and everything else works. Stops it again.
#[track_caller]
fn expect_damaged(home: &Home, what: &str, folder: &Path, volatile: impl Fn(&Path) -> bool + Copy) {
    let before = tree_hash(folder, volatile);
    home.run("start --instance a").ok();
    wait_until(Duration::from_secs(50), &format!("{what}: One is listed as damaged"), || state_of(home, "One") == "damaged");
    assert_eq!(state_of(home, "Two"), "open", "{what}");
    let outcome = home.run("--instance a library switch One");
    assert!([4, 7, 9].contains(&outcome.code) && outcome.stdout.is_empty(), "{what}: {outcome:?}");
    assert!(outcome.stderr.contains("One.sdlibrary"), "{what}: {outcome:?}");
    home.run("--instance a library create One").exits(6);
    home.run("--instance a library switch Two").ok();
    home.run("--instance a library create Three").ok();
    home.run("--instance a library delete Three --yes --purge").ok();
    home.run("--instance a status").ok();
    home.run("--instance a stop").ok();
    assert_eq!(tree_hash(folder, volatile), before, "{what}: something in it was changed");
}

#[test]
fn a_damaged_database_harms_nobody_else() {
    let home = stopped();
    let folder = home.data_dir("a").join("libraries/One.sdlibrary");
    let path = folder.join("library.db");
    let good = fs::read(&path).unwrap();
    let other = fs::read(home.data_dir("a").join("libraries/Two.sdlibrary/library.db")).unwrap();
    let instance = fs::read(home.data_dir("a").join("instance.db")).unwrap();
    let page = usize::from(u16::from_be_bytes([good[16], good[17]]));
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let volatile = |path: &Path| ["library.lock", "-shm", "-wal"].iter().any(|end| path.to_str().unwrap().ends_with(end));
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("one page", good[..page].to_vec()),
        ("half a page", good[..page / 2].to_vec()),
        ("without its last page", good[..good.len() - page].to_vec()),
        ("zeros", vec![0; good.len()]),
        ("garbage", (0..=255).cycle().take(good.len()).collect()),
        ("another magic", with(0, b"SQLight format 3\0")),
        ("another application", with(68, b"XXXX")),
        ("a newer schema", with(60, &9_999_u32.to_be_bytes())),
        ("a broken schema page", with(100, &[0xff; 64])),
        ("broken tables", with(page, &vec![0xff; good.len() - page])),
        ("another library's", other),
        ("another kind of database", instance),
    ] {
        fs::write(&path, &bytes).unwrap();
        expect_damaged(&home, what, &folder, volatile);
        for end in ["-wal", "-shm"] {
            let _ = fs::remove_file(folder.join(format!("library.db{end}")));
        }
    }
    fs::remove_file(&path).unwrap();
    expect_damaged(&home, "missing", &folder, volatile);
    fs::create_dir(&path).unwrap();
    expect_damaged(&home, "a folder", &folder, volatile);
    fs::remove_dir(&path).unwrap();
    fs::write(&path, &good).unwrap();
    home.run("start --instance a").ok();
    assert_eq!((state_of(&home, "One"), state_of(&home, "Two")), ("open".into(), "open".into()));
    // A damaged one can be deleted, and stays in the trash as it was.
    home.run("--instance a stop").ok();
    fs::write(&path, b"").unwrap();
    home.run("start --instance a").ok();
    let deleted = home.run("--instance a library delete One --yes --json").ok().json();
    assert_eq!(fs::read(Path::new(deleted["trash"].as_str().unwrap()).join("library.db")).unwrap(), b"");
    home.run("--instance a library create One").ok();
}

#[test]
fn two_swapped_databases_are_found_out_and_left_alone() {
    let home = stopped();
    let path = |name: &str| home.data_dir("a").join(format!("libraries/{name}.sdlibrary/library.db"));
    let (one, two) = (fs::read(path("One")).unwrap(), fs::read(path("Two")).unwrap());
    fs::write(path("One"), &two).unwrap();
    fs::write(path("Two"), &one).unwrap();
    home.run("start --instance a").ok();
    assert_eq!((state_of(&home, "One"), state_of(&home, "Two")), ("damaged".into(), "damaged".into()));
    home.run("--instance a library switch One").exits(7).says("another library");
    home.run("--instance a stop").ok();
    assert_eq!((fs::read(path("One")).unwrap(), fs::read(path("Two")).unwrap()), (two, one));
}

#[test]
fn a_wal_that_does_not_belong_there_does_no_harm() {
    // WALs with commits in them: those of libraries that were just made are read while their daemon is killed.
    let lab = Lab::start(env!("CARGO_BIN_EXE_spacedrive"), &["a"]);
    for name in ["One", "Two"] {
        lab.run(&format!("--instance a library create {name}")).ok();
    }
    lab.run("--instance a stop").ok();
    let file = |name: &str, end: &str| lab.data_dir("a").join(format!("libraries/{name}.sdlibrary/library.db{end}"));
    let foreign = foreign_wal(&file("Two", ""), lab.path());
    let good = fs::read(file("One", "")).unwrap();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("garbage", (0..=255).cycle().take(8_192).collect()),
        ("cut", foreign[..foreign.len() / 2].to_vec()),
        ("its head only", foreign[..32].to_vec()),
        ("another database's", foreign),
    ];
    for (what, wal) in cases {
        fs::write(file("One", ""), &good).unwrap();
        let _ = fs::remove_file(file("One", "-shm"));
        fs::write(file("One", "-wal"), &wal).unwrap();
        lab.run("start --instance a").ok();
        wait_until(Duration::from_secs(50), &format!("{what}: the libraries are judged"), || state_of(&lab, "Two") == "open");
        // It can be used, or it is damaged and left alone.
        let state = state_of(&lab, "One");
        lab.run("--instance a library switch One").exits(if state == "open" { 0 } else { 7 });
        lab.run("--instance a stop").ok();
        lab.wait_for_no_daemon();
        assert!(state == "open" || fs::read(file("One", "")).unwrap() == good, "{what}: the database was changed");
        for end in ["-wal", "-shm"] {
            let _ = fs::remove_file(file("One", end));
        }
    }
    fs::write(file("One", ""), &good).unwrap();
    // A lost index of the WAL is made again, and a lost empty WAL too.
    lab.run("start --instance a").ok();
    lab.kill("a");
    for name in ["One", "Two"] {
        let _ = fs::remove_file(file(name, "-shm"));
    }
    lab.run("start --instance a").ok();
    assert_eq!((state_of(&lab, "One"), state_of(&lab, "Two")), ("open".into(), "open".into()));
}

/// The bytes of a WAL with a commit in it, made from a copy of `database`.
fn foreign_wal(database: &Path, folder: &Path) -> Vec<u8> {
    let copy = folder.join("copy.db");
    fs::copy(database, &copy).unwrap();
    spacedrive_testing::change_in_wal(&copy)
}

#[test]
fn a_damaged_instance_database_is_named_and_never_replaced() {
    let home = stopped();
    let path = home.data_dir("a").join("instance.db");
    let good = fs::read(&path).unwrap();
    for (what, bytes) in [("empty", Vec::new()), ("half", good[..good.len() / 2].to_vec()), ("garbage", vec![7; good.len()])] {
        fs::write(&path, &bytes).unwrap();
        let outcome = home.run("start --instance a").exits(7).says("instance.db");
        assert!(outcome.stdout.is_empty(), "{what}: {outcome:?}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{what}");
        assert_eq!(fs::read_dir(home.run_dir()).unwrap().filter(|e| e.as_ref().unwrap().path().ends_with("sock")).count(), 0);
    }
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&9_999_u32.to_be_bytes());
    fs::write(&path, &newer).unwrap();
    home.run("start --instance a").exits(9).says("newer version");
    assert_eq!(fs::read(&path).unwrap(), newer);
    fs::write(&path, &good).unwrap();
    home.run("start --instance a").ok();
    assert_eq!(libraries(&home).len(), 2);
}

#[test]
fn a_read_only_disk_is_named_and_nothing_is_half_made() {
    if !root_or_skip("it mounts a folder read-only") {
        return;
    }
    let home = stopped();
    let data = home.data_dir("default");
    let before = tree_hash(&data, |_| false);
    {
        let _disk = Mount::read_only(&data);
        for line in ["start --instance a", "start --instance a --foreground", "start --instance a --enable-networking", "start"] {
            home.run(line).exits(7).says("ead-only");
        }
        home.run("--instance a daemon").exits(3);
        home.run("instance list").ok();
    }
    assert_eq!(tree_hash(&data, |_| false), before);
    home.run("start --instance a").ok();
    {
        // It becomes read-only under a running daemon.
        let _disk = Mount::read_only(&home.data_dir("a"));
        let pid = home.pid("a");
        let outcome = home.run("--instance a library create Three");
        assert!(outcome.code == 0 || outcome.code == 7, "{outcome:?}");
        home.run("--instance a library list").ok();
        assert!(is_running(pid));
    }
    home.run("--instance a library create Four").ok();

    let empty = home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    {
        let _disk = Mount::read_only(&empty);
        let args = ["start", "--instance", "b", "--data-dir", empty.to_str().unwrap()];
        home.run_args(args).exits(7).says(empty.to_str().unwrap());
    }
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    // The runtime dir, too.
    let run = home.path().join("run-only");
    fs::create_dir(&run).unwrap();
    let _disk = Mount::read_only(&run);
    Outcome::of(home.command(["start", "--instance", "c"]).env("XDG_RUNTIME_DIR", &run)).exits(7).says(run.to_str().unwrap());
}

#[test]
fn a_full_disk_is_named_and_the_daemon_goes_on_once_there_is_room() {
    if !root_or_skip("it mounts a small disk") {
        return;
    }
    for options in ["size=1m", "size=64m,nr_inodes=40"] {
        let home = home();
        let oracle = Oracle::new(&home);
        let disk = Mount::tmpfs(&home.data_dir("a"), &format!("{options},mode=700"));
        home.run("start --instance a").ok();
        let pid = home.pid("a");
        let mut made = 0;
        while oracle.create_library(&home, "a", &format!("L{made}")) {
            made += 1;
            assert!(made < 500, "{options}: the disk is never full");
        }
        assert!(made > 0, "{options}: there was no room at all");
        let outcome = home.run("--instance a library create More").exits(7);
        assert!(outcome.stderr.contains(home.data_dir("a").to_str().unwrap()), "{options}: {outcome:?}");
        home.run("--instance a library list").ok();
        home.run("--instance a status").ok();
        assert_eq!(home.pid("a"), pid);
        assert_eq!(libraries(&home).len(), made, "{options}: what was not acknowledged is not there");

        // Stopped and started on the full disk, everything is there, or it says why not.
        home.run("--instance a stop").ok();
        let start = home.run("start --instance a");
        assert!([0, 7].contains(&start.code), "{options}: {start:?}");
        disk.remount(if options.starts_with("size=1m") { "size=64m" } else { "nr_inodes=4000" });
        home.run("start --instance a").ok();
        wait_until(Duration::from_secs(20), "every library is open", || {
            libraries(&home).iter().all(|library| library["state"] == "open")
                || home.run_args(["--instance", "a", "library", "switch", "L0"]).code != 0
        });
        for index in 0..made {
            home.run(&format!("--instance a library switch L{index}")).ok();
        }
        assert!(oracle.create_library(&home, "a", "After"));
        oracle.check(&home, "a");
        home.run("--instance a stop").ok();
        home.wait_for_no_daemon();
    }
}

#[test]
fn a_disk_too_full_to_start_on_is_left_as_it_was() {
    if !root_or_skip("it mounts a small disk") {
        return;
    }
    for options in ["size=4k", "size=16k", "size=64k", "size=1m,nr_inodes=2", "size=1m,nr_inodes=5"] {
        let home = home();
        let disk = Mount::tmpfs(&home.data_dir("a"), &format!("{options},mode=700"));
        home.run("start --instance a").exits(7);
        assert_eq!(fs::read_dir(home.run_dir()).unwrap().filter(|e| e.as_ref().unwrap().path().ends_with("sock")).count(), 0);
        disk.remount(if options.contains("inodes") { "nr_inodes=4000" } else { "size=64m" });
        home.run("start --instance a").ok();
        home.run("--instance a library create One").ok();
        home.run("--instance a stop").ok();
        home.wait_for_no_daemon();
    }
}

#[test]
fn a_disk_that_fails_to_sync_acknowledges_nothing() {
    if !root_or_skip("it traces a daemon that hides itself") {
        return;
    }
    let home = home();
    let oracle = Oracle::new(&home);
    home.run("start --instance a").ok();
    assert!(oracle.create_library(&home, "a", "Before"));
    home.run("--instance a stop").ok();
    let template = home.command(["start", "--foreground", "--instance", "a"]);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"]);
    command.args(["-e", "inject=fsync,fdatasync:error=EIO:when=3+"]).arg(template.get_program()).args(template.get_args());
    command.env_clear().envs(template.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(home.cwd());
    let mut traced = Guarded(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_until(Duration::from_secs(100), "it answers", || home.run("--instance a daemon").code == 0);
    let failed = (0..6).filter(|index| {
        let outcome = home.run_args(["--instance", "a", "library", "create", &format!("L{index}")]);
        assert!([0, 7].contains(&outcome.code), "{outcome:?}");
        outcome.code == 7
    });
    assert!(failed.count() > 0, "nothing failed");
    home.run("--instance a library list").ok();
    assert_eq!(state_of(&home, "Before"), "open");
    home.run("--instance a stop").ok();
    traced.0.wait().unwrap();
    home.run("start --instance a").ok();
    oracle.check(&home, "a");
}

#[test]
fn too_few_open_files_are_survived() {
    let home = home();
    // With a few it starts, and with less than it had it goes on.
    Outcome::of(&mut home.shell("ulimit -n 32; spacedrive start --instance b")).ok();
    home.run("start --instance a").ok();
    let pid = home.pid("a");
    let limit = |limit| prlimit(Pid::from_raw(pid.cast_signed()), Resource::Nofile, limit).unwrap();
    let usual = getrlimit(Resource::Nofile);
    limit(Rlimit { current: Some(32), maximum: usual.maximum });
    let before = cpu_time(pid);
    let idle: Vec<UnixStream> = (0..100).filter_map(|_| UnixStream::connect(home.socket("a")).ok()).collect();
    assert!(idle.len() > 32);
    // It does not spin, and says what is the matter.
    thread::park_timeout(Duration::from_secs(2));
    let used = cpu_time(pid) - before;
    assert!(used < Duration::from_millis(1_000), "it used {used:?} of 2 s");
    assert!(home.log("a").contains("Too many open files"), "{}", home.log("a"));
    drop(idle);
    wait_until(Duration::from_secs(50), "it serves again", || home.run("--instance a library list").code == 0);
    // With no files left a library cannot be made; with some, it can.
    for index in 0..12 {
        let outcome = home.run(&format!("--instance a library create L{index}"));
        assert!([0, 1, 7, 8].contains(&outcome.code), "{outcome:?}");
    }
    limit(Rlimit { current: usual.maximum, maximum: usual.maximum });
    wait_until(Duration::from_secs(20), "it answers", || home.run("--instance a daemon").code == 0);
    home.run("--instance a stop").ok();
    home.run("start --instance a").ok();
    wait_until(Duration::from_secs(20), "all that was made is open", || {
        libraries(&home).iter().all(|library| library["state"] == "open")
    });
    assert!(!libraries(&home).is_empty());
    Oracle::new(&home).check(&home, "a");
}

/// The processor time that a process has used.
fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[test]
fn secrets_reach_neither_log_nor_file() {
    let home = home();
    let secret = "correct-horse-battery-staple";
    let with = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("SPACEDRIVE_PASSWORD", secret).env("SPACEDRIVE_PAIR_CODE", secret).env("CLOUD_TOKEN", secret);
        command.env("SPACEDRIVE_LOG", "trace");
        Outcome::of(&mut command)
    };
    with(&["start", "--instance", "a", "-vv"]).ok();
    with(&["--instance", "a", "library", "create", "One"]).ok();
    with(&["--instance", "a", "status"]).ok();
    with(&["--instance", "a", "library", "switch", "nothing"]).exits(4);
    assert!(home.log("a").contains("ready"), "nothing was logged");
    home.run("--instance a stop").ok();
    for path in home.files().into_iter().chain([home.data_dir("a").join("logs/daemon.log").display().to_string()]) {
        let bytes = fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{path}");
    }
}
