use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use spacedrive_net::transfer::{Incoming, Limits, Outgoing, Progress, TransferError, Why};

use crate::{Pair, about, receive, source};

/// What a tree is: each path with its kind, mode, time and content.
fn picture(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let what = if meta.is_symlink() {
            format!("link {:?}", fs::read_link(&path).unwrap())
        } else if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            format!("folder {:o} {:?}", meta.mode(), meta.modified().unwrap())
        } else {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(fs::File::open(&path).unwrap()).unwrap();
            format!("file {:o} {:?} {} {}", meta.mode(), meta.modified().unwrap(), meta.len(), hasher.finalize())
        };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), what);
    }
    found
}

fn odd_tree(root: &Path) {
    let deep = root.join("a/b/c/d");
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(root.join("empty folder")).unwrap();
    let names: [&[u8]; 17] = [
        b"plain",
        b"-rf",
        b"new\nline",
        b" space ",
        b"trailing.",
        b"CON",
        b"aux.txt",
        b"~",
        b"$HOME",
        b"%2e%2e%2f",
        b"\xff\xfe not utf-8",
        "e\u{301}".as_bytes(),
        "\u{e9}".as_bytes(),
        b"Case",
        b"case",
        "\u{202e}gpj.exe".as_bytes(),
        b"\x1b[31mred",
    ];
    for (number, name) in names.iter().enumerate() {
        fs::write(root.join(OsStr::from_bytes(name)), vec![u8::try_from(number).unwrap(); number * 1000]).unwrap();
    }
    fs::write(root.join(OsStr::from_bytes(&[b'x'; 255])), b"long name").unwrap();
    fs::write(deep.join("big"), (0..3_000_000_u32).map(|n| (n / 7 % 251) as u8).collect::<Vec<_>>()).unwrap();
    fs::write(deep.join("script"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(deep.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(deep.join("secret"), b"mine").unwrap();
    fs::set_permissions(deep.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(deep.join("secret")).unwrap().set_modified(old).unwrap();
    symlink("big", deep.join("link to big")).unwrap();
    symlink("../../b/c", deep.join("link to c")).unwrap();
    let mut holes = fs::File::create(root.join("holes")).unwrap();
    holes.write_all(b"begin").unwrap();
    holes.seek(SeekFrom::Start(5 << 20)).unwrap();
    holes.write_all(b"middle").unwrap();
    holes.set_len(20 << 20).unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    for number in 0..500 {
        fs::write(root.join("a").join(format!("small {number}")), format!("{number}").repeat(number)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_arrives_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, inbox) = (dir.path().join("tree"), dir.path().join("inbox"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&inbox).unwrap();
    odd_tree(&tree);
    fs::File::open(tree.join("a")).unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000)).unwrap();

    let pair = Pair::new().await;
    let (sent, received) = pair.transfer(1, &[&tree], &inbox).await;
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!(sent.skipped.count, 0, "{:?}", sent.skipped);
    assert_eq!((received.missing, received.files), (0, sent.files));
    assert_eq!(received.names, ["tree"]);
    assert_eq!(picture(&tree), picture(&inbox.join("tree")));
    let (from, to) = (fs::metadata(tree.join("holes")).unwrap(), fs::metadata(inbox.join("tree/holes")).unwrap());
    assert!(to.blocks() <= from.blocks() + 16, "holes stay holes: {} blocks became {}", from.blocks(), to.blocks());
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 1, "nothing else is left in the inbox");

    // Again: nothing is overwritten.
    let (_, received) = pair.transfer(2, &[&tree, &tree.join("plain")], &inbox).await;
    assert_eq!(received.unwrap().names, ["plain", "tree (2)"]);
    assert_eq!(picture(&tree), picture(&inbox.join("tree (2)")));
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_file_over_4_gib_arrives_in_a_moment() {
    let dir = tempfile::tempdir().unwrap();
    let (sparse, inbox) = (dir.path().join("sparse"), dir.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    let mut file = fs::File::create(&sparse).unwrap();
    file.seek(SeekFrom::Start((4 << 30) + 12345)).unwrap();
    file.write_all(b"end").unwrap();
    let pair = Pair::new().await;
    let (sent, received) = pair.transfer(1, &[&sparse], &inbox).await;
    assert!(sent.unwrap().moved < 1 << 20);
    assert_eq!(received.unwrap().files, 1);
    let there = fs::metadata(inbox.join("sparse")).unwrap();
    assert_eq!(there.len(), (4 << 30) + 12348);
    assert!(there.blocks() < 2048);
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setuid_never_arrives_and_odd_times_are_clamped() {
    let dir = tempfile::tempdir().unwrap();
    let (tool, inbox) = (dir.path().join("tool"), dir.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    fs::write(&tool, b"tool").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o6777)).unwrap();
    let far = SystemTime::UNIX_EPOCH + Duration::from_secs(9_999_999_999);
    fs::File::open(&tool).unwrap().set_modified(far).unwrap();
    let pair = Pair::new().await;
    pair.transfer(1, &[&tool], &inbox).await.1.unwrap();
    let there = fs::metadata(inbox.join("tool")).unwrap();
    assert_eq!(there.mode() & 0o7777, 0o755);
    assert_eq!(there.mtime(), 4_102_444_800);
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_told_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, inbox) = (dir.path().join("tree"), dir.path().join("inbox"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&inbox).unwrap();
    fs::write(tree.join("file"), b"x").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    fs::write(tree.join("back\\slash"), b"x").unwrap();
    fs::write(tree.join("C:x"), b"x").unwrap();
    symlink("/etc/passwd", tree.join("out")).unwrap();
    symlink("../..", tree.join("up")).unwrap();
    let pair = Pair::new().await;
    let (sent, received) = pair.transfer(1, &[&tree], &inbox).await;
    let mut skipped: Vec<_> =
        sent.unwrap().skipped.items.into_iter().map(|(path, _)| path.file_name().unwrap().to_owned()).collect();
    skipped.sort();
    assert_eq!(skipped, ["C:x", "back\\slash", "fifo", "out", "up"]);
    assert_eq!(received.unwrap().files, 1);
    assert_eq!(fs::read_dir(inbox.join("tree")).unwrap().count(), 1);
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changed_is_reported_and_not_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, inbox) = (dir.path().join("tree"), dir.path().join("inbox"));
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&inbox).unwrap();
    fs::write(tree.join("changes"), b"before").unwrap();
    fs::write(tree.join("goes"), b"away").unwrap();
    fs::write(tree.join("stays"), b"same").unwrap();
    let pair = Pair::new().await;
    let outgoing = Outgoing::scan(source(&[&tree]), about(1), &inbox).unwrap();
    fs::write(tree.join("changes"), b"after ").unwrap();
    fs::remove_file(tree.join("goes")).unwrap();
    let send = async {
        let (send, recv) = pair.out.open_bi().await.unwrap();
        outgoing.send(send, recv, Arc::default(), || {}, || {}).await
    };
    let receiving = async {
        let (send, recv) = pair.back.accept_bi().await.unwrap();
        receive(send, recv, &inbox).await.unwrap().confirm().await
    };
    let (sent, received) = tokio::join!(send, receiving);
    let (sent, received) = (sent.unwrap(), received.unwrap());
    assert_eq!((sent.files, sent.skipped.count, received.files, received.missing), (1, 2, 1, 2));
    assert!(!inbox.join("tree/changes").exists() && !inbox.join("tree/goes").exists());
    assert_eq!(fs::read(inbox.join("tree/stays")).unwrap(), b"same");
    pair.close().await;
}

/// A log that never stops growing while it is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_while_it_is_sent_is_never_half_there() {
    let dir = tempfile::tempdir().unwrap();
    let (log, inbox) = (dir.path().join("log"), dir.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    fs::write(&log, vec![7; 30 << 20]).unwrap();
    let pair = Pair::new().await;
    let outgoing = Outgoing::scan(source(&[&log]), about(1), &inbox).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, log) = (stop.clone(), log.clone());
        std::thread::spawn(move || {
            let mut log = fs::OpenOptions::new().append(true).open(log).unwrap();
            while !stop.load(Ordering::Relaxed) {
                log.write_all(b"one more line\n").unwrap();
            }
        })
    };
    let send = async {
        let (send, recv) = pair.out.open_bi().await.unwrap();
        outgoing.send(send, recv, Arc::default(), || {}, || {}).await
    };
    let receiving = async {
        let (send, recv) = pair.back.accept_bi().await.unwrap();
        receive(send, recv, &inbox).await.unwrap().confirm().await
    };
    let (sent, received) = tokio::join!(send, receiving);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!((sent.unwrap().skipped.count, received.unwrap().missing), (1, 1));
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 0);
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_is_no_and_both_sides_know() {
    let dir = tempfile::tempdir().unwrap();
    let (file, inbox) = (dir.path().join("file"), dir.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    fs::write(&file, b"x").unwrap();
    let pair = Pair::new().await;
    let outgoing = Outgoing::scan(source(&[&file]), about(1), dir.path()).unwrap();
    let asked = Arc::new(AtomicBool::new(false));
    let send = async {
        let (send, recv) = pair.out.open_bi().await.unwrap();
        let asked = asked.clone();
        outgoing.send(send, recv, Arc::default(), move || asked.store(true, Ordering::Relaxed), || {}).await
    };
    let reject = async {
        let (send, recv) = pair.back.accept_bi().await.unwrap();
        let mut incoming = Incoming::read(send, recv, Limits::default()).await.unwrap();
        assert_eq!((incoming.offer().files, incoming.offer().bytes), (1, 1));
        assert_eq!(incoming.offer().tops[0].name, b"file");
        incoming.waiting().await.unwrap();
        incoming.reject(Why::Declined).await;
    };
    let (sent, ()) = tokio::join!(send, reject);
    assert!(matches!(sent, Err(TransferError::Refused { why: Why::Declined })));
    assert!(asked.load(Ordering::Relaxed));
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 0);
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_space_is_told_before_the_first_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (file, inbox) = (dir.path().join("file"), dir.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    fs::write(&file, b"content").unwrap();
    let pair = Pair::new().await;
    let outgoing = Outgoing::scan(source(&[&file]), about(1), dir.path()).unwrap();
    let send = async {
        let (send, recv) = pair.out.open_bi().await.unwrap();
        outgoing.send(send, recv, Arc::default(), || {}, || {}).await
    };
    let progress = Arc::new(Progress::default());
    let full = async {
        let (send, recv) = pair.back.accept_bi().await.unwrap();
        let limits = Limits { reserve: u64::MAX / 2, ..Limits::default() };
        Incoming::read(send, recv, limits).await.unwrap().receive(b"sender", &inbox, progress.clone()).await.map(drop)
    };
    let (sent, received) = tokio::join!(send, full);
    assert!(matches!(sent, Err(TransferError::Refused { why: Why::DiskFull })), "{sent:?}");
    assert!(matches!(received, Err(TransferError::DiskFull { needed: 7, .. })));
    assert_eq!(progress.moved.load(Ordering::Relaxed), 0);
    pair.close().await;
}

/// A try that ended after everything had arrived, but before the sender knew.
#[tokio::test(flavor = "multi_thread")]
async fn an_unconfirmed_receipt_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (file, inbox) = (dir.path().join("file"), dir.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    fs::write(&file, vec![1; 100_000]).unwrap();
    let pair = Pair::new().await;
    let outgoing = Outgoing::scan(source(&[&file]), about(1), dir.path()).unwrap();
    let send = async {
        let (send, recv) = pair.out.open_bi().await.unwrap();
        outgoing.send(send, recv, Arc::default(), || {}, || {}).await
    };
    let lost = async {
        let (send, recv) = pair.back.accept_bi().await.unwrap();
        let received = receive(send, recv, &inbox).await.unwrap();
        assert_eq!(received.report().names, ["file"]);
    };
    let (sent, ()) = tokio::join!(send, lost);
    sent.unwrap_err();
    let (sent, received) = pair.transfer(1, &[&file], &inbox).await;
    assert_eq!((sent.unwrap().moved, received.unwrap().moved), (0, 0));
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 1, "one file, no second name, no staging folder");
    pair.close().await;
}

/// What changed between two tries is as it is now, not a mixture.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changed_between_two_tries_is_sent_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, inbox) = (dir.path().join("tree"), dir.path().join("inbox"));
    fs::create_dir_all(tree.join("gone folder")).unwrap();
    fs::create_dir(&inbox).unwrap();
    for (name, size) in [("a", 100_000), ("gone folder/b", 100), ("gone", 200), ("z", 40 << 20)] {
        fs::write(tree.join(name), vec![1; size]).unwrap();
    }
    let pair = Pair::new().await;
    let outgoing = Outgoing::scan(source(&[&tree]), about(1), dir.path()).unwrap();
    let progress = Arc::new(Progress::default());
    let send = async {
        let (send, recv) = pair.out.open_bi().await.unwrap();
        outgoing.send(send, recv, Arc::default(), || {}, || {}).await
    };
    let stopped = async {
        let (send, recv) = pair.back.accept_bi().await.unwrap();
        let incoming = Incoming::read(send, recv, Limits::default()).await.unwrap();
        let half = async {
            while progress.moved.load(Ordering::Relaxed) < 5 << 20 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            received = incoming.receive(b"sender", &inbox, progress.clone()) => panic!("stopped too late: {received:?}"),
            () = half => {}
        }
    };
    let (sent, ()) = tokio::join!(send, stopped);
    sent.unwrap_err();
    assert_eq!(fs::read_dir(&inbox).unwrap().count(), 1, "only the staging folder");
    fs::remove_dir_all(tree.join("gone folder")).unwrap();
    fs::remove_file(tree.join("gone")).unwrap();
    fs::write(tree.join("gone folder"), b"a file now").unwrap();
    fs::write(tree.join("z"), vec![2; 40 << 20]).unwrap();
    // The thread of the stopped try may still hold the staging folder for a moment.
    let (_, received) = loop {
        let again = pair.transfer(1, &[&tree], &inbox).await;
        if !matches!(again.1, Err(TransferError::Busy)) {
            break again;
        }
    };
    assert_eq!(received.unwrap().missing, 0);
    assert_eq!(picture(&tree), picture(&inbox.join("tree")));
    pair.close().await;
}
