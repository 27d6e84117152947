//! Walking a location: two threads read folders and compare them with what is stored; what they find goes through a bounded
//! queue to the one that writes. Memory follows the depth of the tree and the size of its biggest folder, not its length.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crossbeam_channel::Sender;
use rusqlite::Connection;
use rustix::io::Errno;
use spacedrive_api::EntryKind;

use super::Index;
use super::diff::{Step, diff};
use super::row::{Change, Eid, Facts, PARKED, Scanned, Stored, flags};
use super::rules::{GITIGNORE, Ignores, leaves_out};
use super::scan::{self, FolderId, Reader};
use crate::db::entry;
use crate::db::location::LocationRow;
use crate::jobs::Task;
use crate::watch::Watches;
use crate::{Error, Result};

/// How many threads read the disk.
pub(crate) const THREADS: usize = 2;

/// Something to look at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A folder and all below it.
    Tree(Eid),
    /// The entries of a folder; with `descend`, new folders among them with all below.
    Folder { eid: Eid, descend: bool },
    /// Only these names in a folder, sorted and each once; new folders among them with all below.
    Names(Eid, Vec<Box<[u8]>>),
}

/// What a walk has to know.
pub(crate) struct Walk<'a> {
    pub(crate) index: &'a Index,
    pub(crate) location: &'a LocationRow,
    pub(crate) root: OwnedFd,
    pub(crate) task: &'a Task,
    pub(crate) watches: Option<&'a Watches>,
    /// Folders that are never entered: our own data, and other locations.
    pub(crate) excluded: &'a HashSet<FolderId>,
    /// Nothing is stored yet, so nothing can have moved.
    pub(crate) first: bool,
    pub(crate) shared: Shared,
}

/// An entry that is gone from its place, and that place: its parent and its name.
pub(crate) type Vanished = (Eid, Eid, Box<[u8]>);

/// What the threads share.
#[derive(Default)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    waiting: Condvar,
    /// Entries that are gone from their place, with that place.
    pub(crate) vanished: Mutex<Vec<Vanished>>,
    /// Entries whose place another one took.
    pub(crate) parked: Mutex<Vec<Eid>>,
    /// What changed while it was looked at.
    pub(crate) again: Mutex<Vec<(Eid, Box<[u8]>)>>,
    /// Folders that were found in another place.
    claimed: Mutex<HashSet<Eid>>,
    pub(crate) errors: AtomicU64,
    pub(crate) seen: AtomicU64,
}

#[derive(Default)]
struct Queue {
    items: Vec<Item>,
    busy: usize,
    failed: Option<Error>,
}

/// A folder to look into.
struct Item {
    eid: Eid,
    parent: Eid,
    /// Below the location.
    path: Vec<u8>,
    /// It has no stored entries.
    fresh: bool,
    /// Known folders in it are looked into.
    recursive: bool,
    /// New folders in it are looked into.
    descend: bool,
    /// Only these.
    names: Option<Vec<Box<[u8]>>>,
    /// Its own flags as stored.
    flags: i64,
    ignores: Option<Arc<Ignores>>,
}

impl Walk<'_> {
    /// Puts the targets into the queue. Those that hang nowhere are left out.
    pub(crate) fn queue(&self, connection: &Connection, targets: Vec<Target>) -> Result<()> {
        let names = self.index.names.snapshot();
        let mut items = Vec::new();
        for target in targets {
            let (eid, recursive, descend, only) = match target {
                Target::Tree(eid) => (eid, true, true, None),
                Target::Folder { eid, descend } => (eid, false, descend, None),
                Target::Names(eid, only) => (eid, false, true, Some(only)),
            };
            let Some((root, path)) = names.path(eid) else {
                if let Some(watches) = self.watches {
                    watches.forget(eid);
                }
                continue;
            };
            let Some(row) = entry::get(connection, eid).map_err(self.index.db_error())? else { continue };
            if root != self.location.root || row.stored.kind != EntryKind::Dir {
                continue;
            }
            let ignores = if self.location.rules.gitignore { self.ignores_of(&path) } else { None };
            let flags = row.stored.flags;
            items.push(Item {
                eid,
                parent: row.parent,
                path,
                fresh: self.first,
                recursive,
                descend,
                names: only,
                flags,
                ignores,
            });
        }
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).items = items;
        Ok(())
    }

    /// Looks at everything in the queue and what is found below. `send` takes the changes in an order in which a folder comes
    /// before its entries.
    pub(crate) fn run(&self, send: &Sender<Vec<Change>>) -> Result<()> {
        let done = self.index.db.read_with(|connection| {
            let mut worker =
                Worker { walk: self, connection, send, reader: Reader::new(), scanned: Vec::new(), stored: Vec::new() };
            worker.work()
        });
        if let Err(error) = done {
            let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.failed.get_or_insert(error);
            self.shared.waiting.notify_all();
        }
        Ok(())
    }

    /// What went wrong in any thread.
    pub(crate) fn failure(&self) -> Result<()> {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.failed.take().map_or(Ok(()), Err)
    }

    fn next(&self) -> Option<Item> {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if queue.failed.is_some() {
                return None;
            }
            if let Some(item) = queue.items.pop() {
                queue.busy += 1;
                return Some(item);
            }
            if queue.busy == 0 {
                self.shared.waiting.notify_all();
                return None;
            }
            queue = self.shared.waiting.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finished(&self, more: &mut Vec<Item>) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.busy -= 1;
        let wake = !more.is_empty() || queue.busy == 0;
        // The first of them comes out first.
        queue.items.extend(more.drain(..).rev());
        drop(queue);
        if wake {
            self.shared.waiting.notify_all();
        }
    }

    /// The `.gitignore` files from the root down to the folder above what lies in `path`, `path` itself left out.
    fn ignores_of(&self, path: &[u8]) -> Option<Arc<Ignores>> {
        let mut ignores = None;
        let ends = std::iter::once(0).chain(path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(n, _)| n));
        for end in ends {
            if path.is_empty() {
                break;
            }
            ignores = self.ignores_in(ignores, &path[..end]);
        }
        ignores
    }

    fn ignores_in(&self, outer: Option<Arc<Ignores>>, folder: &[u8]) -> Option<Arc<Ignores>> {
        let mut path = folder.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(GITIGNORE);
        match super::hash::read_small(&self.root, &path, 1 << 20) {
            Some(text) => Some(Ignores::with(outer, folder, &text)),
            None => outer,
        }
    }

    fn absolute(&self, below: &[u8]) -> PathBuf {
        let below = Path::new(std::ffi::OsStr::from_bytes(below));
        if below.as_os_str().is_empty() { self.location.path.clone() } else { self.location.path.join(below) }
    }

    fn error(&self, path: &[u8], what: Errno) {
        self.shared.errors.fetch_add(1, Ordering::Relaxed);
        self.task.problem(&self.absolute(path), std::io::Error::from(what));
    }
}

struct Worker<'w, 'a> {
    walk: &'w Walk<'a>,
    connection: &'w Connection,
    send: &'w Sender<Vec<Change>>,
    reader: Reader,
    scanned: Vec<Scanned>,
    stored: Vec<Stored>,
}

impl Worker<'_, '_> {
    fn work(&mut self) -> Result<()> {
        let mut more = Vec::new();
        while let Some(item) = self.walk.next() {
            let looked = self.walk.task.check().and_then(|()| self.look(item, &mut more));
            self.walk.finished(&mut more);
            looked?;
        }
        Ok(())
    }

    /// Looks into one folder.
    fn look(&mut self, item: Item, more: &mut Vec<Item>) -> Result<()> {
        let walk = self.walk;
        let opened = scan::open_folder(&walk.root, &item.path).and_then(|folder| {
            let (id, mtime) = scan::identify(&folder)?;
            Ok((folder, id, mtime))
        });
        let (folder, id, _) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.unreadable(&item, error),
        };
        // Before it is listed, so that no change falls between.
        if let Some(watches) = walk.watches {
            watches.add(&folder, item.eid);
        }
        let mut failed = Vec::new();
        let listed = match &item.names {
            None => self.reader.list(&folder, id.0, &mut self.scanned, |name, error| failed.push((name.to_vec(), error))),
            Some(names) => {
                scan::look_at(&folder, id.0, names, &mut self.scanned, |name, error| failed.push((name.to_vec(), error)));
                Ok(())
            }
        };
        if let Err(error) = listed {
            return self.unreadable(&item, error);
        }
        for (name, error) in failed {
            walk.error(&join(&item.path, &name), error);
        }
        let mut ignores = item.ignores.clone();
        if walk.location.rules.gitignore
            && (item.names.is_some() || self.scanned.binary_search_by(|entry| (*entry.name).cmp(GITIGNORE)).is_ok())
        {
            ignores = walk.ignores_in(ignores, &item.path);
        }
        self.leave_out(&item, id.0, ignores.as_deref());
        self.read_stored(&item)?;
        walk.shared.seen.fetch_add(self.scanned.len() as u64, Ordering::Relaxed);
        walk.task.add_done(self.scanned.len() as u64);

        let mut changes = Vec::new();
        if item.flags & flags::UNREADABLE != 0 && item.names.is_none() {
            changes.push(Change::Flags { eid: item.eid, flags: item.flags & !flags::UNREADABLE });
        }
        let (scanned, stored) = (std::mem::take(&mut self.scanned), std::mem::take(&mut self.stored));
        let mut result = Ok(());
        diff(&stored, &scanned, |step| {
            if result.is_ok() {
                result = self.step(&item, step, &ignores, &mut changes, more);
            }
        });
        (self.scanned, self.stored) = (scanned, stored);
        result?;
        if !changes.is_empty() && self.send.send(changes).is_err() {
            // The writer failed and says why itself.
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    fn step(
        &mut self,
        item: &Item,
        step: Step<'_>,
        ignores: &Option<Arc<Ignores>>,
        changes: &mut Vec<Change>,
        more: &mut Vec<Item>,
    ) -> Result<()> {
        let walk = self.walk;
        let below = |name: &[u8], eid, fresh, flags| Item {
            eid,
            parent: item.eid,
            path: join(&item.path, name),
            fresh,
            recursive: true,
            descend: true,
            names: None,
            flags,
            ignores: ignores.clone(),
        };
        match step {
            // Writing the new one puts the old one aside.
            Step::Created(new) | Step::Replaced(_, new) => {
                if let Some(facts) = new.facts {
                    let (eid, fresh) = self.create(item, new, facts, changes)?;
                    if facts.kind == EntryKind::Dir && item.descend {
                        more.push(below(&new.name, eid, fresh, 0));
                    }
                }
            }
            Step::Changed(old, new) => {
                if let Some(facts) = new.facts {
                    let change = update(old, facts);
                    let Change::Update { flags, .. } = change else { return Ok(()) };
                    changes.push(change);
                    if facts.kind == EntryKind::Dir && (item.recursive || facts.inode != old.inode) {
                        more.push(below(&old.name, old.eid, false, flags));
                    }
                }
            }
            Step::Same(old, _) => {
                if old.kind == EntryKind::Dir && (item.recursive || old.flags & flags::UNREADABLE != 0) {
                    more.push(below(&old.name, old.eid, false, old.flags));
                }
            }
            Step::Vanished(old) => self.vanish(old.eid, item.eid, &old.name),
            Step::Unknown(old) => {
                if old.kind == EntryKind::Dir && old.flags & flags::MOUNT != 0 {
                    walk.error(&join(&item.path, &old.name), Errno::NODEV);
                }
            }
        }
        Ok(())
    }

    /// A new entry, or a folder that was elsewhere before: its number, and whether nothing below it is stored.
    fn create(&self, item: &Item, new: &Scanned, facts: Facts, changes: &mut Vec<Change>) -> Result<(Eid, bool)> {
        if facts.kind == EntryKind::Dir
            && !self.walk.first
            && let Some(moved) = self.moved(facts.inode)?
        {
            changes.push(Change::Move { eid: moved.eid, parent: item.eid, name: new.name.clone() });
            changes.push(update(&moved, facts));
            return Ok((moved.eid, false));
        }
        let eid = self.walk.index.next_eid();
        changes.push(Change::Insert { eid, parent: item.eid, name: new.name.clone(), facts });
        Ok((eid, true))
    }

    /// The stored folder of this inode in this location that is no longer where it was.
    fn moved(&self, inode: u64) -> Result<Option<Stored>> {
        let walk = self.walk;
        let db = walk.index.db_error();
        for eid in entry::folders_by_inode(self.connection, inode).map_err(&db)? {
            if eid == walk.location.root {
                continue;
            }
            let Some(row) = entry::get(self.connection, eid).map_err(&db)? else { continue };
            let is_elsewhere = if row.parent == PARKED {
                let parked = walk.shared.parked.lock().unwrap_or_else(PoisonError::into_inner);
                parked.contains(&eid)
            } else {
                match walk.index.names.snapshot().path(eid) {
                    Some((root, path)) if root == walk.location.root => {
                        let there = scan::open_folder(&walk.root, &path).and_then(|folder| scan::identify(&folder));
                        there.map_or_else(
                            |error| matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP),
                            |(id, _)| id.1 != inode,
                        )
                    }
                    _ => false,
                }
            };
            if is_elsewhere && walk.shared.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(eid) {
                return Ok(Some(row.stored));
            }
        }
        Ok(None)
    }

    fn vanish(&self, eid: Eid, parent: Eid, name: &[u8]) {
        self.walk.shared.vanished.lock().unwrap_or_else(PoisonError::into_inner).push((eid, parent, name.into()));
    }

    /// Takes out of the listing what the rules leave out, and the folders that are never entered.
    fn leave_out(&mut self, item: &Item, device: u64, ignores: Option<&Ignores>) {
        let walk = self.walk;
        self.scanned.retain(|entry| {
            let Some(facts) = entry.facts else { return true };
            if leaves_out(walk.location.rules, &entry.name, facts.kind) {
                return false;
            }
            if facts.kind == EntryKind::Dir && walk.excluded.iter().any(|(_, inode)| *inode == facts.inode) {
                let here = if facts.mount {
                    scan::open_folder(&walk.root, &join(&item.path, &entry.name)).and_then(|folder| scan::identify(&folder)).ok()
                } else {
                    Some(((device, facts.inode), 0))
                };
                if here.is_some_and(|(id, _)| walk.excluded.contains(&id)) {
                    return false;
                }
            }
            !ignores.is_some_and(|ignores| ignores.leaves_out(&join(&item.path, &entry.name), facts.kind))
        });
    }

    fn read_stored(&mut self, item: &Item) -> Result<()> {
        self.stored.clear();
        let db = self.walk.index.db_error();
        match &item.names {
            _ if item.fresh => Ok(()),
            None => entry::children(self.connection, item.eid, &mut self.stored).map_err(db),
            Some(names) => {
                for name in names {
                    self.stored.extend(entry::child(self.connection, item.eid, name).map_err(&db)?);
                }
                Ok(())
            }
        }
    }

    /// A folder could not be read: what is known of it stays. One that is gone is looked at again from above.
    fn unreadable(&mut self, item: &Item, error: Errno) -> Result<()> {
        let walk = self.walk;
        if item.path.is_empty() {
            return Err(Error::io(&walk.location.path)(error.into()));
        }
        if matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) {
            let name = item.path.rsplit(|&b| b == b'/').next().unwrap_or_default();
            walk.shared.again.lock().unwrap_or_else(PoisonError::into_inner).push((item.parent, name.into()));
            return Ok(());
        }
        walk.error(&item.path, error);
        if item.flags & flags::UNREADABLE == 0 {
            let change = Change::Flags { eid: item.eid, flags: item.flags | flags::UNREADABLE };
            let _ = self.send.send(vec![change]);
        }
        Ok(())
    }
}

/// How the row of `old` changes when these are its facts now.
fn update(old: &Stored, facts: Facts) -> Change {
    let same_content =
        facts.kind != EntryKind::File || (old.size, old.mtime, old.inode) == (facts.size, facts.mtime, facts.inode);
    let mut bits = if same_content { old.flags } else { old.flags & !flags::OF_CONTENT };
    bits = if facts.mount { bits | flags::MOUNT } else { bits & !flags::MOUNT };
    let grown = facts.size.cast_signed() - old.size.cast_signed();
    Change::Update { eid: old.eid, facts, flags: bits, same_content, grown: if facts.kind == EntryKind::Dir { 0 } else { grown } }
}

/// A name below a folder, both below the location.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    path.extend_from_slice(folder);
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}
