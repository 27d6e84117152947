//! What a daemon tells while a call is under way.

use serde::{Deserialize, Serialize};

use crate::{EntryInfo, JobInfo, Overview, PairingInfo};

/// How far something is. `total` is `None` while it is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done, in `unit`.
    pub done: u64,
    /// How much there is to do, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What is counted: `files`, `bytes`, …
    pub unit: String,
    /// What is going on now, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// One thing that happened, sent before the reply of a call that watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The daemon has begun to shut down; the connection closes when its process ends.
    Stopping,
    /// How far the call is.
    Progress(Progress),
    /// A pairing session changed.
    Pairing(Box<PairingInfo>),
    /// A job changed.
    Job(JobInfo),
    /// Hits of a search, in their order; more follow.
    Entries {
        /// The hits.
        entries: Vec<EntryInfo>,
    },
    /// The instance as it is now.
    Overview(Box<Overview>),
    /// An event that a newer version knows and this one does not.
    #[serde(other)]
    Unknown,
}
