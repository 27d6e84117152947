//! `kill -9` at every failpoint: a later run comes to the same end as one that was not killed, leaves nothing behind, and
//! what it did can be undone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use spacedrive_api::{Conflict, FileWork};
use spacedrive_core::operation::{self, Unwatched};
use spacedrive_core::undo::undo;
use spacedrive_core::{Error, failpoint};

use super::bench::{Bench, copy, delete, moving, no_leftovers, open, tree, with};

/// What the child is told: the root, the work, the failpoint.
const CHILD: &str = "SD_TEST_CHILD";

/// Run in a process of its own by the tests below: accepts the work, or undoes, and is killed on the way.
#[test]
fn child() {
    let Ok(orders) = std::env::var(CHILD) else { return };
    let (root, spec, work): (PathBuf, String, Option<FileWork>) = serde_json::from_str(&orders).unwrap();
    let (store, around) = open(&root);
    assert!(failpoint::arm(&spec));
    match work {
        Some(work) => {
            let id = operation::accept(&store, &around, &work).unwrap();
            operation::run(&store, &around, id, &Unwatched).unwrap();
        }
        None => drop(undo(&store, &around, &Unwatched).unwrap()),
    }
}

/// Runs the child; true when it came to its end, false when it was killed.
fn run_child(root: &Path, spec: &str, work: Option<&FileWork>) -> bool {
    let orders = serde_json::to_string(&(root, spec, work)).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::child", "--nocapture"])
        .env(CHILD, orders)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert!(status.success() || status.signal() == Some(9), "{spec}: {status:?}");
    status.success()
}

fn fill(bench: &Bench) {
    for (path, content) in [
        ("x/d/a", "a"),
        ("x/d/b", "new b"),
        ("x/d/e/c", "c"),
        ("x/d/e/f/g", "g"),
        ("x/h", "h"),
        ("y/d/b", "old b"),
        ("y/d/z", "z"),
    ] {
        at_a_fixed_time(&bench.write(path, content));
    }
    at_a_fixed_time(&bench.write("x/d/big", vec![7; 3 << 20]));
    fs::create_dir(bench.path("x/d/empty")).unwrap();
    symlink("nowhere", bench.path("x/d/link")).unwrap();
}

/// So that two benches have the same trees.
fn at_a_fixed_time(path: &Path) {
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 5);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

type Trees = [BTreeMap<Vec<u8>, String>; 2];

fn trees(bench: &Bench) -> Trees {
    ["x", "y"].map(|top| {
        let mut tree = tree(&bench.path(top));
        tree.retain(|path, _| !path.starts_with(b".Trash"));
        tree
    })
}

/// Kills a child at every passage of every failpoint whose name begins with one of `places`.
fn kill_everywhere(places: &[&str], at_least: u32, mut once: impl FnMut(&str) -> bool) {
    let mut kills = 0;
    for name in failpoint::ALL.iter().filter(|name| places.iter().any(|place| name.starts_with(place))) {
        for n in 1..100 {
            if once(&format!("{name}:{n}")) {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= at_least, "only {kills} kills");
}

fn survives(work: impl Fn(&Bench) -> FileWork, mount: bool, places: &[&str], at_least: u32) {
    let new = || {
        let bench = Bench::new();
        let mounted = mount.then(|| bench.tmpfs("y", "size=64m"));
        fill(&bench);
        (bench, mounted)
    };
    let (whole, _mounted) = new();
    let before = trees(&whole);
    let report = whole.run(&work(&whole)).unwrap();
    assert!(report.errors.is_empty(), "{report:?}");
    let after = trees(&whole);
    assert_ne!(before, after);

    kill_everywhere(places, at_least, |spec| {
        let (bench, _mounted) = new();
        let work = work(&bench);
        let done = run_child(&bench.root, spec, Some(&work));
        let operation = operation::list(&bench.store).unwrap().remove(0);
        // Twice over: a run that has ended changes nothing more.
        for _ in 0..2 {
            let resumed = bench.resume(operation.id).unwrap_or_else(|error| panic!("{spec}: {error}"));
            assert_eq!((resumed.files, resumed.errors.len()), (report.files, 0), "{spec}: {resumed:?}");
            assert_same(&trees(&bench), &after, spec);
        }
        no_leftovers(&bench.root);
        bench.undo().unwrap_or_else(|error| panic!("{spec}: {error}"));
        assert_same(&trees(&bench), &before, spec);
        done
    });

    // And the undo.
    kill_everywhere(&["undo.", "copy.batch"], 1, |spec| {
        let (bench, _mounted) = new();
        bench.run(&work(&bench)).unwrap();
        let done = run_child(&bench.root, spec, None);
        match bench.undo() {
            Ok(_) => assert!(!done),
            Err(Error::NothingToUndo) => assert!(done, "{spec}"),
            Err(error) => panic!("{spec}: {error}"),
        }
        assert_same(&trees(&bench), &before, spec);
        no_leftovers(&bench.root);
        done
    });
}

/// Compares without the times of folders, which each change of an entry sets.
#[track_caller]
fn assert_same(found: &Trees, expected: &Trees, spec: &str) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "killed at {spec}");
    }
}

#[test]
fn a_copy_survives() {
    survives(|b| with(copy(&b.path("x/d"), &b.path("y")), Conflict::Overwrite), false, &["copy."], 10);
    survives(|b| copy(&b.path("x/d"), &b.path("y")), false, &["copy."], 10);
}

#[test]
fn a_move_survives() {
    survives(|b| with(moving(&b.path("x/d"), &b.path("y")), Conflict::Overwrite), false, &["copy.batch", "copy.replace"], 5);
    // Renamed whole.
    survives(|b| moving(&b.path("x/d"), &b.path("y/new")), false, &["copy.batch"], 3);
    survives(|b| moving(&b.path("x/h"), &b.path("y")), false, &["copy.batch"], 3);
}

#[test]
fn a_deletion_survives() {
    survives(|b| delete(&b.path("x/d")), false, &["delete."], 1);
}

#[test]
fn a_move_to_another_file_system_survives() {
    if spacedrive_testing::root_or_skip("it mounts a file system") {
        survives(|b| moving(&b.path("x/d"), &b.path("y/moved")), true, &["copy."], 10);
    }
}

/// Stops the work at its n-th look.
struct Interrupter(std::sync::atomic::AtomicI64);

impl operation::Watch for Interrupter {
    fn check(&self) -> spacedrive_core::Result<()> {
        match self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) {
            1 => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_pause_at_any_moment_changes_nothing() {
    let works: [fn(&Bench) -> FileWork; 4] = [
        |b| with(copy(&b.path("x/d"), &b.path("y")), Conflict::Overwrite),
        |b| copy(&b.path("x/d"), &b.path("y")),
        |b| with(moving(&b.path("x/d"), &b.path("y")), Conflict::Newer),
        |b| delete(&b.path("x/d")),
    ];
    for work in works {
        let whole = Bench::new();
        fill(&whole);
        let before = trees(&whole);
        whole.run(&work(&whole)).unwrap();
        let after = trees(&whole);
        for n in 1.. {
            let bench = Bench::new();
            fill(&bench);
            let id = operation::accept(&bench.store, &bench.around, &work(&bench)).unwrap();
            let run = operation::run(&bench.store, &bench.around, id, &Interrupter(n.into()));
            no_leftovers(&bench.root);
            let interrupted = matches!(run, Err(Error::Interrupted));
            assert!(interrupted || run.is_ok(), "{run:?}");
            if interrupted && n % 2 == 0 {
                // Cancelled there, what was done so far can be undone.
                operation::clean_up(&bench.store, &bench.around, id).unwrap();
                operation::set_state(&bench.store, id, operation::OperationState::Cancelled, "").unwrap();
                let undone = bench.undo();
                assert!(matches!(undone, Ok(_) | Err(Error::NothingToUndo)), "{undone:?}");
                assert_same(&trees(&bench), &before, &format!("cancelled at {n}"));
                continue;
            }
            bench.resume(id).unwrap();
            assert_same(&trees(&bench), &after, &format!("paused at {n}"));
            if !interrupted {
                assert!(n > 1);
                break;
            }
        }
    }
}
