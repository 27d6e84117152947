//! How a database is, looked at from outside: a daemon may have it open.

use std::path::{Path, PathBuf};

use crate::{Error, Result, db};

/// How a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The file.
    pub path: PathBuf,
    /// What SQLite's quick check found first.
    pub problem: Option<String>,
    /// The version of its schema.
    pub schema: i64,
    /// The newest version that this build knows.
    pub known: i64,
    /// The size of its WAL, in bytes.
    pub wal_bytes: u64,
}

/// How the instance's own database is.
pub fn of_instance(path: &Path) -> Result<Health> {
    look(path, &db::instance::KIND)
}

/// How the database of the library in `dir` is.
pub fn of_library(dir: &Path) -> Result<Health> {
    look(&dir.join("library.db"), &db::library::KIND)
}

fn look(path: &Path, kind: &db::Kind) -> Result<Health> {
    let migration = |e: rusqlite_migration::Error| Error::Migration { path: path.to_owned(), why: e.to_string() };
    let (answer, schema, pending) = db::peek(path, kind, |connection| {
        let answer: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        let schema: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok((answer, schema, kind.migrations.pending_migrations(connection)))
    })?;
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    Ok(Health {
        path: path.to_owned(),
        problem: (answer != "ok").then_some(answer),
        schema,
        known: schema + i64::from(pending.map_err(migration)?),
        wal_bytes: std::fs::metadata(wal).map_or(0, |meta| meta.len()),
    })
}
