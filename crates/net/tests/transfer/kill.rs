//! Either side is killed (SIGKILL), again and again, in the middle of one transfer.
#![allow(clippy::print_stdout, reason = "the killed process tells its parent how far it is")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use iroh::{Endpoint, EndpointAddr};
use spacedrive_net::transfer::{ALPN, Incoming, Limits, Outgoing, Progress};

use crate::{about, address, endpoint, source};

const SIZE: usize = 96 << 20;
/// How many bytes arrive between two kills.
const STEP: u64 = 3 << 20;
const ROLE: &str = "TRANSFER_TEST_CHILD";

/// Prints `moved N` whenever a step more has crossed, until the process is killed or done.
async fn print_progress(progress: Arc<Progress>) {
    let mut told = 0;
    loop {
        let moved = progress.moved.load(Ordering::Relaxed);
        if moved >= told + STEP {
            told = moved;
            println!("moved {moved}");
            std::io::stdout().flush().unwrap();
        }
        tokio::task::yield_now().await;
    }
}

/// Not a test of its own: the process that is killed. Its arguments are in the environment.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is started by the others"]
async fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var_os("TRANSFER_TEST_PATH").unwrap());
    let progress = Arc::new(Progress::default());
    let endpoint = endpoint().await;
    if role == "receive" {
        println!("address {}", serde_json::to_string(&address(&endpoint)).unwrap());
        std::io::stdout().flush().unwrap();
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (send, recv) = connection.accept_bi().await.unwrap();
        let incoming = Incoming::read(send, recv, Limits::default()).await.unwrap();
        tokio::select! {
            received = incoming.receive(b"sender", &path, progress.clone()) => {
                let report = received.unwrap().confirm().await.unwrap();
                println!("done {}", report.moved);
            }
            () = print_progress(progress.clone()) => {}
        }
    } else {
        let to: EndpointAddr = serde_json::from_str(&std::env::var("TRANSFER_TEST_TO").unwrap()).unwrap();
        let outgoing = Outgoing::scan(source(&[&path]), about(1), Path::new("/tmp")).unwrap();
        let connection = endpoint.connect(to, ALPN).await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        tokio::select! {
            sent = outgoing.send(send, recv, progress.clone(), || {}, || {}) => println!("done {}", sent.unwrap().moved),
            () = print_progress(progress.clone()) => {}
        }
    }
    std::io::stdout().flush().unwrap();
    endpoint.close().await;
}

/// The running child, and its lines.
struct Victim {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Victim {
    fn start(role: &str, path: &Path, to: Option<&EndpointAddr>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "kill::child", "--nocapture"]).env(ROLE, role).env("TRANSFER_TEST_PATH", path);
        if let Some(to) = to {
            command.env("TRANSFER_TEST_TO", serde_json::to_string(to).unwrap());
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The rest of the next line that begins with one of these words, and the word. `None` when the child ended.
    fn line(&mut self, words: &[&str]) -> Option<(String, String)> {
        loop {
            let line = self.lines.next()?.unwrap();
            // libtest puts `test kill::child ... ` before the first line.
            for word in words {
                if let Some((_, rest)) = line.split_once(&format!("{word} ")) {
                    return Some(((*word).to_owned(), rest.to_owned()));
                }
            }
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn content(path: &Path) -> blake3::Hash {
    let data: Vec<u8> = (0..SIZE as u64 / 8).flat_map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).to_le_bytes()).collect();
    fs::write(path, &data).unwrap();
    blake3::hash(&data)
}

fn check(inbox: &Path, hash: blake3::Hash) {
    let names: Vec<_> = fs::read_dir(inbox).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"], "one file under its name, and nothing else");
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(inbox.join("file")).unwrap()).unwrap();
    assert_eq!(hasher.finalize(), hash);
}

/// What is in the staging folder, in bytes.
fn staged(inbox: &Path) -> u64 {
    let found = fs::read_dir(inbox).unwrap().find_map(|entry| fs::metadata(entry.unwrap().path().join("tree/file")).ok());
    found.map_or(0, |meta| meta.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_killed_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (path, inbox) = (dir.path().join("file"), dir.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    let hash = content(&path);
    let me: Endpoint = endpoint().await;
    let (mut kills, mut wire, mut most) = (0, 0, 0);
    loop {
        let mut victim = Victim::start("receive", &inbox, None);
        let (_, to) = victim.line(&["address"]).unwrap();
        let connection = me.connect(serde_json::from_str::<EndpointAddr>(&to).unwrap(), ALPN).await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        let outgoing = Outgoing::scan(source(&[&path]), about(1), dir.path()).unwrap();
        let progress = Arc::new(Progress::default());
        let before = staged(&inbox);
        let sending = {
            let progress = progress.clone();
            tokio::spawn(async move { outgoing.send(send, recv, progress, || {}, || {}).await })
        };
        let reached = tokio::task::spawn_blocking(move || {
            let line = victim.line(&["moved", "done"]);
            let done = line.is_none_or(|(word, _)| word == "done");
            if done {
                victim.child.wait().unwrap();
            } else {
                victim.kill();
            }
            done
        });
        let done = reached.await.unwrap();
        if done {
            sending.await.unwrap().unwrap();
            wire += progress.moved.load(Ordering::Relaxed);
            break;
        }
        connection.close(0_u32.into(), b"");
        sending.await.unwrap().unwrap_err();
        kills += 1;
        let put = progress.moved.load(Ordering::Relaxed);
        most = most.max(put - (staged(&inbox) - before));
        wire += put;
    }
    check(&inbox, hash);
    let again = wire - SIZE as u64;
    println!("receiver killed {kills} times: {again} bytes were handed to the connection twice, at most {most} after a kill");
    assert!(kills >= 20, "{kills} kills");
    // What the sender had handed over counts, sent or not: the stream's window and what waits in our own pieces.
    assert!(most <= 3 << 20, "{most} bytes again");
    me.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_killed_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (path, inbox) = (dir.path().join("file"), dir.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    let hash = content(&path);
    let me = endpoint().await;
    let to = address(&me);
    let (mut kills, mut arrived) = (0, 0);
    loop {
        let mut victim = Victim::start("send", &path, Some(&to));
        let connection = me.accept().await.unwrap().await.unwrap();
        let (send, recv) = connection.accept_bi().await.unwrap();
        let incoming = Incoming::read(send, recv, Limits::default()).await.unwrap();
        let progress = Arc::new(Progress::default());
        let receiving = {
            let (inbox, progress) = (inbox.clone(), progress.clone());
            tokio::spawn(async move { incoming.receive(b"sender", &inbox, progress).await?.confirm().await })
        };
        let reached = tokio::task::spawn_blocking(move || {
            let line = victim.line(&["moved", "done"]);
            let done = line.is_none_or(|(word, _)| word == "done");
            if done {
                victim.child.wait().unwrap();
            } else {
                victim.kill();
            }
            done
        });
        let done = reached.await.unwrap();
        if !done {
            connection.close(0_u32.into(), b"");
            kills += 1;
        }
        let received = receiving.await.unwrap();
        arrived += progress.moved.load(Ordering::Relaxed);
        if done {
            received.unwrap();
            break;
        }
        received.unwrap_err();
    }
    check(&inbox, hash);
    println!("sender killed {kills} times: {} bytes arrived twice", arrived - SIZE as u64);
    assert!(kills >= 20, "{kills} kills");
    assert_eq!(arrived, SIZE as u64, "what has arrived is not sent again");
    me.close().await;
}
