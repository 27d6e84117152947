//! The tables of `library.db` that say which library it is.

use std::sync::LazyLock;

use rusqlite::{Connection, Transaction};
use rusqlite_migration::{M, Migrations};
use uuid::Uuid;

use super::Kind;

/// `SDLB` in ASCII.
pub(crate) static KIND: LazyLock<Kind> = LazyLock::new(|| Kind {
    application_id: 0x5344_4C42,
    migrations: Migrations::new(vec![M::up(include_str!("library/0001.sql")), M::up(include_str!("library/0002.sql"))]),
});

pub(crate) fn set_id(transaction: &Transaction<'_>, id: Uuid) -> rusqlite::Result<()> {
    transaction.execute("INSERT INTO library (one, id) VALUES (1, ?1)", [id.as_bytes().as_slice()])?;
    Ok(())
}

pub(crate) fn id(connection: &Connection) -> rusqlite::Result<Option<Uuid>> {
    let bytes: Vec<u8> = connection.query_row("SELECT id FROM library WHERE one = 1", [], |row| row.get(0))?;
    Ok(Uuid::from_slice(&bytes).ok())
}
