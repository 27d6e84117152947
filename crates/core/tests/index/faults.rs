//! Nothing is forgotten because a disk was away, a folder unreadable or a database damaged.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use spacedrive_api::{IndexLocation, IndexMode, JobStatus, LocationState};
use spacedrive_core::Library;

use super::world::{PATIENCE, World, again, words, write};

fn filled(watch: bool) -> World {
    let world = World::new(watch);
    for n in 0..20 {
        write(&world.disk().join(format!("d{}/f{n}", n % 3)), format!("content {n}"));
    }
    world.add(IndexMode::Content);
    world
}

#[track_caller]
fn wait_for(world: &World, test: impl Fn(&World) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !test(world) {
        assert!(Instant::now() < until);
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn a_folder_that_is_away_is_offline_and_comes_back() {
    for watch in [false, true] {
        let world = filled(watch);
        let before = world.indexed();
        let away = world.dir.path().join("away");
        fs::rename(world.disk(), &away).unwrap();
        let job = world.library().index_location(&again("disk")).unwrap().job;
        assert_eq!(world.library().jobs().wait_for_end(job, PATIENCE).unwrap().status, JobStatus::Failed);
        let location = world.library().index().locations().remove(0);
        assert_eq!((location.state, location.files), (LocationState::Offline, 20));
        assert!(location.problem.is_some());
        // An empty folder in its place, as when a disk is not mounted, is not it either.
        fs::create_dir(world.disk()).unwrap();
        let job = world.library().index_location(&again("disk")).unwrap().job;
        assert_eq!(world.library().jobs().wait_for_end(job, PATIENCE).unwrap().status, JobStatus::Failed);
        let kept: Vec<PathBuf> = world.indexed().into_keys().collect();
        assert_eq!(kept, before.into_keys().collect::<Vec<_>>());
        fs::remove_dir(world.disk()).unwrap();
        fs::rename(&away, world.disk()).unwrap();
        if !watch {
            world.rescan();
        }
        // With a watcher it comes back by itself.
        wait_for(&world, |world| world.library().index().locations()[0].state != LocationState::Offline);
        world.await_equal();
    }
}

#[test]
fn another_folder_is_taken_when_a_person_says_so() {
    let world = filled(false);
    fs::rename(world.disk(), world.dir.path().join("away")).unwrap();
    write(&world.disk().join("other"), "x");
    let job = world.library().index_location(&IndexLocation { force: true, ..again("disk") }).unwrap().job;
    world.wait(job);
    world.assert_equal();
}

#[test]
fn a_disk_that_is_unmounted_keeps_its_entries() {
    if !rustix::process::geteuid().is_root() {
        return super::world::skipped("mounting needs root");
    }
    let world = World::new(true);
    let mount = world.disk().join("disk");
    fs::create_dir(&mount).unwrap();
    let run = |program: &str, args: &[&str]| {
        assert!(Command::new(program).args(args).arg(&mount).status().unwrap().success());
    };
    run("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    write(&mount.join("a/file"), "on the disk");
    write(&world.disk().join("beside"), "beside it");
    world.add(IndexMode::Content);
    let before = world.indexed();
    run("umount", &["-l"]);
    let info = world.rescan();
    assert_eq!(info.errors, 1, "{info:?}");
    assert_eq!(world.indexed(), before);
    run("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    // Another disk, with other content: what is mounted now counts.
    write(&mount.join("b"), "on another disk");
    world.rescan();
    let equal = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.assert_equal()));
    run("umount", &["-l"]);
    equal.unwrap();
}

/// Not a test of its own: a rescan by a user who may not read everything.
#[test]
#[ignore = "run by the next one"]
fn unprivileged() {
    let Ok(folder) = std::env::var("SD_TEST_UNPRIVILEGED") else { return };
    rescan_with_a_closed_folder(&PathBuf::from(folder));
}

fn rescan_with_a_closed_folder(folder: &std::path::Path) {
    let library = Library::open(&folder.join("data/L.sdlibrary"), &Default::default()).unwrap();
    library.start().unwrap();
    let closed = folder.join("disk/d1");
    let rescan = || {
        let job = library.index_location(&IndexLocation { mode: Some(IndexMode::Content), ..again("disk") }).unwrap().job;
        library.jobs().wait_for_end(job, PATIENCE).unwrap();
        library.jobs().get(job).unwrap()
    };
    let count = || library.index().search(&words(&["f"])).unwrap().entries.len();
    assert_eq!(count(), 20);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let info = rescan();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!((info.status, info.errors), (JobStatus::Completed, 1), "{info:?}");
    assert!(info.problems[0].path.as_ref().ends_with("disk/d1"), "{info:?}");
    assert_eq!((count(), library.index().locations()[0].errors), (20, 1));
    // It is read again when it can be.
    fs::write(closed.join("f-new"), "x").unwrap();
    assert_eq!(rescan().errors, 0);
    assert_eq!((count(), library.index().locations()[0].errors), (21, 0));
}

#[test]
fn an_unreadable_folder_keeps_its_entries() {
    let mut world = filled(false);
    world.close();
    if !rustix::process::geteuid().is_root() {
        return rescan_with_a_closed_folder(world.dir.path());
    }
    // Root reads everything, so another user does it.
    let own = |path: &std::path::Path| std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
    for entry in walkdir::WalkDir::new(world.dir.path()) {
        own(entry.unwrap().path());
    }
    let program = world.dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    own(&program);
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", "faults::unprivileged", "--ignored", "--nocapture"])
        .env("SD_TEST_UNPRIVILEGED", world.dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
fn a_backup_is_whole_and_can_be_opened() {
    let world = filled(false);
    let (path, bytes) = world.library().backup(None).unwrap();
    assert!(path.starts_with(world.folder().join("backups")) && bytes > 0);
    let to = world.dir.path().join("copy.db");
    world.library().backup(Some(&to)).unwrap();
    assert!(matches!(world.library().backup(Some(&to)), Err(spacedrive_core::Error::BackupExists { .. })));
    // In the place of the original it is the library again.
    let mut world = world;
    let before = world.indexed();
    world.close();
    for ending in ["library.db", "library.db-wal", "library.db-shm"] {
        let _ = fs::remove_file(world.folder().join(ending));
    }
    fs::copy(&to, world.folder().join("library.db")).unwrap();
    world.reopen();
    assert_eq!(world.indexed(), before);
    assert_eq!(world.library().check(true).unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_migration_leaves_a_backup() {
    let mut world = World::new(false);
    world.close();
    // The library as the first version made it.
    let path = world.folder().join("library.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    let tables = ["feeds", "locations", "entries", "job_errors", "jobs"];
    database.execute_batch(&tables.map(|table| format!("DROP TABLE {table};")).concat()).unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
    drop(database);
    world.reopen();
    let backups: Vec<_> = fs::read_dir(world.folder().join("backups")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(backups.len(), 1);
    assert!(backups[0].file_name().unwrap().to_str().unwrap().starts_with("library-v1-"));
    let version: i64 =
        rusqlite::Connection::open(&backups[0]).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
    write(&world.disk().join("file"), "x");
    world.add(IndexMode::Content);
    world.assert_equal();
}

#[test]
fn a_file_that_rots_is_found_by_a_deep_check() {
    let world = filled(false);
    let path = world.disk().join("d0/f0");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "CONTENT 0").unwrap();
    fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(world.library().check(false).unwrap().rotten, []);
    let checked = world.library().check(true).unwrap();
    assert_eq!((checked.files_read, checked.entries), (20, 23));
    assert_eq!(checked.rotten, [path.into()]);
}
