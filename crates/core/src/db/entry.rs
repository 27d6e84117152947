//! The table `entries`.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};

use super::{FEED, location};
use crate::index::row::{Change, Eid, PARKED, Stored, flags, kind_number, kind_of};

/// An entry as search and the rest of the library see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryRow {
    pub(crate) stored: Stored,
    pub(crate) parent: Eid,
    pub(crate) cas: Option<[u8; 32]>,
}

/// What a file's content turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) eid: Eid,
    /// The size and the time that the bytes had.
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    /// `None`: it changed each time while it was read.
    pub(crate) cas: Option<[u8; 32]>,
    pub(crate) sampled: bool,
}

fn int(value: u64) -> i64 {
    value.cast_signed()
}

fn bytes_at(row: &Row<'_>, n: usize) -> rusqlite::Result<Box<[u8]>> {
    Ok(row.get_ref(n)?.as_blob()?.into())
}

const STORED: &str = "eid, name, kind, size, mtime, inode, flags, cas IS NOT NULL";

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        eid: row.get::<_, i64>(0)?.cast_unsigned(),
        name: bytes_at(row, 1)?,
        kind: kind_of(row.get(2)?),
        size: row.get::<_, i64>(3)?.cast_unsigned(),
        mtime: row.get(4)?,
        inode: row.get::<_, i64>(5)?.cast_unsigned(),
        flags: row.get(6)?,
        hashed: row.get(7)?,
    })
}

/// The entries of a folder, sorted by name, into `out`.
pub(crate) fn children(connection: &Connection, parent: Eid, out: &mut Vec<Stored>) -> rusqlite::Result<()> {
    out.clear();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {STORED} FROM entries INDEXED BY entries_name WHERE feed = ?1 AND parent = ?2 ORDER BY name"
    ))?;
    let mut rows = statement.query((FEED, int(parent)))?;
    while let Some(row) = rows.next()? {
        out.push(stored(row)?);
    }
    Ok(())
}

/// The entry of this name in a folder.
pub(crate) fn child(connection: &Connection, parent: Eid, name: &[u8]) -> rusqlite::Result<Option<Stored>> {
    connection
        .prepare_cached(&format!("SELECT {STORED} FROM entries WHERE feed = ?1 AND parent = ?2 AND name = ?3"))?
        .query_row((FEED, int(parent), name), stored)
        .optional()
}

/// Whether a folder has any entry.
pub(crate) fn has_children(connection: &Connection, parent: Eid) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM entries WHERE feed = ?1 AND parent = ?2)")?
        .query_row((FEED, int(parent)), |row| row.get(0))
}

/// One entry.
pub(crate) fn get(connection: &Connection, eid: Eid) -> rusqlite::Result<Option<EntryRow>> {
    connection
        .prepare_cached(&format!("SELECT {STORED}, parent, cas FROM entries WHERE feed = ?1 AND eid = ?2"))?
        .query_row((FEED, int(eid)), entry_row)
        .optional()
}

fn entry_row(row: &Row<'_>) -> rusqlite::Result<EntryRow> {
    Ok(EntryRow {
        stored: stored(row)?,
        parent: row.get::<_, i64>(8)?.cast_unsigned(),
        cas: match row.get_ref(9)? {
            ValueRef::Blob(bytes) => bytes.try_into().ok(),
            _ => None,
        },
    })
}

/// The stored folders that had this inode.
pub(crate) fn folders_by_inode(connection: &Connection, inode: u64) -> rusqlite::Result<Vec<Eid>> {
    let mut statement = connection.prepare_cached("SELECT eid FROM entries WHERE feed = ?1 AND inode = ?2 AND kind = 1")?;
    statement.query_map((FEED, int(inode)), |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))?.collect()
}

/// Calls `each` with eid, parent, kind and name of every entry, by eid. The roots of locations come too.
pub(crate) fn names(connection: &Connection, mut each: impl FnMut(Eid, Eid, i64, &[u8])) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT eid, parent, kind, name FROM entries WHERE feed = ?1 ORDER BY eid")?;
    let mut rows = statement.query([FEED])?;
    while let Some(row) = rows.next()? {
        each(
            row.get::<_, i64>(0)?.cast_unsigned(),
            row.get::<_, i64>(1)?.cast_unsigned(),
            row.get(2)?,
            row.get_ref(3)?.as_blob()?,
        );
    }
    Ok(())
}

/// Calls `each` with eid and size of every file of at least `least` bytes.
pub(crate) fn sizes(connection: &Connection, least: u64, mut each: impl FnMut(Eid, u64)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("SELECT eid, size FROM entries WHERE feed = ?1 AND kind = 0 AND size >= ?2")?;
    let mut rows = statement.query((FEED, int(least)))?;
    while let Some(row) = rows.next()? {
        each(row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned());
    }
    Ok(())
}

/// Calls `each` with eid, size and time of every entry, by eid.
pub(crate) fn facts(connection: &Connection, mut each: impl FnMut(Eid, u64, i64)) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("SELECT eid, size, mtime FROM entries WHERE feed = ?1 ORDER BY eid")?;
    let mut rows = statement.query([FEED])?;
    while let Some(row) = rows.next()? {
        each(row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned(), row.get(2)?);
    }
    Ok(())
}

/// Calls `each` with every entry in the order of eids, from the one after `after`, until it answers false.
pub(crate) fn scan(connection: &Connection, after: Eid, mut each: impl FnMut(EntryRow) -> bool) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached(&format!("SELECT {STORED}, parent, cas FROM entries WHERE feed = ?1 AND eid > ?2 ORDER BY eid"))?;
    let mut rows = statement.query((FEED, int(after)))?;
    while let Some(row) = rows.next()? {
        if !each(entry_row(row)?) {
            break;
        }
    }
    Ok(())
}

/// Which files wait for an identity: those that have none or, with `deep`, that are only sampled or not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) deep: bool,
}

/// Up to `limit` files after `after` that wait for an identity, by eid: eid, parent and name.
pub(crate) fn unidentified(connection: &Connection, after: Eid, wanted: Wanted, limit: usize) -> rusqlite::Result<Vec<EntryRow>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {STORED}, parent, cas FROM entries
         WHERE feed = :feed AND eid > :after AND kind = 0 AND
             (cas IS NULL AND flags & :changing = 0 OR :deep AND flags & :sampled != 0)
         ORDER BY eid LIMIT :limit"
    ))?;
    let rows = statement.query_map(
        named_params! {
            ":feed": FEED, ":after": int(after), ":changing": flags::CHANGING, ":deep": wanted.deep,
            ":sampled": flags::SAMPLED,
            ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
        },
        entry_row,
    )?;
    rows.collect()
}

/// Writes changes with sequence numbers from `seq` on; answers how the numbers of the location change, and which entries were
/// put aside (below [`PARKED`]) because another one took their place.
pub(crate) fn apply(
    transaction: &Transaction<'_>,
    changes: &[Change],
    seq: &mut u64,
) -> rusqlite::Result<(location::Totals, Vec<Eid>)> {
    let mut parked = Vec::new();
    let mut totals = location::Totals::default();
    let mut insert = transaction.prepare_cached(
        "INSERT INTO entries (feed, eid, parent, kind, name, size, mtime, inode, flags, cas, seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, ?10)",
    )?;
    let mut update = transaction.prepare_cached(
        "UPDATE entries SET size = ?3, mtime = ?4, inode = ?5, flags = ?6, cas = iif(?7, cas, NULL), seq = ?8
         WHERE feed = ?1 AND eid = ?2",
    )?;
    let mut place =
        transaction.prepare_cached("UPDATE entries SET parent = ?3, name = ?4, seq = ?5 WHERE feed = ?1 AND eid = ?2")?;
    let mut mark = transaction.prepare_cached("UPDATE entries SET flags = ?3, seq = ?4 WHERE feed = ?1 AND eid = ?2")?;
    for change in changes {
        *seq += 1;
        let seq = int(*seq);
        match change {
            Change::Insert { eid, parent, name, facts } => {
                let bits = if facts.mount { flags::MOUNT } else { 0 };
                make_room(transaction, *parent, name, &mut parked, || {
                    insert.execute((
                        FEED,
                        int(*eid),
                        int(*parent),
                        kind_number(facts.kind),
                        &name[..],
                        int(facts.size),
                        facts.mtime,
                        int(facts.inode),
                        bits,
                        seq,
                    ))
                })?;
                if facts.kind == spacedrive_api::EntryKind::Dir {
                    totals.dirs += 1;
                } else {
                    totals.files += 1;
                    totals.bytes += int(facts.size);
                }
            }
            Change::Update { eid, facts, flags, same_content, grown } => {
                update.execute((FEED, int(*eid), int(facts.size), facts.mtime, int(facts.inode), flags, same_content, seq))?;
                totals.bytes += grown;
            }
            Change::Move { eid, parent, name } => {
                make_room(transaction, *parent, name, &mut parked, || {
                    place.execute((FEED, int(*eid), int(*parent), &name[..], seq))
                })?;
            }
            Change::Flags { eid, flags } => {
                mark.execute((FEED, int(*eid), flags, seq))?;
            }
        }
    }
    Ok((totals, parked))
}

/// Runs `write`, which puts an entry at (`parent`, `name`). An entry that is there already is put aside first.
fn make_room(
    transaction: &Transaction<'_>,
    parent: Eid,
    name: &[u8],
    parked: &mut Vec<Eid>,
    mut write: impl FnMut() -> rusqlite::Result<usize>,
) -> rusqlite::Result<()> {
    match write() {
        Err(rusqlite::Error::SqliteFailure(error, _)) if error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE => {
            let there = child(transaction, parent, name)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            transaction.prepare_cached("UPDATE entries SET parent = ?3, name = ?4 WHERE feed = ?1 AND eid = ?2")?.execute((
                FEED,
                int(there.eid),
                int(PARKED),
                there.eid.to_be_bytes().as_slice(),
            ))?;
            parked.push(there.eid);
            write().map(drop)
        }
        other => other.map(drop),
    }
}

/// Stores identities; one whose file changed meanwhile is dropped. Answers how many were stored.
pub(crate) fn identify(transaction: &Transaction<'_>, identities: &[Identity], seq: &mut u64) -> rusqlite::Result<u64> {
    let mut statement = transaction.prepare_cached(
        "UPDATE entries SET cas = ?5, flags = (flags & ~?6) | ?7, seq = ?8
         WHERE feed = ?1 AND eid = ?2 AND size = ?3 AND mtime = ?4",
    )?;
    let mut stored = 0;
    for identity in identities {
        *seq += 1;
        let bits = match (identity.cas, identity.sampled) {
            (None, _) => flags::CHANGING,
            (Some(_), true) => flags::SAMPLED,
            (Some(_), false) => 0,
        };
        stored += statement.execute((
            FEED,
            int(identity.eid),
            int(identity.size),
            identity.mtime,
            identity.cas.as_ref().map(<[u8; 32]>::as_slice),
            flags::SAMPLED | flags::CHANGING,
            bits,
            int(*seq),
        ))?;
    }
    Ok(stored as u64)
}

/// Takes one row out.
pub(crate) fn delete(transaction: &Transaction<'_>, eid: Eid) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM entries WHERE feed = ?1 AND eid = ?2")?.execute((FEED, int(eid)))?;
    Ok(())
}
