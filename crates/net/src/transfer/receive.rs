//! The receiving side.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{RecvStream, SendStream};
use tokio::sync::mpsc;

use super::error::{Result, TransferError, Why};
use super::frame::{Entry, Kind, Offer, ToReceiver, ToSender};
use super::manifest::{Checker, Limits};
use super::pipe::{Input, Item, PIECE, Progress, pump_in, read_message, write_message};
use super::send::hash_zeros;
use super::spool::{Spool, SpoolReader, SpoolWriter};
use super::stage::{self, Stage};

/// How long a peer may take for its offer.
const OFFER: Duration = Duration::from_secs(10);
/// How often a file may come again within one transfer.
const TRIES: u32 = 4;
/// How many runs of files a message has at most.
const RUNS: usize = 10_000;

/// An offer that waits for a decision.
#[derive(Debug)]
pub struct Incoming {
    send: SendStream,
    recv: RecvStream,
    offer: Offer,
    limits: Limits,
}

/// A transfer that arrived. Its staging folder is kept until [`Received::confirm`].
#[derive(Debug)]
pub struct Received {
    send: SendStream,
    stage: Stage,
    report: Report,
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The names that the top-level entries got in the target folder.
    pub names: Vec<OsString>,
    /// Files that are there now.
    pub files: u64,
    /// Bytes of files that crossed the network this time.
    pub moved: u64,
    /// Files that the sender could not send.
    pub missing: u64,
}

impl Incoming {
    /// Reads the offer from a new stream. What is out of the limits is refused here.
    pub async fn read(send: SendStream, mut recv: RecvStream, limits: Limits) -> Result<Self> {
        let message = read_message(&mut recv, Some(OFFER)).await;
        let mut send = send;
        let refused = match message {
            Ok(ToReceiver::Offer(offer)) => match limits.check_offer(&offer) {
                Ok(()) => return Ok(Self { send, recv, offer, limits }),
                Err(error) => error,
            },
            Ok(_) => TransferError::Protocol { what: "something else than an offer" },
            Err(error) => error,
        };
        let _ = write_message(&mut send, &ToSender::Rejected(refused.why())).await;
        let _ = send.finish();
        Err(refused)
    }

    /// What is offered.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Tells the sender that a person is being asked.
    pub async fn waiting(&mut self) -> Result<()> {
        write_message(&mut self.send, &ToSender::Waiting).await
    }

    /// Resolves when the sender gave up waiting.
    pub async fn withdrawn(&mut self) {
        // A sender says nothing before it has an answer: whatever comes, it no longer waits for one.
        let _ = read_message::<ToReceiver>(&mut self.recv, None).await;
    }

    /// Says no.
    pub async fn reject(mut self, why: Why) {
        let _ = write_message(&mut self.send, &ToSender::Rejected(why)).await;
        let _ = self.send.finish();
        let _ = tokio::time::timeout(OFFER, self.send.stopped()).await;
    }

    /// Says that it arrived already, in an earlier try whose end the sender did not see.
    pub async fn already_here(self) -> Result<()> {
        // The sender goes through the whole conversation, in which it learns that all is there.
        let Self { mut send, mut recv, offer, limits } = self;
        write_message(&mut send, &ToSender::Accepted).await?;
        let mut checker = Checker::new(&limits, &offer);
        loop {
            match read_message(&mut recv, Some(super::pipe::SILENCE)).await? {
                ToReceiver::Entries(entries) => entries.iter().try_for_each(|entry| checker.check(entry))?,
                ToReceiver::End => break,
                _ => return Err(TransferError::Protocol { what: "a message out of order" }),
            }
        }
        if offer.files > 0 {
            write_message(&mut send, &ToSender::Have(vec![(0, offer.files)])).await?;
        }
        write_message(&mut send, &ToSender::Ready).await?;
        let _ = read_message::<ToReceiver>(&mut recv, Some(super::pipe::SILENCE)).await?;
        write_message(&mut send, &ToSender::Complete).await?;
        let _ = send.finish();
        let _ = tokio::time::timeout(OFFER, send.stopped()).await;
        Ok(())
    }

    /// Says yes and receives what the device `from` sends into the folder `into`, which must exist. Dropping the
    /// future stops it; what has arrived stays for the next try.
    pub async fn receive(self, from: &[u8], into: &Path, progress: Arc<Progress>) -> Result<Received> {
        let Self { mut send, mut recv, offer, limits } = self;
        let (input, pieces, theirs) = Input::new();
        let (answers, mut answered) = mpsc::channel(16);
        let (from, into) = (from.to_vec(), into.to_owned());
        let worker = tokio::task::spawn_blocking(move || {
            let stage = Stage::open(&into, &from, &offer.id)?;
            answers.blocking_send(ToSender::Accepted).map_err(|_| TransferError::Lost)?;
            Work { input, answers, offer, limits, progress, stage }.run()
        });
        let outcome = {
            let pumps = async {
                let outgoing = async {
                    while let Some(answer) = answered.recv().await {
                        if write_message(&mut send, &answer).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::join!(pump_in(&mut recv, pieces, theirs), outgoing);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                outcome = worker => outcome.unwrap_or(Err(TransferError::Lost)),
                () = pumps => Err(TransferError::Lost),
            }
        };
        match outcome {
            Ok((stage, report)) => Ok(Received { send, stage, report }),
            Err(error) => {
                if !matches!(error, TransferError::Lost) {
                    let _ = write_message(&mut send, &ToSender::Failed(error.why())).await;
                    let _ = send.finish();
                    let _ = recv.stop(1_u32.into());
                    let _ = tokio::time::timeout(Duration::from_secs(2), send.stopped()).await;
                }
                Err(error)
            }
        }
    }
}

impl Received {
    /// What arrived.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Tells the sender, and removes the staging folder. Call it when the receipt is recorded: before this, the
    /// same transfer can be offered again and finds everything in its place.
    pub async fn confirm(self) -> Result<Report> {
        let Self { mut send, stage, report } = self;
        let removed = tokio::task::spawn_blocking(move || stage.remove()).await.unwrap_or(Ok(()));
        // The sender may be gone: that is its loss, not a failure of what arrived.
        if write_message(&mut send, &ToSender::Complete).await.is_ok() {
            let _ = send.finish();
            let _ = tokio::time::timeout(OFFER, send.stopped()).await;
        }
        removed.map(|()| report)
    }
}

/// Forgets what has arrived of a transfer that will not go on.
pub fn discard(from: &[u8], into: &Path, id: &[u8; 16]) -> Result<()> {
    Stage::open(into, from, id)?.remove()
}

/// The thread that reads frames and writes files.
struct Work {
    input: Input,
    answers: mpsc::Sender<ToSender>,
    offer: Offer,
    limits: Limits,
    progress: Arc<Progress>,
    stage: Stage,
}

impl Work {
    fn run(mut self) -> Result<(Stage, Report)> {
        let spool = self.manifest()?;
        let missing_bytes = if self.stage.is_done() { self.all_here()? } else { self.have(&spool)? };
        self.space(missing_bytes)?;
        self.answer(ToSender::Ready)?;
        let (files, missing) = if self.stage.is_done() { self.only_done()? } else { self.data(&spool)? };
        let names = self.publish(&spool)?;
        let moved = self.progress.moved.load(Ordering::Relaxed);
        Ok((self.stage, Report { names, files, moved, missing }))
    }

    fn answer(&self, answer: ToSender) -> Result<()> {
        self.answers.blocking_send(answer).map_err(|_| TransferError::Lost)
    }

    fn message(&mut self) -> Result<ToReceiver> {
        match self.input.next()? {
            Item::Message(ToReceiver::Failed(why)) => Err(TransferError::Refused { why }),
            Item::Message(message) => Ok(message),
            Item::Data(_) => Err(TransferError::Protocol { what: "data that belongs to no file" }),
        }
    }

    /// Reads the whole manifest; nothing is written for it before all of it is checked.
    fn manifest(&mut self) -> Result<Spool<Entry>> {
        let mut writer = SpoolWriter::create(&self.stage.path())?;
        let (limits, offer) = (self.limits.clone(), self.offer.clone());
        let mut checker = Checker::new(&limits, &offer);
        loop {
            match self.message()? {
                ToReceiver::Entries(entries) => {
                    for entry in &entries {
                        checker.check(entry)?;
                        writer.push(entry)?;
                    }
                }
                ToReceiver::End => {
                    checker.end()?;
                    return writer.finish();
                }
                _ => return Err(TransferError::Protocol { what: "a message out of order" }),
            }
        }
    }

    /// Tells what an earlier try has left, and removes what no longer belongs to it; answers how many bytes are
    /// still to come.
    fn have(&mut self, spool: &Spool<Entry>) -> Result<u64> {
        let io = |error: rustix::io::Errno| TransferError::io(self.stage.target())(error);
        let mut entries = spool.read()?;
        let root = self.stage.tree.try_clone().map_err(TransferError::io(self.stage.target()))?;
        let mut levels = vec![Some(Left::list(root).map_err(io)?)];
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let mut part = None;
        let (mut index, mut missing) = (0, 0_u64);
        while let Some(entry) = entries.next()? {
            while levels.len() > usize::from(entry.depth) + 1 {
                if let Some(Some(left)) = levels.pop() {
                    left.remove_rest().map_err(io)?;
                }
            }
            let level = match levels.last_mut() {
                Some(Some(level)) => level.reach(&entry.name).map_err(io)?.then_some(level),
                _ => None,
            };
            match entry.kind {
                Kind::Folder => {
                    let opened = level.and_then(|level| stage::open_folder(level.folder.as_fd(), &entry.name));
                    levels.push(opened.map(Left::list).transpose().map_err(io)?);
                }
                Kind::Symlink { .. } => {}
                Kind::File { size, stored } => {
                    let this = index;
                    index += 1;
                    let found = level.and_then(|level| Some((stage::stat_file(level.folder.as_fd(), &entry.name)?, level)));
                    let Some((stat, level)) = found else {
                        missing = missing.saturating_add(stored);
                        continue;
                    };
                    let length = stat.st_size.cast_unsigned();
                    if stage::is_finished(&stat, size, entry.modified) {
                        match runs.last_mut() {
                            Some((_, end)) if *end == this => *end += 1,
                            _ => runs.push((this, this + 1)),
                        }
                    } else {
                        missing = missing.saturating_add(stored.saturating_sub(length));
                        if length > 0 && length <= size {
                            part = Some((this, length, stage::reopen_part(level.folder.as_fd(), &entry.name)));
                        }
                    }
                }
            }
        }
        while let Some(level) = levels.pop() {
            level.map_or(Ok(()), Left::remove_rest).map_err(io)?;
        }
        for runs in runs.chunks(RUNS) {
            self.answer(ToSender::Have(runs.to_vec()))?;
        }
        if let Some((index, length, Ok(file))) = part {
            let hash = hash_file(&file, length).map_err(TransferError::io(self.stage.target()))?;
            self.answer(ToSender::Part { index, length, hash: *hash.finalize().as_bytes() })?;
        }
        Ok(missing)
    }

    fn all_here(&self) -> Result<u64> {
        if self.offer.files > 0 {
            self.answer(ToSender::Have(vec![(0, self.offer.files)]))?;
        }
        Ok(0)
    }

    fn only_done(&mut self) -> Result<(u64, u64)> {
        match self.message()? {
            ToReceiver::Done => Ok((self.offer.files, 0)),
            _ => Err(TransferError::Protocol { what: "a message out of order" }),
        }
    }

    fn space(&self, needed: u64) -> Result<()> {
        let (available, inodes) = self.stage.free()?;
        let full = |needed| TransferError::DiskFull { path: self.stage.target().to_owned(), needed, available };
        if needed > 0 && needed.saturating_add(self.limits.reserve) > available {
            return Err(full(needed));
        }
        if needed > 0 && inodes.is_some_and(|free| self.offer.files + self.offer.others > free) {
            return Err(full(needed));
        }
        Ok(())
    }

    fn data(&mut self, spool: &Spool<Entry>) -> Result<(u64, u64)> {
        let mut cursor = Cursor {
            entries: spool.read()?,
            folders: Vec::new(),
            root: self.stage.tree.try_clone().map_err(TransferError::io(self.stage.target()))?,
            path: self.stage.target().to_owned(),
            umask: self.limits.umask,
            next: 0,
            current: None,
        };
        let mut last = (u64::MAX, 0);
        loop {
            match self.message()? {
                ToReceiver::Working => {}
                ToReceiver::File { index, offset } => {
                    last = if last.0 == index { (index, last.1 + 1) } else { (index, 1) };
                    if last.1 > TRIES {
                        return Err(TransferError::Protocol { what: "a file that comes too often" });
                    }
                    let entry = cursor.forward_to(index)?;
                    self.file(&cursor, &entry, offset)?;
                }
                // A file that could not be sent again after it was void.
                ToReceiver::FileVoid => {}
                ToReceiver::Done => break,
                _ => return Err(TransferError::Protocol { what: "a message out of order" }),
            }
        }
        cursor.finish()?;
        // Counted from what is there: the sender leaves out what it cannot read.
        let present = self.count(spool)?;
        self.stage.sync()?;
        self.stage.set_done()?;
        Ok((present, self.offer.files - present))
    }

    /// How many of the files are in the tree, all of them. What is not complete goes: it could not be sent.
    fn count(&self, spool: &Spool<Entry>) -> Result<u64> {
        let mut entries = spool.read()?;
        let mut folders: Vec<Option<OwnedFd>> = Vec::new();
        let mut present = 0;
        while let Some(entry) = entries.next()? {
            folders.truncate(entry.depth.into());
            let parent = match folders.last() {
                None => Some(self.stage.tree.as_fd()),
                Some(folder) => folder.as_ref().map(AsFd::as_fd),
            };
            match (entry.kind, parent) {
                (Kind::Folder, parent) => folders.push(parent.and_then(|parent| stage::open_folder(parent, &entry.name))),
                (Kind::File { size, .. }, Some(parent)) => match stage::stat_file(parent, &entry.name) {
                    Some(stat) if stage::is_finished(&stat, size, entry.modified) => present += 1,
                    Some(_) => self.discard(parent, &entry.name)?,
                    None => {}
                },
                _ => {}
            }
        }
        Ok(present)
    }

    /// One file, from its first data to its hash, or until the sender takes it back.
    fn file(&mut self, cursor: &Cursor, entry: &Entry, offset: u64) -> Result<()> {
        let Kind::File { size, stored } = entry.kind else {
            return Err(TransferError::Protocol { what: "data for something that is no file" });
        };
        if offset > size {
            return Err(TransferError::Protocol { what: "a file that begins behind its end" });
        }
        let parent = cursor.parent();
        let io = |error: rustix::io::Errno| TransferError::io(self.stage.target())(error);
        let mut hasher = blake3::Hasher::new();
        let mut part = stage::open_part(parent, &entry.name, offset).map_err(io)?;
        if offset > 0 {
            if rustix::fs::fstat(&part).map_err(io)?.st_size.cast_unsigned() != offset {
                return Err(TransferError::Protocol { what: "a part that is not there" });
            }
            hasher = hash_file(&part, offset).map_err(TransferError::io(self.stage.target()))?;
            rustix::fs::seek(&part, rustix::fs::SeekFrom::Start(offset)).map_err(io)?;
            Progress::add(&self.progress.bytes, offset);
        }
        let mut at = offset;
        let mut data = 0;
        let error = loop {
            match self.input.next()? {
                Item::Data(piece) => {
                    let length = piece.len() as u64;
                    data += length;
                    if length > size - at || (offset == 0 && data > stored) {
                        break TransferError::Protocol { what: "a file that is longer than announced" };
                    }
                    self.write(&mut part, &piece, &mut hasher)?;
                    at += length;
                }
                Item::Message(ToReceiver::Hole(length)) => {
                    if length > size - at {
                        break TransferError::Protocol { what: "a file that is longer than announced" };
                    }
                    hash_zeros(&mut hasher, length);
                    at += length;
                    rustix::fs::ftruncate(&part, at).map_err(io)?;
                    rustix::fs::seek(&part, rustix::fs::SeekFrom::Start(at)).map_err(io)?;
                    Progress::add(&self.progress.bytes, length);
                }
                Item::Message(ToReceiver::FileEnd(hash)) => {
                    if at != size || blake3::Hash::from_bytes(hash) != hasher.finalize() {
                        break TransferError::Verification { name: entry.name.clone() };
                    }
                    let mode = entry.mode & 0o777 & !self.limits.umask;
                    stage::finish_meta(part.as_fd(), mode, entry.modified).map_err(io)?;
                    Progress::add(&self.progress.files, 1);
                    return Ok(());
                }
                Item::Message(ToReceiver::FileVoid) => {
                    return self.discard(parent, &entry.name);
                }
                Item::Message(ToReceiver::Working) => {}
                Item::Message(ToReceiver::Failed(why)) => return Err(TransferError::Refused { why }),
                Item::Message(_) => break TransferError::Protocol { what: "a message out of order" },
            }
        };
        self.discard(parent, &entry.name)?;
        Err(error)
    }

    fn write(&self, part: &mut File, piece: &Bytes, hasher: &mut blake3::Hasher) -> Result<()> {
        spacedrive_core::failpoint::hit("transfer.receive.piece").map_err(TransferError::io(self.stage.target()))?;
        part.write_all(piece).map_err(TransferError::io(self.stage.target()))?;
        hasher.update(piece);
        Progress::add(&self.progress.bytes, piece.len() as u64);
        Progress::add(&self.progress.moved, piece.len() as u64);
        Ok(())
    }

    fn discard(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        stage::remove_in(parent, OsStr::from_bytes(name)).map_err(TransferError::io(self.stage.target()))
    }

    /// Gives the top-level entries their names in the target folder.
    fn publish(&self, spool: &Spool<Entry>) -> Result<Vec<OsString>> {
        let mut entries = spool.read()?;
        let mut names = Vec::new();
        while let Some(entry) = entries.next()? {
            if entry.depth == 0 {
                spacedrive_core::failpoint::hit("transfer.receive.publish").map_err(TransferError::io(self.stage.target()))?;
                names.extend(self.stage.publish(&entry.name)?);
            }
        }
        self.stage.sync_names()?;
        spacedrive_core::failpoint::hit("transfer.receive.published").map_err(TransferError::io(self.stage.target()))?;
        Ok(names)
    }
}

/// What an earlier try has left in a folder, in the order of the manifest.
struct Left {
    folder: OwnedFd,
    names: std::iter::Peekable<std::vec::IntoIter<Vec<u8>>>,
}

impl Left {
    fn list(folder: OwnedFd) -> rustix::io::Result<Self> {
        let names = super::source::names(&folder)?.into_iter().peekable();
        Ok(Self { folder, names })
    }

    /// Removes what comes before `name`: it is not in the manifest. Answers whether `name` is there.
    fn reach(&mut self, name: &[u8]) -> rustix::io::Result<bool> {
        while let Some(left) = self.names.next_if(|left| left.as_slice() < name) {
            stage::remove_in(self.folder.as_fd(), OsStr::from_bytes(&left))?;
        }
        Ok(self.names.next_if(|left| left == name).is_some())
    }

    fn remove_rest(mut self) -> rustix::io::Result<()> {
        self.names.try_for_each(|name| stage::remove_in(self.folder.as_fd(), OsStr::from_bytes(&name)))
    }
}

/// Goes through the manifest while data comes, and makes folders and links on its way.
struct Cursor {
    entries: SpoolReader<Entry>,
    folders: Vec<(OwnedFd, u32, (i64, u32))>,
    root: OwnedFd,
    path: PathBuf,
    umask: u32,
    next: u64,
    current: Option<Entry>,
}

impl Cursor {
    fn parent(&self) -> BorrowedFd<'_> {
        self.folders.last().map_or(self.root.as_fd(), |(folder, ..)| folder.as_fd())
    }

    /// Goes on to the file `index`, which must be the current one or a later one.
    fn forward_to(&mut self, index: u64) -> Result<Entry> {
        if let (Some(entry), true) = (&self.current, index.checked_add(1) == Some(self.next)) {
            return Ok(entry.clone());
        }
        if index < self.next {
            return Err(TransferError::Protocol { what: "files that are out of order" });
        }
        while let Some(entry) = self.step()? {
            if matches!(entry.kind, Kind::File { .. }) {
                self.next += 1;
                if self.next > index {
                    self.current = Some(entry.clone());
                    return Ok(entry);
                }
            }
        }
        Err(TransferError::Protocol { what: "a file that is not in the manifest" })
    }

    fn step(&mut self) -> Result<Option<Entry>> {
        let entry = self.entries.next()?;
        self.leave(entry.as_ref().map_or(0, |entry| entry.depth.into()))?;
        let Some(entry) = entry else { return Ok(None) };
        let io = |error: rustix::io::Errno| TransferError::io(&self.path)(error);
        match &entry.kind {
            Kind::Folder => {
                let folder = stage::make_folder(self.parent(), &entry.name).map_err(io)?;
                // The owner can always look in and clean up.
                let mode = entry.mode & 0o777 & !self.umask | 0o700;
                self.folders.push((folder, mode, entry.modified));
            }
            Kind::Symlink { target } => stage::make_link(self.parent(), &entry.name, target).map_err(io)?,
            Kind::File { .. } => {}
        }
        Ok(Some(entry))
    }

    /// Closes the folders deeper than `depth`: all in them is there, so that their times stay.
    fn leave(&mut self, depth: usize) -> Result<()> {
        while self.folders.len() > depth {
            if let Some((folder, mode, modified)) = self.folders.pop() {
                stage::finish_meta(folder.as_fd(), mode, modified).map_err(TransferError::io(&self.path))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        while self.step()?.is_some() {}
        self.leave(0)
    }
}

/// The hash of the first `length` bytes.
fn hash_file(file: &File, length: u64) -> std::io::Result<blake3::Hasher> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < length {
        let max = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
        let read = file.read_at(&mut buffer[..max], at)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..read]);
        at += read as u64;
    }
    Ok(hasher)
}
