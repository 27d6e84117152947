//! The tables of `instance.db`: what belongs to the instance and to no library.

pub(crate) mod operations;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rusqlite::{Connection, Transaction};
use rusqlite_migration::{M, Migrations};

use super::Kind;

pub(crate) mod devices;
pub(crate) mod drops;

/// `SDIN` in ASCII.
pub(crate) static KIND: LazyLock<Kind> = LazyLock::new(|| Kind {
    application_id: 0x5344_494E,
    migrations: Migrations::new(vec![
        M::up(include_str!("instance/0001.sql")),
        M::up(include_str!("instance/0002.sql")),
        M::up(include_str!("instance/0003.sql")),
        M::up(include_str!("instance/0004.sql")),
    ]),
});

/// A library that the instance was told about.
pub(crate) struct KnownLibrary {
    pub(crate) path: PathBuf,
    pub(crate) closed: bool,
}

pub(crate) fn libraries(connection: &Connection) -> rusqlite::Result<Vec<KnownLibrary>> {
    let mut statement = connection.prepare_cached("SELECT path, closed FROM libraries ORDER BY path")?;
    let rows = statement.query_map([], |row| {
        let path: Vec<u8> = row.get(0)?;
        Ok(KnownLibrary { path: spacedrive_api::WirePath::from_bytes(path).0, closed: row.get(1)? })
    })?;
    rows.collect()
}

pub(crate) fn remember_library(transaction: &Transaction<'_>, path: &Path, closed: bool) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO libraries (path, closed) VALUES (?1, ?2) ON CONFLICT (path) DO UPDATE SET closed = excluded.closed",
        )?
        .execute((path.as_os_str().as_bytes(), closed))?;
    Ok(())
}

pub(crate) fn forget_library(transaction: &Transaction<'_>, path: &Path) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM libraries WHERE path = ?1")?.execute([path.as_os_str().as_bytes()])?;
    Ok(())
}
