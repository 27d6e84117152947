//! `instance.db`: what belongs to the instance and to no library.

use std::path::Path;
use std::sync::Arc;

use crate::db::{self, Database, Durability};
use crate::{Error, Result, files};

/// The instance's own database. What is written here was done by a person, so every commit is durable.
#[derive(Debug)]
pub struct InstanceStore {
    pub(crate) db: Arc<Database>,
}

impl InstanceStore {
    /// Opens the database, or makes it when there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let db = match Database::open(path, &db::instance::KIND) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Self::create(path)?,
            other => other?,
        };
        Ok(Self { db: Arc::new(db) })
    }

    /// Makes the database under another name first, so that a crash never leaves half a one.
    fn create(path: &Path) -> Result<Database> {
        let temporary = path.with_extension("db.new");
        for leftover in [temporary.clone(), temporary.with_extension("new-wal"), temporary.with_extension("new-shm")] {
            match std::fs::remove_file(&leftover) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&leftover)(error)),
                _ => {}
            }
        }
        Database::create(&temporary, &db::instance::KIND)?.checkpoint()?;
        files::rename_new(&temporary, path)?;
        Database::open(path, &db::instance::KIND)
    }

    /// Checks the whole file: the first problem, or `None`.
    pub fn quick_check(&self) -> Result<Option<String>> {
        self.db.quick_check()
    }

    /// Moves everything from the WAL into the file.
    pub fn checkpoint(&self) -> Result<()> {
        self.db.checkpoint()
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.db
    }

    pub(crate) fn libraries(&self) -> Result<Vec<db::instance::KnownLibrary>> {
        self.db.read(db::instance::libraries)
    }

    pub(crate) fn remember_library(&self, path: &Path, closed: bool) -> Result<()> {
        self.db.write(Durability::Full, |t| db::instance::remember_library(t, path, closed))
    }

    pub(crate) fn forget_library(&self, path: &Path) -> Result<()> {
        self.db.write(Durability::Full, |t| db::instance::forget_library(t, path))
    }
}
