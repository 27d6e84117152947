//! SQLite: one writer and as many readers as are needed at once, WAL, numbered migrations.
//!
//! SQL lives below this module only, one file per table group.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod entry;
pub(crate) mod instance;
pub(crate) mod job;
pub(crate) mod library;
pub(crate) mod location;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use rusqlite_migration::{Migrations, SchemaVersion};

use crate::{Error, Result};

/// The feed of this device in each library.
pub(crate) const FEED: i64 = 1;

/// How many idle readers are kept; more are opened when needed and closed afterwards.
const IDLE_READERS: usize = 4;

/// How much of a commit must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// All of it: what a person did.
    Full,
    /// It may be lost, never torn: what a rescan can rebuild.
    Normal,
}

/// What makes a file one of our databases.
pub(crate) struct Kind {
    /// SQLite's `application_id`.
    pub(crate) application_id: i32,
    /// How its schema came about.
    pub(crate) migrations: Migrations<'static>,
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl Database {
    /// Makes a new database; fails if there is one.
    pub(crate) fn create(path: &Path, kind: &Kind) -> Result<Self> {
        fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(Error::io(path))?;
        let connection = Connection::open_with_flags(path, FLAGS).map_err(Error::db(path))?;
        connection.pragma_update(None, "application_id", kind.application_id).map_err(Error::db(path))?;
        Self::finish(path, connection, kind)
    }

    /// Opens an existing database and brings its schema up to date. Never makes one, and never takes an
    /// empty or foreign file for one.
    pub(crate) fn open(path: &Path, kind: &Kind) -> Result<Self> {
        let damaged = |why: &str| Error::BadFile { path: path.to_owned(), why: why.to_owned() };
        let meta = fs::metadata(path).map_err(Error::io(path))?;
        if !meta.is_file() {
            return Err(damaged("it is not a file"));
        }
        if meta.len() == 0 {
            return Err(damaged("it is empty"));
        }
        let connection = Connection::open_with_flags(path, FLAGS).map_err(Error::db(path))?;
        connection.busy_timeout(BUSY).map_err(Error::db(path))?;
        let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(Error::db(path))?;
        if id != kind.application_id {
            return Err(damaged("it is not a database of ours"));
        }
        Self::finish(path, connection, kind)
    }

    fn finish(path: &Path, mut connection: Connection, kind: &Kind) -> Result<Self> {
        let db = |e| Error::db(path)(e);
        let migration = |e: rusqlite_migration::Error| match e {
            rusqlite_migration::Error::RusqliteError { err, .. } => db(err),
            e => Error::Migration { path: path.to_owned(), why: e.to_string() },
        };
        connection.busy_timeout(BUSY).map_err(db)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(db)?;
        let known =
            kind.migrations.pending_migrations(&connection).map_err(migration)? + i32::try_from(found).unwrap_or(i32::MAX);
        if i64::from(known) < found
            || matches!(kind.migrations.current_version(&connection).map_err(migration)?, SchemaVersion::Outside(_))
        {
            return Err(Error::Newer { path: path.to_owned(), found, known: known.into() });
        }
        connection.pragma_update(None, "journal_mode", "wal").map_err(db)?;
        connection.pragma_update(None, "synchronous", "full").map_err(db)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(db)?;
        connection.pragma_update(None, "trusted_schema", false).map_err(db)?;
        if found > 0 && i64::from(known) > found {
            // A person has something to lose from here on.
            backup::copy(&connection, &backup::before_migration(path, found))?;
        }
        kind.migrations.to_latest(&mut connection).map_err(migration)?;
        Ok(Self { path: path.to_owned(), writer: Mutex::new(connection), readers: Mutex::new(Vec::new()) })
    }

    /// The database file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in one transaction of the one writer; commits if it succeeds.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut connection = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let level = match durability {
            Durability::Full => "full",
            Durability::Normal => "normal",
        };
        (|| {
            connection.pragma_update(None, "synchronous", level)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })()
        .map_err(Error::db(&self.path))
    }

    /// As [`Self::read`], for work that fails in other ways too.
    pub(crate) fn read_with<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.read(|connection| Ok(work(connection)))?
    }

    /// Runs `work` on a reader, which sees one consistent state per statement (or transaction).
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let idle = self.readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let reader = match idle {
            Some(reader) => reader,
            None => self.open_reader()?,
        };
        let value = work(&reader).map_err(Error::db(&self.path))?;
        let mut readers = self.readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if readers.len() < IDLE_READERS {
            readers.push(reader);
        }
        Ok(value)
    }

    /// SQLite's own check of the whole file: the first problem, or `None`.
    pub(crate) fn quick_check(&self) -> Result<Option<String>> {
        let answer: String = self.read(|c| c.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)))?;
        Ok((answer != "ok").then_some(answer))
    }

    /// Moves everything from the WAL into the database file.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let connection = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(Error::db(&self.path))
    }

    fn open_reader(&self) -> Result<Connection> {
        let db = |e| Error::db(&self.path)(e);
        let reader = Connection::open_with_flags(&self.path, FLAGS).map_err(db)?;
        reader.busy_timeout(BUSY).map_err(db)?;
        reader.pragma_update(None, "query_only", true).map_err(db)?;
        reader.pragma_update(None, "trusted_schema", false).map_err(db)?;
        Ok(reader)
    }
}

/// Opens a database to look at it, while another process may have it: nothing in it is changed, its schema included.
fn look(path: &Path, kind: &Kind) -> Result<Connection> {
    let damaged = |why: &str| Error::BadFile { path: path.to_owned(), why: why.to_owned() };
    if !fs::metadata(path).map_err(Error::io(path))?.is_file() {
        return Err(damaged("it is not a file"));
    }
    let connection = Connection::open_with_flags(path, FLAGS).map_err(Error::db(path))?;
    let id: i32 = (|| {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_query_value(None, "application_id", |row| row.get(0))
    })()
    .map_err(Error::db(path))?;
    if id == kind.application_id { Ok(connection) } else { Err(damaged("it is not a database of ours")) }
}

/// Runs `work` on a database that this process has not opened; see [`look`].
pub(crate) fn peek<T>(path: &Path, kind: &Kind, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
    work(&look(path, kind)?).map_err(Error::db(path))
}

/// Copies the database `from` to the new file `to` as one consistent state, synced, while others may be writing to
/// `from`.
pub(crate) fn back_up(from: &Path, to: &Path, kind: &Kind) -> Result<()> {
    let source = look(from, kind)?;
    fs::OpenOptions::new().write(true).create_new(true).open(to).map_err(Error::io(to))?;
    let mut copy = Connection::open_with_flags(to, FLAGS).map_err(Error::db(to))?;
    // One step for all pages: a reader's view of the source, which hinders no writer.
    rusqlite::backup::Backup::new(&source, &mut copy)
        .and_then(|backup| backup.run_to_completion(i32::MAX, Duration::ZERO, None))
        .map_err(Error::db(to))?;
    drop(copy);
    fs::File::open(to).and_then(|file| file.sync_all()).map_err(Error::io(to))
}

/// One process has the database open, so waiting is for checkpoints and tools that look in from outside.
const BUSY: Duration = Duration::from_secs(10);

/// Never creates a file; each connection is used by one thread at a time.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
