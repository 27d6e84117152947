//! Instances under systemd: the unit files, and what the daemon tells its supervisor.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use spacedrive_testing::{Guarded, Home, Outcome};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

/// Installs without a systemd to talk to, as on a machine that has none.
fn install(home: &Home, rest: &str) -> Outcome {
    let args = ["service", "install"].into_iter().chain(rest.split_whitespace()).map(str::to_owned);
    Outcome::of(&mut home.command(args))
}

#[test]
fn the_unit_is_one_that_systemd_accepts() {
    let home = home();
    home.run("instance create alice").ok();
    let password = home.path().join("pass word");
    fs::write(&password, "secret\n").unwrap();
    // With a password file whose path needs quoting.
    let outcome = Outcome::of(&mut home.command(["service", "install", "alice", "--password-file", password.to_str().unwrap()]));
    assert!([0, 8].contains(&outcome.code), "{outcome:?}");
    let dir = home.path().join("home/.config/systemd/user");
    let template = fs::read_to_string(dir.join("spacedrive@.service")).unwrap();
    assert!(template.contains("Type=notify") && template.contains("WatchdogSec="), "{template}");
    let drop_in = fs::read_to_string(dir.join("spacedrive@alice.service.d/instance.conf")).unwrap();
    assert!(
        drop_in.contains(&format!("Environment=\"SPACEDRIVE_DATA_DIR={}\"", home.data_dir("default").display())),
        "{drop_in}"
    );
    assert!(drop_in.contains("LoadCredential=") && !drop_in.contains("secret"), "{drop_in}");
    verify(&home, &dir, &format!("{template}\n{drop_in}"));
}

/// Has systemd itself look at the unit, where it is installed.
fn verify(home: &Home, dir: &Path, text: &str) {
    let unit = dir.join("spacedrive@alice.service");
    fs::write(&unit, text).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--user", "--man=no"]).arg(&unit).env("XDG_RUNTIME_DIR", home.run_dir()).stdin(Stdio::null());
    match command.output() {
        Err(_) => {
            assert!(std::env::var_os("CI").is_none(), "systemd-analyze is missing");
            eprintln!("skipped: there is no systemd-analyze here");
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let about_ours: Vec<_> = said.lines().filter(|line| line.contains("spacedrive")).collect();
            assert!(output.status.success() && about_ours.is_empty(), "{said}");
        }
    }
    fs::remove_file(unit).unwrap();
}

#[test]
fn uninstalling_leaves_the_others_and_the_data() {
    let home = home();
    let dir = home.path().join("home/.config/systemd/user");
    home.run("instance create alice").ok();
    home.run("instance create bob").ok();
    home.run("service status alice").exits(4).says("not installed");
    home.run("service uninstall alice").exits(4);
    install(&home, "alcie").exits(4);
    install(&home, "alice --password-file nowhere").exits(4).says("nowhere");
    assert!(!dir.exists(), "what failed wrote nothing");
    for name in ["alice", "bob"] {
        let outcome = install(&home, name);
        assert!([0, 8].contains(&outcome.code), "{outcome:?}");
    }
    let status = home.run("service status alice --json").ok().json();
    assert_eq!((status["unit"].as_str(), status["installed"].as_bool()), (Some("spacedrive@alice.service"), Some(true)));
    home.run("service uninstall alice").ok();
    assert!(dir.join("spacedrive@.service").exists() && dir.join("spacedrive@bob.service.d").exists());
    home.run("service uninstall bob").ok();
    let left: Vec<_> = fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("spacedrive@")), "{left:?}");
    assert!(home.data_dir("alice").exists() && home.data_dir("bob").exists());
}

#[test]
fn the_supervisor_is_told_of_readiness_life_and_end() {
    let home = home();
    let socket = home.path().join("notify");
    let supervisor = UnixDatagram::bind(&socket).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let daemon = home
        .command(["start", "--foreground", "--instance", "alice"])
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut daemon = Guarded(daemon);
    let mut buffer = [0; 4096];
    let mut told = || {
        let length = supervisor.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let first = told();
    assert!(first.contains("READY=1") && first.contains("STATUS=instance alice"), "{first}");
    home.run("--instance alice daemon").ok();
    for _ in 0..3 {
        assert!(told().contains("WATCHDOG=1"));
    }
    home.run("--instance alice stop").ok();
    while !told().contains("STOPPING=1") {}
    assert!(daemon.0.wait().unwrap().success());
}

#[test]
fn a_daemon_in_the_background_tells_nobody() {
    let home = home();
    let socket = home.path().join("notify");
    let supervisor = UnixDatagram::bind(&socket).unwrap();
    supervisor.set_nonblocking(true).unwrap();
    Outcome::of(home.command(["start", "--instance", "alice"]).env("NOTIFY_SOCKET", &socket)).ok();
    home.run("--instance alice stop").ok();
    assert!(supervisor.recv(&mut [0; 64]).is_err());
}
