//! The sending side.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{RecvStream, SendStream};

use super::error::{Result, TransferError};
use super::frame::{Kind, MAX_TEXT, Offer, ToReceiver, ToSender};
use super::pipe::{Output, PIECE, Progress, pump_out, read_message, write_message};
use super::source::{Identity, Record, Source, Totals, next_data, open_file, open_folder};
use super::spool::Spool;

/// How many runs of finished files a receiver may tell.
const MAX_RUNS: usize = 250_000;
/// How often a file that changes while it is sent is tried.
const TRIES: u32 = 3;
/// How many skipped things are told by name.
const MAX_SKIPPED: usize = 1000;
/// How long the receiver may take to answer a whole transfer's end.
const TOLD: Duration = Duration::from_secs(2);

/// What goes with the files.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The transfer; the same when it is tried again.
    pub id: [u8; 16],
    /// Who sends.
    pub sender: String,
    /// What the sender wants to say.
    pub message: Option<String>,
}

/// What was not sent, and why.
#[derive(Debug, Clone, Default)]
pub struct Skipped {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub items: Vec<(PathBuf, String)>,
}

impl Skipped {
    pub(crate) fn add(&mut self, path: &Path, why: String) {
        self.count += 1;
        if self.items.len() < MAX_SKIPPED {
            self.items.push((path.to_owned(), why));
        }
    }
}

/// What was sent.
#[derive(Debug)]
pub struct Sent {
    /// Files that are complete at the receiver.
    pub files: u64,
    /// Bytes of files that crossed the network this time.
    pub moved: u64,
    /// What was left out: neither files nor folders, unreadable, or changed on the way.
    pub skipped: Skipped,
}

/// A transfer that is ready to be offered.
#[derive(Debug)]
pub struct Outgoing {
    source: Source,
    spool: Spool<Record>,
    offer: Offer,
    skipped: Skipped,
}

impl Outgoing {
    /// Walks the source. Blocks; `scratch` is a folder for an unnamed temporary file.
    pub fn scan(source: Source, about: About, scratch: &Path) -> Result<Self> {
        if about.sender.len() > MAX_TEXT || about.message.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
            return Err(TransferError::TooMuch { what: "text" });
        }
        let (spool, Totals { files, others, bytes, stored, tops, skipped }) = source.scan(scratch)?;
        let About { id, sender, message } = about;
        let offer = Offer { id, sender, message, files, others, bytes, stored, tops };
        Ok(Self { source, spool, offer, skipped })
    }

    /// What will be offered.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Offers, waits for the decision, and sends. `waiting` is called when a person is asked, `accepted` when the
    /// receiver takes it.
    pub async fn send(
        self,
        mut send: SendStream,
        mut recv: RecvStream,
        progress: Arc<Progress>,
        waiting: impl FnOnce(),
        accepted: impl FnOnce(),
    ) -> Result<Sent> {
        let sent = self.run(&mut send, &mut recv, progress, waiting, accepted).await;
        match &sent {
            Ok(_) => {
                let _ = send.finish();
            }
            Err(TransferError::Lost | TransferError::Refused { .. }) => {}
            Err(error) => {
                let _ = write_message(&mut send, &ToReceiver::Failed(error.why())).await;
                let _ = send.finish();
                let _ = tokio::time::timeout(TOLD, send.stopped()).await;
            }
        }
        sent
    }

    async fn run(
        self,
        send: &mut SendStream,
        recv: &mut RecvStream,
        progress: Arc<Progress>,
        waiting: impl FnOnce(),
        accepted: impl FnOnce(),
    ) -> Result<Sent> {
        write_message(send, &ToReceiver::Offer(self.offer.clone())).await?;
        let mut waiting = Some(waiting);
        loop {
            match read_message(recv, None).await? {
                ToSender::Waiting => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                }
                ToSender::Accepted => break,
                ToSender::Rejected(why) | ToSender::Failed(why) => return Err(TransferError::Refused { why }),
                _ => return Err(TransferError::Protocol { what: "an answer out of order" }),
            }
        }
        accepted();
        let this = Arc::new(self);
        let worker = this.clone();
        this.pump(send, recv, move |output| worker.manifest(output)).await?;
        let wanted = this.wanted(recv).await?;
        let worker = this.clone();
        let mut skipped = this.skipped.clone();
        let counters = progress.clone();
        let (files, skipped) = this
            .pump(send, recv, move |output| {
                let files = worker.data(output, wanted, &counters, &mut skipped)?;
                Ok((files, skipped))
            })
            .await?;
        match read_message(recv, None).await? {
            ToSender::Complete => {
                let moved = progress.moved.load(std::sync::atomic::Ordering::Relaxed);
                Ok(Sent { files, moved, skipped })
            }
            ToSender::Failed(why) => Err(TransferError::Refused { why }),
            _ => Err(TransferError::Protocol { what: "an answer out of order" }),
        }
    }

    /// Lets a thread produce frames and writes them. When the receiver stops reading, asks it why.
    async fn pump<T: Send + 'static>(
        &self,
        send: &mut SendStream,
        recv: &mut RecvStream,
        work: impl FnOnce(&mut Output) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (mut output, pieces) = Output::new();
        let thread = tokio::task::spawn_blocking(move || {
            let value = work(&mut output)?;
            output.flush()?;
            Ok(value)
        });
        let pumped = pump_out(pieces, send).await;
        let made = thread.await.unwrap_or(Err(TransferError::Lost));
        match (pumped, made) {
            (Ok(()), made) => made,
            (Err(lost), _) => match read_message(recv, Some(TOLD)).await {
                Ok(ToSender::Failed(why)) => Err(TransferError::Refused { why }),
                _ => Err(lost),
            },
        }
    }

    fn manifest(&self, output: &mut Output) -> Result<()> {
        let mut records = self.spool.read()?;
        let mut batch = Vec::new();
        let mut length = 0;
        while let Some(record) = records.next()? {
            length += record.entry.name.len() + 64;
            if let Kind::Symlink { target } = &record.entry.kind {
                length += target.len();
            }
            batch.push(record.entry);
            if length >= PIECE {
                output.message(&ToReceiver::Entries(std::mem::take(&mut batch)))?;
                length = 0;
            }
        }
        if !batch.is_empty() {
            output.message(&ToReceiver::Entries(batch))?;
        }
        output.message(&ToReceiver::End)
    }

    async fn wanted(&self, recv: &mut RecvStream) -> Result<Wanted> {
        let mut wanted = Wanted { have: Vec::new(), part: None };
        let wrong = |what| Err(TransferError::Protocol { what });
        loop {
            match read_message(recv, None).await? {
                ToSender::Have(runs) => {
                    for (start, end) in runs {
                        let after = wanted.have.last().map_or(0, |(_, end)| *end);
                        if start < after || end <= start || end > self.offer.files || wanted.have.len() >= MAX_RUNS {
                            return wrong("runs of files that make no sense");
                        }
                        wanted.have.push((start, end));
                    }
                }
                ToSender::Part { index, length, hash } if wanted.part.is_none() => wanted.part = Some((index, length, hash)),
                ToSender::Ready => return Ok(wanted),
                ToSender::Failed(why) => return Err(TransferError::Refused { why }),
                _ => return wrong("an answer out of order"),
            }
        }
    }

    fn data(&self, output: &mut Output, wanted: Wanted, progress: &Progress, skipped: &mut Skipped) -> Result<u64> {
        let mut records = self.spool.read()?;
        let mut folders: Vec<Option<OwnedFd>> = Vec::new();
        let mut path: Vec<PathBuf> = Vec::new();
        let mut top = usize::MAX;
        let (mut index, mut files, mut run) = (0, 0, 0);
        while let Some(Record { entry, identity }) = records.next()? {
            let depth = usize::from(entry.depth);
            folders.truncate(depth);
            path.truncate(depth);
            if depth == 0 {
                top = top.wrapping_add(1);
            }
            let folder = match folders.last() {
                None => self.source.folder(top),
                Some(folder) => folder.as_ref().map(AsFd::as_fd),
            };
            let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&entry.name);
            let here = || path.last().map_or_else(|| PathBuf::from(name), |path| path.join(name));
            match entry.kind {
                Kind::Folder => {
                    let opened = folder.and_then(|folder| open_folder(folder, name, true).ok());
                    let here = here();
                    folders.push(opened);
                    path.push(here);
                }
                Kind::Symlink { .. } => {}
                Kind::File { size, .. } => {
                    let this = index;
                    index += 1;
                    while wanted.have.get(run).is_some_and(|(_, end)| *end <= this) {
                        run += 1;
                    }
                    if wanted.have.get(run).is_some_and(|(start, _)| *start <= this) {
                        Progress::add(&progress.files, 1);
                        Progress::add(&progress.bytes, size);
                        files += 1;
                        continue;
                    }
                    let part = wanted.part.filter(|(index, ..)| *index == this).map(|(_, length, hash)| (length, hash));
                    let sent = match folder {
                        Some(folder) => {
                            let mut file = SendFile { output, progress, index: this, size, identity };
                            file.tries(folder, &entry.name, part)?
                        }
                        None => Err("its folder is gone".to_owned()),
                    };
                    match sent {
                        Ok(()) => {
                            files += 1;
                            Progress::add(&progress.files, 1);
                        }
                        Err(why) => skipped.add(&here(), why),
                    }
                }
            }
        }
        output.message(&ToReceiver::Done)?;
        Ok(files)
    }
}

struct Wanted {
    have: Vec<(u64, u64)>,
    part: Option<(u64, u64, [u8; 32])>,
}

struct SendFile<'a> {
    output: &'a mut Output,
    progress: &'a Progress,
    index: u64,
    size: u64,
    identity: Identity,
}

/// What came of a file: sent, or why it could not be read.
type FileResult = std::result::Result<(), String>;

impl SendFile<'_> {
    fn tries(
        &mut self,
        folder: std::os::fd::BorrowedFd<'_>,
        name: &[u8],
        mut part: Option<(u64, [u8; 32])>,
    ) -> Result<FileResult> {
        let mut last = Ok(());
        for _ in 0..TRIES {
            let file = match open_file(folder, name) {
                Ok(file) => file,
                Err(error) => return Ok(Err(std::io::Error::from(error).to_string())),
            };
            if !self.is_unchanged(&file) {
                return Ok(Err("it changed since it was announced".to_owned()));
            }
            last = self.one(&file, part.take())?;
            if last.is_ok() {
                break;
            }
            self.output.message(&ToReceiver::FileVoid)?;
        }
        Ok(last)
    }

    fn is_unchanged(&self, file: &std::fs::File) -> bool {
        rustix::fs::fstat(file).is_ok_and(|stat| Identity::of(&stat) == self.identity)
    }

    fn one(&mut self, file: &std::fs::File, part: Option<(u64, [u8; 32])>) -> Result<FileResult> {
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        if let Some((length, hash)) = part.filter(|(length, _)| *length <= self.size) {
            match self.hash_part(file, length)? {
                Some(mine) if *mine.finalize().as_bytes() == hash => {
                    hasher = mine;
                    at = length;
                }
                _ => {}
            }
        }
        self.output.message(&ToReceiver::File { index: self.index, offset: at })?;
        Progress::add(&self.progress.bytes, at);
        while at < self.size {
            let (start, end) = next_data(file, at, self.size).unwrap_or((self.size, self.size));
            if start > at {
                hash_zeros(&mut hasher, start - at);
                self.output.message(&ToReceiver::Hole(start - at))?;
                Progress::add(&self.progress.bytes, start - at);
                at = start;
            }
            while at < end {
                let max = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
                let read = self.output.data(max, |buffer| {
                    let length = file.read_at(buffer, at)?;
                    hasher.update(&buffer[..length]);
                    Ok::<_, std::io::Error>(length)
                })?;
                match read {
                    Ok(0) => return Ok(Err("it became shorter while it was sent".to_owned())),
                    Ok(length) => {
                        at += length as u64;
                        Progress::add(&self.progress.bytes, length as u64);
                        Progress::add(&self.progress.moved, length as u64);
                    }
                    Err(error) => return Ok(Err(error.to_string())),
                }
            }
        }
        if !self.is_unchanged(file) {
            return Ok(Err("it changed while it was sent".to_owned()));
        }
        self.output.message(&ToReceiver::FileEnd(*hasher.finalize().as_bytes()))?;
        Ok(Ok(()))
    }

    /// The hash of the beginning. `None` when it cannot be read.
    fn hash_part(&mut self, file: &std::fs::File, length: u64) -> Result<Option<blake3::Hasher>> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while at < length {
            let max = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
            match file.read_at(&mut buffer[..max], at) {
                Ok(0) | Err(_) => return Ok(None),
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    at += read as u64;
                }
            }
            if at % (256 << 20) < PIECE as u64 {
                self.output.message(&ToReceiver::Working)?;
                self.output.flush()?;
            }
        }
        Ok(Some(hasher))
    }
}

/// Feeds the bytes of a hole.
pub(crate) fn hash_zeros(hasher: &mut blake3::Hasher, mut length: u64) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    while length > 0 {
        let now = usize::try_from(length).unwrap_or(ZEROS.len()).min(ZEROS.len());
        hasher.update(&ZEROS[..now]);
        length -= now as u64;
    }
}
