//! A peer that is paired and says whatever it likes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iroh::endpoint::{RecvStream, SendStream};
use spacedrive_net::transfer::{
    About, Entry, Incoming, Kind, Limits, Offer, Outgoing, Progress, Report, Result, ToReceiver, ToSender, TransferError, Why,
    data_frame, message_frame, stage_name,
};

use crate::{DEADLINE, Pair, about, source};

/// An inbox with a bystander beside it, and the picture of all that must not change.
struct Inbox {
    dir: tempfile::TempDir,
}

impl Inbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inbox")).unwrap();
        fs::write(dir.path().join("victim"), b"untouched").unwrap();
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("inbox")
    }

    /// What is in the inbox, apart from staging folders.
    #[track_caller]
    fn arrived(&self) -> Vec<String> {
        assert_eq!(fs::read(self.dir.path().join("victim")).unwrap(), b"untouched");
        assert_eq!(fs::read_dir(self.dir.path()).unwrap().count(), 2, "something was written beside the inbox");
        let names = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with(".spacedrop-")).collect();
        names.sort();
        names
    }
}

fn file(depth: u16, name: &[u8], size: u64) -> Entry {
    Entry { depth, name: name.to_vec(), mode: 0o644, modified: (1, 0), kind: Kind::File { size, stored: size } }
}

fn folder(depth: u16, name: &[u8]) -> Entry {
    Entry { kind: Kind::Folder, ..file(depth, name, 0) }
}

fn link(depth: u16, name: &[u8], target: &[u8]) -> Entry {
    Entry { kind: Kind::Symlink { target: target.to_vec() }, ..file(depth, name, 0) }
}

/// The offer that belongs to these entries.
fn offer_for(entries: &[Entry]) -> Offer {
    let mut offer = Offer {
        id: [9; 16],
        sender: "mallory".to_owned(),
        message: None,
        files: 0,
        others: 0,
        bytes: 0,
        stored: 0,
        tops: Vec::new(),
    };
    for entry in entries {
        match entry.kind {
            Kind::File { size, stored } => {
                offer.files += 1;
                offer.bytes = offer.bytes.saturating_add(size);
                offer.stored = offer.stored.saturating_add(stored);
            }
            _ => offer.others += 1,
        }
    }
    offer
}

/// The bytes of a whole conversation.
#[derive(Default)]
struct Script(Vec<u8>);

impl Script {
    fn manifest(entries: &[Entry]) -> Self {
        Self::default()
            .say(&ToReceiver::Offer(offer_for(entries)))
            .say(&ToReceiver::Entries(entries.to_vec()))
            .say(&ToReceiver::End)
    }

    fn say(mut self, message: &ToReceiver) -> Self {
        self.0.extend(message_frame(message).unwrap());
        self
    }

    fn data(mut self, data: &[u8]) -> Self {
        self.0.extend(data_frame(data));
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn file(self, index: u64, data: &[u8]) -> Self {
        self.say(&ToReceiver::File { index, offset: 0 }).data(data).say(&ToReceiver::FileEnd(*blake3::hash(data).as_bytes()))
    }

    /// Says it all to a receiver, and then nothing.
    async fn play(self, pair: &Pair, inbox: &Path) -> Result<Report> {
        let say = async {
            let (mut send, recv) = pair.out.open_bi().await.unwrap();
            // The receiver may stop listening in the middle.
            let _ = send.write_all(&self.0).await;
            let _ = send.finish();
            recv
        };
        let hear = async {
            let (send, recv) = pair.back.accept_bi().await.unwrap();
            let incoming = Incoming::read(send, recv, Limits::default()).await?;
            incoming.receive(b"sender", inbox, Arc::<Progress>::default()).await?.confirm().await
        };
        let (_open, heard) = tokio::time::timeout(DEADLINE, async { tokio::join!(say, hear) }).await.unwrap();
        heard
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unsafe_manifests_are_refused_before_anything_is_written() {
    let pair = Pair::new().await;
    let deep: Vec<Entry> = (0..5000).map(|depth| folder(depth, b"d")).collect();
    let corpus: Vec<(&str, Vec<Entry>)> = vec![
        ("empty", vec![file(0, b"", 1)]),
        ("dot", vec![file(0, b".", 1)]),
        ("dot dot", vec![file(0, b"..", 1)]),
        ("dot dot folder", vec![folder(0, b".."), file(1, b"victim", 1)]),
        ("up", vec![file(0, b"../victim", 1)]),
        ("middle", vec![file(0, b"a/../../victim", 1)]),
        ("absolute", vec![file(0, b"/etc/x", 1)]),
        ("double slash", vec![file(0, b"//x", 1)]),
        ("slash", vec![file(0, b"a//b", 1)]),
        ("backslashes", vec![file(0, b"..\\x", 1)]),
        ("share", vec![file(0, b"\\\\srv\\x", 1)]),
        ("drive", vec![file(0, b"C:x", 1)]),
        ("nul", vec![file(0, b"a\0b", 1)]),
        ("long", vec![file(0, &[b'x'; 256], 1)]),
        ("very long", vec![file(0, &[b'x'; 4096], 1)]),
        ("deep", deep),
        ("in no folder", vec![file(1, b"a", 1)]),
        ("in a file", vec![file(0, b"a", 1), file(1, b"b", 1)]),
        ("twice", vec![file(0, b"a", 1), file(0, b"a", 1)]),
        ("file and folder", vec![file(0, b"a", 1), folder(0, b"a")]),
        ("through a link", vec![link(0, b"a", b".."), file(1, b"victim", 1)]),
        ("absolute link", vec![folder(0, b"a"), link(1, b"l", b"/etc/passwd")]),
        ("link out", vec![folder(0, b"a"), link(1, b"l", b"../../victim")]),
        ("link at the top", vec![link(0, b"l", b"victim")]),
        ("more stored than there is", vec![Entry { kind: Kind::File { size: 1, stored: 2 }, ..file(0, b"a", 1) }]),
        ("huge", vec![file(0, b"a", 1 << 63)]),
        ("overflow", vec![file(0, b"a", u64::MAX), file(0, b"b", u64::MAX)]),
        ("sparse bomb", vec![Entry { kind: Kind::File { size: 8 << 60, stored: 0 }, ..file(0, b"a", 1) }]),
    ];
    for (what, entries) in corpus {
        let inbox = Inbox::new();
        let outcome = Script::manifest(&entries).file(0, b"x").say(&ToReceiver::Done).play(&pair, &inbox.path()).await;
        assert!(
            matches!(
                outcome,
                Err(TransferError::UnsafeName { .. } | TransferError::Protocol { .. } | TransferError::TooMuch { .. })
            ),
            "{what}: {outcome:?}"
        );
        assert_eq!(inbox.arrived(), [""; 0], "{what}");
        let staged: Vec<_> = fs::read_dir(inbox.path()).unwrap().collect();
        for stage in staged {
            assert_eq!(fs::read_dir(stage.unwrap().path().join("tree")).unwrap().count(), 0, "{what}");
        }
    }
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_content_give_nothing() {
    let pair = Pair::new().await;
    let one = [file(0, b"a", 10), file(0, b"b", 10)];
    let hash = |data: &[u8]| ToReceiver::FileEnd(*blake3::hash(data).as_bytes());
    let begin = || Script::manifest(&one).say(&ToReceiver::File { index: 0, offset: 0 });
    let sparse = [Entry { kind: Kind::File { size: 1 << 40, stored: 4 }, ..file(0, b"a", 1) }];
    let corpus: Vec<(&str, Script)> = vec![
        ("wrong hash", begin().data(b"0123456789").say(&hash(b"other"))),
        ("shorter", begin().data(b"01234").say(&hash(b"01234"))),
        ("longer", begin().data(b"0123456789a").say(&hash(b"0123456789a"))),
        ("longer by a hole", begin().data(b"0123456789").say(&ToReceiver::Hole(1)).say(&hash(b"0123456789\0"))),
        ("hole without end", begin().say(&ToReceiver::Hole(u64::MAX)).say(&hash(b""))),
        ("more than stored", Script::manifest(&sparse).say(&ToReceiver::File { index: 0, offset: 0 }).data(b"01234")),
        ("a part that is not there", Script::manifest(&one).say(&ToReceiver::File { index: 0, offset: 5 }).data(b"56789")),
        ("behind the end", Script::manifest(&one).say(&ToReceiver::File { index: 0, offset: 11 })),
        ("no such file", Script::manifest(&one).file(2, b"x")),
        ("the last of all numbers", Script::manifest(&one).file(u64::MAX, b"x")),
        ("backwards", Script::manifest(&one).file(1, b"0123456789").file(0, b"0123456789")),
        ("data for nothing", Script::manifest(&one).data(b"x")),
        ("an end of nothing", Script::manifest(&one).say(&hash(b""))),
        ("data instead of a manifest", Script::default().say(&ToReceiver::Offer(offer_for(&one))).data(b"x")),
        ("a second offer", Script::manifest(&one).say(&ToReceiver::Offer(offer_for(&one)))),
        ("no end", begin().data(b"0123")),
        ("unknown frame", begin().raw(&[7, 0, 0, 0, 1, 0])),
        ("endless message", begin().raw(&[0, 0xff, 0xff, 0xff, 0xff])),
        ("endless data", begin().raw(&[1, 0x7f, 0xff, 0xff, 0xff])),
        ("not a message", begin().raw(&[0, 0, 0, 0, 3, 200, 200, 200])),
        ("half a header", begin().raw(&[1, 0])),
        (
            "again and again",
            (0..10).fold(Script::manifest(&one), |script, _| {
                script.say(&ToReceiver::File { index: 0, offset: 0 }).data(b"01234").say(&ToReceiver::FileVoid)
            }),
        ),
        ("gives up", begin().data(b"0123").say(&ToReceiver::Failed(Why::Cancelled))),
    ];
    for (what, script) in corpus {
        let inbox = Inbox::new();
        let outcome = script.play(&pair, &inbox.path()).await;
        assert!(outcome.is_err(), "{what}: {outcome:?}");
        assert_eq!(inbox.arrived(), [""; 0], "{what}");
    }
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_that_are_bombs_are_refused_at_once() {
    let pair = Pair::new().await;
    let plain = offer_for(&[file(0, b"a", 1)]);
    let long = "x".repeat(5000);
    let top = |name: &[u8]| spacedrive_net::transfer::Top { name: name.to_vec(), folder: false };
    let corpus = [
        Offer { files: 1_000_001, ..plain.clone() },
        Offer { files: u64::MAX, others: u64::MAX, ..plain.clone() },
        Offer { bytes: 1 << 63, ..plain.clone() },
        Offer { stored: 2, ..plain.clone() },
        Offer { sender: long.clone(), ..plain.clone() },
        Offer { message: Some(long), ..plain.clone() },
        Offer { tops: vec![top(b"a"); 1000], ..plain.clone() },
        Offer { tops: vec![top(b"../x")], ..plain.clone() },
    ];
    for offer in corpus {
        let inbox = Inbox::new();
        let outcome = Script::default().say(&ToReceiver::Offer(offer.clone())).play(&pair, &inbox.path()).await;
        assert!(outcome.is_err(), "{offer:?}");
        assert_eq!(fs::read_dir(inbox.path()).unwrap().count(), 0);
    }
    for raw in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0, 0, 0, 0, 0], &[1, 0, 0, 0, 0], &[0xff; 4096], b""] {
        let inbox = Inbox::new();
        Script::default().raw(raw).play(&pair, &inbox.path()).await.unwrap_err();
        assert_eq!(fs::read_dir(inbox.path()).unwrap().count(), 0);
    }
    pair.close().await;
}

/// More entries than were offered: refused while they come, whatever is still to come.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_without_end_is_cut_off() {
    let pair = Pair::new().await;
    let inbox = Inbox::new();
    let offer = Offer { files: 1000, bytes: 1000, stored: 1000, ..offer_for(&[]) };
    let endless = async {
        let (mut send, recv) = pair.out.open_bi().await.unwrap();
        let mut frames = message_frame(&ToReceiver::Offer(offer)).unwrap();
        let mut number = 0_u64;
        while send.write_all(&frames).await.is_ok() {
            let entries = (0..1000).map(|_| {
                number += 1;
                file(0, format!("{number:020}").as_bytes(), 1)
            });
            frames = message_frame(&ToReceiver::Entries(entries.collect())).unwrap();
        }
        drop(recv);
        number
    };
    let hear = async {
        let (send, recv) = pair.back.accept_bi().await.unwrap();
        let incoming = Incoming::read(send, recv, Limits::default()).await?;
        incoming.receive(b"sender", &inbox.path(), Arc::default()).await?.confirm().await
    };
    let (number, heard) = tokio::time::timeout(DEADLINE, async { tokio::join!(endless, hear) }).await.unwrap();
    assert!(matches!(heard, Err(TransferError::TooMuch { .. })), "{heard:?}");
    assert!(number < 1_000_000, "{number} entries were taken before the receiver said no");
    assert_eq!(inbox.arrived(), [""; 0]);
    pair.close().await;
}

/// Somebody on this machine swaps the target for a link, again and again, while files come.
#[tokio::test(flavor = "multi_thread")]
async fn a_racing_link_leads_nowhere() {
    let pair = Pair::new().await;
    let inbox = Inbox::new();
    let secret = inbox.dir.path().join("inbox/secret");
    fs::create_dir(&secret).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let racer = {
        let (stop, path) = (stop.clone(), inbox.path().join("tree"));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = symlink("secret", &path);
                let _ = fs::remove_file(&path);
            }
        })
    };
    for _ in 0..30 {
        let entries = [folder(0, b"tree"), file(1, b"a", 3)];
        let outcome = Script::manifest(&entries).file(0, b"abc").say(&ToReceiver::Done).play(&pair, &inbox.path()).await;
        outcome.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    racer.join().unwrap();
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 0, "something went through the link");
    pair.close().await;
}

/// A link that an earlier entry brought is never followed, nor is one that was put into the staging folder.
#[tokio::test(flavor = "multi_thread")]
async fn links_in_the_way_are_replaced_and_not_followed() {
    let pair = Pair::new().await;
    let inbox = Inbox::new();
    let tree = inbox.path().join(format!("{}/tree", stage_name(b"sender", &[9; 16])));
    fs::create_dir_all(&tree).unwrap();
    symlink("../../..", tree.join("folder")).unwrap();
    symlink("../../../victim", tree.join("name")).unwrap();
    let entries = [folder(0, b"folder"), file(1, b"victim", 3), file(0, b"name", 3)];
    let script = Script::manifest(&entries).file(0, b"abc").file(1, b"def").say(&ToReceiver::Done);
    let report = script.play(&pair, &inbox.path()).await.unwrap();
    assert_eq!((report.files, report.missing), (2, 0));
    assert_eq!(inbox.arrived(), ["folder", "name"]);
    assert_eq!(fs::read(inbox.path().join("folder/victim")).unwrap(), b"abc");
    assert!(fs::symlink_metadata(inbox.path().join("name")).unwrap().is_file());
    pair.close().await;
}

/// A receiver that lies to a sender gets at most what it was offered.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_takes_no_nonsense_from_a_receiver() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, vec![5; 300_000]).unwrap();
    let pair = Pair::new().await;
    let accepted = || message_frame(&ToSender::Accepted).unwrap();
    let then = |messages: &[ToSender]| {
        messages.iter().fold(accepted(), |mut bytes, message| {
            bytes.extend(message_frame(message).unwrap());
            bytes
        })
    };
    let wrong_part = ToSender::Part { index: 0, length: 100, hash: [0; 32] };
    let corpus = [
        message_frame(&ToSender::Complete).unwrap(),
        message_frame(&ToSender::Ready).unwrap(),
        then(&[ToSender::Have(vec![(1, 0)])]),
        then(&[ToSender::Have(vec![(0, 2)])]),
        then(&[ToSender::Have(vec![(0, 1), (0, 1)])]),
        then(&[wrong_part.clone(), wrong_part]),
        then(&[ToSender::Part { index: 0, length: u64::MAX, hash: [0; 32] }, ToSender::Ready, ToSender::Accepted]),
        then(&[ToSender::Ready, ToSender::Ready]),
        vec![9; 100],
        vec![0, 0xff, 0xff, 0xff, 0xff],
        Vec::new(),
    ];
    for answer in corpus {
        let outgoing = Outgoing::scan(source(&[&path]), About { id: [1; 16], ..about(1) }, dir.path()).unwrap();
        let send = async {
            let (send, recv) = pair.out.open_bi().await.unwrap();
            outgoing.send(send, recv, Arc::default(), || {}, || {}).await
        };
        let lie = async {
            let (mut send, mut recv): (SendStream, RecvStream) = pair.back.accept_bi().await.unwrap();
            let _ = send.write_all(&answer).await;
            let _ = send.finish();
            let mut buffer = vec![0; 65536];
            let mut taken = 0;
            while let Ok(Some(length)) = recv.read(&mut buffer).await {
                taken += length;
            }
            taken
        };
        let (sent, taken) = tokio::time::timeout(DEADLINE, async { tokio::join!(send, lie) }).await.unwrap();
        assert!(sent.is_err(), "{answer:?}: {sent:?}");
        assert!(taken < 400_000, "{taken} bytes for a file of 300,000");
    }
    pair.close().await;
}
