//! What lies in the runtime dir: stale, foreign and odd things in the place of the socket, the pid file and
//! the lock, other users, and environments that are not as they should be.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use spacedrive_testing::{Home, OTHER_USER, Outcome, Signal, freeze, root_or_skip, signal, wait_until};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A socket on which nobody listens any more.
fn stale_socket(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
}

#[test]
fn a_stale_socket_is_replaced() {
    let home = home();
    stale_socket(&home.socket("a"));
    home.run("--instance a daemon").exits(3);
    home.run("start --instance a").ok();
    home.kill("a");
    home.run("--instance a library list").exits(3);
    home.run("start --instance a").ok();
    home.run("--instance a library list").ok();
}

#[test]
fn what_is_not_our_socket_is_never_removed_nor_followed() {
    let victim_of = |home: &Home| home.path().join("victim");
    for kind in ["file", "folder", "fifo", "link to a file", "link to nothing", "link to a socket"] {
        let home = home();
        let (socket, victim) = (home.socket("a"), victim_of(&home));
        fs::write(&victim, "precious").unwrap();
        let _listener = UnixListener::bind(home.path().join("other.sock")).unwrap();
        match kind {
            "file" => fs::write(&socket, "precious").unwrap(),
            "folder" => fs::create_dir(&socket).unwrap(),
            "fifo" => mkfifo(&socket),
            "link to a file" => symlink(&victim, &socket).unwrap(),
            "link to nothing" => symlink(home.path().join("nothing"), &socket).unwrap(),
            _ => symlink(home.path().join("other.sock"), &socket).unwrap(),
        }
        let before = fs::symlink_metadata(&socket).unwrap();
        let outcome = home.run("start --instance a");
        assert!([5, 6].contains(&outcome.code), "{kind}: {outcome:?}");
        assert!(outcome.stderr.contains(socket.to_str().unwrap()), "{kind}: {outcome:?}");
        for line in ["--instance a daemon", "--instance a library list", "--instance a stop", "instance list", "stop --all"] {
            let begun = Instant::now();
            let outcome = home.run(line);
            assert!(begun.elapsed() < Duration::from_secs(30), "{kind}: {line} hangs");
            assert!(!outcome.stderr.contains("panicked"), "{kind}: {outcome:?}");
        }
        let after = fs::symlink_metadata(&socket).unwrap();
        assert_eq!((before.ino(), before.file_type()), (after.ino(), after.file_type()), "{kind}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(!home.path().join("nothing").exists());
        // Once it is out of the way, the instance starts.
        if kind == "folder" {
            fs::remove_dir(&socket).unwrap()
        } else {
            fs::remove_file(&socket).unwrap()
        }
        home.run("start --instance a").ok();
    }
}

#[test]
fn what_is_not_our_lock_makes_nobody_hang() {
    for kind in ["folder", "fifo", "link"] {
        let home = home();
        let lock = home.socket("a").with_extension("lock");
        match kind {
            "folder" => fs::create_dir(&lock).unwrap(),
            "fifo" => mkfifo(&lock),
            _ => symlink(home.path().join("nothing"), &lock).unwrap(),
        }
        let begun = Instant::now();
        let outcome = home.run("start --instance a");
        assert!([5, 6].contains(&outcome.code), "{kind}: {outcome:?}");
        assert!(outcome.stderr.contains(lock.to_str().unwrap()), "{kind}: {outcome:?}");
        home.run("--instance a daemon").exits(3);
        home.run("instance list").ok();
        home.run("stop --all").ok();
        assert!(begun.elapsed() < Duration::from_secs(60), "{kind}: {:?}", begun.elapsed());
        assert!(!home.path().join("nothing").exists());
        if kind == "folder" {
            fs::remove_dir(&lock).unwrap()
        } else {
            fs::remove_file(&lock).unwrap()
        }
        home.run("start --instance a").ok();
    }
}

#[test]
fn a_link_in_the_place_of_the_pid_file_is_replaced_and_not_followed() {
    let home = home();
    let victim = home.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let pid_file = home.socket("a").with_extension("pid");
    symlink(&victim, &pid_file).unwrap();
    home.run("start --instance a").ok();
    assert!(fs::symlink_metadata(&pid_file).unwrap().is_file());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    // A running daemon puts it back in the same way.
    fs::remove_file(&pid_file).unwrap();
    wait_until(Duration::from_secs(50), "the pid file is back", || pid_file.exists());
    home.run("--instance a stop").ok();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    // A folder there is nothing that we remove.
    fs::create_dir(&pid_file).unwrap();
    home.run("start --instance a").exits(6).says("pid");
    fs::remove_dir(&pid_file).unwrap();
    home.run("start --instance a").ok();
}

#[test]
fn the_longest_socket_path_works_and_a_longer_one_is_refused() {
    let home = home();
    let folder = |length: usize| {
        // `…/spacedrive-a.sock` is 18 bytes longer than its folder.
        let base = home.path().to_str().unwrap().len() + 1;
        let dir = home.path().join("r".repeat(length - 18 - base));
        fs::create_dir(&dir).unwrap();
        dir
    };
    let start = |dir: &Path| Outcome::of(home.command(["start", "--instance", "a"]).env("XDG_RUNTIME_DIR", dir));
    let (fits, too_long) = (folder(107), folder(108));
    for line in ["start", "stop", "daemon", "status", "library list"] {
        let args: Vec<&str> = ["--instance", "a"].into_iter().chain(line.split(' ')).collect();
        Outcome::of(home.command(args).env("XDG_RUNTIME_DIR", &too_long)).exits(2).says("108 bytes").says("107");
    }
    assert_eq!(fs::read_dir(&too_long).unwrap().count(), 0);
    assert_eq!(fs::read_dir(home.cwd()).unwrap().count(), 0);
    start(&fits).ok();
    assert!(fs::symlink_metadata(fits.join("spacedrive-a.sock")).unwrap().file_type().is_socket());
    Outcome::of(home.command(["--instance", "a", "daemon"]).env("XDG_RUNTIME_DIR", &fits)).ok();
    // The list goes on without what cannot be.
    Outcome::of(home.command(["instance", "list"]).env("XDG_RUNTIME_DIR", &too_long)).ok();
}

#[test]
fn the_umask_changes_nothing() {
    for umask in ["000", "077", "777"] {
        let home = home();
        Outcome::of(&mut home.shell(&format!("umask {umask}; spacedrive start --instance a"))).ok();
        Outcome::of(&mut home.shell(&format!("umask {umask}; spacedrive --instance a library create One"))).ok();
        assert_eq!(mode(&home.socket("a")), 0o600, "{umask}");
        let mut seen = 0;
        for entry in walkdir(&home.data_dir("a")) {
            let expected = if entry.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&entry), expected, "umask {umask}: {}", entry.display());
            seen += 1;
        }
        assert!(seen > 8, "{umask}: {seen}");
        for file in ["pid", "lock"] {
            assert_eq!(mode(&home.socket("a").with_extension(file)) & 0o077, 0, "{umask}: {file}");
        }
        for entry in walkdir(&home.path().join("state")).into_iter().skip(1) {
            assert_eq!(mode(&entry) & 0o022, 0, "umask {umask}: {}", entry.display());
            assert_ne!(mode(&entry) & 0o400, 0, "umask {umask}: {}", entry.display());
        }
        home.run("--instance a stop").ok();
        home.run("start --instance a").ok();
    }
}

fn walkdir(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.to_owned()];
    if root.is_dir() {
        for entry in fs::read_dir(root).unwrap() {
            all.extend(walkdir(&entry.unwrap().path()));
        }
    }
    all
}

#[test]
fn odd_environments_are_named_or_work() {
    let home = home();
    let with = |changes: &[(&str, Option<&str>)], line: &str| {
        let mut command = home.command(line.split(' '));
        for (name, value) in changes {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Outcome::of(&mut command)
    };
    // A missing or relative runtime dir is named, and nothing is made anywhere.
    let before = home.files();
    let missing = home.path().join("missing");
    with(&[("XDG_RUNTIME_DIR", missing.to_str())], "start --instance a").exits(7).says("missing");
    with(&[("XDG_RUNTIME_DIR", Some("relative"))], "start --instance a").exits(2).says("relative");
    with(&[("XDG_RUNTIME_DIR", Some("relative"))], "instance list").exits(2);
    with(&[("XDG_RUNTIME_DIR", missing.to_str())], "--instance a daemon").exits(3);
    assert_eq!(with(&[("XDG_RUNTIME_DIR", missing.to_str())], "instance list --json").ok().json(), serde_json::json!([]));
    let file = home.path().join("a-file");
    fs::write(&file, "").unwrap();
    with(&[("XDG_RUNTIME_DIR", file.to_str())], "start --instance a").exits(2).says("a-file");
    fs::remove_file(&file).unwrap();
    assert_eq!(home.files(), before);

    // Without a home there is no record, and everything else.
    let homeless = [("HOME", None), ("XDG_STATE_HOME", None)];
    for (number, changes) in [
        homeless.to_vec(),
        vec![("HOME", Some("/nonexistent")), ("XDG_STATE_HOME", None)],
        vec![("HOME", Some("relative")), ("XDG_STATE_HOME", Some("relative"))],
        vec![("HOME", Some("")), ("XDG_STATE_HOME", Some(""))],
        vec![("LANG", None), ("PATH", None), ("TERM", None)],
        vec![("SPACEDRIVE_INSTANCE", Some("")), ("SPACEDRIVE_DATA_DIR", Some("")), ("SPACEDRIVE_LOG", Some(""))],
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("n{number}");
        with(&changes, &format!("start --instance {name}")).ok();
        with(&changes, &format!("--instance {name} status")).ok();
        with(&changes, &format!("--instance {name} library create One")).ok();
        with(&changes, &format!("--instance {name} stop")).ok();
    }
    with(&[("SPACEDRIVE_LOG", Some("=,,=what"))], "start --instance b").exits(2).says("not a tracing filter");
    assert!(!home.cwd().join("relative").exists());
}

#[test]
fn a_folder_that_is_gone_is_no_place_to_be() {
    let home = home();
    home.run("start --instance a").ok();
    let script = "mkdir gone; cd gone; rmdir ../gone; spacedrive start --instance b";
    let outcome = Outcome::of(&mut home.shell(script));
    assert!(outcome.code != 0 && outcome.stderr.starts_with("error: the current folder"), "{outcome:?}");
}

#[test]
fn the_list_tells_apart_what_it_finds_and_removes_nothing() {
    let home = home();
    let list = |args: &str| {
        let begun = Instant::now();
        let outcome = home.run(args).ok();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        outcome
    };
    thread::scope(|scope| {
        for index in 0..10 {
            let home = &home;
            scope.spawn(move || home.run(&format!("start --instance n{index}")).ok());
        }
    });
    for name in ["n0", "n1"] {
        home.kill(name);
    }
    freeze(home.pid("n2"));
    home.run("instance stop n3").ok();
    // What is no instance, and what only looks like a running one.
    let run = home.run_dir();
    stale_socket(&run.join("spacedrive-stale.sock"));
    fs::write(run.join("spacedrive-file.sock"), "").unwrap();
    mkfifo(&run.join("spacedrive-fifo.sock"));
    mkfifo(&run.join("spacedrive-fifo.lock"));
    fs::create_dir(run.join("spacedrive-folder.sock")).unwrap();
    symlink("/etc/passwd", run.join("spacedrive-link.sock")).unwrap();
    fs::write(run.join("spacedrive-old.pid"), "1\n").unwrap();
    fs::write(run.join("spacedrive-a b.sock"), "").unwrap();
    fs::write(run.join("spacedrive-.sock"), "").unwrap();
    // Somebody who accepts and never answers, and one who never accepts.
    let _silent = UnixListener::bind(run.join("spacedrive-silent.sock")).unwrap();
    let babbling = UnixListener::bind(run.join("spacedrive-babbling.sock")).unwrap();
    let babbler = thread::spawn(move || {
        use std::io::Write;
        // Until the test is over: a client that asks to end is told so by the last connection.
        for stream in babbling.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 1];
            if stream.read(&mut asked).is_ok_and(|n| n == 1 && asked[0] == b'Q') {
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n\x1b[31mwhat");
        }
    });
    let names = || walkdir(&run).len();
    let before = names();
    let seen = list("instance list --json").json();
    let status = |name: &str| {
        let found: Vec<&Value> = seen.as_array().unwrap().iter().filter(|i| i["name"] == name).collect();
        assert!(found.len() < 2, "{name} is listed twice: {seen}");
        found.first().map(|i| i["status"].as_str().unwrap().to_owned())
    };
    for (name, expected) in [
        ("n0", "stale"),
        ("n1", "stale"),
        ("n2", "unresponsive"),
        ("n3", "stopped"),
        ("n4", "running"),
        ("n9", "running"),
        ("stale", "stale"),
        ("file", "foreign"),
        ("fifo", "foreign"),
        ("folder", "foreign"),
        ("link", "foreign"),
        ("old", "stale"),
        ("silent", "unresponsive"),
        ("babbling", "unresponsive"),
    ] {
        assert_eq!(status(name).as_deref(), Some(expected), "{name}: {seen}");
    }
    assert_eq!(seen.as_array().unwrap().len(), 18, "{seen}");
    assert!(!list("instance list").stdout.contains('\u{1b}'));
    assert_eq!(names(), before, "the list removed or made something");
    // What is stale stops with 0, and what is not ours is refused.
    assert!(home.run("instance stop stale").ok().stdout.contains("not running"));
    home.run("instance stop file").exits(5);
    assert_eq!(names(), before);
    assert!(signal(home.pid("n2"), Signal::CONT));
    use std::io::Write;
    std::os::unix::net::UnixStream::connect(run.join("spacedrive-babbling.sock")).unwrap().write_all(b"Q").unwrap();
    babbler.join().unwrap();
    for entry in fs::read_dir(&run).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !name.starts_with("spacedrive-n") {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
    }
}

#[test]
fn a_socket_of_another_user_learns_nothing() {
    if !root_or_skip("another user squats the socket") {
        return;
    }
    let home = home();
    home.let_others_pass();
    // The runtime dir is everybody's, as /tmp is.
    fs::set_permissions(home.run_dir(), fs::Permissions::from_mode(0o1777)).unwrap();
    let heard = home.path().join("heard");
    fs::create_dir(&heard).unwrap();
    chown(&heard, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    let script = r#"
import os, socket, sys
os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777); listener.listen(64)
print("ready", flush=True)
log = open(sys.argv[2] + "/log", "ab", buffering=0)
while True:
    client, _ = listener.accept()
    log.write(b"+"); client.settimeout(5)
    try:
        while data := client.recv(4096): log.write(data)
    except OSError: pass
    client.close()
"#;
    let mut squatter = Command::new("python3");
    squatter.args(["-c", script]).arg(home.socket("a")).arg(&heard).arg(OTHER_USER.to_string());
    let mut squatter = spacedrive_testing::Guarded(squatter.stdout(std::process::Stdio::piped()).spawn().unwrap());
    let mut ready = [0; 5];
    squatter.0.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();

    for line in [
        "start --instance a",
        "start --instance a --foreground",
        "--instance a daemon",
        "--instance a status",
        "--instance a library create Secret",
        "--instance a library list",
        "--instance a stop",
        "instance stop a",
    ] {
        home.run(line).exits(5).says(&OTHER_USER.to_string());
    }
    assert_eq!(home.run("instance list --json").ok().json()[0]["status"], "foreign");
    let log = fs::read(heard.join("log")).unwrap();
    assert!(log.len() >= 8 && log.iter().all(|&b| b == b'+'), "it was told {:?}", String::from_utf8_lossy(&log));
    assert_eq!(fs::metadata(home.socket("a")).unwrap().uid(), OTHER_USER);
    drop(squatter);
    home.run("stop --all");
    // Its stale socket is not ours to remove either.
    home.run("start --instance a").exits(5);
    fs::remove_file(home.socket("a")).unwrap();
    home.run("start --instance a").ok();
}

#[test]
fn a_runtime_dir_or_data_dir_of_another_user_is_refused() {
    if !root_or_skip("it makes folders of another user") {
        return;
    }
    let home = home();
    let theirs = home.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    for (owner, bits, code) in
        [(OTHER_USER, 0o777, 5), (OTHER_USER, 0o1777, 5), (OTHER_USER, 0o700, 5), (0, 0o777, 5), (0, 0o770, 5)]
    {
        chown(&theirs, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&theirs, fs::Permissions::from_mode(bits)).unwrap();
        let outcome = Outcome::of(home.command(["start", "--instance", "a"]).env("XDG_RUNTIME_DIR", &theirs)).exits(code);
        assert!(outcome.stderr.contains("theirs") && outcome.stderr.contains("hint: "), "{owner} {bits:o}: {outcome:?}");
        assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0);
    }
    fs::remove_dir(&theirs).unwrap();

    // A data dir that somebody planted in the folder that one stands in.
    home.run("start --instance a").ok();
    home.run("--instance a stop").ok();
    let data = home.data_dir("a");
    chown(&data, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    home.run("start --instance a").exits(5).says(data.to_str().unwrap());
    chown(&data, Some(0), Some(0)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    home.run("start --instance a").exits(5).says("chmod");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    home.run("start --instance a").ok();
}

#[test]
fn a_lock_that_another_user_holds_is_not_a_daemon_of_ours() {
    if !root_or_skip("another user holds the lock") {
        return;
    }
    let home = home();
    home.let_others_pass();
    fs::set_permissions(home.run_dir(), fs::Permissions::from_mode(0o1777)).unwrap();
    let lock = home.socket("a").with_extension("lock");
    fs::write(&lock, "").unwrap();
    chown(&lock, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o666)).unwrap();
    let file = fs::File::open(&lock).unwrap();
    file.lock().unwrap();
    home.run("--instance a daemon").exits(3);
    home.run("--instance a library list").exits(3);
    let outcome = home.run("start --instance a").exits(5);
    assert!(outcome.stderr.contains(lock.to_str().unwrap()), "{outcome:?}");
    fs::remove_file(&lock).unwrap();
    home.run("start --instance a").ok();
}

#[test]
fn each_user_has_its_own_instances() {
    if !root_or_skip("it has a daemon of another user") {
        return;
    }
    let theirs = Home::of_user(env!("CARGO_BIN_EXE_spacedrive"), OTHER_USER);
    theirs.let_others_pass();
    theirs.run("start --instance a").ok();
    theirs.run("--instance a library create One").ok();
    // Root comes along with their runtime dir, and is refused: what it makes would be root's.
    let as_root = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spacedrive"));
        command.args(line.split(' ')).env_clear().current_dir(theirs.cwd()).stdin(std::process::Stdio::null());
        Outcome::of(command.env("HOME", "/nonexistent").env("XDG_RUNTIME_DIR", theirs.run_dir()))
    };
    for line in ["start --instance a", "--instance a library create Two", "--instance a stop", "--instance a status"] {
        as_root(line).exits(5);
    }
    // A third user cannot even connect; with the socket opened up by hand, the daemon looks at who it is.
    let script = r#"
import os, socket, sys
os.setgroups([]); os.setgid(54321); os.setuid(54321)
client = socket.socket(socket.AF_UNIX)
try: client.connect(sys.argv[1])
except PermissionError: print("refused by the system"); sys.exit()
client.settimeout(60)
client.sendall(b"POST /v1/stop HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
while data := client.recv(4096): print(data.decode())
"#;
    let third = || Outcome::of(Command::new("python3").args(["-c", script]).arg(theirs.socket("a"))).ok().stdout;
    fs::set_permissions(theirs.run_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(third().contains("refused by the system"));
    fs::set_permissions(theirs.socket("a"), fs::Permissions::from_mode(0o666)).unwrap();
    for _ in 0..5 {
        let answer = third();
        assert!(answer.contains("403") && answer.contains("refused") && answer.contains("54321"), "{answer}");
    }
    theirs.run("--instance a daemon").ok();
    let logged = theirs.log("a").matches("a connection was refused").count();
    assert_eq!(logged, 1, "it is logged once a minute");
    let libraries = theirs.run("--instance a library list --json").ok().json();
    assert_eq!(libraries.as_array().unwrap().len(), 1);
    fs::set_permissions(theirs.run_dir(), fs::Permissions::from_mode(0o700)).unwrap();
}
