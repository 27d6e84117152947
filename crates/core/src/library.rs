//! One library: a folder `NAME.sdlibrary` with `library.json`, `library.db` and its lock.
//!
//! After a crash at any moment the folder is there whole or not at all: it is made under a temporary name,
//! with its database closed and synced, and then renamed.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::{self, Database, Durability};
use crate::index::{Index, IndexOptions};
use crate::jobs::{Jobs, index::IndexHandler};
use crate::{Error, Result, failpoint, files};

/// The ending of a library's folder.
pub const EXTENSION: &str = "sdlibrary";

/// The beginning of the name of a folder that was being made; one that is still there after a crash is rubbish.
pub(crate) const UNFINISHED: &str = ".unfinished-";

/// The longest name, in bytes: with the extension it must fit a file name of 255.
const MAX_NAME: usize = 200;

/// The version of `library.json` that this build writes.
const VERSION: i64 = 1;

/// The largest `library.json` that is read, in bytes; the real one has a few hundred.
const MAX_MANIFEST: u64 = 1 << 20;

/// `library.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this file's form.
    pub version: i64,
    /// The library's id.
    pub id: Uuid,
    /// The library's name.
    pub name: String,
    /// When it was made.
    pub created_at: jiff::Timestamp,
    /// What this version does not know, kept as it is.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Manifest {
    /// Reads the manifest of the library in `dir`.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("library.json");
        let damaged = |why: String| Error::LibraryDamaged { path: dir.to_owned(), why: format!("library.json: {why}") };
        let bytes = match fs::metadata(&path) {
            Ok(meta) if !meta.is_file() => return Err(damaged("it is not a file".to_owned())),
            Ok(meta) if meta.len() > MAX_MANIFEST => return Err(damaged(format!("it has {} bytes", meta.len()))),
            Ok(_) => fs::read(&path),
            Err(error) => Err(error),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound && !dir.is_dir() => {
                return Err(Error::LibraryMissing { path: dir.to_owned() });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::NotALibrary { path: dir.to_owned() }),
            Err(error) => return Err(damaged(error.to_string())),
        };
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if manifest.version > VERSION {
            return Err(Error::Newer { path, found: manifest.version, known: VERSION });
        }
        Ok(manifest)
    }
}

/// Fails unless `name` can be a library's name.
pub fn check_name(name: &str) -> Result<()> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME {
        "it is longer than 200 bytes"
    } else if name.contains('/') {
        "it contains a `/`"
    } else if name.chars().any(char::is_control) {
        "it contains a control character"
    } else if name.trim() != name {
        "it begins or ends with a blank"
    } else if name.starts_with('.') {
        "it begins with a `.`"
    } else {
        return Ok(());
    };
    Err(Error::InvalidLibraryName { name: name.to_owned(), why })
}

/// A library that this process has open. Dropping it releases its files.
#[derive(Debug)]
pub struct Library {
    manifest: Manifest,
    dir: PathBuf,
    pub(crate) db: Arc<Database>,
    index: Arc<Index>,
    jobs: Arc<Jobs>,
    /// Held as long as the library is open; released after the database is closed.
    _lock: File,
}

impl Library {
    /// Makes a library of this name in the folder `parent` and opens it.
    pub fn create(parent: &Path, name: &str, options: &IndexOptions) -> Result<Self> {
        check_name(name)?;
        let dir = parent.join(format!("{name}.{EXTENSION}"));
        let exists = || Error::LibraryExists { name: name.to_owned(), path: dir.clone() };
        if fs::symlink_metadata(&dir).is_ok() {
            return Err(exists());
        }
        files::make_dir(parent)?;
        let temporary = parent.join(format!("{UNFINISHED}{}", Uuid::new_v4().simple()));
        let made = Self::fill(&temporary, name)
            .and_then(|()| match files::rename_new(&temporary, &dir) {
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => Err(exists()),
                other => other,
            })
            .and_then(|()| failpoint::hit("library.create.rename").map_err(Error::io(&dir)))
            .and_then(|()| Self::open(&dir, options));
        made.inspect_err(|_| {
            // What has left its temporary name already is ours as well, and goes the way it came.
            if fs::symlink_metadata(&temporary).is_err() {
                let _ = fs::rename(&dir, &temporary);
            }
            let _ = fs::remove_dir_all(&temporary);
        })
    }

    /// Takes back a library that was just made. A crash leaves it whole or out of the way.
    pub fn discard(self) {
        let temporary = self.dir.with_file_name(format!("{UNFINISHED}{}", Uuid::new_v4().simple()));
        if fs::rename(&self.dir, &temporary).is_ok() {
            drop(self);
            let _ = fs::remove_dir_all(&temporary);
        }
    }

    /// Writes all files of a new library into `dir`.
    fn fill(dir: &Path, name: &str) -> Result<()> {
        files::make_dir(dir)?;
        failpoint::hit("library.create.folder").map_err(Error::io(dir))?;
        let manifest = Manifest {
            version: VERSION,
            id: Uuid::new_v4(),
            name: name.to_owned(),
            created_at: jiff::Timestamp::now(),
            other: serde_json::Map::new(),
        };
        let path = dir.join("library.json");
        let bytes = spacedrive_api::record::json(&manifest).map_err(Error::io(&path))?;
        spacedrive_api::record::replace_file(&path, &bytes).map_err(Error::io(&path))?;
        let db = Database::create(&dir.join("library.db"), &db::library::KIND)?;
        failpoint::hit("library.create.database").map_err(Error::io(dir))?;
        db.write(Durability::Full, |t| db::library::set_id(t, manifest.id))?;
        db.checkpoint()
    }

    /// Opens the library in `dir`. Whatever is wrong with it, nothing in it is changed. Its jobs and its watching begin with
    /// [`Library::start`].
    pub fn open(dir: &Path, options: &IndexOptions) -> Result<Self> {
        let manifest = Manifest::read(dir)?;
        let damaged = |why: String| Error::LibraryDamaged { path: dir.to_owned(), why };
        let Some(lock) = files::try_lock(&dir.join("library.lock"))? else {
            return Err(Error::LibraryLocked { path: dir.to_owned() });
        };
        let path = dir.join("library.db");
        let db = Database::open(&path, &db::library::KIND).map_err(|error| match error {
            Error::Io { source, .. } => damaged(format!("library.db: {source}")),
            Error::BadFile { why, .. } | Error::Migration { why, .. } => damaged(format!("library.db: {why}")),
            Error::Database { source, .. } => damaged(format!("library.db: {source}")),
            other => other,
        })?;
        let id = db.read(db::library::id).map_err(|e| damaged(e.to_string()))?;
        if id != Some(manifest.id) {
            return Err(damaged("library.db belongs to another library than library.json".to_owned()));
        }
        let db = Arc::new(db);
        let index = Index::open(Arc::clone(&db), options.clone()).map_err(|e| damaged(e.to_string()))?;
        let jobs = Jobs::open(Arc::clone(&db), vec![Arc::new(IndexHandler(Arc::downgrade(&index)))])?;
        Ok(Self { manifest, dir: dir.to_owned(), db, index, jobs, _lock: lock })
    }

    /// Begins what goes on in the background: jobs that had not ended, and a look at every location.
    pub fn start(&self) -> Result<()> {
        self.index.look_at_all(&self.jobs)?;
        self.jobs.start();
        Ok(())
    }

    /// Ends what goes on in the background, so that it goes on when the library is opened again.
    pub fn stop(&self) {
        self.jobs.close();
        self.index.close();
    }

    /// Ends what goes on in the background and moves everything into the database file.
    pub(crate) fn stop_and_checkpoint(&self) -> Result<()> {
        self.stop();
        self.checkpoint()
    }

    /// Its index.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Its jobs.
    pub fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        self.manifest.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// What `library.json` says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The size of the database in the folder `dir`, with its WAL, in bytes.
    pub fn bytes_at(dir: &Path) -> u64 {
        ["library.db", "library.db-wal"].iter().filter_map(|name| fs::metadata(dir.join(name)).ok()).map(|meta| meta.len()).sum()
    }

    /// SQLite's own check of the whole database: the first problem, or `None`.
    pub fn quick_check(&self) -> Result<Option<String>> {
        self.db.quick_check()
    }

    /// Copies the database, as it is at this moment, to `to` or into the library's own `backups/`. Answers where and how big.
    pub fn backup(&self, to: Option<&Path>) -> Result<(PathBuf, u64)> {
        let to = match to {
            Some(to) => to.to_owned(),
            None => {
                let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ");
                self.dir.join("backups").join(format!("library-{time}.db"))
            }
        };
        let bytes = self.db.read_with(|source| db::backup::copy(source, &to))?;
        Ok((to, bytes))
    }

    /// Moves everything from the WAL into the database file.
    pub fn checkpoint(&self) -> Result<()> {
        self.db.checkpoint()
    }
}

impl Drop for Library {
    /// No thread has the database open when the lock is released.
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_check_tells_a_sound_database_from_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let library = Library::create(dir.path(), "One", &IndexOptions::default()).unwrap();
        assert_eq!(library.quick_check().unwrap(), None);
        library.checkpoint().unwrap();
        let path = library.dir().join("library.db");
        drop(library);
        // The whole last page: the root of an index.
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 4096..].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        let found =
            Library::open(&dir.path().join("One.sdlibrary"), &IndexOptions::default()).and_then(|library| library.quick_check());
        assert!(!matches!(found, Ok(None)), "{found:?}");
    }
}
