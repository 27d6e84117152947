//! What locations may hold, where they may lie, and that a move keeps an entry what it is.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mkdirat, mknodat};
use spacedrive_api::{EntryKind, IndexMode, IndexScope, LocationAdd, Rules, Scan};
use spacedrive_core::Error;

use super::world::{World, again, name_of, query, words, write};

fn request(path: &Path) -> LocationAdd {
    LocationAdd { library: String::new(), path: path.into(), name: None, mode: IndexMode::Content, rules: Rules::default() }
}

/// The numbers of the entries with this name.
fn eids(world: &World, name: &str) -> Vec<i64> {
    let database = rusqlite::Connection::open(world.folder().join("library.db")).unwrap();
    let mut statement = database.prepare("SELECT eid FROM entries WHERE name = ?1 ORDER BY eid").unwrap();
    statement.query_map([name.as_bytes()], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn hostile_names_and_things_that_are_no_files() {
    let world = World::new(true);
    let disk = world.disk();
    let long = "n".repeat(255);
    for name in [
        b"bad-\xff-name".as_slice(),
        b"new\nline",
        b"tab\t\"quote'",
        b"-rf",
        b" ",
        b"...",
        "nai\u{308}ve".as_bytes(),
        "naïve".as_bytes(),
        b"Case",
        b"case",
        long.as_bytes(),
    ] {
        write(&disk.join(std::ffi::OsStr::from_bytes(name)), name);
    }
    symlink("loop", disk.join("loop")).unwrap();
    symlink("..", disk.join("up")).unwrap();
    symlink("/nonexistent", disk.join("dangling")).unwrap();
    symlink("/etc/passwd", disk.join("outside")).unwrap();
    mknodat(CWD, disk.join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(disk.join("socket")).unwrap();
    fs::hard_link(disk.join("Case"), disk.join("hard")).unwrap();
    world.add(IndexMode::Content);
    world.assert_equal();
    let passwd = world.library().index().search(&words(&["outside"])).unwrap().entries.remove(0);
    assert_eq!((passwd.kind, passwd.content_id), (EntryKind::Symlink, None), "links are not followed");
}

#[test]
fn two_hundred_levels_beyond_the_longest_path() {
    let world = World::new(true);
    // 200 levels of 30 letters are beyond PATH_MAX, so they are made step by step.
    let mut at: std::os::fd::OwnedFd = fs::File::open(world.disk()).unwrap().into();
    let name = "d".repeat(30);
    for _ in 0..200 {
        mkdirat(&at, &*name, Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &*name, rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let file = rustix::fs::openat(&at, "deep", rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE, Mode::RWXU).unwrap();
    rustix::io::write(&file, b"deep").unwrap();
    drop(file);
    let added = world.add(IndexMode::Content);
    let location = world.library().index().location(&query(&added.location.id.to_string())).unwrap();
    assert_eq!((location.dirs, location.files, location.errors), (200, 1, 0));
    let found = world.library().index().search(&words(&["deep"])).unwrap().entries.remove(0);
    assert_eq!(found.content_id, Some(blake3::hash(b"deep").to_hex().to_string()));
    assert!(found.path.len() > 6000);
    // What lies that deep is watched too, and found again.
    rustix::fs::unlinkat(&at, "deep", rustix::fs::AtFlags::empty()).unwrap();
    let until = std::time::Instant::now() + super::world::PATIENCE;
    while !world.library().index().search(&words(&["deep"])).unwrap().entries.is_empty() {
        assert!(std::time::Instant::now() < until);
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    // `remove_dir_all` of the standard library goes by descriptors and manages it.
    fs::remove_dir_all(world.disk().join(&name)).unwrap();
}

#[test]
fn a_move_keeps_the_entry() {
    for watch in [false, true] {
        let mut world = World::new(watch);
        let disk = world.disk();
        for n in 0..50 {
            write(&disk.join(format!("from/deep/f{n}")), format!("content {n}"));
        }
        write(&disk.join("lonely"), "alone");
        world.add(IndexMode::Content);
        let before: Vec<_> = ["from", "deep", "f7", "lonely"].iter().map(|name| eids(&world, name)).collect();
        fs::create_dir(disk.join("to")).unwrap();
        fs::rename(disk.join("from"), disk.join("to/renamed")).unwrap();
        fs::rename(disk.join("lonely"), disk.join("to/elsewhere")).unwrap();
        if watch {
            world.await_equal();
        } else {
            world.rescan();
        }
        world.assert_equal();
        let after: Vec<_> = ["renamed", "deep", "f7", "elsewhere"].iter().map(|name| eids(&world, name)).collect();
        assert_eq!(before, after, "watch {watch}");
        // And while the library is closed.
        world.close();
        fs::rename(disk.join("to/renamed/deep"), disk.join("deeper")).unwrap();
        fs::rename(disk.join("to/elsewhere"), disk.join("lonely")).unwrap();
        world.reopen();
        world.rescan();
        world.assert_equal();
        let after: Vec<_> = ["renamed", "deeper", "f7", "lonely"].iter().map(|name| eids(&world, name)).collect();
        assert_eq!(before, after, "watch {watch}");
        // A file that another one takes the place of, as programs save: the same entry, with new content.
        fs::write(disk.join("new"), "saved").unwrap();
        fs::rename(disk.join("new"), disk.join("lonely")).unwrap();
        world.rescan();
        world.assert_equal();
        assert_eq!(eids(&world, "lonely"), before[3]);
    }
}

#[test]
fn folders_that_change_places() {
    let world = World::new(false);
    let disk = world.disk();
    write(&disk.join("a/x"), "1");
    write(&disk.join("a/b/y"), "2");
    world.add(IndexMode::Content);
    let (a, b, y) = (eids(&world, "a"), eids(&world, "b"), eids(&world, "y"));
    // The inner one becomes the outer one.
    fs::rename(disk.join("a/b"), disk.join("b")).unwrap();
    fs::rename(disk.join("a"), disk.join("b/a")).unwrap();
    world.rescan();
    world.assert_equal();
    assert_eq!((eids(&world, "a"), eids(&world, "b"), eids(&world, "y")), (a.clone(), b.clone(), y.clone()));
    // Two exchange their names.
    fs::create_dir(disk.join("c")).unwrap();
    world.rescan();
    let c = eids(&world, "c");
    fs::rename(disk.join("c"), disk.join("t")).unwrap();
    fs::rename(disk.join("b"), disk.join("c")).unwrap();
    fs::rename(disk.join("t"), disk.join("b")).unwrap();
    world.rescan();
    world.assert_equal();
    assert_eq!((eids(&world, "c"), eids(&world, "b"), eids(&world, "y")), (b, c, y));
}

#[test]
fn where_locations_may_lie() {
    let mut world = World::new(false);
    let disk = world.disk();
    write(&disk.join("inner/deep/file"), "x");
    write(&disk.join("outer"), "x");
    let add = |world: &World, path: PathBuf| world.library().add_location(&request(&path));
    let inner = add(&world, disk.join("inner")).unwrap();
    world.wait(inner.job);
    // The same folder, also by another name; and what is part of a location.
    symlink(disk.join("inner"), world.dir.path().join("link")).unwrap();
    assert!(matches!(add(&world, disk.join("inner")), Err(Error::LocationExists { .. })));
    assert!(matches!(add(&world, world.dir.path().join("link")), Err(Error::LocationExists { .. })));
    assert!(matches!(add(&world, disk.join("inner/deep")), Err(Error::LocationInside { .. })));
    assert!(matches!(add(&world, disk.join("outer")), Err(Error::NotAFolder { .. })));
    assert!(matches!(add(&world, disk.join("nowhere")), Err(Error::NoSuchFolder { .. })));
    // One around it leaves it out, so that each file is found once.
    let outer = add(&world, disk.clone()).unwrap();
    world.wait(outer.job);
    let found = |world: &World| world.library().index().search(&words(&["file"])).unwrap().entries.len();
    assert_eq!(found(&world), 1);
    let locations = world.library().index().locations();
    assert_eq!(
        locations.iter().map(|location| (location.name.as_str(), location.files)).collect::<Vec<_>>(),
        [("disk", 1), ("inner", 1)]
    );
    // Without the inner one, the outer one has it.
    world.library().remove_location(&query("inner")).unwrap();
    assert_eq!(found(&world), 0);
    world.rescan();
    world.assert_equal();
    // Removing forgets; the files stay.
    world.library().remove_location(&query("disk")).unwrap();
    assert_eq!((world.indexed().len(), world.walked().len()), (0, 4));
    world.restart();
    assert_eq!(world.library().index().locations(), []);
    assert_eq!(world.library().check(true).unwrap().problems, Vec::<String>::new());
}

#[test]
fn our_own_data_are_left_out() {
    let mut world = World::new(true);
    world.close();
    // The whole folder, with the library in it.
    let all = world.dir.path().to_owned();
    world.options.private = vec![all.join("private")];
    write(&all.join("private/secret"), "x");
    write(&all.join("disk/file"), "x");
    world.reopen();
    let added = world.library().add_location(&request(&all)).unwrap();
    world.wait(added.job);
    let mut names: Vec<Vec<u8>> = world
        .library()
        .index()
        .search(&super::world::everything())
        .unwrap()
        .entries
        .iter()
        .map(|entry| name_of(&entry.real_path()).to_vec())
        .collect();
    names.sort();
    assert_eq!(names, [b"data".to_vec(), b"disk".to_vec(), b"file".to_vec()]);
    assert!(matches!(
        world.library().add_location(&request(&all.join("private"))),
        Err(Error::OwnData { .. } | Error::LocationInside { .. })
    ));
}

#[test]
fn rules_are_switches_of_the_location() {
    let world = World::new(true);
    let disk = world.disk();
    for name in [".DS_Store", ".hidden", ".git/config", "a/debug.log", "a/keep.log", "build/out", "a/.gitignore", "plain"] {
        write(&disk.join(name), "x");
    }
    write(&disk.join(".gitignore"), "*.log\n/build\n");
    write(&disk.join("a/.gitignore"), "!keep.log\n");
    let names = |world: &World| {
        let indexed = world.indexed();
        indexed.keys().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    world.add_with(IndexMode::Content, Rules { system: true, hidden: true, vcs: true, gitignore: true });
    assert_eq!(names(&world), ["a", "a/keep.log", "plain"]);
    // Also for what comes later.
    write(&disk.join("a/second.log"), "x");
    write(&disk.join("a/second.txt"), "x");
    let until = std::time::Instant::now() + super::world::PATIENCE;
    while names(&world) != ["a", "a/keep.log", "a/second.txt", "plain"] {
        assert!(std::time::Instant::now() < until, "{:?}", names(&world));
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    world.library().remove_location(&query("disk")).unwrap();
    world.add_with(IndexMode::Content, Rules { system: false, hidden: false, vcs: false, gitignore: false });
    world.assert_equal();
}

#[test]
fn modes_and_scopes() {
    let world = World::new(false);
    let disk = world.disk();
    write(&disk.join("a/b/file"), "x");
    write(&disk.join("top"), "x");
    world.add(IndexMode::Shallow);
    let hashed = |world: &World| world.indexed().values().filter(|seen| seen.3.is_some()).count();
    assert_eq!(hashed(&world), 0);
    // A part of it, read.
    let scan = Scan { library: String::new(), path: disk.join("a").into(), mode: Some(IndexMode::Content) };
    let started = world.library().scan(&scan).unwrap();
    assert!(!started.added);
    world.wait(started.job);
    // Only its own entries: what is below waits for a whole look.
    write(&disk.join("a/new"), "x");
    write(&disk.join("new"), "x");
    let current = spacedrive_api::IndexLocation { scope: IndexScope::Current, ..again("disk") };
    world.wait(world.library().index_location(&current).unwrap().job);
    assert!(world.indexed().contains_key(Path::new("new")) && !world.indexed().contains_key(Path::new("a/new")));
    let content = spacedrive_api::IndexLocation { mode: Some(IndexMode::Content), ..again("disk") };
    world.wait(world.library().index_location(&content).unwrap().job);
    world.assert_equal();
    // A folder that is no part of a location becomes one.
    let other = world.dir.path().join("other");
    write(&other.join("one"), "x");
    let started = world.library().scan(&Scan { library: String::new(), path: other.into(), mode: None }).unwrap();
    assert!(started.added);
    world.wait(started.job);
    assert_eq!(world.library().index().locations().len(), 2);
}

#[test]
fn looking_at_a_folder_writes_nothing() {
    let world = World::new(false);
    write(&world.disk().join("a/file"), "x");
    let browse = |scope, content| {
        let path = world.disk().into();
        let request = spacedrive_api::Browse { path, scope, content, entries: true };
        spacedrive_core::index::browse(&request, &Default::default()).unwrap()
    };
    let whole = browse(IndexScope::Recursive, true);
    assert_eq!((whole.files, whole.dirs, whole.bytes, whole.errors), (1, 1, 1, 0));
    assert_eq!(whole.entries[1].content_id, Some(blake3::hash(b"x").to_hex().to_string()));
    assert_eq!(browse(IndexScope::Current, false).entries.len(), 1);
    assert_eq!((world.indexed().len(), world.library().jobs().list(None).unwrap().len()), (0, 0));
}
