//! Identity and pairing through the real binary: two daemons, twelve words.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use spacedrive_testing::{Home, Lab, Outcome, wait_until};

/// Ten times what anything in here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

/// A home with running instances, networking switched on, no identity yet.
fn started(names: &[&str]) -> Home {
    let home = home();
    for name in names {
        start(&home, name);
    }
    home
}

/// The same with identities.
fn networked(names: &[&str]) -> Home {
    let home = started(names);
    for name in names {
        home.run(&format!("--instance {name} network init --no-password")).ok();
    }
    home
}

fn start(home: &Home, name: &str) {
    home.run(&format!("start --no-mdns --enable-networking --instance {name}")).ok();
}

/// A new code of this instance.
fn code(home: &Home, name: &str) -> String {
    let generated = home.run(&format!("--instance {name} network pair generate --auto-accept")).ok();
    let code = generated.stdout.strip_prefix("Pairing code: ").unwrap().trim_end().to_owned();
    assert_eq!(code.split(' ').count(), 12, "{generated:?}");
    code
}

/// The names of the devices that an instance is paired with, each with its status.
fn devices(home: &Home, name: &str) -> Vec<(String, String)> {
    let list = home.run(&format!("--instance {name} network devices --json")).ok().json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(|d| (text(&d["name"]), text(&d["status"]))).collect()
}

fn sees(home: &Home, name: &str, other: &str, status: &str) -> bool {
    devices(home, name).contains(&(other.to_owned(), status.to_owned()))
}

fn until_connected(home: &Home, a: &str, b: &str) {
    wait_until(PATIENCE, "both sides connected", || sees(home, a, b, "connected") && sees(home, b, a, "connected"));
}

#[test]
fn the_description_word_for_word() {
    let home = started(&["initiator", "joiner"]);
    let script = r#"set -e
        spacedrive --instance initiator network init --password "dev123"
        spacedrive --instance joiner network init --password "dev123"
        CODE=$(spacedrive --instance initiator network pair generate --auto-accept | grep "Pairing code:" | cut -d' ' -f3-)
        spacedrive --instance joiner network pair join "$CODE"
        spacedrive --instance initiator network devices
        spacedrive --instance joiner network devices"#;
    let run = Outcome::of(&mut home.shell(script)).ok();
    assert_eq!(run.stdout.matches("connected").count(), 2, "{run:?}");
    assert!(run.stderr.contains("--password shows the password"), "{run:?}");
}

#[test]
fn a_code_is_read_as_people_type_it() {
    let home = networked(&["alice", "bob"]);
    let join = |args: &[&str]| home.run_args(["--instance", "bob", "network", "pair", "join"].iter().chain(args));
    for (words, says) in [
        ("one two three", "12 words"),
        ("zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo", "check bits"),
        ("abandn abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about", "word 1 "),
    ] {
        let refused = join(&[words]).exits(2).says(says);
        assert!(!refused.stderr.contains("abandn"), "the words are not repeated: {refused:?}");
    }
    join(&["abandn abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"]).says("`abandon`");
    join(&[]).exits(2);
    // A fresh code each, for a code works once; the second time the two are paired already.
    let code1 = code(&home, "alice");
    join(&[&format!("  {}\u{a0}\n", code1.to_uppercase().replace(' ', "\t"))]).ok();
    let code2 = code(&home, "alice");
    let again = join(&code2.split(' ').collect::<Vec<_>>()).ok();
    assert!(again.stdout.contains("Already paired"), "{again:?}");
    let code3 = code(&home, "alice");
    join(&["--code", &code3]).ok();
    let code4 = code(&home, "alice");
    let mut stdin = home.command(["--instance", "bob", "network", "pair", "join", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    stdin.stdin.take().unwrap().write_all(code4.as_bytes()).unwrap();
    assert!(stdin.wait().unwrap().success());
    let code5 = code(&home, "alice");
    Outcome::of(home.command(["--instance", "bob", "network", "pair", "join"]).env("SPACEDRIVE_PAIR_CODE", &code5)).ok();
    // The code of this very instance, a used one, and one that nobody offers.
    home.run_args(["--instance", "alice", "network", "pair", "join", &code5]).exits(5).says("very instance");
    join(&[&code5]).exits(5).says("already used by `bob`");
    let nobody = "legal winner thank year wave sausage worth useful legal winner thank yellow";
    join(&[nobody]).exits(5).says("no device offers this code");
}

#[test]
fn a_password_comes_by_any_of_the_ways() {
    let home = started(&["a"]);
    let init = |args: &[&str]| {
        home.command(["--instance", "a", "network", "init", "--kdf", "8192,1,1"].iter().chain(args))
            .stdin(Stdio::null())
            .to_owned_command()
    };
    Outcome::of(&mut init(&[])).exits(2).says("no password was given");
    Outcome::of(init(&[]).env("SPACEDRIVE_PASSWORD", "")).exits(2);
    Outcome::of(&mut init(&["--password", ""])).exits(2).says("empty");
    let file = home.path().join("password");
    fs::write(&file, "swordfish one\n").unwrap();
    let file = file.to_str().unwrap();
    let made = Outcome::of(&mut init(&["--password-file", file])).ok();
    assert!(made.stdout.contains("Made the identity") && made.stdout.contains("Networking is on"), "{made:?}");
    let id = |home: &Home| home.run("--instance a network status --json").ok().json()["id"].clone();
    let before = id(&home);

    Outcome::of(&mut init(&["--password", "wrong"])).exits(5).says("wrong password");
    Outcome::of(init(&[]).env("SPACEDRIVE_PASSWORD", "wrong")).exits(5);
    Outcome::of(&mut init(&["--no-password"])).exits(5);
    Outcome::of(init(&[]).env("SPACEDRIVE_PASSWORD", "swordfish one")).ok();
    fs::create_dir(home.path().join("credentials")).unwrap();
    fs::copy(file, home.path().join("credentials/spacedrive-password")).unwrap();
    Outcome::of(init(&[]).env("CREDENTIALS_DIRECTORY", home.path().join("credentials"))).ok();
    let mut stdin = init(&["--password-stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    stdin.stdin.take().unwrap().write_all(b"swordfish one\r\n").unwrap();
    assert!(stdin.wait().unwrap().success());
    assert_eq!(id(&home), before, "an identity is never made anew");

    fs::write(home.path().join("new"), "swordfish two\n").unwrap();
    let new = home.path().join("new");
    let passwd = ["--instance", "a", "network", "passwd", "--password-file", file, "--new-password-file", new.to_str().unwrap()];
    home.run_args(passwd).ok();
    home.run_args(passwd).exits(5);
    home.run("--instance a stop").ok();
    start(&home, "a");
    assert_eq!(home.run("--instance a network status --json").ok().json()["networking"], "locked");
    home.run("--instance a network pair generate").exits(5).says("hint: spacedrive --instance a network init");
    Outcome::of(&mut init(&["--password-file", file])).exits(5);
    Outcome::of(&mut init(&["--password-file", new.to_str().unwrap()])).ok();
    assert_eq!(id(&home), before);
    home.run("--instance a network reset").exits(2);
    let reset = home.run("--instance a network reset --yes --json").ok().json();
    assert!(fs::exists(reset["backup"].as_str().unwrap()).unwrap());
    assert!(id(&home).is_null());
}

trait ToOwnedCommand {
    fn to_owned_command(&mut self) -> Command;
}

impl ToOwnedCommand for Command {
    /// The same command, for a chain that began with a temporary.
    fn to_owned_command(&mut self) -> Command {
        let mut command = Command::new(self.get_program());
        command.args(self.get_args()).env_clear().current_dir(self.get_current_dir().unwrap());
        command.envs(self.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))));
        command
    }
}

#[test]
fn networking_is_switched_and_remembered() {
    let home = home();
    home.run("start --instance a").ok();
    let networking = |home: &Home| home.run("--instance a network status --json").ok().json()["networking"].clone();
    assert_eq!(networking(&home), "off");
    home.run("--instance a network pair generate").exits(5).says("networking is off");
    home.run("--instance a network pair join legal winner thank year wave sausage worth useful legal winner thank yellow")
        .exits(5);
    home.run("--instance a network start").ok();
    assert_eq!(networking(&home), "uninitialised");
    home.run("--instance a network pair generate").exits(5).says("network init");
    home.run("--instance a network init --no-password").ok();
    assert_eq!(networking(&home), "on");
    home.run("--instance a network stop").ok();
    home.run("--instance a stop").ok();
    home.run("start --instance a").ok();
    assert_eq!(networking(&home), "off");
    home.run("--instance a network start").ok();
    home.run("--instance a stop").ok();
    home.run("start --instance a").ok();
    assert_eq!(networking(&home), "on");
    assert_eq!(home.run("instance list --json").ok().json()[0]["networking"], "on");
}

#[test]
fn a_person_accepts_or_rejects() {
    let home = networked(&["alice", "bob"]);
    for accept in [false, true] {
        let generated = home.run("--instance alice network pair generate --json").ok().json();
        let words = generated["code"].as_str().unwrap();
        let join = home
            .command(["--instance", "bob", "network", "pair", "join", words])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pending = Value::Null;
        wait_until(PATIENCE, "a request", || {
            pending = home.run("--instance alice network pair list-pending --json").ok().json();
            !pending.as_array().unwrap().is_empty()
        });
        let (id, check) = (pending[0]["id"].as_str().unwrap(), pending[0]["check"].as_str().unwrap());
        assert_eq!(pending[0]["device"]["name"], "bob");
        assert!(devices(&home, "alice").is_empty() && devices(&home, "bob").is_empty());
        // The joiner is shown the number when it has to wait for a person.
        let shown = || home.run("--instance bob network pair status --json").ok().json()[0]["check"] == check;
        wait_until(PATIENCE, "the same check number on the other side", shown);
        let decision = if accept { "accept" } else { "reject" };
        home.run(&format!("--instance alice network pair {decision} {}", &id[..8])).ok();
        let joined = join.wait_with_output().unwrap();
        assert_eq!(joined.status.code(), Some(if accept { 0 } else { 5 }), "{joined:?}");
        assert_eq!(devices(&home, "alice").len(), usize::from(accept));
        home.run(&format!("--instance alice network pair {decision} {id}")).exits(6);
    }
    home.run("--instance alice network pair accept 12345678").exits(4);
}

#[test]
fn a_restart_and_a_kill_keep_the_pairing() {
    let home = networked(&["alice", "bob"]);
    home.run(&format!("--instance bob network pair join {}", code(&home, "alice"))).ok();
    home.run("instance stop bob").ok();
    wait_until(PATIENCE, "bob is offline", || sees(&home, "alice", "bob", "offline"));
    start(&home, "bob");
    until_connected(&home, "alice", "bob");
    // Killed, it says no goodbye: its silence must be noticed.
    let mut child = {
        home.run("instance stop bob").ok();
        home.spawn_foreground("bob")
    };
    until_connected(&home, "alice", "bob");
    child.kill().unwrap();
    child.wait().unwrap();
    let killed = std::time::Instant::now();
    wait_until(PATIENCE, "bob is offline", || sees(&home, "alice", "bob", "offline"));
    assert!(killed.elapsed() < Duration::from_secs(4), "noticed only after {:?}", killed.elapsed());
    start(&home, "bob");
    until_connected(&home, "alice", "bob");
}

#[test]
fn three_devices_know_each_other() {
    let lab = Lab::paired(env!("CARGO_BIN_EXE_spacedrive"), &["alice", "bob", "carol"]);
    for (one, others) in [("alice", ["bob", "carol"]), ("bob", ["alice", "carol"]), ("carol", ["alice", "bob"])] {
        wait_until(PATIENCE, one, || others.iter().all(|other| sees(&lab, one, other, "connected")));
    }
}

#[test]
fn a_revoked_device_stays_out() {
    let home = networked(&["alice", "bob"]);
    let words = code(&home, "alice");
    home.run(&format!("--instance bob network pair join {words}")).ok();
    home.run("--instance alice network revoke carol").exits(4);
    let revoked = home.run("--instance alice network revoke bob --json").ok().json();
    assert_eq!(revoked["name"], "bob");
    wait_until(PATIENCE, "bob knows", || devices(&home, "bob").is_empty());
    assert!(devices(&home, "alice").is_empty());
    home.run(&format!("--instance bob network pair join {words}")).exits(5);
    home.run("--instance alice network revoke bob").exits(4);
}

#[test]
fn a_code_expires_and_does_not_survive_a_restart() {
    let home = networked(&["alice", "bob"]);
    home.run("--instance alice network pair generate --ttl 0").exits(2);
    let generated = home.run("--instance alice network pair generate --auto-accept --ttl 1 --json").ok().json();
    let state = || home.run("--instance alice network pair status --json").ok().json()[0]["state"].clone();
    wait_until(PATIENCE, "expired", || state() == "expired");
    let words = generated["code"].as_str().unwrap().to_owned();
    home.run(&format!("--instance bob network pair join {words}")).exits(5).says("no device offers this code");
    let words = code(&home, "alice");
    home.run("instance stop alice").ok();
    start(&home, "alice");
    home.run(&format!("--instance bob network pair join {words}")).exits(5);
    assert!(devices(&home, "alice").is_empty() && devices(&home, "bob").is_empty());
}

#[test]
fn a_crash_of_the_initiator_leaves_both_paired_or_neither() {
    crash(
        "alice",
        &[
            "pair.m2.sent",
            "device.pending.before",
            "device.pending.after",
            "pair.m4.sent",
            "device.confirm.before",
            "device.confirm.after",
            "pair.m6.sent",
        ],
    );
}

#[test]
fn a_crash_of_the_joiner_leaves_both_paired_or_neither() {
    crash("bob", &["pair.m1.sent", "pair.m3.sent", "device.paired.before", "device.paired.after", "pair.m5.sent"]);
}

/// Kills one side at every step of a pairing; after the next contact both are paired or neither is.
fn crash(victim: &str, places: &[&str]) {
    let home = networked(&["alice", "bob"]);
    let mut both = 0;
    for place in places {
        // Voids the codes of the round before.
        home.run("--instance alice network stop").ok();
        home.run("--instance alice network start").ok();
        home.run(&format!("instance stop {victim}")).ok();
        let start_armed = ["start", "--no-mdns", "--enable-networking", "--instance", victim];
        Outcome::of(home.command(start_armed).env("SPACEDRIVE_FAIL", format!("{place}:1"))).ok();
        let words = code(&home, "alice");
        let joined = home.run(&format!("--instance bob network pair join {words}"));
        let dead = || home.run(&format!("--instance {victim} daemon")).code == 3;
        wait_until(PATIENCE, &format!("{victim} dies at {place}"), dead);
        start(&home, victim);
        // The next contact settles it.
        let settled = || {
            let (a, b) = (devices(&home, "alice"), devices(&home, "bob"));
            let connected = sees(&home, "alice", "bob", "connected") && sees(&home, "bob", "alice", "connected");
            connected || (a.is_empty() && b.is_empty())
        };
        wait_until(PATIENCE, &format!("settled after {victim} died at {place}; join said {joined:?}"), settled);
        if !devices(&home, "alice").is_empty() {
            both += 1;
            home.run("--instance alice network revoke bob").ok();
            wait_until(PATIENCE, "bob forgot alice", || devices(&home, "bob").is_empty());
        } else {
            assert_ne!(joined.code, 0, "{place}: join said that it paired: {joined:?}");
        }
        // Whatever happened, a new code pairs them.
        home.run(&format!("--instance bob network pair join {}", code(&home, "alice"))).ok();
        home.run("--instance alice network revoke bob").ok();
        wait_until(PATIENCE, "bob forgot alice", || devices(&home, "bob").is_empty());
    }
    assert!(both > 0 && both < places.len(), "the crashes were not where they should be: {both} of {}", places.len());
}

#[test]
fn a_crash_while_the_identity_is_written_leaves_a_whole_one_or_none() {
    for place in ["identity.write.before", "identity.write.after"] {
        let home = home();
        Outcome::of(home.command(["start", "--instance", "a"]).env("SPACEDRIVE_FAIL", format!("{place}:1"))).ok();
        assert_ne!(home.run("--instance a network init --no-password").code, 0);
        wait_until(PATIENCE, "it dies", || home.run("--instance a daemon").code == 3);
        home.run("start --instance a").ok();
        let written = home.run("--instance a network status --json").ok().json()["id"].clone();
        assert_eq!(written.is_null(), place == "identity.write.before");
        let now = home.run("--instance a network init --no-password --json").ok().json();
        assert_eq!(now["created"], written.is_null());
        assert!(written.is_null() || now["id"] == written);
    }
}

/// After a full run with the most talkative log there is no trace of a password, a code or a key.
#[test]
fn secrets_are_nowhere_to_be_found() {
    const PASSWORD: &str = "correct-horse-battery-9";
    let home = home();
    for name in ["alice", "bob"] {
        let start = ["start", "-vv", "--no-mdns", "--enable-networking", "--instance", name];
        Outcome::of(home.command(start).env("SPACEDRIVE_PASSWORD", PASSWORD)).ok();
        let init = ["--instance", name, "network", "init", "--kdf", "8192,1,1"];
        Outcome::of(home.command(init).env("SPACEDRIVE_PASSWORD", PASSWORD)).ok();
    }
    let words = code(&home, "alice");
    Outcome::of(home.command(["--instance", "bob", "network", "pair", "join"]).env("SPACEDRIVE_PAIR_CODE", &words)).ok();
    until_connected(&home, "alice", "bob");
    home.run("--instance alice network pair status").ok();
    let list: Vec<&str> = words.split(' ').collect();
    // Single words of a code are common English; two beside each other are not.
    let mut needles: Vec<String> = list.windows(2).map(|pair| pair.join(" ")).collect();
    needles.extend(list.windows(2).map(|pair| pair.join("\",\"")));
    needles.push(PASSWORD.to_owned());
    let mut searched = 0;
    let mut search = |what: String, bytes: &[u8]| {
        searched += 1;
        for needle in &needles {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "a secret is in {what}");
        }
    };
    for name in ["alice", "bob"] {
        let pid = home.pid(name);
        for file in ["environ", "cmdline"] {
            // Not readable even by us when the daemon is not dumpable; then nobody else reads it either.
            if let Ok(bytes) = fs::read(format!("/proc/{pid}/{file}")) {
                search(format!("/proc of {name}: {file}"), &bytes);
            }
        }
        assert!(home.log(name).contains("TRACE"), "the log was to be talkative");
    }
    for path in home.files() {
        if let Ok(bytes) = fs::read(&path) {
            search(path, &bytes);
        }
    }
    for name in ["alice", "bob"] {
        search(format!("the log of {name}"), home.log(name).as_bytes());
    }
    assert!(searched > 10, "searched only {searched} places");
}
