//! The tables `jobs` and `job_errors`.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params};
use spacedrive_api::{JobInfo, JobProblem, JobStatus, WirePath};
use uuid::Uuid;

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobRow {
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    pub(crate) args: String,
    pub(crate) lane: String,
    pub(crate) status: JobStatus,
    pub(crate) checkpoint: Option<String>,
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    pub(crate) unit: String,
    pub(crate) message: String,
    pub(crate) started: Option<i64>,
    pub(crate) finished: Option<i64>,
    pub(crate) errors: u64,
}

impl JobRow {
    /// The job as it is shown.
    pub(crate) fn info(&self) -> JobInfo {
        let time = |ms: Option<i64>| ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        JobInfo {
            id: self.id,
            kind: self.kind.clone(),
            status: self.status,
            done: self.done,
            total: self.total,
            unit: self.unit.clone(),
            message: self.message.clone(),
            started_at: time(self.started),
            finished_at: time(self.finished),
            errors: self.errors,
            problems: Vec::new(),
        }
    }
}

fn number(status: JobStatus) -> i64 {
    match status {
        JobStatus::Queued => 0,
        JobStatus::Running => 1,
        JobStatus::Paused => 2,
        JobStatus::Completed => 3,
        JobStatus::Failed => 4,
        JobStatus::Cancelled => 5,
    }
}

fn status(number: i64) -> JobStatus {
    match number {
        0 => JobStatus::Queued,
        1 => JobStatus::Running,
        2 => JobStatus::Paused,
        3 => JobStatus::Completed,
        5 => JobStatus::Cancelled,
        _ => JobStatus::Failed,
    }
}

const COLUMNS: &str = "id, kind, args, lane, status, checkpoint, done, total, unit, message, started, finished, errors";

fn from_row(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    Ok(JobRow {
        id: Uuid::from_slice(row.get_ref(0)?.as_blob()?).unwrap_or_default(),
        kind: row.get(1)?,
        args: row.get(2)?,
        lane: row.get(3)?,
        status: status(row.get(4)?),
        checkpoint: row.get(5)?,
        done: row.get::<_, i64>(6)?.cast_unsigned(),
        total: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
        unit: row.get(8)?,
        message: row.get(9)?,
        started: row.get(10)?,
        finished: row.get(11)?,
        errors: row.get::<_, i64>(12)?.cast_unsigned(),
    })
}

/// All jobs, newest first.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<JobRow>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs ORDER BY created DESC, id DESC"))?;
    statement.query_map([], from_row)?.collect()
}

/// The queued jobs, oldest first.
pub(crate) fn queued(connection: &Connection) -> rusqlite::Result<Vec<JobRow>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE status = 0 ORDER BY created, id"))?;
    statement.query_map([], from_row)?.collect()
}

pub(crate) fn get(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<JobRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"))?
        .query_row([id.as_bytes().as_slice()], from_row)
        .optional()
}

pub(crate) fn insert(transaction: &Transaction<'_>, row: &JobRow, created: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO jobs (id, kind, args, lane, status, created) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute((row.id.as_bytes().as_slice(), &row.kind, &row.args, &row.lane, number(row.status), created))?;
    Ok(())
}

/// Stores how a job stands, and its times and message.
pub(crate) fn set_status(transaction: &Transaction<'_>, row: &JobRow) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE jobs SET status = :status, checkpoint = :checkpoint, done = :done, total = :total, unit = :unit,
                 message = :message, started = :started, finished = :finished, errors = :errors
             WHERE id = :id",
        )?
        .execute(named_params! {
            ":id": row.id.as_bytes().as_slice(), ":status": number(row.status), ":checkpoint": row.checkpoint,
            ":done": row.done.cast_signed(), ":total": row.total.map(u64::cast_signed), ":unit": row.unit,
            ":message": row.message, ":started": row.started, ":finished": row.finished, ":errors": row.errors.cast_signed(),
        })?;
    Ok(())
}

/// Adds problems to a job.
pub(crate) fn add_problems(transaction: &Transaction<'_>, id: Uuid, problems: &[(WirePath, String)]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO job_errors (job, n, path, what)
         VALUES (?1, (SELECT coalesce(max(n), 0) + 1 FROM job_errors WHERE job = ?1), ?2, ?3)",
    )?;
    for (path, what) in problems {
        statement.execute((id.as_bytes().as_slice(), path.as_bytes(), what))?;
    }
    Ok(())
}

/// The first problems of a job.
pub(crate) fn problems(connection: &Connection, id: Uuid, limit: u64) -> rusqlite::Result<Vec<JobProblem>> {
    let mut statement = connection.prepare_cached("SELECT path, what FROM job_errors WHERE job = ?1 ORDER BY n LIMIT ?2")?;
    let rows = statement.query_map((id.as_bytes().as_slice(), limit.cast_signed()), |row| {
        Ok(JobProblem { path: WirePath::from_bytes(row.get(0)?), message: row.get(1)? })
    })?;
    rows.collect()
}

/// After a restart: what ran is queued again.
pub(crate) fn requeue(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute("UPDATE jobs SET status = 0 WHERE status = 1", [])?;
    Ok(())
}

/// Takes out ended jobs: all but the newest `keep`, and those that ended before `before`.
pub(crate) fn prune(transaction: &Transaction<'_>, keep: u64, before: i64) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "DELETE FROM jobs WHERE status >= 3 AND (finished < ?1 OR id NOT IN
                 (SELECT id FROM jobs WHERE status >= 3 ORDER BY created DESC, id DESC LIMIT ?2))",
        )?
        .execute((before, keep.cast_signed()))
}
