//! Writing what a walk found: batches in one transaction each, and at the end what became of the entries that lost their place.
//!
//! After a crash at any moment the stored tree is one that the disk had, or a part of it: a folder is written before its
//! entries, entries are taken out before their folder, and numbers change with the rows that they count.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use rusqlite::{Connection, Transaction};
use spacedrive_api::EntryKind;

use super::row::{Change, Eid, PARKED, Stored};
use super::walk::{THREADS, Target, Vanished, Walk};
use crate::Result;
use crate::db::location::Totals;
use crate::db::{entry, location};
use crate::search::block::Named;

/// How many changes are written in one transaction.
const BATCH: usize = 10_000;

/// How long found changes may wait for others to be written with.
const WAIT: Duration = Duration::from_millis(150);

/// How many lists of changes may wait to be written; each is that of one folder.
const QUEUE: usize = 512;

/// How often what changed while it was looked at is looked at again.
const ROUNDS: usize = 3;

/// What a walk came to.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// Entries that could not be read.
    pub(crate) errors: u64,
    /// Entries that were looked at.
    pub(crate) seen: u64,
    /// Changes that were written.
    pub(crate) written: u64,
    /// Files that need an identity.
    pub(crate) changed: Vec<Eid>,
}

/// A file that was found new, by which one that is gone may be known again.
struct Found {
    eid: Eid,
    size: u64,
    mtime: i64,
}

struct Writer<'w, 'a> {
    walk: &'w Walk<'a>,
    batch: Vec<Change>,
    /// New files by inode, unless nothing can have moved.
    found: HashMap<u64, Vec<Found>>,
    walked: Walked,
}

/// Looks at the targets and writes what is found. The caller holds the location's turn.
pub(crate) fn run(walk: &Walk<'_>, targets: Vec<Target>) -> Result<Walked> {
    let mut writer = Writer { walk, batch: Vec::new(), found: HashMap::new(), walked: Walked::default() };
    let mut targets = targets;
    for _ in 0..ROUNDS {
        walk.index.db.read_with(|connection| walk.queue(connection, targets))?;
        writer.round()?;
        writer.resolve()?;
        let again = std::mem::take(&mut *walk.shared.again.lock().unwrap_or_else(PoisonError::into_inner));
        if again.is_empty() {
            break;
        }
        targets = by_folder(again);
    }
    writer.walked.errors = walk.shared.errors.load(std::sync::atomic::Ordering::Relaxed);
    writer.walked.seen = walk.shared.seen.load(std::sync::atomic::Ordering::Relaxed);
    Ok(writer.walked)
}

/// Names to look at, put together by folder.
pub(crate) fn by_folder(names: Vec<(Eid, Box<[u8]>)>) -> Vec<Target> {
    let mut folders: HashMap<Eid, Vec<Box<[u8]>>> = HashMap::new();
    for (folder, name) in names {
        folders.entry(folder).or_default().push(name);
    }
    let sorted = |mut names: Vec<Box<[u8]>>| {
        names.sort_unstable();
        names.dedup();
        names
    };
    folders.into_iter().map(|(folder, names)| Target::Names(folder, sorted(names))).collect()
}

impl Writer<'_, '_> {
    /// Runs the threads that read, and writes what they send.
    fn round(&mut self) -> Result<()> {
        let walk = self.walk;
        let (send, receive) = crossbeam_channel::bounded::<Vec<Change>>(QUEUE);
        let written = std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let send = send.clone();
                scope.spawn(move || walk.run(&send));
            }
            drop(send);
            let mut last = Instant::now();
            // Leaving this loop drops the receiver, which ends the threads.
            loop {
                let received = receive.recv_timeout(WAIT);
                let ended = matches!(received, Err(RecvTimeoutError::Disconnected));
                self.batch.extend(received.unwrap_or_default());
                if self.batch.len() >= BATCH || !self.batch.is_empty() && (ended || last.elapsed() >= WAIT) {
                    if let Err(error) = self.write() {
                        drop(receive);
                        return Err(error);
                    }
                    last = Instant::now();
                }
                if ended {
                    return Ok(());
                }
            }
        });
        written.and(walk.failure())
    }

    fn write(&mut self) -> Result<()> {
        let walk = self.walk;
        let batch = std::mem::take(&mut self.batch);
        let location = walk.location;
        let parked = walk.index.write(|transaction, seq| {
            let (totals, parked) = entry::apply(transaction, &batch, seq)?;
            location::add_totals(transaction, location.lid, totals)?;
            Ok(parked)
        })?;
        for change in &batch {
            match change {
                Change::Insert { eid, facts, .. } if facts.kind == EntryKind::File => {
                    self.walked.changed.push(*eid);
                    if !walk.first {
                        let found = Found { eid: *eid, size: facts.size, mtime: facts.mtime };
                        self.found.entry(facts.inode).or_default().push(found);
                    }
                }
                Change::Update { eid, same_content: false, .. } => self.walked.changed.push(*eid),
                _ => {}
            }
        }
        self.walked.written += batch.len() as u64;
        // A first index identifies everything anyway.
        if walk.first {
            self.walked.changed.clear();
        }
        let names = &walk.index.names;
        // First, for one that was put aside may have got another place in the same batch.
        let aside = names.snapshot();
        names.apply(parked.iter().filter_map(|eid| {
            let kind = aside.named(*eid)?.kind;
            Some((*eid, Some(Named { eid: *eid, parent: PARKED, kind, name: eid.to_be_bytes().as_slice().into() })))
        }));
        let mut vanished = walk.shared.vanished.lock().unwrap_or_else(PoisonError::into_inner);
        vanished.extend(parked.iter().map(|eid| (*eid, PARKED, eid.to_be_bytes().as_slice().into())));
        drop(vanished);
        walk.shared.parked.lock().unwrap_or_else(PoisonError::into_inner).extend(parked);
        let kinds = names.snapshot();
        names.apply(batch.into_iter().filter_map(|change| match change {
            Change::Insert { eid, parent, name, facts } => Some((eid, Some(Named { eid, parent, kind: facts.kind, name }))),
            Change::Move { eid, parent, name } => {
                let kind = kinds.named(eid).map_or(EntryKind::Dir, |named| named.kind);
                Some((eid, Some(Named { eid, parent, kind, name })))
            }
            Change::Update { .. } | Change::Flags { .. } => None,
        }));
        Ok(())
    }

    /// What became of the entries that lost their place: a file that was found new with the same inode, size and time is the
    /// same file; what is left is taken out.
    fn resolve(&mut self) -> Result<()> {
        let walk = self.walk;
        let vanished = std::mem::take(&mut *walk.shared.vanished.lock().unwrap_or_else(PoisonError::into_inner));
        if vanished.is_empty() {
            return Ok(());
        }
        let (moves, gone) = walk.index.db.read_with(|connection| self.sort_out(connection, vanished))?;
        for chunk in moves.chunks(BATCH / 4) {
            self.write_moves(chunk)?;
        }
        for chunk in gone.chunks(BATCH) {
            walk.task.check()?;
            self.write_gone(chunk)?;
        }
        Ok(())
    }

    /// Pairs of an old entry and the new one that it is, and the rest, entries before their folders.
    #[expect(clippy::type_complexity, reason = "two lists, made and used here only")]
    fn sort_out(&mut self, connection: &Connection, vanished: Vec<Vanished>) -> Result<(Vec<(Stored, Eid)>, Vec<Stored>)> {
        let db = self.walk.index.db_error();
        let mut found = std::mem::take(&mut self.found);
        let (mut moves, mut gone, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for (eid, parent, name) in vanished {
            // One that is in another place by now was found again.
            let still = entry::get(connection, eid).map_err(&db)?;
            let Some(row) = still.filter(|row| row.parent == parent && row.stored.name == name) else { continue };
            // Folders go after what is in them.
            let mut stack = vec![(row.stored, false)];
            while let Some((row, emptied)) = stack.pop() {
                if emptied {
                    gone.push(row);
                } else if !seen.insert(row.eid) {
                } else if row.kind == EntryKind::Dir {
                    let mut below = Vec::new();
                    entry::children(connection, row.eid, &mut below).map_err(&db)?;
                    stack.push((row, true));
                    stack.extend(below.into_iter().map(|row| (row, false)));
                } else {
                    let same = found.get_mut(&row.inode).filter(|_| row.kind == EntryKind::File).and_then(|candidates| {
                        let at = candidates.iter().position(|f| f.size == row.size && f.mtime == row.mtime)?;
                        Some(candidates.swap_remove(at))
                    });
                    match same {
                        Some(new) => moves.push((row, new.eid)),
                        None => gone.push(row),
                    }
                }
            }
        }
        self.found = found;
        Ok((moves, gone))
    }

    fn write_moves(&mut self, moves: &[(Stored, Eid)]) -> Result<()> {
        let walk = self.walk;
        let mut names = Vec::new();
        walk.index.write(|transaction, seq| {
            let mut totals = Totals::default();
            for (old, new) in moves {
                let Some(row) = entry::get(transaction, *new)? else { continue };
                entry::delete(transaction, *new)?;
                count_out(&mut totals, &row.stored);
                let name = row.stored.name;
                // The new entry is gone, so its place is free.
                entry::apply(transaction, &[Change::Move { eid: old.eid, parent: row.parent, name: name.clone() }], seq)?;
                names.push((*new, None));
                names.push((old.eid, Some(Named { eid: old.eid, parent: row.parent, kind: old.kind, name })));
            }
            location::add_totals(transaction, walk.location.lid, totals)
        })?;
        let replaced: HashMap<Eid, Eid> = moves.iter().map(|(old, new)| (*new, old.eid)).collect();
        for eid in &mut self.walked.changed {
            if let Some(old) = replaced.get(eid) {
                *eid = *old;
            }
        }
        self.walked.written += moves.len() as u64;
        walk.index.names.apply(names);
        Ok(())
    }

    fn write_gone(&mut self, gone: &[Stored]) -> Result<()> {
        let walk = self.walk;
        walk.index.write(|transaction, seq| {
            *seq += gone.len() as u64;
            let totals = delete(transaction, gone)?;
            location::add_totals(transaction, walk.location.lid, totals)
        })?;
        self.walked.written += gone.len() as u64;
        walk.index.names.apply(gone.iter().map(|row| (row.eid, None)));
        Ok(())
    }
}

/// Takes rows out; answers how the numbers change.
pub(crate) fn delete(transaction: &Transaction<'_>, gone: &[Stored]) -> rusqlite::Result<Totals> {
    let mut totals = Totals::default();
    for row in gone {
        entry::delete(transaction, row.eid)?;
        count_out(&mut totals, row);
    }
    Ok(totals)
}

fn count_out(totals: &mut Totals, row: &Stored) {
    if row.kind == EntryKind::Dir {
        totals.dirs -= 1;
    } else {
        totals.files -= 1;
        totals.bytes -= row.size.cast_signed();
    }
}
