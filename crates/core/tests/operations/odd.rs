//! Odd names, kinds, modes, times, holes, depths.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};
use spacedrive_core::operation::{self, Unwatched};

use super::bench::{Bench, copy, delete, moving, no_leftovers, tree};

/// A tree of everything that a file system lets one make.
fn odd_tree(root: &Path) {
    fs::create_dir_all(root).unwrap();
    let long = [b'n'; 255];
    let names: &[&[u8]] = &[
        b"-rf",
        b" ",
        b"a ",
        b"a.",
        b"...",
        b"new\nline",
        b"\x1b[31mred",
        b"\xff\xfe",
        b"\xc0\xae",
        b"back\\slash",
        b"C:x",
        b"CON",
        "exe\u{202e}gpj".as_bytes(),
        "e\u{301}".as_bytes(),
        "\u{e9}".as_bytes(),
        b"a:b",
        b"*",
        b"$HOME",
        b"~",
        b"%2e%2e",
        &long,
        b".spacedrive",
        b"x (2).txt",
    ];
    for (n, name) in names.iter().enumerate() {
        fs::write(root.join(OsStr::from_bytes(name)), format!("content {n}")).unwrap();
        fs::create_dir_all(root.join("dirs").join(OsStr::from_bytes(name))).unwrap();
        fs::write(root.join("dirs").join(OsStr::from_bytes(name)).join(OsStr::from_bytes(name)), "").unwrap();
    }
    for (name, text) in
        [("dangling", "no/where"), ("absolute", "/etc/passwd"), ("up", "../.."), ("self", "self"), ("to dir", "dirs")]
    {
        symlink(text, root.join(name)).unwrap();
    }
    for mode in [0o600, 0o644, 0o755, 0o400, 0o444, 0o777] {
        let path = root.join(format!("mode {mode:o}"));
        fs::write(&path, "m").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(root.join("empty"), "").unwrap();
    // A file with holes at its beginning, in its middle and at its end.
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(b"here", 5 << 20).unwrap();
    sparse.write_all_at(b"there", (40 << 20) + 3).unwrap();
    sparse.set_len(64 << 20).unwrap();
    fs::hard_link(root.join("empty"), root.join("empty too")).unwrap();
    let deep = root.join("d/".repeat(200));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "b").unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    fs::File::options().write(true).open(root.join("empty")).unwrap().set_modified(old).unwrap();
    fs::set_permissions(root.join("dirs"), fs::Permissions::from_mode(0o750)).unwrap();
}

#[test]
fn a_tree_of_everything_comes_over_as_it_is() {
    let bench = Bench::new();
    odd_tree(&bench.path("x"));
    let before = tree(&bench.path("x"));
    let mut request = copy(&bench.path("x"), &bench.path("copy"));
    request.verify = true;
    let report = bench.run(&request).unwrap();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(tree(&bench.path("copy")), before);
    assert_eq!(tree(&bench.path("x")), before);
    let files = before.values().filter(|what| what.starts_with("file")).count() as u64;
    assert_eq!(report.verified, files);
    let stored = |path: &str| fs::metadata(bench.path(path)).unwrap().blocks() * 512;
    assert!(stored("copy/sparse") <= stored("x/sparse") + (64 << 10), "holes were filled: {}", stored("copy/sparse"));
    assert_eq!(fs::metadata(bench.path("copy/dirs")).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(
        fs::metadata(bench.path("copy/dirs")).unwrap().mtime_nsec(),
        fs::metadata(bench.path("x/dirs")).unwrap().mtime_nsec()
    );
    no_leftovers(&bench.root);
    // There and back again, each time the whole.
    bench.run(&moving(&bench.path("copy"), &bench.path("moved"))).unwrap();
    bench.run(&delete(&bench.path("moved"))).unwrap();
    assert!(!bench.path("moved").exists());
    bench.undo().unwrap();
    bench.undo().unwrap();
    assert_eq!(tree(&bench.path("copy")), before);
    bench.undo().unwrap();
    assert!(!bench.path("copy").exists());
}

#[test]
fn a_tree_of_everything_moves_to_another_file_system() {
    if !spacedrive_testing::root_or_skip("it mounts a file system") {
        return;
    }
    let bench = Bench::new();
    odd_tree(&bench.path("x"));
    let _mounted = bench.tmpfs("y", "size=200m");
    let before = tree(&bench.path("x"));
    let report = bench.run(&moving(&bench.path("x"), &bench.path("y"))).unwrap();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert!(!bench.path("x").exists());
    assert_eq!(tree(&bench.path("y/x")), before);
    bench.undo().unwrap();
    assert!(!bench.path("y/x").exists());
    assert_eq!(tree(&bench.path("x")), before);
}

#[test]
fn the_same_source_twice_is_there_twice() {
    let bench = Bench::new();
    bench.write("x/d/f", "f");
    fs::create_dir(bench.path("y")).unwrap();
    let source = bench.path("x/d");
    let request = super::bench::work(spacedrive_api::FileAction::Copy, &[&source, &source], Some(&bench.path("y")));
    assert_eq!(bench.run(&request).unwrap().files, 2);
    assert_eq!(fs::read(bench.path("y/d/f")).unwrap(), b"f");
    assert_eq!(fs::read(bench.path("y/d (2)/f")).unwrap(), b"f");
    bench.undo().unwrap();
    assert_eq!(fs::read_dir(bench.path("y")).unwrap().count(), 0);
}

#[test]
fn setuid_and_its_like_are_never_copied_and_pipes_are_told() {
    let bench = Bench::new();
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2755), ("sticky", 0o1644)] {
        let path = bench.write(&format!("x/{name}"), "s");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    rustix::fs::mknodat(CWD, bench.path("x/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let report = bench.run(&copy(&bench.path("x"), &bench.path("y"))).unwrap();
    for name in ["setuid", "setgid", "sticky"] {
        let (from, to) = (bench.path("x").join(name), bench.path("y").join(name));
        assert_eq!(fs::metadata(to).unwrap().mode() & 0o7777, fs::metadata(from).unwrap().mode() & 0o777);
    }
    assert_eq!((report.files, report.errors.len()), (3, 1));
    assert!(report.errors[0].path.0.ends_with("pipe"), "{report:?}");
}

#[test]
fn a_sparse_file_larger_than_4_gib_is_whole() {
    let bench = Bench::new();
    let path = bench.write("x/large", "");
    let file = fs::File::options().write(true).open(&path).unwrap();
    let size = (4u64 << 30) + 12_345;
    for at in [0, (2 << 30) - 2, (4 << 30) - 2, size - 4] {
        file.write_all_at(b"data", at).unwrap();
    }
    file.set_len(size).unwrap();
    bench.run(&copy(&path, &bench.path("x/copy"))).unwrap();
    let copied = fs::File::open(bench.path("x/copy")).unwrap();
    let meta = copied.metadata().unwrap();
    assert_eq!(meta.len(), size);
    assert!(meta.blocks() * 512 < 4 << 20, "holes were filled");
    for at in [0, (2 << 30) - 2, (4 << 30) - 2, size - 4] {
        let mut bytes = [0; 4];
        copied.read_exact_at(&mut bytes, at).unwrap();
        assert_eq!(&bytes, b"data", "at {at}");
    }
}

#[test]
fn a_name_in_the_target_that_is_a_link_is_not_followed() {
    let bench = Bench::new();
    bench.write("x/d/f", "new");
    bench.write("safe/f", "safe");
    fs::create_dir(bench.path("y")).unwrap();
    symlink(bench.path("safe"), bench.path("y/d")).unwrap();
    for conflict in [spacedrive_api::Conflict::Overwrite, spacedrive_api::Conflict::Newer, spacedrive_api::Conflict::Skip] {
        let request = super::bench::with(copy(&bench.path("x/d"), &bench.path("y")), conflict);
        let _ = bench.run(&request).unwrap();
        assert_eq!(fs::read(bench.path("safe/f")).unwrap(), b"safe");
        assert!(bench.path("y/d").is_symlink());
    }
    // A link in the place of a file is replaced itself.
    symlink(bench.path("safe/f"), bench.path("y/f")).unwrap();
    let request = super::bench::with(copy(&bench.path("x/d/f"), &bench.path("y")), spacedrive_api::Conflict::Overwrite);
    bench.run(&request).unwrap();
    assert_eq!(fs::read(bench.path("safe/f")).unwrap(), b"safe");
    assert_eq!(fs::read(bench.path("y/f")).unwrap(), b"new");
    assert!(!bench.path("y/f").is_symlink());
}

#[test]
fn many_small_files_take_several_batches_and_are_undone_together() {
    let bench = Bench::new();
    for n in 0..3000 {
        bench.write(&format!("x/{}/{n}", n % 150), format!("{n}"));
    }
    let before = tree(&bench.path("x"));
    let id = operation::accept(&bench.store, &bench.around, &copy(&bench.path("x"), &bench.path("y"))).unwrap();
    let report = operation::run(&bench.store, &bench.around, id, &Unwatched).unwrap();
    assert_eq!((report.files, report.errors.len()), (3000, 0));
    assert_eq!(tree(&bench.path("y")), before);
    // Again there is nothing to do: no time is newer.
    let again = super::bench::with(copy(&bench.path("x"), &bench.path("y")), spacedrive_api::Conflict::Newer);
    assert_eq!(bench.run(&again).unwrap().files, 3000, "into y/x, which is not there yet");
    assert_eq!(bench.run(&again).unwrap().skipped, 3000);
    bench.undo().unwrap();
    assert_eq!(bench.undo().unwrap().report.files, 1, "the folder goes to the trash as one");
    assert!(!bench.path("y").exists());
}
