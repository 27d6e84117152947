//! Checking a library: is the database whole, does it hold together, and are the files what it says?

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use spacedrive_api::{EntryKind, LibraryCheck, LibraryChecked};

use crate::db::{check as sql, entry};
use crate::index::hash::{Bytes, Depth, FileHasher, HashError};
use crate::index::row::{Eid, PARKED, flags};
use crate::index::scan;
use crate::jobs::Task;
use crate::library::Library;
use crate::search::{Corpus, path_of};
use crate::{Error, Result};

/// No more problems of one sort than this are listed.
const LISTED: usize = 100;

impl Library {
    /// Checks the database; with `deep` every page, row and file that has a whole hash.
    pub fn check(&self, deep: bool) -> Result<LibraryChecked> {
        self.check_with(&LibraryCheck { library: self.name().to_owned(), deep }, &Task::default())
    }

    /// The same, for a job that can be stopped.
    pub fn check_with(&self, request: &LibraryCheck, task: &Task) -> Result<LibraryChecked> {
        let mut checked = LibraryChecked { problems: Vec::new(), rotten: Vec::new(), entries: 0, files_read: 0 };
        checked.problems.extend(self.db.read(|c| sql::whole(c, request.deep))?.into_iter().take(LISTED));
        self.index().names.wait();
        self.check_tree(&mut checked)?;
        if request.deep {
            self.check_files(&mut checked, task)?;
        }
        Ok(checked)
    }

    /// Every entry hangs in a location, the numbers of locations are right, and the names in memory are those in the database.
    fn check_tree(&self, checked: &mut LibraryChecked) -> Result<()> {
        // Nobody walks meanwhile, so that both sides are of one moment.
        let places = self.index().all_places();
        let _turns: Vec<_> = places.iter().map(|place| place.turn()).collect();
        let names = self.index().names.snapshot();
        let mut numbers: HashMap<Eid, (i64, i64, i64)> = HashMap::new();
        let (mut astray, mut differ) = (0u64, 0u64);
        self.db.read(|c| {
            entry::scan(c, 0, |row| {
                if row.parent == 0 || row.parent == PARKED {
                    return true;
                }
                checked.entries += 1;
                match names.path(row.stored.eid) {
                    Some((root, _)) => {
                        let count = numbers.entry(root).or_default();
                        if row.stored.kind == EntryKind::Dir {
                            count.1 += 1;
                        } else {
                            count.0 += 1;
                            count.2 += row.stored.size.cast_signed();
                        }
                    }
                    None => astray += 1,
                }
                let same = names.named(row.stored.eid).is_some_and(|named| {
                    named.name == row.stored.name && named.parent == row.parent && named.kind == row.stored.kind
                });
                differ += u64::from(!same);
                true
            })
        })?;
        if astray > 0 {
            checked.problems.push(format!("{astray} entries belong to no location"));
        }
        if differ > 0 {
            checked.problems.push(format!("{differ} names in memory are not those in the database"));
        }
        for place in &places {
            self.index().reread(place)?;
            let row = place.row();
            let count = numbers.remove(&row.root).unwrap_or_default();
            if count != (row.files, row.dirs, row.bytes) {
                checked.problems.push(format!(
                    "location `{}` says {} files, {} folders, {} bytes, and has {}, {}, {}",
                    row.name, row.files, row.dirs, row.bytes, count.0, count.1, count.2
                ));
            }
        }
        Ok(())
    }

    /// Reads every file whose whole hash is known and that has the size and the time that it had then.
    fn check_files(&self, checked: &mut LibraryChecked, task: &Task) -> Result<()> {
        let names = self.index().names.snapshot();
        let rows = self.index().rows();
        let mut hasher = FileHasher::new(task, 2);
        let read = Bytes::new(0);
        let mut after = 0;
        loop {
            let mut batch = Vec::new();
            self.db.read(|c| {
                entry::scan(c, after, |row| {
                    after = row.stored.eid;
                    if row.stored.kind == EntryKind::File && row.cas.is_some() && row.stored.flags & flags::SAMPLED == 0 {
                        batch.push(row);
                    }
                    batch.len() < 1000
                })
            })?;
            if batch.is_empty() {
                break;
            }
            for row in batch {
                let path = self.db.read(|connection| {
                    let corpus = Corpus { names: &names, locations: &rows, connection, path: self.db.path() };
                    Ok(path_of(&corpus, row.stored.eid).map(|(path, _)| path))
                })?;
                let Some(path) = path else { continue };
                let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { continue };
                let Ok(folder) = scan::open_root(folder) else { continue };
                match hasher.hash_at(&folder, std::os::unix::ffi::OsStrExt::as_bytes(name), Depth::Whole) {
                    Ok(hashed) => {
                        read.fetch_add(1, Ordering::Relaxed);
                        let same_file = (hashed.size, hashed.mtime) == (row.stored.size, row.stored.mtime);
                        if same_file && hashed.cas.is_some() && hashed.cas != row.cas {
                            checked.rotten.push(path.into());
                        }
                    }
                    Err(HashError::Interrupted) => return Err(Error::Interrupted),
                    Err(HashError::Gone) => {}
                    Err(HashError::Io(error)) if checked.problems.len() < LISTED => {
                        checked.problems.push(format!("{}: {}", path.display(), std::io::Error::from(error)));
                    }
                    Err(HashError::Io(_)) => {}
                }
            }
        }
        checked.files_read = read.load(Ordering::Relaxed);
        Ok(())
    }
}
