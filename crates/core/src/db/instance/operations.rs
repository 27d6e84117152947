//! The tables of copies, moves and deletions.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};
use spacedrive_api::{FileProblem, FileWork, WirePath};
use uuid::Uuid;

use crate::operation::{Fault, Operation, OperationState, Position, Step, StepKind, UndoState};

const COLUMNS: &str = "id, work, state, position, message, created_at, started_at, finished_at, undo, fault";

/// Stores a new operation.
pub(crate) fn insert(transaction: &Transaction<'_>, id: Uuid, work: &FileWork, at: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO operations (id, number, action, work, state, created_at)
             VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM operations), ?2, ?3, 'queued', ?4)",
        )?
        .execute((id.as_bytes().as_slice(), work.action.as_str(), json(work)?, at))?;
    Ok(())
}

/// All operations, the newest first.
pub(crate) fn list(connection: &Connection) -> rusqlite::Result<Vec<Operation>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM operations ORDER BY number DESC"))?;
    statement.query_map([], operation)?.collect()
}

/// One operation.
pub(crate) fn get(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Operation>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM operations WHERE id = ?1"))?
        .query_row([id.as_bytes().as_slice()], operation)
        .optional()
}

/// The newest operation that did something that can be undone and was not.
pub(crate) fn last_to_undo(connection: &Connection) -> rusqlite::Result<Option<Operation>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM operations o
             WHERE undo IS NOT 'done' AND EXISTS (SELECT 1 FROM operation_steps WHERE operation = o.id AND kind <> 'leave')
             ORDER BY number DESC LIMIT 1"
        ))?
        .query_row([], operation)
        .optional()
}

/// Says how an operation stands.
pub(crate) fn set_state(
    transaction: &Transaction<'_>,
    id: Uuid,
    state: OperationState,
    message: &str,
    at: i64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE operations SET state = :state, message = :message,
                started_at = CASE WHEN :state = 'running' THEN coalesce(started_at, :at) ELSE started_at END,
                finished_at = CASE WHEN :state IN ('completed', 'failed', 'cancelled') THEN :at END
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": id.as_bytes().as_slice(), ":state": state.as_str(), ":message": message, ":at": at,
        })?;
    Ok(())
}

/// Says why an operation failed.
pub(crate) fn set_fault(transaction: &Transaction<'_>, id: Uuid, fault: Fault) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE operations SET fault = ?2 WHERE id = ?1")?
        .execute((id.as_bytes().as_slice(), fault.as_str()))?;
    Ok(())
}

/// Says how far the undoing of an operation is.
pub(crate) fn set_undo(transaction: &Transaction<'_>, id: Uuid, undo: UndoState) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE operations SET undo = ?2 WHERE id = ?1")?
        .execute((id.as_bytes().as_slice(), undo.as_str()))?;
    Ok(())
}

/// Records steps that are about to be taken. All earlier ones have been.
pub(crate) fn intend(transaction: &Transaction<'_>, id: Uuid, steps: &[Step], position: &Position) -> rusqlite::Result<()> {
    settle(transaction, id, position)?;
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO operation_steps (operation, seq, kind, settled, source, held, target, dev, ino, size,
             modified_s, modified_ns, mode, replaced_dev, replaced_ino, trashed)
         VALUES (:operation, :seq, :kind, :settled, :source, :held, :target, :dev, :ino, :size,
             :modified_s, :modified_ns, :mode, :replaced_dev, :replaced_ino, :trashed)",
    )?;
    for step in steps {
        statement.execute(named_params! {
            ":operation": id.as_bytes().as_slice(),
            ":seq": step.seq.cast_signed(),
            ":kind": step.kind.as_str(),
            ":settled": step.kind == StepKind::Folder,
            ":source": bytes(&step.source),
            ":held": bytes(&step.held),
            ":target": bytes(&step.target),
            ":dev": step.file.0.cast_signed(),
            ":ino": step.file.1.cast_signed(),
            ":size": step.size.cast_signed(),
            ":modified_s": step.modified.0,
            ":modified_ns": step.modified.1,
            ":mode": step.mode,
            ":replaced_dev": step.replaced.map(|file| file.0.cast_signed()),
            ":replaced_ino": step.replaced.map(|file| file.1.cast_signed()),
            ":trashed": step.trashed.as_deref().map(bytes),
        })?;
    }
    Ok(())
}

/// Says that all steps so far were taken, and how far the operation is.
pub(crate) fn settle(transaction: &Transaction<'_>, id: Uuid, position: &Position) -> rusqlite::Result<()> {
    let id = id.as_bytes().as_slice();
    transaction.prepare_cached("UPDATE operation_steps SET settled = 1 WHERE operation = ?1 AND settled = 0")?.execute([id])?;
    transaction.prepare_cached("UPDATE operations SET position = ?2 WHERE id = ?1")?.execute((id, json(position)?))?;
    Ok(())
}

/// Changes the target of a step whose name was taken meanwhile.
pub(crate) fn retarget(transaction: &Transaction<'_>, id: Uuid, seq: u64, target: &Path) -> rusqlite::Result<()> {
    transaction.prepare_cached("UPDATE operation_steps SET target = ?3 WHERE operation = ?1 AND seq = ?2")?.execute((
        id.as_bytes().as_slice(),
        seq.cast_signed(),
        bytes(target),
    ))?;
    Ok(())
}

/// Forgets steps that were not taken after all, or were undone.
pub(crate) fn forget(transaction: &Transaction<'_>, id: Uuid, seqs: &[u64]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached("DELETE FROM operation_steps WHERE operation = ?1 AND seq = ?2")?;
    for seq in seqs {
        statement.execute((id.as_bytes().as_slice(), seq.cast_signed()))?;
    }
    Ok(())
}

/// The steps of an operation in their order; with `unsettled`, only those that may not have been taken.
pub(crate) fn steps(connection: &Connection, id: Uuid, unsettled: bool) -> rusqlite::Result<Vec<Step>> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, kind, source, held, target, dev, ino, size, modified_s, modified_ns, mode, replaced_dev, replaced_ino,
             trashed
         FROM operation_steps WHERE operation = ?1 AND settled <= ?2 ORDER BY seq",
    )?;
    statement.query_map((id.as_bytes().as_slice(), !unsettled), step)?.collect()
}

/// Whether the operation took a step that can be undone.
pub(crate) fn has_steps(connection: &Connection, id: Uuid) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM operation_steps WHERE operation = ?1 AND kind <> 'leave' LIMIT 1")?
        .exists([id.as_bytes().as_slice()])
}

/// Whether the operation made this file or folder.
pub(crate) fn made(connection: &Connection, id: Uuid, file: (u64, u64)) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM operation_steps WHERE operation = ?1 AND dev = ?2 AND ino = ?3 AND kind IN ('put', 'folder')",
        )?
        .exists((id.as_bytes().as_slice(), file.0.cast_signed(), file.1.cast_signed()))
}

/// Adds problems after those that are there.
pub(crate) fn add_problems(transaction: &Transaction<'_>, id: Uuid, problems: &[FileProblem]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO operation_problems (operation, seq, path, message, verification)
         VALUES (?1, (SELECT coalesce(max(seq), 0) + 1 FROM operation_problems WHERE operation = ?1), ?2, ?3, ?4)",
    )?;
    for problem in problems {
        statement.execute((id.as_bytes().as_slice(), problem.path.as_bytes(), &problem.message, problem.verification))?;
    }
    Ok(())
}

/// The problems of an operation.
pub(crate) fn problems(connection: &Connection, id: Uuid) -> rusqlite::Result<Vec<FileProblem>> {
    let mut statement = connection
        .prepare_cached("SELECT path, message, verification FROM operation_problems WHERE operation = ?1 ORDER BY seq")?;
    let rows = statement.query_map([id.as_bytes().as_slice()], |row| {
        Ok(FileProblem { path: WirePath::from_bytes(row.get(0)?), message: row.get(1)?, verification: row.get(2)? })
    })?;
    rows.collect()
}

/// Forgets all but the newest `keep` operations that have ended.
pub(crate) fn prune(transaction: &Transaction<'_>, keep: u32) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM operations WHERE finished_at IS NOT NULL AND undo IS NOT 'begun'
            AND number <= (SELECT coalesce(max(number), 0) FROM operations) - ?1",
        [keep],
    )?;
    Ok(())
}

fn operation(row: &Row<'_>) -> rusqlite::Result<Operation> {
    let id: [u8; 16] = row.get(0)?;
    let (state, undo): (String, Option<String>) = (row.get(2)?, row.get(8)?);
    let position: Option<String> = row.get(3)?;
    let fault: Option<String> = row.get(9)?;
    Ok(Operation {
        id: Uuid::from_bytes(id),
        work: parsed(&row.get::<_, String>(1)?)?,
        state: OperationState::parse(&state),
        position: position.as_deref().map(parsed).transpose()?.unwrap_or_default(),
        message: row.get(4)?,
        fault: fault.as_deref().map(Fault::parse),
        created_at: time(Some(row.get(5)?)).unwrap_or_default(),
        started_at: time(row.get(6)?),
        finished_at: time(row.get(7)?),
        undo: undo.as_deref().map(UndoState::parse),
    })
}

fn step(row: &Row<'_>) -> rusqlite::Result<Step> {
    let path = |index| -> rusqlite::Result<PathBuf> { Ok(WirePath::from_bytes(row.get(index)?).0) };
    let number = |index| -> rusqlite::Result<u64> { Ok(row.get::<_, i64>(index)?.cast_unsigned()) };
    let replaced: (Option<i64>, Option<i64>) = (row.get(11)?, row.get(12)?);
    let trashed: Option<Vec<u8>> = row.get(13)?;
    Ok(Step {
        seq: number(0)?,
        kind: StepKind::parse(&row.get::<_, String>(1)?),
        source: path(2)?,
        held: path(3)?,
        target: path(4)?,
        file: (number(5)?, number(6)?),
        size: number(7)?,
        modified: (row.get(8)?, row.get(9)?),
        mode: row.get(10)?,
        replaced: replaced.0.zip(replaced.1).map(|(dev, ino)| (dev.cast_unsigned(), ino.cast_unsigned())),
        trashed: trashed.map(|bytes| WirePath::from_bytes(bytes).0),
    })
}

fn bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

fn time(milliseconds: Option<i64>) -> Option<jiff::Timestamp> {
    milliseconds.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into()))
}
