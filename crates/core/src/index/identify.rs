//! Giving files their content identity: two threads read, one writes.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use spacedrive_api::{EntryKind, IndexMode};

use super::Index;
use super::hash::{Bytes, Depth, FileHasher, HashError};
use super::row::{Eid, flags};
use super::scan;
use super::walk::{THREADS, join};
use crate::Result;
use crate::db::entry::{self, EntryRow, Identity, Wanted};
use crate::db::location::LocationRow;
use crate::jobs::Task;

/// How many files are asked for at once.
const BATCH: usize = 4096;

/// How many identities are written in one transaction, and how long one may wait for others.
const WRITE: usize = 4096;
const WAIT: Duration = Duration::from_millis(500);

/// The files of one folder that are to be read.
struct Group {
    folder: Vec<u8>,
    files: Vec<EntryRow>,
}

/// What a reader sends.
struct Read {
    identity: Identity,
}

/// Identifies all files of a location that need it.
pub(crate) fn all(index: &Index, location: &LocationRow, mode: IndexMode, task: &Task) -> Result<u64> {
    let wanted = Wanted { deep: mode == IndexMode::Deep };
    let mut after = 0;
    let mut errors = 0;
    loop {
        task.check()?;
        let rows = index.db.read(|c| entry::unidentified(c, after, wanted, BATCH))?;
        let Some(last) = rows.last().map(|row| row.stored.eid) else { break };
        let more = rows.len() == BATCH;
        errors += files(index, location, mode, rows, task)?;
        after = last;
        if !more {
            break;
        }
    }
    Ok(errors)
}

/// Identifies these files of a location, as far as they still are what they were.
pub(crate) fn some(index: &Index, location: &LocationRow, mode: IndexMode, eids: &[Eid], task: &Task) -> Result<u64> {
    let mut errors = 0;
    for chunk in eids.chunks(BATCH) {
        let rows: Vec<EntryRow> = index.db.read(|c| {
            let rows: rusqlite::Result<Vec<_>> = chunk.iter().map(|eid| entry::get(c, *eid)).collect();
            Ok(rows?.into_iter().flatten().filter(|row| row.stored.kind == EntryKind::File && row.cas.is_none()).collect())
        })?;
        errors += files(index, location, mode, rows, task)?;
    }
    Ok(errors)
}

/// Reads files and stores what they are. Answers how many could not be read.
fn files(index: &Index, location: &LocationRow, mode: IndexMode, rows: Vec<EntryRow>, task: &Task) -> Result<u64> {
    let names = index.names.snapshot();
    let mut folders: HashMap<Eid, Option<usize>> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        let group = folders.entry(row.parent).or_insert_with(|| {
            let (root, folder) = names.path(row.parent)?;
            if root != location.root {
                return None;
            }
            groups.push(Group { folder, files: Vec::new() });
            Some(groups.len() - 1)
        });
        if let Some(group) = group {
            groups[*group].files.push(row);
        }
    }
    if groups.is_empty() {
        return Ok(0);
    }
    let root = scan::open_root(&location.path).map_err(|e| crate::Error::io(&location.path)(e.into()))?;
    // One folder with many files is work for both threads.
    let groups: Vec<(&[u8], &[EntryRow])> =
        groups.iter().flat_map(|group| group.files.chunks(256).map(|files| (group.folder.as_slice(), files))).collect();
    let alone = groups.len() < THREADS;
    let errors = Bytes::new(0);
    let (send, receive) = crossbeam_channel::bounded::<Read>(1024);
    let (hand_out, take) = crossbeam_channel::unbounded();
    for group in groups {
        let _ = hand_out.send(group);
    }
    drop(hand_out);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let (send, take, root, errors) = (send.clone(), take.clone(), &root, &errors);
            threads.push(scope.spawn(move || {
                let mut reader =
                    Reader { location, mode, task, root, errors, hasher: FileHasher::new(task, if alone { THREADS } else { 1 }) };
                for (folder, files) in take {
                    reader.folder(folder, files, &send)?;
                }
                Ok::<(), crate::Error>(())
            }));
        }
        drop((send, take));
        let mut batch: Vec<Read> = Vec::new();
        let mut last = Instant::now();
        let written = loop {
            match receive.recv_timeout(WAIT) {
                Ok(read) => batch.push(read),
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break write(index, &mut batch),
            }
            if batch.len() >= WRITE || last.elapsed() >= WAIT {
                if let Err(error) = write(index, &mut batch) {
                    break Err(error);
                }
                last = Instant::now();
            }
        };
        drop(receive);
        let mut result = written;
        for thread in threads {
            let ended = thread.join().unwrap_or(Err(crate::Error::Interrupted));
            result = result.and(ended);
        }
        result
    })?;
    Ok(errors.load(Ordering::Relaxed))
}

fn write(index: &Index, batch: &mut Vec<Read>) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let reads = std::mem::take(batch);
    index.write(|transaction, seq| {
        for read in &reads {
            entry::identify(transaction, std::slice::from_ref(&read.identity), seq)?;
        }
        Ok(())
    })
}

struct Reader<'r> {
    location: &'r LocationRow,
    mode: IndexMode,
    task: &'r Task,
    root: &'r OwnedFd,
    errors: &'r Bytes,
    hasher: FileHasher<'r>,
}

impl Reader<'_> {
    fn folder(&mut self, folder: &[u8], files: &[EntryRow], send: &crossbeam_channel::Sender<Read>) -> Result<()> {
        self.task.check()?;
        let opened = match scan::open_folder(self.root, folder) {
            Ok(opened) => opened,
            // The next look at the folder finds out what became of it.
            Err(_) => return Ok(()),
        };
        let depth = if self.mode == IndexMode::Deep { Depth::Whole } else { Depth::Sampled };
        for row in files {
            let name = &row.stored.name;
            let known = row.cas.is_some() && (row.stored.flags & flags::SAMPLED == 0 || depth == Depth::Sampled);
            let hashed = if known {
                // Only the media facts are missing.
                Ok(super::hash::Hashed {
                    size: row.stored.size,
                    mtime: row.stored.mtime,
                    cas: row.cas,
                    sampled: row.stored.flags & flags::SAMPLED != 0,
                })
            } else {
                self.hasher.hash_at(&opened, name, depth)
            };
            match hashed {
                Ok(hashed) => {
                    let identity = Identity {
                        eid: row.stored.eid,
                        size: hashed.size,
                        mtime: hashed.mtime,
                        cas: hashed.cas,
                        sampled: hashed.sampled,
                    };
                    if send.send(Read { identity }).is_err() {
                        return Err(crate::Error::Interrupted);
                    }
                    self.task.add_done(1);
                }
                Err(HashError::Gone) => {}
                Err(HashError::Interrupted) => return Err(crate::Error::Interrupted),
                Err(HashError::Io(error)) => {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    let path: PathBuf = self.location.path.join(std::ffi::OsStr::from_bytes(&join(folder, name)));
                    self.task.problem(&path, std::io::Error::from(error));
                }
            }
        }
        Ok(())
    }
}
