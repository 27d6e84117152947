//! Background jobs.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::WirePath;

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It waits for its turn.
    Queued,
    /// It runs.
    Running,
    /// A person paused it.
    Paused,
    /// It is done; it may have listed errors.
    Completed,
    /// It could not be done.
    Failed,
    /// A person cancelled it.
    Cancelled,
}

impl JobStatus {
    /// Whether nothing more will happen.
    pub fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// Its id.
    pub id: Uuid,
    /// What it does: `index`, …
    pub kind: String,
    /// How it stands.
    pub status: JobStatus,
    /// How much is done, in `unit`.
    pub done: u64,
    /// How much there is to do, in `unit`, as far as it is known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: String,
    /// What is going on, or why it failed.
    pub message: String,
    /// When it first ran.
    pub started_at: Option<jiff::Timestamp>,
    /// When it ended.
    pub finished_at: Option<jiff::Timestamp>,
    /// How many items it could not do.
    pub errors: u64,
    /// The first of them; only where one job is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<JobProblem>,
}

/// One thing that a job could not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProblem {
    /// What it concerns.
    pub path: WirePath,
    /// Why.
    pub message: String,
}

/// Lists the jobs of a library and those of none, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobList {
    /// Name, id or unique prefix of the library; without it only the jobs of no library (copies, moves, deletions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Only those that stand so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
}

/// One job with its problems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobGet {
    /// Name, id or unique prefix of the library; without it only the jobs of no library (copies, moves, deletions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Id or unique prefix of the job.
    pub job: String,
}

/// Follows a job, or all jobs that are under way: an event at each change, and the reply when none goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobWatch {
    /// Name, id or unique prefix of the library; without it only the jobs of no library (copies, moves, deletions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Id or unique prefix of the job; all that are under way when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// What a person wants a job to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOrder {
    /// Stop for now.
    Pause,
    /// Go on.
    Resume,
    /// Stop for good.
    Cancel,
}

/// Pauses, resumes or cancels a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobControl {
    /// Name, id or unique prefix of the library; without it only the jobs of no library (copies, moves, deletions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Id or unique prefix of the job.
    pub job: String,
    /// What to do.
    pub order: JobOrder,
}
