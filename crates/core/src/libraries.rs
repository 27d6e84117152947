//! The registry: every library that the instance knows, and which of them are open.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use spacedrive_api::{LibraryDeleted, LibraryInfo, LibraryState, Trashed, WirePath};
use uuid::Uuid;

use crate::db::instance::KnownLibrary;
use crate::error::{DatabaseFault, database_fault};
use crate::index::IndexOptions;
use crate::instance::InstanceStore;
use crate::library::{EXTENSION, Library, Manifest, UNFINISHED};
use crate::{Error, Result, failpoint, files, trash};

/// The libraries of one instance.
#[derive(Debug)]
pub struct Libraries {
    /// The instance's own folder of libraries.
    dir: PathBuf,
    /// Where deleted libraries go.
    trash: PathBuf,
    store: Arc<InstanceStore>,
    options: IndexOptions,
    /// Whether libraries that are opened begin to work.
    started: AtomicBool,
    /// Held for the whole of a change, disk and all: one change at a time. Taken before `known`.
    changing: Mutex<()>,
    /// By folder. Held for moments only, so that nobody who asks waits for a disk.
    known: Mutex<BTreeMap<PathBuf, LibraryEntry>>,
}

/// The folder of every library that an instance knows, with whether a person closed it. `tidy` removes what a
/// crash left half made.
pub(crate) fn paths(dir: &Path, known: Vec<KnownLibrary>, tidy: bool) -> Result<BTreeMap<PathBuf, bool>> {
    let mut paths = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        let unfinished = path.file_name().unwrap_or_default().to_string_lossy().starts_with(UNFINISHED);
        if unfinished && tidy {
            fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        } else if !unfinished && path.extension().is_some_and(|e| e == EXTENSION) {
            paths.insert(path, false);
        }
    }
    for known in known {
        paths.insert(dir.join(known.path), known.closed);
    }
    Ok(paths)
}

/// What the registry holds of one library.
#[derive(Debug, Clone)]
pub struct LibraryEntry {
    info: LibraryInfo,
    open: Option<Arc<Library>>,
}

impl Libraries {
    /// Discovers the libraries and opens those that were not closed by a person. One that cannot be opened
    /// is listed with its problem and stops nothing.
    pub fn discover(dir: &Path, trash: &Path, store: Arc<InstanceStore>, options: IndexOptions) -> Result<Self> {
        files::make_dir(dir)?;
        let paths = paths(dir, store.libraries()?, true)?;
        let known = paths
            .into_iter()
            .map(|(path, closed)| {
                let entry = if closed { LibraryEntry::closed(&path) } else { LibraryEntry::opened(&path, &options) };
                (path, entry)
            })
            .collect();
        Ok(Self {
            dir: dir.to_owned(),
            trash: trash.to_owned(),
            store,
            options,
            started: AtomicBool::new(false),
            changing: Mutex::default(),
            known: Mutex::new(known),
        })
    }

    /// Begins what goes on in the background: jobs, and looking for changes. Libraries that are opened later begin at once.
    pub fn start(&self) {
        self.started.store(true, Ordering::SeqCst);
        for library in self.open_ones() {
            self.start_one(&library);
        }
    }

    fn start_one(&self, library: &Library) {
        if self.started.load(Ordering::SeqCst)
            && let Err(error) = library.start()
        {
            tracing::error!(%error, library = library.name(), "the library's jobs cannot be started");
        }
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<LibraryInfo> {
        // Not the libraries themselves: who asks must not keep one open that is being closed.
        let mut all: Vec<LibraryInfo> = self.lock().values().map(|entry| entry.info.clone()).collect();
        for info in all.iter_mut().filter(|info| info.state == LibraryState::Open) {
            info.bytes = Library::bytes_at(&info.path.0);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
        all
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// The open libraries.
    pub fn open_ones(&self) -> Vec<Arc<Library>> {
        self.lock().values().filter_map(|entry| entry.open.clone()).collect()
    }

    /// Makes a library, in the instance's own folder or in `parent`.
    pub fn create(&self, name: &str, parent: Option<&Path>) -> Result<LibraryInfo> {
        crate::library::check_name(name)?;
        parent.map_or(Ok(()), check_absolute)?;
        let _change = self.change();
        if let Some((path, _)) = self.lock().iter().find(|(_, entry)| entry.info.name == name) {
            return Err(Error::LibraryExists { name: name.to_owned(), path: path.clone() });
        }
        let library = Library::create(parent.unwrap_or(&self.dir), name, &self.options)?;
        let remembered = match parent {
            Some(_) => self.store.remember_library(self.stored(library.dir()), false),
            None => Ok(()),
        };
        let done = remembered.and_then(|()| failpoint::hit("library.create.done").map_err(Error::io(library.dir())));
        if let Err(error) = done {
            let _ = self.store.forget_library(self.stored(library.dir()));
            library.discard();
            return Err(error);
        }
        self.start_one(&library);
        let entry = LibraryEntry::of(Arc::new(library));
        let info = entry.info();
        self.lock().insert(info.path.0.clone(), entry);
        Ok(info)
    }

    /// Opens the library in the folder `path`; one that is open already stays so.
    pub fn open(&self, path: &Path) -> Result<LibraryInfo> {
        check_absolute(path)?;
        let path = fs::canonicalize(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::LibraryMissing { path: path.to_owned() },
            _ => Error::io(path)(error),
        })?;
        let _change = self.change();
        self.open_known(&path)
    }

    /// Opens it, unless it is open. The caller holds `changing`.
    fn open_known(&self, path: &Path) -> Result<LibraryInfo> {
        if let Some(entry) = self.lock().get(path).filter(|entry| entry.open.is_some()) {
            return Ok(entry.info());
        }
        let library = Library::open(path, &self.options)?;
        if let Some((other, _)) =
            self.lock().iter().find(|(other, entry)| entry.info.id == library.id() && *other != path && entry.open.is_some())
        {
            return Err(Error::LibraryExists { name: library.name().to_owned(), path: other.clone() });
        }
        if path.parent() == Some(&self.dir) {
            self.store.forget_library(self.stored(path))?;
        } else {
            self.store.remember_library(self.stored(path), false)?;
        }
        self.start_one(&library);
        let entry = LibraryEntry::of(Arc::new(library));
        let info = entry.info();
        self.lock().insert(path.to_owned(), entry);
        Ok(info)
    }

    /// One library, by name, id or unique prefix of the id.
    pub fn get(&self, query: &str) -> Result<LibraryInfo> {
        let known = self.lock();
        let path = find(&known, query)?;
        Ok(known[&path].info())
    }

    /// One open library to work with; opens it when a person had closed it.
    pub fn get_open(&self, query: &str) -> Result<Arc<Library>> {
        let path = find(&self.lock(), query)?;
        if let Some(library) = self.lock().get(&path).and_then(|entry| entry.open.clone()) {
            return Ok(library);
        }
        let _change = self.change();
        self.open_known(&path)?;
        let library = self.lock().get(&path).and_then(|entry| entry.open.clone());
        library.ok_or_else(|| Error::LibraryClosed { name: query.to_owned() })
    }

    /// Closes a library; it stays known, and closed after a restart.
    pub fn close(&self, query: &str) -> Result<LibraryInfo> {
        let _change = self.change();
        let path = find(&self.lock(), query)?;
        self.store.remember_library(self.stored(&path), true)?;
        let open = self.lock().get_mut(&path).and_then(|entry| entry.open.take());
        // What is left in the WAL is taken in when it is opened again.
        if let Some(Err(error)) = open.map(|library| library.stop_and_checkpoint()) {
            tracing::warn!(%error, path = %path.display(), "library is closed without a checkpoint");
        }
        let entry = LibraryEntry::closed(&path);
        let info = entry.info();
        self.lock().insert(path, entry);
        Ok(info)
    }

    /// Removes a library, to the trash or for good. The files that it indexes are not touched.
    pub fn delete(&self, query: &str, purge: bool) -> Result<LibraryDeleted> {
        let _change = self.change();
        let path = find(&self.lock(), query)?;
        let entry = self.lock()[&path].clone();
        let entry = LibraryEntry { open: None, ..entry };
        let open = self.lock().get_mut(&path).and_then(|entry| entry.open.take());
        // What is left in the WAL is taken in when it is opened again.
        if let Some(Err(error)) = open.map(|library| library.stop_and_checkpoint()) {
            tracing::warn!(%error, path = %path.display(), "library is closed without a checkpoint");
        }
        let removed = self.remove_folder(&path, &entry.info.name, purge);
        match removed {
            Ok(trash) => {
                self.lock().remove(&path);
                self.store.forget_library(self.stored(&path))?;
                Ok(LibraryDeleted { library: entry.info(), trash: trash.map(WirePath) })
            }
            Err(error) => {
                let entry = LibraryEntry::opened(&path, &self.options);
                self.lock().insert(path.clone(), entry);
                Err(error)
            }
        }
    }

    /// Moves the folder to the trash in one step, so that a crash leaves it whole or out of the way.
    fn remove_folder(&self, path: &Path, name: &str, purge: bool) -> Result<Option<PathBuf>> {
        if fs::symlink_metadata(path).is_err() {
            return Ok(None);
        }
        let trash = self.trash();
        let trashed = trash::put(&trash, path, name, self.stored(path))?;
        if let Err(error) = failpoint::hit("library.delete.rename").map_err(Error::io(&trashed.path.0)) {
            let _ = trash::restore(&trash, &trashed, path);
            return Err(error);
        }
        if !purge {
            return Ok(Some(trashed.path.0));
        }
        match trash::purge(&trash, &trashed) {
            Ok(()) => Ok(None),
            // Deleted it is, and the answer says where the rest lies.
            Err(error) => {
                tracing::warn!(%error, path = %trashed.path.0.display(), "a deleted library cannot be removed from the trash");
                Ok(Some(trashed.path.0))
            }
        }
    }

    /// The deleted libraries, the newest first.
    pub fn deleted(&self) -> Result<Vec<Trashed>> {
        let mut all = trash::list(&self.trash())?;
        for trashed in &mut all {
            trashed.from = WirePath(self.dir.join(&trashed.from.0));
        }
        Ok(all)
    }

    /// Puts the newest deleted library of this name back to where it was, and opens it.
    pub fn restore(&self, name: &str) -> Result<LibraryInfo> {
        let _change = self.change();
        let deleted = self.deleted()?;
        let Some(trashed) = deleted.iter().find(|trashed| trashed.name == name) else {
            let mut names: Vec<String> = deleted.into_iter().map(|trashed| trashed.name).collect();
            names.dedup();
            return Err(Error::NotInTrash { query: name.to_owned(), nearest: spacedrive_api::nearest(name, &names) });
        };
        let path = trashed.from.0.clone();
        if let Some((path, _)) = self.lock().iter().find(|(other, entry)| entry.info.name == name || **other == path) {
            return Err(Error::LibraryExists { name: name.to_owned(), path: path.clone() });
        }
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Error::LibraryExists { name: name.to_owned(), path });
        }
        trash::restore(&self.trash(), trashed, &path)?;
        self.open_known(&path).inspect_err(|error| {
            self.lock().insert(path.clone(), LibraryEntry::failed(&path, error));
        })
    }

    fn trash(&self) -> PathBuf {
        self.trash.join("libraries")
    }

    /// How a library's folder is written down: relative to the instance's own folder of libraries when it lies
    /// there, so that the instance can be moved.
    fn stored<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.dir).unwrap_or(path)
    }

    /// Closes everything for a shutdown; what was open is opened again at the next start.
    pub fn shut_down(&self) -> Result<()> {
        let _change = self.change();
        let open: Vec<Arc<Library>> = self.lock().values_mut().filter_map(|entry| entry.open.take()).collect();
        let mut first = Ok(());
        for library in open {
            first = first.and(library.stop_and_checkpoint());
        }
        first.and(self.store.checkpoint())
    }

    /// Checks the open libraries whole; one that is damaged is closed and listed as damaged.
    pub fn check_all(&self) {
        for library in self.open_ones() {
            let problem = match library.quick_check() {
                Ok(None) => continue,
                Ok(Some(problem)) => problem,
                Err(Error::Database { source, .. }) if database_fault(&source) == DatabaseFault::Damaged => source.to_string(),
                Err(error) => {
                    tracing::warn!(library = library.name(), %error, "library cannot be checked");
                    continue;
                }
            };
            tracing::error!(library = library.name(), problem, "library is damaged");
            let _change = self.change();
            // Somebody may have closed or deleted it meanwhile.
            let is_same = |entry: &LibraryEntry| entry.open.as_ref().is_some_and(|open| Arc::ptr_eq(open, &library));
            if self.lock().get(library.dir()).is_some_and(is_same) {
                let error = Error::LibraryDamaged { path: library.dir().to_owned(), why: format!("library.db: {problem}") };
                let entry = LibraryEntry::failed(library.dir(), &error);
                self.lock().insert(library.dir().to_owned(), entry);
            }
        }
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, LibraryEntry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LibraryEntry {
    fn of(library: Arc<Library>) -> Self {
        let manifest = library.manifest();
        let info = LibraryInfo {
            id: manifest.id,
            name: manifest.name.clone(),
            path: library.dir().into(),
            state: LibraryState::Open,
            problem: None,
            created_at: Some(manifest.created_at),
            bytes: 0,
        };
        Self { info, open: Some(library) }
    }

    fn opened(path: &Path, options: &IndexOptions) -> Self {
        match Library::open(path, options) {
            Ok(library) => Self::of(Arc::new(library)),
            Err(error) => {
                tracing::warn!(%error, "library cannot be opened");
                Self::failed(path, &error)
            }
        }
    }

    fn closed(path: &Path) -> Self {
        let mut entry = Self::unopened(path, LibraryState::Closed);
        if !path.is_dir() {
            entry.info.state = LibraryState::Missing;
        }
        entry
    }

    fn failed(path: &Path, error: &Error) -> Self {
        let state = match error {
            Error::LibraryMissing { .. } => LibraryState::Missing,
            Error::LibraryLocked { .. } => LibraryState::Locked,
            _ => LibraryState::Damaged,
        };
        let mut entry = Self::unopened(path, state);
        entry.info.problem = Some(error.to_string());
        entry
    }

    /// What can be said of a library that is not open, from its manifest or else from its folder's name.
    fn unopened(path: &Path, state: LibraryState) -> Self {
        let manifest = Manifest::read(path).ok();
        let info = LibraryInfo {
            id: manifest.as_ref().map_or_else(|| id_of_folder(path), |m| m.id),
            name: manifest
                .as_ref()
                .map_or_else(|| path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), |m| m.name.clone()),
            path: path.into(),
            state,
            problem: None,
            created_at: manifest.map(|m| m.created_at),
            bytes: 0,
        };
        Self { info, open: None }
    }

    fn info(&self) -> LibraryInfo {
        let bytes = self.open.as_ref().map_or(0, |library| Library::bytes_at(library.dir()));
        LibraryInfo { bytes, ..self.info.clone() }
    }
}

fn check_absolute(path: &Path) -> Result<()> {
    if path.is_absolute() { Ok(()) } else { Err(Error::RelativePath { path: path.to_owned() }) }
}

/// A stable id for a library whose manifest cannot be read, so that it can be named at all.
fn id_of_folder(path: &Path) -> Uuid {
    use std::os::unix::ffi::OsStrExt;
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(path.as_os_str().as_bytes()).as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The folder of the library that `query` names: an exact name wins over an id, an id over a prefix of 4 or more characters.
fn find(known: &BTreeMap<PathBuf, LibraryEntry>, query: &str) -> Result<PathBuf> {
    let all = || known.iter().map(|(path, entry)| (path, &entry.info));
    let matches = |test: &dyn Fn(&LibraryInfo) -> bool| all().filter(|(_, info)| test(info)).collect::<Vec<_>>();
    let lower = query.to_ascii_lowercase();
    let mut found = matches(&|info| info.name == query);
    if found.is_empty() {
        found = matches(&|info| info.id.to_string() == lower);
    }
    if found.is_empty() && query.len() >= 4 {
        found = matches(&|info| info.id.to_string().starts_with(&lower));
    }
    match found.as_slice() {
        [(path, _)] => Ok((*path).clone()),
        [] => {
            let names: Vec<String> = all().map(|(_, info)| info.name.clone()).collect();
            Err(Error::LibraryNotFound { query: query.to_owned(), nearest: spacedrive_api::nearest(query, &names) })
        }
        several => Err(Error::LibraryAmbiguous {
            query: query.to_owned(),
            candidates: several.iter().map(|(_, info)| info.id.to_string()).collect(),
        }),
    }
}
