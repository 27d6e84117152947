//! Full, read-only and other file systems; sources and targets that change meanwhile; requests that cannot be meant.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use spacedrive_api::{Conflict, FileAction};
use spacedrive_core::operation::{self, Unwatched, Watch};
use spacedrive_core::{Error, Result};

use super::bench::{Bench, Mounted, copy, delete, moving, no_leftovers, tree, with, work};

#[test]
fn what_does_not_fit_is_refused_before_the_first_byte() {
    if !spacedrive_testing::root_or_skip("it mounts a file system") {
        return;
    }
    let bench = Bench::new();
    let _mounted = bench.tmpfs("small", "size=1m");
    let source = bench.write("x/big", vec![1; 4 << 20]);
    for request in [copy(&source, &bench.path("small")), moving(&source, &bench.path("small"))] {
        let error = bench.run(&request).unwrap_err();
        assert!(matches!(error, Error::NoSpace { need, have, .. } if need >= 4 << 20 && have <= 1 << 20), "{error}");
        assert_eq!(fs::read_dir(bench.path("small")).unwrap().count(), 0);
        assert_eq!(fs::metadata(&source).unwrap().len(), 4 << 20);
    }
}

/// Fills the disk once the first byte is written.
struct Filler<'a>(&'a Bench, AtomicU64);

impl Watch for Filler<'_> {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn done(&self, _files: u64, bytes: u64) {
        if bytes > 0 && self.1.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = fs::write(self.0.path("small/filler"), vec![0; 64 << 20]);
        }
    }
}

#[test]
fn a_disk_that_fills_up_leaves_no_half_file_and_the_rest_can_follow() {
    if !spacedrive_testing::root_or_skip("it mounts a file system") {
        return;
    }
    let bench = Bench::new();
    let _mounted = bench.tmpfs("small", "size=40m");
    for n in 0..4 {
        bench.write(&format!("x/{n}"), vec![n; 9 << 20]);
    }
    let before = tree(&bench.path("x"));
    for request in [copy(&bench.path("x"), &bench.path("small/copy")), moving(&bench.path("x"), &bench.path("small/moved"))] {
        let id = operation::accept(&bench.store, &bench.around, &request).unwrap();
        let error = operation::run(&bench.store, &bench.around, id, &Filler(&bench, AtomicU64::new(0))).unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull), "{error}");
        no_leftovers(&bench.path("small"));
        for (path, file) in tree(&bench.path("small")) {
            let name = String::from_utf8(path).unwrap();
            if let Some((_, name)) = name.split_once('/') {
                assert_eq!(Some(&file), before.get(name.as_bytes()), "{name} is half there");
            }
        }
        // With space again the same operation goes on.
        fs::remove_file(bench.path("small/filler")).unwrap();
        let report = bench.resume(id).unwrap();
        assert_eq!((report.files, report.errors.len()), (4, 0), "{report:?}");
        let target = request.target.unwrap().0;
        assert_eq!(tree(&target), before);
        assert_eq!(bench.path("x").exists(), request.action == FileAction::Copy);
        if request.action == FileAction::Copy {
            fs::remove_dir_all(target).unwrap();
        }
    }
}

#[test]
fn a_read_only_place_is_left_as_it_is() {
    if !spacedrive_testing::root_or_skip("it mounts a file system") {
        return;
    }
    let bench = Bench::new();
    bench.write("ro/old", "old");
    let source = bench.write("x/new", "new");
    let path = bench.path("ro");
    assert!(Command::new("mount").arg("--bind").arg(&path).arg(&path).status().unwrap().success());
    let _mounted = Mounted(path.clone());
    assert!(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&path).status().unwrap().success());
    for request in [copy(&source, &path), moving(&source, &path)] {
        let error = bench.run(&request).unwrap_err();
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem), "{error}");
    }
    assert!(bench.run(&delete(&path.join("old"))).is_err() || path.join("old").exists());
    // Out of it a move leaves the source, and says so.
    let report = bench.run(&moving(&path.join("old"), &bench.path("x"))).unwrap();
    assert_eq!(report.errors.len(), 1, "{report:?}");
    assert!(path.join("old").exists());
    assert_eq!(fs::read(bench.path("x/old")).unwrap(), b"old");
    assert_eq!(fs::read(&source).unwrap(), b"new");
}

/// Changes the source whenever bytes were copied.
struct Changer(std::path::PathBuf, AtomicU64, u64);

impl Watch for Changer {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn done(&self, _files: u64, bytes: u64) {
        if bytes > 0 && self.1.fetch_add(1, Ordering::SeqCst) < self.2 {
            use std::io::Write;
            fs::OpenOptions::new().append(true).open(&self.0).unwrap().write_all(b"more").unwrap();
        }
    }
}

#[test]
fn a_source_that_changes_is_told_and_never_half_copied() {
    let bench = Bench::new();
    let source = bench.write("x/log", vec![1; 100_000]);
    bench.write("x/quiet", "q");
    fs::create_dir(bench.path("y")).unwrap();
    let run = |times, target: &str| {
        let request = copy(&bench.path("x"), &bench.path(target));
        let id = operation::accept(&bench.store, &bench.around, &request).unwrap();
        operation::run(&bench.store, &bench.around, id, &Changer(source.clone(), AtomicU64::new(0), times)).unwrap()
    };
    let report = run(u64::MAX, "y/always");
    assert_eq!((report.files, report.errors.len()), (1, 1), "{report:?}");
    assert!(report.errors[0].message.contains("changed"), "{report:?}");
    assert!(!bench.path("y/always/log").exists() && bench.path("y/always/quiet").exists());
    no_leftovers(&bench.root);
    // Once is tried again.
    let report = run(1, "y/once");
    assert!(report.errors.is_empty(), "{report:?}");
    assert_eq!(fs::read(bench.path("y/once/log")).unwrap(), fs::read(&source).unwrap());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let bench = Bench::new();
    let file = bench.write("x/d/f", "f");
    bench.write("protected/data", "p");
    fs::create_dir(bench.path("y")).unwrap();
    symlink(bench.path("x/d"), bench.path("y/link")).unwrap();
    let before = tree(&bench.root);
    let dir = bench.path("x/d");
    let cases = [
        copy(&dir, &dir),
        copy(&dir, &bench.path("x/d/deeper")),
        copy(&bench.path("x"), &bench.path("y/link")),
        moving(&bench.path("x"), &bench.path("x/d")),
        copy(&bench.path("none"), &bench.path("y")),
        copy(&file, &bench.path("none/deep/er")),
        copy(&file, &bench.path("new/")),
        work(FileAction::Copy, &[&file, &dir], Some(&bench.path("new"))),
        work(FileAction::Copy, &[&file], None),
        work(FileAction::Copy, &[], Some(&dir)),
        copy(std::path::Path::new("relative"), &dir),
        moving(&bench.path("protected"), &bench.path("y")),
        delete(&bench.path("protected")),
        delete(&bench.root),
        delete(std::path::Path::new("/")),
        delete(&bench.path("none")),
        delete(&bench.path("x/d/..")),
    ];
    for case in cases {
        assert!(bench.run(&case).is_err(), "{case:?}");
        assert!(operation::dry_run(&bench.around, &case, &Unwatched).is_err(), "{case:?}");
    }
    let mut after = tree(&bench.root);
    after.retain(|path, _| !path.starts_with(b"home"));
    let mut before = before;
    before.retain(|path, _| !path.starts_with(b"instance.db"));
    after.retain(|path, _| !path.starts_with(b"instance.db"));
    assert_eq!(after, before);
}

#[test]
fn a_dry_run_tells_what_would_be_and_changes_nothing() {
    let bench = Bench::new();
    bench.write("x/d/a", "aaaa");
    bench.write("x/d/e/b", "bb");
    bench.write("y/d/a", "old");
    let before = tree(&bench.root);
    for (conflict, files, bytes, skipped) in
        [(Conflict::Rename, 2, 6, 0), (Conflict::Skip, 1, 2, 1), (Conflict::Overwrite, 2, 6, 0)]
    {
        let request = with(copy(&bench.path("x/d"), &bench.path("y")), conflict);
        let report = operation::dry_run(&bench.around, &request, &Unwatched).unwrap();
        assert_eq!((report.files, report.bytes, report.skipped), (files, bytes, skipped), "{conflict:?}");
        assert_eq!(tree(&bench.root), before);
    }
}

#[test]
fn undo_says_why_not() {
    let bench = Bench::new();
    let refused = |what: &str| match bench.undo() {
        Err(error @ Error::CannotUndo { .. }) => assert!(error.to_string().contains(what), "{error}"),
        other => panic!("{other:?}"),
    };
    assert!(matches!(bench.undo(), Err(Error::NothingToUndo)));
    bench.write("x/d/a", "a");
    fs::create_dir(bench.path("y")).unwrap();
    let copied = || bench.run(&copy(&bench.path("x/d"), &bench.path("y"))).map(drop).unwrap();
    copied();
    bench.write("y/d/new", "new");
    refused("put there since");
    fs::remove_file(bench.path("y/d/new")).unwrap();
    bench.write("y/d/a", "changed");
    refused("changed since");
    fs::remove_file(bench.path("y/d/a")).unwrap();
    // A copy that somebody removed already does not stand in the way of the rest.
    bench.undo().unwrap();
    assert!(!bench.path("y/d").exists());
    assert!(matches!(bench.undo(), Err(Error::NothingToUndo)));

    bench.run(&moving(&bench.path("x/d"), &bench.path("y"))).unwrap();
    bench.write("x/d", "in the way");
    refused("something has its name there");
    fs::remove_file(bench.path("x/d")).unwrap();
    fs::rename(bench.path("y/d"), bench.path("y/elsewhere")).unwrap();
    refused("it is gone");
    fs::rename(bench.path("y/elsewhere"), bench.path("y/d")).unwrap();
    fs::rename(bench.path("x"), bench.path("z")).unwrap();
    bench.write("x", "a file where the folder was");
    refused("something else has its name now");
    fs::remove_file(bench.path("x")).unwrap();
    fs::rename(bench.path("z"), bench.path("x")).unwrap();
    bench.undo().unwrap();

    bench.run(&delete(&bench.path("x/d"))).unwrap();
    fs::create_dir(bench.path("x/d")).unwrap();
    refused("something else has its name now");
    fs::remove_dir_all(bench.path("x")).unwrap();
    bench.write("x", "a file where the folder was");
    refused("something else has its name now");
    fs::remove_file(bench.path("x")).unwrap();
    // The folder above is made again.
    bench.undo().unwrap();
    assert_eq!(fs::read(bench.path("x/d/a")).unwrap(), b"a");

    bench.run(&delete(&bench.path("x/d"))).unwrap();
    fs::remove_dir_all(bench.path("home/Trash")).unwrap();
    refused("no longer in the trash");
}

#[test]
fn what_is_deleted_for_good_is_gone_and_links_are_not_followed() {
    let bench = Bench::new();
    bench.write("x/d/a", "a");
    bench.write("x/d/e/b", "b");
    bench.write("safe/s", "s");
    symlink(bench.path("safe"), bench.path("x/d/link")).unwrap();
    let mut request = delete(&bench.path("x/d"));
    request.permanent = true;
    let report = bench.run(&request).unwrap();
    assert_eq!((report.files, report.errors.len()), (3, 0), "{report:?}");
    assert!(!bench.path("x/d").exists() && bench.path("safe/s").exists());
    assert!(!bench.path("home/Trash/files").exists());
    assert!(matches!(bench.undo(), Err(Error::NothingToUndo)));
}
