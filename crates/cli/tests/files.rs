//! Copy, move, delete and undo through the real binary and its daemon.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use spacedrive_testing::{Home, Lab, Outcome, root_or_skip, wait_until};

fn lab() -> Lab {
    Lab::start(env!("CARGO_BIN_EXE_spacedrive"), &["default"])
}

fn write(home: &Home, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = home.cwd().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn read(home: &Home, path: &str) -> String {
    fs::read_to_string(home.cwd().join(path)).unwrap()
}

#[test]
fn files_are_copied_moved_deleted_and_it_is_undone() {
    let lab = lab();
    write(&lab, "docs/a.txt", "a");
    write(&lab, "docs/deep/b.txt", "bb");
    let copied = lab.run("copy docs backup --verify --wait --json").ok().json();
    assert_eq!((copied["files"].as_u64(), copied["bytes"].as_u64(), copied["verified"].as_u64()), (Some(2), Some(3), Some(2)));
    assert_eq!(copied["errors"], serde_json::json!([]));
    assert_eq!(copied["job"].as_str().unwrap().len(), 36);
    assert_eq!(read(&lab, "backup/deep/b.txt"), "bb");

    let moved = lab.run("move docs/a.txt docs/deep/b.txt backup --wait").ok();
    assert_eq!(moved.stdout, "Moved 2 files, 3 bytes\n");
    assert_eq!(read(&lab, "backup/a (2).txt"), "a");
    assert_eq!(read(&lab, "backup/b.txt"), "bb");

    lab.run("delete backup docs --wait").ok();
    assert!(!lab.cwd().join("backup").exists() && !lab.cwd().join("docs").exists());
    let trash = lab.path().join("home/.local/share/Trash");
    assert_eq!(fs::read_dir(trash.join("files")).unwrap().count(), 2);
    assert_eq!(fs::read_dir(trash.join("info")).unwrap().count(), 2);

    assert_eq!(lab.run("undo").ok().stdout, "Undid the last delete: 2 items\n");
    assert_eq!(lab.run("undo --json").ok().json()["action"], "move");
    assert_eq!(lab.run("undo").ok().stdout, "Undid the last copy: 1 item\n");
    assert!(!lab.cwd().join("backup").exists());
    assert_eq!((read(&lab, "docs/a.txt"), read(&lab, "docs/deep/b.txt")), ("a".to_owned(), "bb".to_owned()));
    lab.run("undo").exits(4).says("nothing to undo");
}

#[test]
fn what_stands_in_the_way_is_said_with_its_exit_code() {
    let lab = lab();
    write(&lab, "a", "a");
    write(&lab, "d/a", "old");
    fs::create_dir(lab.cwd().join("d/sub")).unwrap();
    write(&lab, "sub", "a file");
    lab.run("copy none d").exits(4).says("none");
    lab.run("copy d d/sub").exits(2).says("into itself");
    lab.run("copy a sub none").exits(2).says("not a folder");
    lab.run("copy a").exits(2);
    lab.run("delete a --permanent").exits(2).says("--yes");
    lab.run("copy bob:docs/a d").exits(2).says("./bob:docs/a");
    lab.run("move a bob:docs").exits(2).says("device `bob`");
    lab.run("copy a d --dry-run --wait").exits(2);
    // One of two cannot be done: the other is.
    let partial = lab.run("copy a sub d --conflict overwrite --wait").exits(10).says("in the way");
    assert_eq!(partial.stdout, "Copied 1 file, 1 byte\n");
    assert_eq!(read(&lab, "d/a"), "a");
    let json = lab.run("copy sub d --conflict overwrite --wait --json").exits(10);
    assert_eq!(json.json()["errors"][0]["path"], lab.cwd().join("sub").to_str().unwrap());
    // Since then somebody changed the copy.
    fs::write(lab.cwd().join("d/a"), "mine").unwrap();
    lab.run("undo").exits(6).says("changed since");
    assert_eq!(read(&lab, "d/a"), "mine");
    let data = lab.data_dir("default");
    lab.run(&format!("delete {}", data.display())).exits(2).says("own data");
    lab.run(&format!("move {} d", lab.cwd().display())).exits(2);
}

#[test]
fn odd_names_and_colons_are_files() {
    let lab = lab();
    write(&lab, "x:y", "colon");
    write(&lab, "-rf", "dash");
    write(&lab, "new\nline", "line");
    fs::create_dir(lab.cwd().join("to")).unwrap();
    lab.run_args(["copy", "--wait", "--", "./x:y", "./-rf", "new\nline", "to"]).ok();
    assert_eq!(
        (read(&lab, "to/x:y"), read(&lab, "to/-rf"), read(&lab, "to/new\nline")),
        ("colon".into(), "dash".into(), "line".into())
    );
    let told = lab.run_args(["copy", "--wait", "gone\u{1b}[31m", "to"]).exits(4);
    assert!(!told.stderr.contains('\u{1b}'), "{told:?}");
    use std::os::unix::ffi::OsStrExt;
    let bytes = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    fs::write(lab.cwd().join(bytes), "bytes").unwrap();
    lab.run_args([std::ffi::OsStr::new("move"), "--wait".as_ref(), bytes, "to".as_ref()]).ok();
    assert_eq!(fs::read(lab.cwd().join("to").join(bytes)).unwrap(), b"bytes");
}

#[test]
fn conflicts_are_settled_as_asked() {
    let lab = lab();
    write(&lab, "f", "new");
    write(&lab, "to/f", "old");
    let told = lab.run("copy f to --dry-run --json").ok().json();
    assert_eq!((told["files"].as_u64(), told.get("job")), (Some(1), None));
    assert_eq!(lab.run("copy f to --conflict skip --wait").ok().stdout, "Copied 0 files, 0 bytes; 1 left out\n");
    assert_eq!(read(&lab, "to/f"), "old");
    lab.run("copy f to --wait").ok();
    assert_eq!(read(&lab, "to/f (2)"), "new");
    lab.run("copy f to --conflict overwrite --wait").ok();
    assert_eq!(read(&lab, "to/f"), "new");
    lab.run("undo").ok();
    assert_eq!(read(&lab, "to/f"), "old");
    lab.run("copy f to --conflict overwrite --permanent --wait").ok();
    lab.run("undo").exits(6).says("for good");
    lab.run("delete to --permanent --yes --wait").ok();
    assert!(!lab.cwd().join("to").exists());
}

#[test]
fn a_job_is_paused_resumed_and_cancelled() {
    let lab = lab();
    for n in 0..40 {
        write(&lab, &format!("many/{n}"), vec![n; 8 << 20]);
    }
    symlink("many/0", lab.cwd().join("link")).unwrap();
    let job = |line: &str| lab.run(line).ok().json()["job"].as_str().unwrap().to_owned();
    let status = |id: &str| lab.run(&format!("job info {id} --json")).ok().json()["status"].as_str().unwrap().to_owned();
    let first = job("copy many copy --verify --json");
    // Queued behind the first: pausing it needs no luck.
    let second = job("copy link copied --json");
    assert!(
        ["queued", "paused"].contains(&lab.run(&format!("job pause {second} --json")).ok().json()["status"].as_str().unwrap())
    );
    assert!(lab.run("job list").ok().stdout.contains(&second));
    lab.run(&format!("job pause {first}"));
    let paused = status(&first);
    assert!(["paused", "completed"].contains(&paused.as_str()), "{paused}");
    if paused == "paused" {
        lab.run("undo").exits(6).says("not ended");
        lab.run("stop").ok();
        lab.run("start").ok();
        assert_eq!(status(&first), "paused");
        lab.run(&format!("job resume {first}")).ok();
    }
    wait_until(Duration::from_secs(60), "the copy is done", || status(&first) == "completed");
    for n in 0..40 {
        assert_eq!(fs::read(lab.cwd().join(format!("copy/{n}"))).unwrap(), vec![n; 8 << 20]);
    }
    lab.run(&format!("job cancel {second}")).ok();
    assert_eq!(status(&second), "cancelled");
    assert!(!lab.cwd().join("copied").exists());
    lab.run("undo").ok();
    assert!(!lab.cwd().join("copy").exists());
}

#[test]
fn a_cancelled_job_leaves_whole_files_or_none() {
    let lab = lab();
    for n in 0..40 {
        write(&lab, &format!("many/{n}"), vec![n; 8 << 20]);
    }
    let id = lab.run("copy many copy --verify --json").ok().json()["job"].as_str().unwrap().to_owned();
    let status = || lab.run(&format!("job info {id} --json")).ok().json()["status"].as_str().unwrap().to_owned();
    lab.run(&format!("job cancel {id}"));
    wait_until(Duration::from_secs(60), "it has ended", || ["cancelled", "completed"].contains(&status().as_str()));
    for entry in walkdir::WalkDir::new(lab.cwd().join("copy")).into_iter().flatten() {
        let name = entry.file_name().to_str().unwrap();
        assert!(!name.starts_with(".spacedrive-"), "left behind: {name}");
        if let Ok(n) = name.parse::<u8>() {
            assert_eq!(fs::read(entry.path()).unwrap(), vec![n; 8 << 20]);
        }
    }
    let undone = lab.run("undo");
    assert!(undone.code == 0 || undone.code == 4, "{undone:?}");
    assert!(!lab.cwd().join("copy").exists());
}

#[test]
fn a_killed_daemon_goes_on_where_it_was() {
    let home = Home::new(env!("CARGO_BIN_EXE_spacedrive"));
    for n in 0..2500 {
        write(&home, &format!("many/{}/{n}", n % 7), format!("{n}"));
    }
    for point in ["copy.batch.recorded:2", "copy.file.filled:1500", "copy.batch.renamed:2"] {
        Outcome::of(home.command(["start"]).env("SPACEDRIVE_FAIL", point)).ok();
        let started = home.run("copy many copy --json");
        wait_until(Duration::from_secs(60), "the daemon is killed", || home.run("daemon").code == 3);
        home.run("start").ok();
        let id = started.ok().json()["job"].as_str().unwrap().to_owned();
        let info = || home.run(&format!("job info {id} --json")).ok().json();
        wait_until(Duration::from_secs(60), "the copy is done", || info()["status"] == "completed");
        assert_eq!(info()["errors"], 0, "{point}");
        let tree = |name: &str| {
            let root = home.cwd().join(name);
            let walk = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().flatten();
            walk.map(|entry| {
                let path = entry.path().strip_prefix(&root).unwrap().to_owned();
                (path, entry.file_type().is_file().then(|| fs::read(entry.path()).unwrap()))
            })
            .collect::<Vec<_>>()
        };
        assert!(tree("copy") == tree("many"), "{point}: the copy is not the source");
        home.run("undo").ok();
        assert!(!home.cwd().join("copy").exists());
        home.run("stop").ok();
    }
}

#[test]
fn a_disk_that_is_too_small_is_said() {
    if !root_or_skip("it mounts a file system") {
        return;
    }
    let lab = lab();
    write(&lab, "big", vec![1; 4 << 20]);
    let small = lab.cwd().join("small");
    fs::create_dir(&small).unwrap();
    let mount =
        |args: &[&str]| assert!(std::process::Command::new(args[0]).args(&args[1..]).arg(&small).status().unwrap().success());
    mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    let outcome = lab.run("copy big small --wait");
    let left = fs::read_dir(&small).unwrap().count();
    mount(&["umount", "-l"]);
    outcome.exits(7).says("disk full");
    assert_eq!(left, 0);
}
