//! The tables of drops and of how devices are trusted. Times are microseconds since 1970 in UTC.

use std::os::unix::ffi::OsStrExt;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Serialize, de::DeserializeOwned};
use spacedrive_api::{DropTrust, WirePath};

use crate::devices::EndpointBytes;
use crate::drops::{DropKey, DropRecord};

const COLUMNS: &str =
    "outgoing, device, id, state, sender, message, paths, names, target, files, bytes, moved, errors, problem, created_at, kind";

pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<DropRecord>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM drops ORDER BY created_at DESC, id"))?;
    let rows = statement.query_map([], record)?;
    rows.collect()
}

pub(crate) fn get(connection: &Connection, key: &DropKey) -> rusqlite::Result<Option<DropRecord>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM drops WHERE outgoing = ?1 AND device = ?2 AND id = ?3"))?
        .query_row(params![key.outgoing, key.device.as_slice(), key.id.as_bytes().as_slice()], record)
        .optional()
}

pub(crate) fn put(transaction: &Transaction<'_>, record: &DropRecord) -> rusqlite::Result<()> {
    let DropRecord { key, .. } = record;
    transaction
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO drops ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        ))?
        .execute(params![
            key.outgoing,
            key.device.as_slice(),
            key.id.as_bytes().as_slice(),
            word(&record.state)?,
            record.sender,
            record.message,
            json(&record.paths)?,
            json(&record.names)?,
            record.into.as_ref().map(|path| path.as_os_str().as_bytes()),
            signed(record.files),
            signed(record.bytes),
            signed(record.moved),
            signed(record.errors),
            record.problem,
            record.created_at.as_microsecond(),
            record.kind.as_ref().map(word).transpose()?,
        ])?;
    Ok(())
}

/// Keeps the newest `keep` drops of those that are over.
pub(crate) fn prune(transaction: &Transaction<'_>, keep: u32) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM drops WHERE (outgoing, device, id) IN (
                 SELECT outgoing, device, id FROM drops WHERE state IN ('completed', 'declined', 'failed', 'cancelled')
                 ORDER BY created_at DESC, id LIMIT -1 OFFSET ?1)",
        )?
        .execute([keep])?;
    Ok(())
}

/// How many drops of the device wait for a person.
pub(crate) fn asked(connection: &Connection, device: &EndpointBytes) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM drops WHERE outgoing = 0 AND device = ?1 AND state = 'asked'")?
        .query_row([device.as_slice()], |row| number(row, 0))
}

pub(crate) fn trust(connection: &Connection, device: &EndpointBytes) -> rusqlite::Result<DropTrust> {
    let word: Option<String> = connection
        .prepare_cached("SELECT drops FROM drop_trust WHERE device = ?1")?
        .query_row([device.as_slice()], |row| row.get(0))
        .optional()?;
    word.map_or(Ok(DropTrust::Ask), |word| from_word(0, word))
}

pub(crate) fn set_trust(transaction: &Transaction<'_>, device: &EndpointBytes, trust: DropTrust) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT OR REPLACE INTO drop_trust (device, drops) VALUES (?1, ?2)")?
        .execute(params![device.as_slice(), word(&trust)?])?;
    Ok(())
}

/// Forgets how a device is trusted, and what it offered and nobody decided.
pub(crate) fn forget_device(transaction: &Transaction<'_>, device: &EndpointBytes) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM drop_trust WHERE device = ?1", [device.as_slice()])?;
    transaction.execute("DELETE FROM drops WHERE outgoing = 0 AND device = ?1 AND state = 'asked'", [device.as_slice()])?;
    Ok(())
}

/// SQLite's integers are signed.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0))
}

fn record(row: &Row<'_>) -> rusqlite::Result<DropRecord> {
    let target: Option<Vec<u8>> = row.get(8)?;
    let created: i64 = row.get(14)?;
    Ok(DropRecord {
        key: DropKey { outgoing: row.get(0)?, device: row.get(1)?, id: uuid::Uuid::from_bytes(row.get(2)?) },
        state: from_word(3, row.get(3)?)?,
        sender: row.get(4)?,
        message: row.get(5)?,
        paths: from_json(6, &row.get::<_, String>(6)?)?,
        names: from_json(7, &row.get::<_, String>(7)?)?,
        into: target.map(|bytes| WirePath::from_bytes(bytes).0),
        files: number(row, 9)?,
        bytes: number(row, 10)?,
        moved: number(row, 11)?,
        errors: number(row, 12)?,
        problem: row.get(13)?,
        kind: row.get::<_, Option<String>>(15)?.map(|word| from_word(15, word)).transpose()?,
        created_at: jiff::Timestamp::from_microsecond(created).map_err(|e| damaged(14, e))?,
    })
}

fn damaged(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

fn from_json<T: DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|e| damaged(column, e))
}

/// The word for a value of an enum without fields.
fn word<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    json(value).map(|text| text.trim_matches('"').to_owned())
}

fn from_word<T: DeserializeOwned>(column: usize, word: String) -> rusqlite::Result<T> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(|e| damaged(column, e))
}
