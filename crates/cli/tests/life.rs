//! The life of instances: created, started, copied, renamed, removed, restored, tidied up.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use spacedrive_testing::{Guarded, Home, Lab, Oracle, Outcome, tree_hash};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_spacedrive"))
}

fn lab(instances: &[&str]) -> Lab {
    Lab::start(env!("CARGO_BIN_EXE_spacedrive"), instances)
}

fn library_names(home: &Home, instance: &str) -> BTreeSet<String> {
    let list = home.run(&format!("--instance {instance} library list --json")).ok().json();
    list.as_array().unwrap().iter().map(|library| library["name"].as_str().unwrap().to_owned()).collect()
}

fn id(home: &Home, instance: &str) -> String {
    home.run(&format!("--instance {instance} daemon --json")).ok().json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn create_makes_an_instance_and_does_not_start_it() {
    let home = home();
    let made = home.run("instance create alice --json").ok().json();
    assert_eq!((made["name"].as_str(), made["status"].as_str()), (Some("alice"), Some("stopped")), "{made}");
    let dir = home.data_dir("alice");
    assert_eq!(made["data_dir"], dir.to_str().unwrap());
    for file in ["spacedrive.json", "cli_state.json", "instance.db"] {
        assert_eq!(fs::metadata(dir.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    assert_eq!(fs::metadata(dir.join("libraries")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(home.run_dir()).unwrap().count(), 0, "nothing runs");
    home.run("instance create alice").exits(6).says("exists already");
    home.run("instance create ALICE").exits(6).says("only in case");
    let id_before = fs::read_to_string(dir.join("spacedrive.json")).unwrap();
    home.run("start --instance alice").ok();
    assert!(id_before.contains(&id(&home, "alice")));
    home.run("instance create default").ok();
    home.run("instance create default").exits(6);
}

#[test]
fn create_takes_the_data_root_that_it_is_told() {
    let home = home();
    let root = home.path().join("elsewhere");
    home.run(&format!("instance create bob --data-dir {}", root.display())).ok();
    assert!(root.join("instance-bob/spacedrive.json").is_file());
    home.run("instance start bob").ok();
    let status = home.run("instance status bob --json").ok().json();
    assert_eq!(status["instance"]["data_dir"], root.join("instance-bob").to_str().unwrap());
    assert!(!home.data_dir("bob").exists());
}

#[test]
fn several_start_and_restart_at_once() {
    let home = home();
    let started = home.run("instance start alice bob --json").ok().json();
    assert_eq!(started.as_array().unwrap().len(), 2);
    home.run("--instance alice library create One").ok();
    let before = [home.pid("alice"), home.pid("bob")];
    // Restarting keeps the data dir, even where the current folder has another one.
    let elsewhere = home.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("data/sd-cli-data/instance-alice")).unwrap();
    fs::set_permissions(elsewhere.join("data/sd-cli-data/instance-alice"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::copy(home.data_dir("alice").join("spacedrive.json"), elsewhere.join("data/sd-cli-data/instance-alice/spacedrive.json"))
        .unwrap();
    Outcome::of(home.command(["instance", "restart", "alice", "bob"]).current_dir(&elsewhere)).ok();
    assert!(home.pid("alice") != before[0] && home.pid("bob") != before[1]);
    assert!(library_names(&home, "alice").contains("One"));
    home.run("stop --all").ok();
    let restarted = home.run("instance restart alice").ok();
    assert!(restarted.stdout.contains("Started"), "{restarted:?}");
    home.run("stop --all").ok();
    assert_eq!(home.run("instance start --all --json").ok().json().as_array().unwrap().len(), 2);
    home.run("instance restart --all").ok();
    home.run("instance start").exits(2);
    home.run("instance start --all alice").exits(2);
}

#[test]
fn one_that_fails_to_start_hinders_no_other() {
    let home = home();
    home.run("instance create bad").ok();
    fs::write(home.data_dir("bad").join("spacedrive.json"), "{").unwrap();
    let started = home.run("instance start bad good --json").exits(10);
    assert!(started.stderr.contains("bad: "), "{started:?}");
    assert_eq!(started.json()[0]["name"], "good");
    home.run("instance start bad").exits(7);
}

#[test]
fn status_tells_of_a_stopped_instance_too() {
    let lab = lab(&["alice"]);
    lab.run("--instance alice library create One").ok();
    let status = lab.run("instance status alice").ok();
    assert!(status.stdout.contains("is running") && status.stdout.contains("One"), "{status:?}");
    let status = lab.run("instance status alice --json").ok().json();
    assert_eq!((status["instance"]["status"].as_str(), status["libraries"][0]["name"].as_str()), (Some("running"), Some("One")));
    lab.run("instance stop alice").ok();
    let status = lab.run("instance status alice --json").exits(3);
    assert_eq!(status.json()["instance"]["status"], "stopped");
    assert_eq!(status.json()["instance"]["data_dir"], lab.data_dir("alice").to_str().unwrap());
    // Without a name it is the current instance.
    Outcome::of(lab.command(["instance", "status"]).env("SPACEDRIVE_INSTANCE", "alice")).exits(3).says("alice");
}

#[test]
fn logs_are_shown_filtered_and_followed() {
    let lab = lab(&["alice"]);
    let all = lab.run("instance logs alice").ok().stdout;
    assert!(all.contains("INFO spacedrive_daemon::boot: ready"), "{all}");
    assert_eq!(lab.run("instance logs alice -n 1").ok().stdout.lines().count(), 1);
    assert_eq!(lab.run("instance logs alice --level error").ok().stdout, "");
    let entries = lab.run("instance logs alice --json --since 10m").ok().json_lines();
    assert!(entries.iter().all(|e| e["time"].is_string() && e["level"] == "info" && e["target"].is_string()), "{entries:?}");
    assert_eq!(lab.run("instance logs alice --since 2999-01-01").ok().stdout, "");
    lab.run("instance logs alice --since yesterday").exits(2);

    let follow = lab.command(["instance", "logs", "alice", "--follow", "-n", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut follow = Guarded(follow);
    let mut lines = BufReader::new(follow.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The follower has begun when it has shown what is there.
    assert!(lines.next().is_some());
    lab.run("instance restart alice").ok();
    assert!(lines.any(|line| line.contains("stopped")));
    assert!(lines.any(|line| line.contains("ready")));
    // A rotated log is followed into the new file.
    let log = lab.data_dir("alice").join("logs/daemon.log");
    lab.run("instance stop alice").ok();
    fs::rename(&log, log.with_extension("log.1")).unwrap();
    lab.run("instance start alice").ok();
    assert!(lines.any(|line| line.contains("ready")));
    drop(follow);
    // The older part comes first.
    let both = lab.run("instance logs alice --json").ok().json_lines();
    assert!(both.windows(2).all(|pair| pair[0]["time"].as_str() <= pair[1]["time"].as_str()), "{both:?}");
    assert!(both.len() > lab.log("alice").lines().count());
}

#[test]
fn rename_takes_everything_along() {
    let lab = lab(&["alice"]);
    lab.run("--instance alice library create Open").ok();
    lab.run("--instance alice library create Closed").ok();
    lab.run("--instance alice library close").ok();
    lab.run("--instance alice library create Gone").ok();
    lab.run("--instance alice library delete Gone --yes").ok();
    let id_before = id(&lab, "alice");
    lab.run("instance rename alice carol").exits(6).says("is running");
    lab.run("instance stop alice").ok();
    lab.run("instance create bob").ok();
    lab.run("instance rename alice bob").exits(6).says("exists already");
    lab.run("instance rename alice carol").ok();
    lab.run("instance start alice2 carol").ok();
    assert!(!lab.data_dir("alice").exists());
    assert_eq!(id(&lab, "carol"), id_before);
    let list = lab.run("--instance carol library list --json").ok().json();
    let states: Vec<_> =
        list.as_array().unwrap().iter().map(|l| (l["name"].as_str().unwrap(), l["state"].as_str().unwrap())).collect();
    assert_eq!(states, [("Closed", "closed"), ("Open", "open")]);
    lab.run("--instance carol library restore Gone").ok();
    lab.run("instance stop alice").exits(4);
    lab.run("instance stop carol").ok();
    lab.run("instance rename carol Carol").ok();
    lab.run("instance rename Carol default").exits(2);
    lab.run("instance rename default other").exits(4);
}

#[test]
fn a_clone_under_load_has_everything_that_was_acknowledged_before() {
    let lab = lab(&["alice"]);
    let oracle = Oracle::new(&lab);
    for n in 0..5 {
        assert!(oracle.create_library(&lab, "alice", &format!("before-{n}")));
    }
    let cloned = std::thread::scope(|scope| {
        let load = scope.spawn(|| (0..30).all(|n| oracle.create_library(&lab, "alice", &format!("during-{n}"))));
        let mut cloned = Vec::new();
        while !load.is_finished() {
            let name = format!("copy{}", cloned.len());
            lab.run(&format!("instance clone alice {name}")).ok();
            cloned.push(name);
        }
        assert!(load.join().unwrap());
        cloned
    });
    oracle.check(&lab, "alice");
    for name in &cloned {
        let dir = lab.data_dir(name);
        for absent in ["logs", "trash", "network_identity.json"] {
            assert!(!dir.join(absent).exists(), "{absent}");
        }
        lab.run(&format!("instance start {name}")).ok();
        let names = library_names(&lab, name);
        assert!((0..5).all(|n| names.contains(&format!("before-{n}"))), "{names:?}");
        oracle_check_all_open(&lab, name);
        assert_ne!(id(&lab, name), id(&lab, "alice"));
        lab.run(&format!("instance stop {name}")).ok();
    }
    let root = lab.data_dir("default");
    assert!(fs::read_dir(root).unwrap().flatten().all(|e| e.file_name().to_string_lossy().starts_with("instance-")));
}

fn oracle_check_all_open(home: &Home, instance: &str) {
    let list = home.run(&format!("--instance {instance} library list --json")).ok().json();
    assert!(list.as_array().unwrap().iter().all(|library| library["state"] == "open"), "{list}");
    Oracle::new(home).check(home, instance);
}

#[test]
fn a_clone_of_the_stopped_default_has_none_of_the_others() {
    let lab = lab(&["default", "alice"]);
    lab.run("library create One").ok();
    let outside = lab.path().join("outside");
    lab.run(&format!("library create Two --path {}", outside.display())).ok();
    lab.run("stop").ok();
    // A daemon that ends leaves an empty journal now and then, which goes when its database is opened again.
    let is_journal = |path: &Path| path.to_str().is_some_and(|path| path.ends_with("-wal") || path.ends_with("-shm"));
    let hash = || {
        tree_hash(&lab.data_dir("default"), |path| {
            let other = path.starts_with(lab.data_dir("alice")) || path.ends_with("instance-trial");
            other || path.ends_with("daemon.lock") || is_journal(path)
        })
    };
    let before = hash();
    let cloned = lab.run("instance clone default trial --json").ok().json();
    assert_eq!(cloned["libraries"], serde_json::json!(["One", "Two"]));
    assert_eq!(before, hash(), "the source is as it was");
    let trial = lab.data_dir("trial");
    assert!(!trial.join("instance-alice").exists() && !trial.join("instance-trial").exists());
    lab.run("instance start trial default").ok();
    // Both have their own copy of the library that lies outside.
    assert_eq!(library_names(&lab, "trial"), library_names(&lab, "default"));
    oracle_check_all_open(&lab, "trial");
    assert_eq!(
        lab.run("--instance trial library current --json").ok().json()["id"],
        lab.run("library current --json").ok().json()["id"]
    );
    lab.run("instance clone default trial").exits(6);
    lab.run("instance clone trial default").exits(2);
}

#[test]
fn a_clone_tells_what_it_could_not_copy() {
    let lab = lab(&["alice"]);
    lab.run("--instance alice library create Good").ok();
    lab.run("--instance alice library create Bad").ok();
    lab.run("instance stop alice").ok();
    fs::write(lab.data_dir("alice").join("libraries/Bad.sdlibrary/library.db"), "not a database").unwrap();
    for _ in 0..2 {
        let cloned = lab.run("instance clone alice copy --json").exits(10);
        assert_eq!(cloned.json()["libraries"], serde_json::json!(["Good"]), "{cloned:?}");
        assert!(cloned.json()["skipped"][0]["path"].as_str().unwrap().ends_with("Bad.sdlibrary"));
        lab.run("instance remove copy --purge --yes").ok();
        // Once more with the daemon running.
        lab.run("instance start alice").ok();
    }
}

#[test]
fn a_clone_that_fails_leaves_nothing() {
    let home = home();
    Outcome::of(home.command(["start", "--instance", "alice"]).env("SPACEDRIVE_FAIL", "instance.clone.library:1")).ok();
    home.run("--instance alice library create One").ok();
    let killed = home.run("instance clone alice copy");
    assert!([3, 8].contains(&killed.code), "{killed:?}");
    let left = fs::read_dir(home.data_dir("default")).unwrap().flatten().map(|e| e.file_name()).collect::<Vec<_>>();
    assert_eq!(left, ["instance-alice"]);
    home.run("instance status copy").exits(4);
    // Killed itself, the copy is left half made, and cleaned up.
    Outcome::of(home.command(["instance", "clone", "alice", "copy"]).env("SPACEDRIVE_FAIL", "instance.clone.library:1"))
        .exits(-1);
    home.run("instance status copy").exits(4);
    let cleaned = home.run("instance clean --json").ok().json();
    assert!(cleaned.as_array().unwrap().iter().any(|c| c["kind"] == "unfinished instance" && c["removed"] == true), "{cleaned}");
    home.run("instance clone alice copy").ok();
}

#[test]
fn remove_asks_and_restore_undoes_it() {
    let lab = lab(&["alice"]);
    lab.run("--instance alice library create One").ok();
    lab.run("instance remove alice --yes").exits(6).says("is running");
    lab.run("instance stop alice").ok();
    lab.run("instance remove alice").exits(2).says("nobody confirmed");
    assert!(lab.data_dir("alice").exists());
    let before = tree_hash(&lab.data_dir("alice"), |path| path.ends_with("daemon.lock"));
    let removed = lab.run("instance remove alice --yes --json").ok().json();
    assert!(Path::new(removed["trash"].as_str().unwrap()).join("libraries/One.sdlibrary/library.db").is_file());
    assert!(!lab.data_dir("alice").exists());
    lab.run("instance status alice").exits(4);
    assert_eq!(lab.run("instance list --json").ok().json(), serde_json::json!([]));
    assert_eq!(lab.run("instance restore --json").ok().json()[0]["name"], "alice");
    assert_eq!(lab.run("instance clean --json").ok().json(), serde_json::json!([]), "the trash is no rubbish");

    // Restored from another folder, by its record.
    let elsewhere = lab.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    lab.run("instance restore alcie").exits(4).says("alice");
    Outcome::of(lab.command(["instance", "restore", "alice"]).current_dir(&elsewhere)).ok();
    assert_eq!(tree_hash(&lab.data_dir("alice"), |path| path.ends_with("daemon.lock")), before);
    assert!(!lab.data_dir("default").join(".spacedrive-trash").exists(), "an empty trash is removed");
    lab.run("instance start alice").ok();
    assert!(library_names(&lab, "alice").contains("One"));
    lab.run("instance restore alice").exits(4);
}

#[test]
fn what_is_there_again_is_not_overwritten_by_a_restore() {
    let home = home();
    home.run("instance create alice").ok();
    home.run("instance remove alice --yes").ok();
    home.run("instance create alice").ok();
    home.run("instance restore alice").exits(6).says("exists already");
    home.run("instance remove alice --yes --purge").ok();
    assert_eq!(home.run("instance restore --json").ok().json().as_array().unwrap().len(), 1);
    home.run("instance restore alice").ok();
    home.run("instance remove alice --purge --yes").ok();
    assert!(!home.data_dir("alice").exists());
    assert_eq!(home.run("instance restore --json").ok().json(), serde_json::json!([]));
}

#[test]
fn removing_the_default_spares_the_others() {
    let lab = lab(&["default", "alice", "bob"]);
    lab.run("library create Mine").ok();
    lab.run("--instance alice library create Hers").ok();
    lab.run("instance stop bob").ok();
    lab.run("stop").ok();
    let root = lab.data_dir("default");
    fs::write(root.join("nobody's"), "x").unwrap();
    let others = |path: &Path| path.ends_with("daemon.log") || path.ends_with(".spacedrive-trash");
    let hash = |name: &str| tree_hash(&lab.data_dir(name), others);
    let (pid, bob) = (lab.pid("alice"), hash("bob"));
    let before = tree_hash(&root, |path| path.starts_with(lab.data_dir("alice")) || path.ends_with("daemon.lock"));
    lab.run("instance remove default --yes").ok();
    let mut left: Vec<_> = fs::read_dir(&root).unwrap().flatten().map(|e| e.file_name()).collect();
    left.sort();
    assert_eq!(left, [".spacedrive-trash", "instance-alice", "instance-bob", "nobody's"]);
    assert_eq!((lab.pid("alice"), hash("bob")), (pid, bob));
    lab.run("--instance alice daemon").ok();
    lab.run("instance status default").exits(4);
    lab.run("instance restore default").ok();
    let after = tree_hash(&root, |path| path.starts_with(lab.data_dir("alice")) || path.ends_with("daemon.lock"));
    assert_eq!(after, before);
    lab.run("start").ok();
    assert!(library_names(&lab, "default").contains("Mine"));
}

#[test]
fn a_removal_of_the_default_that_was_killed_goes_on() {
    let home = home();
    home.run("start").ok();
    home.run("library create Mine").ok();
    home.run("stop").ok();
    let root = home.data_dir("default");
    let hash = || tree_hash(&root, |path| path.ends_with("daemon.lock"));
    let before = hash();
    for n in 1..=4 {
        Outcome::of(
            home.command(["instance", "remove", "default", "--yes"]).env("SPACEDRIVE_FAIL", format!("instance.remove.piece:{n}")),
        )
        .exits(-1);
        // In between nothing starts as if it were new.
        home.run("start").exits(7).says("missing");
        home.run("instance remove default --yes").ok();
        let restore = || home.command(["instance", "restore", "default"]);
        Outcome::of(restore().env("SPACEDRIVE_FAIL", format!("instance.remove.piece:{n}"))).exits(-1);
        Outcome::of(&mut restore()).ok();
        assert_eq!(hash(), before, "{n}");
    }
}

#[test]
fn destructive_verbs_take_no_name_from_the_environment() {
    let home = home();
    home.run("instance create alice").ok();
    for verb in ["remove", "rename", "clone", "restart"] {
        Outcome::of(home.command(["instance", verb]).env("SPACEDRIVE_INSTANCE", "alice")).exits(2);
    }
    home.run("--instance bob instance remove alice --yes").exits(2).says("contradicts");
    assert!(home.data_dir("alice").exists());
}

#[test]
fn clean_removes_only_what_is_provably_dead() {
    let lab = lab(&["dead", "alive", "stopped"]);
    lab.run("instance stop stopped").ok();
    lab.kill("dead");
    // What is not ours to judge: a file in a socket's place, a link, a listener that is no daemon.
    fs::write(lab.run_dir().join("spacedrive-file.sock"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", lab.run_dir().join("spacedrive-link.pid")).unwrap();
    let _listener = UnixListener::bind(lab.run_dir().join("spacedrive-other.sock")).unwrap();
    // A record whose data are gone, and one whose disk is.
    lab.run("instance create lost").ok();
    fs::remove_dir_all(lab.data_dir("lost")).unwrap();
    let record = lab.path().join("state/spacedrive/instances/away.json");
    let json = r#"{"name":"away","data_dir":"/mnt/disk-that-is-not-there/instance-away","socket":"/tmp/x.sock"}"#;
    fs::write(&record, json).unwrap();

    let files = lab.files();
    let would = lab.run("instance clean --dry-run --json").ok().json();
    assert_eq!(lab.files(), files, "a dry run changes nothing");
    let cleaned = lab.run("instance clean --json").ok().json();
    let kinds = |list: &serde_json::Value| -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let name = |path: &serde_json::Value| text(path).rsplit('/').next().unwrap().to_owned();
        list.as_array().unwrap().iter().map(|c| (text(&c["kind"]), name(&c["path"]))).collect()
    };
    let expected = [
        ("socket", "spacedrive-dead.sock"),
        ("pid file", "spacedrive-dead.pid"),
        ("lock", "spacedrive-dead.lock"),
        ("record", "lost.json"),
    ];
    assert_eq!(kinds(&cleaned), expected.map(|(kind, file)| (kind.to_owned(), file.to_owned())));
    assert_eq!(kinds(&would), kinds(&cleaned));
    let left: BTreeSet<_> = lab.files().into_iter().collect();
    let gone = files.iter().filter(|file| !left.contains(*file)).count();
    assert_eq!(gone, 4, "nothing else is gone");
    lab.run("--instance alive daemon").ok();
    assert!(lab.run("instance clean").ok().stdout.contains("Nothing to clean"));
    lab.run("instance start dead").ok();
}

#[test]
fn a_misspelt_name_is_an_error_and_makes_nothing() {
    let home = home();
    home.run("instance create alice").ok();
    let files = home.files();
    for verb in ["status", "logs", "env", "url", "restart", "stop"] {
        home.run(&format!("instance {verb} alcie")).exits(4).says("alice");
    }
    home.run("instance remove alcie --yes").exits(4).says("alice");
    home.run("instance rename alcie bob").exits(4).says("alice");
    home.run("instance clone alcie bob").exits(4).says("alice");
    home.run("instance exec alcie -- true").exits(4).says("alice");
    home.run("instance restore alcie").exits(4);
    for name in ["../x", "a/b", "", ".", "a b", "con", "é", &"x".repeat(65)] {
        for verb in ["create", "start", "restart", "status", "logs", "remove", "restore", "env", "url", "stop"] {
            home.run_args(["instance", verb, name]).exits(2);
        }
        home.run_args(["instance", "rename", "alice", name]).exits(2);
        home.run_args(["instance", "clone", "alice", name]).exits(2);
        home.run_args(["instance", "exec", name, "--", "true"]).exits(2);
    }
    assert_eq!(home.files(), files);
}

#[test]
fn an_environment_makes_an_instance_the_shells_own() {
    let lab = lab(&["default", "alice"]);
    let script = r#"
        mkdir elsewhere; cd elsewhere
        eval "$(spacedrive instance env alice)"
        spacedrive instance current
        spacedrive library create Hers >&2
        eval "$(spacedrive instance env --unset)"
        spacedrive instance current
    "#;
    let outcome = Outcome::of(&mut lab.shell(script)).ok();
    assert_eq!(outcome.stdout.lines().map(|l| l.split(' ').next().unwrap()).collect::<Vec<_>>(), ["alice", "default"]);
    assert!(library_names(&lab, "alice").contains("Hers"));
    let fish = lab.run("instance env alice --shell fish").ok().stdout;
    assert!(fish.starts_with("set -gx SPACEDRIVE_INSTANCE 'alice'"), "{fish}");
    let json = lab.run("instance env alice --json").ok().json();
    assert_eq!(json["SPACEDRIVE_DATA_DIR"], lab.data_dir("default").to_str().unwrap());
}

#[test]
fn exec_runs_a_command_for_each() {
    let lab = lab(&["alice", "bob"]);
    lab.run("instance exec alice -- spacedrive library create Hers").ok();
    assert!(library_names(&lab, "alice").contains("Hers") && library_names(&lab, "bob").is_empty());
    let names = lab.run_args(["instance", "exec", "--all", "--", "sh", "-c", "echo $SPACEDRIVE_INSTANCE"]).ok();
    assert_eq!(names.stdout, "alice\nbob\n");
    assert!(names.stderr.contains("==> alice <=="));
    lab.run_args(["instance", "exec", "alice", "--", "sh", "-c", "exit 42"]).exits(42);
    let only = "test $SPACEDRIVE_INSTANCE = alice";
    lab.run_args(["instance", "exec", "--all", "--", "sh", "-c", only]).exits(10).says("bob (1)");
    lab.run("instance exec alice -- no-such-program").exits(4);
    lab.run("instance exec alice").exits(2);
}

#[test]
fn url_and_prompt() {
    let lab = lab(&["alice"]);
    let url = lab.run("instance url alice").ok().stdout;
    assert_eq!(url.trim(), format!("unix://{}", lab.socket("alice").display()));
    assert_eq!(lab.run("instance prompt").ok().stdout, "");
    assert_eq!(lab.run("instance prompt --always").ok().stdout, "default!\n");
    assert_eq!(lab.run("--instance alice instance prompt").ok().stdout, "alice\n");
    lab.run("instance stop alice").ok();
    let prompt = Outcome::of(lab.command(["instance", "prompt"]).env("SPACEDRIVE_INSTANCE", "alice")).ok();
    assert_eq!(prompt.stdout, "alice!\n");
}

#[test]
fn a_deleted_library_is_restored() {
    let lab = lab(&["alice"]);
    let made = lab.run("--instance alice library create One --json").ok().json();
    let outside = lab.path().join("outside");
    lab.run(&format!("--instance alice library create Two --path {}", outside.display())).ok();
    for name in ["One", "Two"] {
        lab.run(&format!("--instance alice library delete {name} --yes")).ok();
    }
    let deleted = lab.run("--instance alice library restore --json").ok().json();
    let names: Vec<_> = deleted.as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Two", "One"]);
    let restored = lab.run("--instance alice library restore One --json").ok().json();
    assert_eq!((&restored["id"], &restored["path"], &restored["current"]), (&made["id"], &made["path"], &true.into()));
    lab.run("--instance alice library restore One").exits(4);
    lab.run("--instance alice library restore Tow").exits(4).says("Two");
    lab.run("--instance alice library create Two").ok();
    lab.run("--instance alice library restore Two").exits(6);
    lab.run("--instance alice library delete Two --yes --purge").ok();
    lab.run("--instance alice library restore Two").ok();
    assert!(outside.join("Two.sdlibrary/library.db").is_file());
    lab.run("instance restart alice").ok();
    oracle_check_all_open(&lab, "alice");
}
