//! The tables `feeds` and `locations`.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};
use spacedrive_api::{IndexMode, Rules, WirePath};
use uuid::Uuid;

use super::FEED;

/// A location as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocationRow {
    pub(crate) lid: i64,
    pub(crate) id: Uuid,
    pub(crate) root: u64,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) mode: IndexMode,
    pub(crate) rules: Rules,
    pub(crate) inode: u64,
    pub(crate) problem: Option<String>,
    pub(crate) files: i64,
    pub(crate) dirs: i64,
    pub(crate) bytes: i64,
    pub(crate) errors: i64,
    pub(crate) complete: bool,
}

/// How the numbers of a location change with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) files: i64,
    pub(crate) dirs: i64,
    pub(crate) bytes: i64,
}

const COLUMNS: &str = "lid, id, root, name, path, mode, rules, inode, problem, files, dirs, bytes, errors, complete";

fn from_row(row: &Row<'_>) -> rusqlite::Result<LocationRow> {
    let rules: i64 = row.get("rules")?;
    Ok(LocationRow {
        lid: row.get("lid")?,
        id: Uuid::from_slice(row.get_ref("id")?.as_blob()?).unwrap_or_default(),
        root: row.get::<_, i64>("root")?.cast_unsigned(),
        name: row.get("name")?,
        path: WirePath::from_bytes(row.get("path")?).0,
        mode: match row.get::<_, i64>("mode")? {
            0 => IndexMode::Shallow,
            2 => IndexMode::Deep,
            _ => IndexMode::Content,
        },
        rules: Rules { system: rules & 1 != 0, hidden: rules & 2 != 0, vcs: rules & 4 != 0, gitignore: rules & 8 != 0 },
        inode: row.get::<_, i64>("inode")?.cast_unsigned(),
        problem: row.get("problem")?,
        files: row.get("files")?,
        dirs: row.get("dirs")?,
        bytes: row.get("bytes")?,
        errors: row.get("errors")?,
        complete: row.get("complete")?,
    })
}

fn mode_number(mode: IndexMode) -> i64 {
    match mode {
        IndexMode::Shallow => 0,
        IndexMode::Content => 1,
        IndexMode::Deep => 2,
    }
}

fn rules_number(rules: Rules) -> i64 {
    i64::from(rules.system) | i64::from(rules.hidden) << 1 | i64::from(rules.vcs) << 2 | i64::from(rules.gitignore) << 3
}

/// The highest sequence number and the highest eid that were given out.
pub(crate) fn heads(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    connection
        .prepare_cached("SELECT head_seq, head_eid FROM feeds WHERE feed = ?1")?
        .query_row([FEED], |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned())))
}

/// Stores the heads; an eid head never goes back, so that an eid is never used twice.
pub(crate) fn set_heads(transaction: &Transaction<'_>, seq: u64, eid: u64) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE feeds SET head_seq = ?2, head_eid = max(head_eid, ?3) WHERE feed = ?1")?.execute((
        FEED,
        seq.cast_signed(),
        eid.cast_signed(),
    ))?;
    Ok(())
}

fn next_seq(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached("UPDATE feeds SET head_seq = head_seq + 1 WHERE feed = ?1 RETURNING head_seq")?
        .query_row([FEED], |row| row.get(0))
}

pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<LocationRow>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM locations WHERE feed = {FEED} ORDER BY lid"))?;
    statement.query_map([], from_row)?.collect()
}

pub(crate) fn get(connection: &Connection, lid: i64) -> rusqlite::Result<Option<LocationRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM locations WHERE feed = {FEED} AND lid = ?1"))?
        .query_row([lid], from_row)
        .optional()
}

/// Adds the location with the root entry that stands for its folder, and answers it as it is stored.
pub(crate) fn insert(transaction: &Transaction<'_>, row: &LocationRow, root: u64) -> rusqlite::Result<LocationRow> {
    let seq = next_seq(transaction)?;
    let lid: i64 =
        transaction.query_row("SELECT coalesce(max(lid), 0) + 1 FROM locations WHERE feed = ?1", [FEED], |r| r.get(0))?;
    transaction.execute("UPDATE feeds SET head_eid = max(head_eid, ?2) WHERE feed = ?1", (FEED, root.cast_signed()))?;
    transaction.execute(
        "INSERT INTO entries (feed, eid, parent, kind, name, size, mtime, inode, flags, cas, seq)
         VALUES (?1, ?2, 0, 1, ?3, 0, 0, ?4, 0, NULL, ?5)",
        (FEED, root.cast_signed(), row.id.as_bytes().as_slice(), row.inode.cast_signed(), seq),
    )?;
    transaction.execute(
        "INSERT INTO locations (feed, lid, id, root, name, path, mode, rules, inode, seq)
         VALUES (:feed, :lid, :id, :root, :name, :path, :mode, :rules, :inode, :seq)",
        named_params! {
            ":feed": FEED, ":lid": lid, ":id": row.id.as_bytes().as_slice(), ":root": root.cast_signed(), ":name": row.name,
            ":path": WirePath::from(row.path.clone()).as_bytes(), ":mode": mode_number(row.mode),
            ":rules": rules_number(row.rules), ":inode": row.inode.cast_signed(), ":seq": seq,
        },
    )?;
    get(transaction, lid)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// Stores mode, rules, name, inode and problem of a location.
pub(crate) fn update(transaction: &Transaction<'_>, row: &LocationRow) -> rusqlite::Result<()> {
    let seq = next_seq(transaction)?;
    transaction.execute(
        "UPDATE locations SET name = :name, mode = :mode, rules = :rules, inode = :inode, problem = :problem, seq = :seq
         WHERE feed = :feed AND lid = :lid",
        named_params! {
            ":feed": FEED, ":lid": row.lid, ":name": row.name, ":mode": mode_number(row.mode), ":rules": rules_number(row.rules),
            ":inode": row.inode.cast_signed(), ":problem": row.problem, ":seq": seq,
        },
    )?;
    Ok(())
}

/// Adds to the numbers of a location.
pub(crate) fn add_totals(transaction: &Transaction<'_>, lid: i64, totals: Totals) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE locations SET files = files + ?3, dirs = dirs + ?4, bytes = bytes + ?5 WHERE feed = ?1 AND lid = ?2",
        )?
        .execute((FEED, lid, totals.files, totals.dirs, totals.bytes))?;
    Ok(())
}

/// Notes that the location was walked to its end, and how many entries could not be read.
pub(crate) fn set_walked(transaction: &Transaction<'_>, lid: i64, errors: u64) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE locations SET complete = 1, errors = ?3 WHERE feed = ?1 AND lid = ?2",
        (FEED, lid, errors.cast_signed()),
    )?;
    Ok(())
}

/// Takes the location's own row out; its entries go separately.
pub(crate) fn delete(transaction: &Transaction<'_>, lid: i64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM locations WHERE feed = ?1 AND lid = ?2", (FEED, lid))?;
    Ok(())
}
