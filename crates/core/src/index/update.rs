//! Walking a location while the library is open: its root is checked, its watches are set, its row is kept.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, MutexGuard};

use spacedrive_api::{EntryKind, IndexScope};

use super::apply::{self, Walked};
use super::place::Place;
use super::row::{Change, Eid, Facts, flags};
use super::walk::{Shared, Target, Walk};
use super::{Index, scan};
use crate::db::{entry, location as table};
use crate::jobs::Task;
use crate::{Error, Result};

impl Index {
    /// Walks the targets, or the whole location. With `accept`, whatever folder is at the location's path is the location.
    pub(crate) fn walk(
        self: &Arc<Self>,
        place: &Arc<Place>,
        targets: Option<Vec<Target>>,
        accept: bool,
        task: &Task,
    ) -> Result<Walked> {
        let turn = place.turn();
        self.walk_with(place, &turn, targets, accept, task)
    }

    /// The same for who has the location's turn.
    pub(crate) fn walk_with(
        self: &Arc<Self>,
        place: &Arc<Place>,
        _turn: &MutexGuard<'_, ()>,
        targets: Option<Vec<Target>>,
        accept: bool,
        task: &Task,
    ) -> Result<Walked> {
        let row = place.row();
        let watcher = if self.watches() && !self.is_closing() {
            place.watcher_or(|| {
                let started = crate::watch::start(self, place);
                started.inspect_err(|error| tracing::warn!(%error, "the location cannot be watched")).ok()
            })
        } else {
            None
        };
        let root = match self.open_root(place, accept) {
            Ok(root) => root,
            Err(error) => {
                let why = error.to_string();
                self.change(place, |row| row.problem = Some(why))?;
                return Err(error);
            }
        };
        self.change(place, |row| row.problem = None)?;
        let whole = targets.is_none();
        let excluded = self.excluded(place.lid);
        let first = !row.complete && !self.db.read(|c| entry::has_children(c, row.root))?;
        if whole && let Some(watcher) = &watcher {
            watcher.watches().begin();
        }
        let row = place.row();
        let walk = Walk {
            index: self,
            location: &row,
            root,
            task,
            watches: watcher.as_ref().map(|watcher| watcher.watches()),
            excluded: &excluded,
            first,
            shared: Shared::default(),
        };
        let walked = apply::run(&walk, targets.unwrap_or_else(|| vec![Target::Tree(row.root)]));
        // A root that went away meanwhile: the location is offline, what is known stays.
        if let Err(Error::Io { path, .. }) = &walked
            && *path == row.path
            && let Err(error) = self.open_root(place, false)
        {
            let why = error.to_string();
            self.change(place, |row| row.problem = Some(why))?;
            return Err(error);
        }
        if let (true, Ok(walked)) = (whole, &walked) {
            self.db.write(crate::db::Durability::Normal, |t| table::set_walked(t, place.lid, walked.errors))?;
        }
        self.reread(place)?;
        walked
    }

    /// Opens the folder of a location, if it is the one that it was.
    fn open_root(&self, place: &Place, accept: bool) -> Result<std::os::fd::OwnedFd> {
        let row = place.row();
        let offline = |why: String| Error::LocationOffline { path: row.path.clone(), why };
        let root = scan::open_root(&row.path).map_err(|error| offline(std::io::Error::from(error).to_string()))?;
        let (id, _) = scan::identify(&root).map_err(|error| offline(std::io::Error::from(error).to_string()))?;
        if id.1 != row.inode {
            if !accept {
                return Err(offline(
                    "another folder is there than the one that was indexed (is a disk not mounted?); `location rescan --force` takes it instead"
                        .to_owned(),
                ));
            }
            self.change(place, |row| row.inode = id.1)?;
        }
        Ok(root)
    }

    /// What to look at for a path inside a location, which may not be known yet.
    pub(crate) fn targets(&self, place: &Place, path: &Path, scope: IndexScope) -> Result<Vec<Target>> {
        let row = place.row();
        let below = path.strip_prefix(&row.path).map_err(|_| Error::NoSuchFolder { path: path.to_owned() })?;
        let mut at = row.root;
        for part in below.components() {
            let name = part.as_os_str().as_bytes();
            match self.db.read(|c| entry::child(c, at, name))? {
                Some(child) if child.kind == EntryKind::Dir => at = child.eid,
                // A file, or what is not known yet: looking at the name finds it.
                _ => return Ok(vec![Target::Names(at, vec![name.into()])]),
            }
        }
        Ok(vec![match scope {
            IndexScope::Recursive => Target::Tree(at),
            IndexScope::Current => Target::Folder { eid: at, descend: false },
        }])
    }

    /// Forgets the identities of all files of a location, or of those at `below`, so that they are read again.
    pub(crate) fn forget_identities(&self, place: &Place, below: Option<&Path>) -> Result<()> {
        let row = place.row();
        let top: Eid = match below {
            None => row.root,
            Some(path) => match self.targets(place, path, IndexScope::Recursive)?.first() {
                Some(Target::Tree(eid) | Target::Folder { eid, .. } | Target::Names(eid, _)) => *eid,
                None => return Ok(()),
            },
        };
        let names = self.names.snapshot();
        let mut after = 0;
        loop {
            let mut changes = Vec::new();
            let mut last = None;
            self.db.read(|c| {
                entry::scan(c, after, |entry| {
                    last = Some(entry.stored.eid);
                    let identified = entry.cas.is_some() || entry.stored.flags & flags::OF_CONTENT != 0;
                    if entry.stored.kind == EntryKind::File && identified && names.is_below(entry.stored.eid, top) {
                        let facts = Facts {
                            kind: EntryKind::File,
                            size: entry.stored.size,
                            mtime: entry.stored.mtime,
                            inode: entry.stored.inode,
                            mount: false,
                        };
                        let flags = entry.stored.flags & !flags::OF_CONTENT;
                        changes.push(Change::Update { eid: entry.stored.eid, facts, flags, same_content: false, grown: 0 });
                    }
                    changes.len() < 10_000
                })
            })?;
            let Some(last) = last else { return Ok(()) };
            after = last;
            if !changes.is_empty() {
                self.write(|transaction, seq| entry::apply(transaction, &changes, seq).map(drop))?;
            }
        }
    }
}
