//! The index of one library: its locations, the names in memory, and the one way in which entries are written.
//!
//! `walk` reads the disk, `diff` compares, `apply` writes, `hash` identifies content. What a row means is in `docs/data.md`.

pub(crate) mod apply;
pub(crate) mod browse;
pub(crate) mod diff;
pub(crate) mod hash;
pub(crate) mod identify;
pub(crate) mod place;
pub(crate) mod row;
pub(crate) mod rules;
pub(crate) mod scan;
mod update;
pub(crate) mod walk;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use rusqlite::Transaction;
use spacedrive_api::{
    Duplicates, DuplicatesFound, IndexMode, IndexScope, LocationInfo, LocationQuery, LocationState, Rules, Search, SearchFound,
};
use uuid::Uuid;

use self::place::Place;
use self::row::{Eid, PARKED};
use self::scan::FolderId;
use crate::db::location::LocationRow;
use crate::db::{Database, Durability, entry, location as table};
use crate::jobs::{Jobs, index::IndexArgs};
use crate::search::{self, Corpus, names::Names};
use crate::{Error, Result, failpoint};

/// What the index needs to know from outside.
#[derive(Debug, Clone, Default)]
pub struct IndexOptions {
    /// Folders that are never indexed: the instance's own data.
    pub private: Vec<PathBuf>,
    /// Follow changes as they happen, and look at every location at start.
    pub watch: bool,
}

/// Looks at a folder that is not indexed; writes nothing.
pub fn browse(query: &spacedrive_api::Browse, task: &crate::jobs::Task) -> Result<spacedrive_api::Browsed> {
    browse::browse(query, task)
}

/// The index of one library.
#[derive(Debug)]
pub struct Index {
    pub(crate) db: Arc<Database>,
    pub(crate) names: Names,
    options: IndexOptions,
    next_eid: AtomicU64,
    /// By lid; the rows are read again after each change of a location.
    places: RwLock<BTreeMap<i64, Arc<Place>>>,
    /// One at a time adds or removes locations.
    changing: Mutex<()>,
    closing: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Index {
    /// Opens the index; reading the names goes on in the background.
    pub(crate) fn open(db: Arc<Database>, options: IndexOptions) -> Result<Arc<Self>> {
        let (rows, (_, head_eid)) = db.read(|c| Ok((table::all(c)?, table::heads(c)?)))?;
        let places = rows.into_iter().map(|row| (row.lid, Place::new(row))).collect();
        let index = Arc::new(Self {
            db,
            names: Names::default(),
            options,
            next_eid: AtomicU64::new(head_eid),
            places: RwLock::new(places),
            changing: Mutex::new(()),
            closing: AtomicBool::new(false),
            threads: Mutex::default(),
        });
        let loader = Arc::clone(&index);
        index.spawn("names", move || {
            let loaded = loader.db.read(|c| loader.names.load(c));
            if let Err(error) = loaded.and_then(|()| loader.clear_up()) {
                tracing::error!(%error, "the names of the library cannot be read");
            }
            loader.names.set_loaded();
        })?;
        Ok(index)
    }

    /// Runs `work` on a thread that [`Index::close`] waits for.
    pub(crate) fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(Error::io(Path::new(name)))?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(handle);
        Ok(())
    }

    /// Ends the threads. What they were about is found again at the next start.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        for place in self.all_places() {
            place.stop();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub(crate) fn watches(&self) -> bool {
        self.options.watch
    }

    pub(crate) fn db_error(&self) -> impl Fn(rusqlite::Error) -> Error + '_ {
        |source| Error::Database { path: self.db.path().to_owned(), source }
    }

    pub(crate) fn next_eid(&self) -> Eid {
        self.next_eid.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// One transaction on the entries: `work` raises the sequence number for each row that it changes.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Transaction<'_>, &mut u64) -> rusqlite::Result<T>) -> Result<T> {
        failpoint::hit("index.write.before").map_err(Error::io(self.db.path()))?;
        let written = self.db.write(Durability::Normal, |transaction| {
            let (mut seq, _) = table::heads(transaction)?;
            let value = work(transaction, &mut seq)?;
            table::set_heads(transaction, seq, self.next_eid.load(Ordering::Relaxed))?;
            Ok(value)
        })?;
        failpoint::hit("index.write.after").map_err(Error::io(self.db.path()))?;
        Ok(written)
    }

    /// Takes out what a crash left: trees of locations that were removed, and entries that had lost their place.
    fn clear_up(&self) -> Result<()> {
        let known: HashSet<Eid> = self.rows().iter().map(|row| row.root).collect();
        let mut left = Vec::new();
        self.db.read(|c| {
            entry::children(c, 0, &mut left)?;
            left.retain(|row| !known.contains(&row.eid));
            let mut parked = Vec::new();
            entry::children(c, PARKED, &mut parked)?;
            left.extend(parked);
            Ok(())
        })?;
        for row in left {
            self.delete_tree(row.eid, true)?;
        }
        Ok(())
    }

    /// Takes out all below `eid` and, with `itself`, that too; the numbers of locations are not touched.
    fn delete_tree(&self, eid: Eid, itself: bool) -> Result<()> {
        let mut gone = self.db.read(|c| {
            let mut gone = Vec::new();
            let mut folders = vec![eid];
            let mut below = Vec::new();
            while let Some(folder) = folders.pop() {
                entry::children(c, folder, &mut below)?;
                folders.extend(below.iter().filter(|row| row.kind == spacedrive_api::EntryKind::Dir).map(|row| row.eid));
                gone.append(&mut below);
            }
            if itself {
                gone.insert(0, entry::get(c, eid)?.map_or_else(|| unreachable_row(eid), |row| row.stored));
            }
            Ok(gone)
        })?;
        // Folders were listed before what is in them.
        gone.reverse();
        for chunk in gone.chunks(10_000) {
            self.write(|transaction, seq| {
                *seq += chunk.len() as u64;
                apply::delete(transaction, chunk)
            })?;
            self.names.apply(chunk.iter().map(|row| (row.eid, None)));
        }
        Ok(())
    }

    pub(crate) fn all_places(&self) -> Vec<Arc<Place>> {
        self.places.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn place(&self, lid: i64) -> Option<Arc<Place>> {
        self.places.read().unwrap_or_else(PoisonError::into_inner).get(&lid).cloned()
    }

    pub(crate) fn rows(&self) -> Vec<LocationRow> {
        self.all_places().iter().map(|place| place.row()).collect()
    }

    /// The place of the location with this id.
    pub(crate) fn place_of(&self, id: Uuid) -> Option<Arc<Place>> {
        self.all_places().into_iter().find(|place| place.row().id == id)
    }

    /// The folders that a walk of `lid` never enters.
    pub(crate) fn excluded(&self, lid: i64) -> HashSet<FolderId> {
        let others = self.rows().into_iter().filter(|row| row.lid != lid).map(|row| row.path);
        self.options.private.iter().cloned().chain(others).filter_map(|path| scan::identify_path(&path).ok()).collect()
    }

    /// Adds a folder. Indexing it is a job of its own.
    pub(crate) fn add(&self, path: &Path, name: Option<&str>, mode: IndexMode, rules: Rules) -> Result<LocationInfo> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.names.wait();
        let path = std::fs::canonicalize(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NoSuchFolder { path: path.to_owned() },
            _ => Error::io(path)(error),
        })?;
        let folder = scan::open_root(&path).map_err(|error| match error {
            rustix::io::Errno::NOTDIR => Error::NotAFolder { path: path.clone() },
            error => Error::io(&path)(error.into()),
        })?;
        let (id, _) = scan::identify(&folder).map_err(|e| Error::io(&path)(e.into()))?;
        let rows = self.rows();
        for row in &rows {
            if row.path == path || scan::identify_path(&row.path).ok() == Some(id) {
                return Err(Error::LocationExists { path, name: row.name.clone(), at: row.path.clone() });
            }
            if path.starts_with(&row.path) {
                return Err(Error::LocationInside { path, name: row.name.clone(), at: row.path.clone() });
            }
        }
        if self.options.private.iter().any(|private| {
            std::fs::canonicalize(private).is_ok_and(|private| path.starts_with(private))
                || scan::identify_path(private).ok() == Some(id)
        }) {
            return Err(Error::OwnData { path });
        }
        let name = match name {
            Some(name) => name.to_owned(),
            None => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        };
        if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
            return Err(Error::InvalidLocationName { name });
        }
        if let Some(row) = rows.iter().find(|row| row.name == name) {
            return Err(Error::LocationExists { path, name, at: row.path.clone() });
        }
        let row = LocationRow {
            lid: 0,
            id: Uuid::new_v4(),
            root: 0,
            name,
            path,
            mode,
            rules,
            inode: id.1,
            problem: None,
            files: 0,
            dirs: 0,
            bytes: 0,
            errors: 0,
            complete: false,
        };
        let root = self.next_eid();
        let row = self.db.write(Durability::Full, |t| table::insert(t, &row, root))?;
        let named = search::block::Named { eid: root, parent: 0, kind: spacedrive_api::EntryKind::Dir, name: Box::default() };
        self.names.apply([(root, Some(named))]);
        let place = Place::new(row);
        let info = place.info();
        self.places.write().unwrap_or_else(PoisonError::into_inner).insert(place.lid, place);
        Ok(info)
    }

    /// Takes a location out of the index. Its files on disk are not touched.
    pub(crate) fn remove(&self, query: &LocationQuery) -> Result<LocationInfo> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.find(query)?;
        let info = place.info();
        place.stop();
        let turn = place.turn();
        self.places.write().unwrap_or_else(PoisonError::into_inner).remove(&place.lid);
        let root = place.row().root;
        self.db.write(Durability::Full, |t| table::delete(t, place.lid))?;
        drop(turn);
        self.names.wait();
        self.delete_tree(root, true)?;
        Ok(info)
    }

    /// The place of the location that a person means.
    pub(crate) fn find(&self, query: &LocationQuery) -> Result<Arc<Place>> {
        let rows = self.rows();
        let row = crate::location::find(&rows, &query.text, query.path.as_ref().map(AsRef::as_ref))?;
        self.place(row.lid).ok_or_else(|| Error::LocationNotFound { query: query.text.clone(), nearest: Vec::new() })
    }

    /// All locations, by name.
    pub fn locations(&self) -> Vec<LocationInfo> {
        let mut all: Vec<LocationInfo> = self.all_places().iter().map(|place| place.info()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// One location.
    pub fn location(&self, query: &LocationQuery) -> Result<LocationInfo> {
        Ok(self.find(query)?.info())
    }

    /// Reads the row of a location again, after its numbers changed.
    pub(crate) fn reread(&self, place: &Place) -> Result<()> {
        if let Some(row) = self.db.read(|c| table::get(c, place.lid))? {
            place.set_row(row);
        }
        Ok(())
    }

    /// Changes a location's own row.
    pub(crate) fn change(&self, place: &Place, change: impl FnOnce(&mut LocationRow)) -> Result<()> {
        let mut row = place.row();
        let before = row.clone();
        change(&mut row);
        if row != before {
            self.db.write(Durability::Full, |t| table::update(t, &row))?;
            self.reread(place)?;
        }
        Ok(())
    }

    /// Finds entries. Waits for the names when the library was opened just now.
    pub fn search(&self, query: &Search) -> Result<SearchFound> {
        self.search_in_pages(query, usize::MAX, |_| Ok(()))
    }

    /// The same; hits beyond a `page` are handed to `sink` page by page, and the last page is in the answer.
    pub fn search_in_pages(
        &self,
        query: &Search,
        page: usize,
        sink: impl FnMut(Vec<spacedrive_api::EntryInfo>) -> Result<()>,
    ) -> Result<SearchFound> {
        self.names.wait();
        let rows = self.rows();
        let names = self.names.snapshot();
        let mut found = self.db.read_with(|connection| {
            search::search(&Corpus { names: &names, locations: &rows, connection, path: self.db.path() }, query, page, sink)
        })?;
        found.incomplete = self.all_places().iter().any(|place| place.info().state == LocationState::Indexing);
        Ok(found)
    }

    /// Finds files with equal content.
    pub fn duplicates(&self, query: &Duplicates, task: &crate::jobs::Task) -> Result<DuplicatesFound> {
        self.names.wait();
        crate::duplicates::find(self, query, task)
    }

    /// Adds a job that indexes a location.
    pub(crate) fn enqueue(&self, jobs: &Jobs, place: &Place, args: IndexArgs) -> Result<Uuid> {
        place.expect_job();
        jobs.add(crate::jobs::index::KIND, &args, &format!("location {}", place.lid))
    }

    /// Has every location looked at that no job is about to look at.
    pub(crate) fn look_at_all(&self, jobs: &Jobs) -> Result<()> {
        let under_way = jobs.unfinished(crate::jobs::index::KIND)?;
        for place in self.all_places() {
            let id = place.row().id;
            let args = |value: &serde_json::Value| serde_json::from_value::<IndexArgs>(value.clone()).ok();
            let mine: Vec<(IndexArgs, bool)> = under_way
                .iter()
                .filter_map(|(_, value, goes_on)| Some((args(value).filter(|args| args.location == id)?, *goes_on)))
                .collect();
            mine.iter().filter(|(_, goes_on)| *goes_on).for_each(|_| place.expect_job());
            let whole = |args: &IndexArgs| args.below.is_none() && args.scope == IndexScope::Recursive;
            let waiting = mine.iter().filter(|(args, goes_on)| *goes_on && whole(args)).count();
            if waiting == 0 {
                self.enqueue(jobs, &place, Self::whole(&place))?;
            }
        }
        Ok(())
    }

    /// The arguments of a job that walks the whole location.
    pub(crate) fn whole(place: &Place) -> IndexArgs {
        IndexArgs { location: place.row().id, mode: None, scope: IndexScope::Recursive, below: None, force: false }
    }
}

fn unreachable_row(eid: Eid) -> row::Stored {
    row::Stored {
        eid,
        name: Box::default(),
        kind: spacedrive_api::EntryKind::Dir,
        size: 0,
        mtime: 0,
        inode: 0,
        flags: 0,
        hashed: false,
    }
}
