//! The tables of paired devices and of tombstones. Times are microseconds since 1970 in UTC.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use uuid::Uuid;

use crate::devices::{Device, DeviceState, EndpointBytes};

const COLUMNS: &str = "endpoint, device, name, os, version, addresses, state, paired_at, last_seen";

pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<Device>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM devices ORDER BY name, endpoint"))?;
    let rows = statement.query_map([], device)?;
    rows.collect()
}

pub(crate) fn get(connection: &Connection, endpoint: &EndpointBytes) -> rusqlite::Result<Option<Device>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM devices WHERE endpoint = ?1"))?
        .query_row([endpoint.as_slice()], device)
        .optional()
}

/// Stores `device`. One that is paired already stays paired: its name and addresses are brought up to date.
pub(crate) fn put(transaction: &Transaction<'_>, device: &Device) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO devices (endpoint, device, name, os, version, addresses, state, paired_at, last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (endpoint) DO UPDATE SET
                 device = excluded.device, name = excluded.name, os = excluded.os, version = excluded.version,
                 addresses = excluded.addresses,
                 state = CASE devices.state WHEN 'paired' THEN 'paired' ELSE excluded.state END,
                 paired_at = CASE devices.state WHEN 'paired' THEN devices.paired_at ELSE excluded.paired_at END",
        )?
        .execute(params![
            device.endpoint.as_slice(),
            device.device.as_bytes().as_slice(),
            device.name,
            device.os,
            device.version,
            device.addresses.join(" "),
            state_text(device.state),
            device.paired_at.as_microsecond(),
            device.last_seen.map(jiff::Timestamp::as_microsecond),
        ])?;
    if device.state == DeviceState::Paired {
        remove_tombstone(transaction, &device.endpoint)?;
    }
    Ok(())
}

/// Makes a pending device a paired one. Answers whether there is such a device, paired now.
pub(crate) fn confirm(transaction: &Transaction<'_>, endpoint: &EndpointBytes) -> rusqlite::Result<bool> {
    let known = transaction.execute("UPDATE devices SET state = 'paired' WHERE endpoint = ?1", [endpoint.as_slice()])? > 0;
    if known {
        remove_tombstone(transaction, endpoint)?;
    }
    Ok(known)
}

pub(crate) fn seen(transaction: &Transaction<'_>, endpoint: &EndpointBytes, at: jiff::Timestamp) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE devices SET last_seen = max(coalesce(last_seen, 0), ?2) WHERE endpoint = ?1")?
        .execute(params![endpoint.as_slice(), at.as_microsecond()])?;
    Ok(())
}

pub(crate) fn set_addresses(
    transaction: &Transaction<'_>,
    endpoint: &EndpointBytes,
    addresses: &[String],
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE devices SET addresses = ?2 WHERE endpoint = ?1")?
        .execute(params![endpoint.as_slice(), addresses.join(" ")])?;
    Ok(())
}

/// Removes a device. Answers whether there was one.
pub(crate) fn remove(transaction: &Transaction<'_>, endpoint: &EndpointBytes) -> rusqlite::Result<bool> {
    Ok(transaction.execute("DELETE FROM devices WHERE endpoint = ?1", [endpoint.as_slice()])? > 0)
}

/// Removes the pending devices that were stored before `before`. Answers how many.
pub(crate) fn remove_pending(transaction: &Transaction<'_>, before: jiff::Timestamp) -> rusqlite::Result<usize> {
    transaction.execute("DELETE FROM devices WHERE state = 'pending' AND paired_at < ?1", [before.as_microsecond()])
}

pub(crate) fn add_tombstone(
    transaction: &Transaction<'_>,
    endpoint: &EndpointBytes,
    at: jiff::Timestamp,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO tombstones (endpoint, revoked_at) VALUES (?1, ?2)
             ON CONFLICT (endpoint) DO UPDATE SET revoked_at = excluded.revoked_at",
        )?
        .execute(params![endpoint.as_slice(), at.as_microsecond()])?;
    Ok(())
}

pub(crate) fn tombstones(connection: &Connection) -> rusqlite::Result<Vec<(EndpointBytes, jiff::Timestamp)>> {
    let mut statement = connection.prepare_cached("SELECT endpoint, revoked_at FROM tombstones ORDER BY endpoint")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, timestamp(row.get(1)?))))?;
    rows.collect()
}

fn remove_tombstone(transaction: &Transaction<'_>, endpoint: &EndpointBytes) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM tombstones WHERE endpoint = ?1")?.execute([endpoint.as_slice()])?;
    Ok(())
}

fn state_text(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Pending => "pending",
        DeviceState::Paired => "paired",
    }
}

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    let device: [u8; 16] = row.get(1)?;
    let addresses: String = row.get(5)?;
    let state: String = row.get(6)?;
    Ok(Device {
        endpoint: row.get(0)?,
        device: Uuid::from_bytes(device),
        name: row.get(2)?,
        os: row.get(3)?,
        version: row.get(4)?,
        addresses: addresses.split_whitespace().map(str::to_owned).collect(),
        state: if state == "paired" { DeviceState::Paired } else { DeviceState::Pending },
        paired_at: timestamp(row.get(7)?),
        last_seen: row.get::<_, Option<i64>>(8)?.map(timestamp),
    })
}

/// The time, or 1970 for a number that is none.
fn timestamp(microseconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(microseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}
