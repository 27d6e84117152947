//! The side of a job that the code doing the work sees.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use spacedrive_api::WirePath;

use crate::{Error, Result};

/// No more problems of one job than this are kept; all are counted.
pub(crate) const MAX_PROBLEMS: u64 = 10_000;

/// What a running job was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing: go on.
    Run,
    /// Stop for now; a person will resume it.
    Pause,
    /// Stop for good.
    Cancel,
    /// Stop for now; it goes on when the library is opened again.
    ShutDown,
}

/// One run of a job: the orders that it gets, and what it tells of itself. Cheap to ask, from any thread.
#[derive(Debug)]
pub struct Task {
    order: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
    /// Counts changes, so that a watcher sees whether there was one.
    version: AtomicU64,
    unit: Mutex<&'static str>,
    message: Mutex<String>,
    errors: AtomicU64,
    problems: Mutex<Vec<(PathBuf, String)>>,
    checkpoint: Mutex<Option<serde_json::Value>>,
    unsaved: Mutex<Option<serde_json::Value>>,
}

const UNKNOWN: u64 = u64::MAX;

impl Task {
    /// A task that begins at `checkpoint`, with so many errors from before.
    pub fn new(checkpoint: Option<serde_json::Value>, errors: u64) -> Self {
        Self {
            order: AtomicU8::new(0),
            done: AtomicU64::new(0),
            total: AtomicU64::new(UNKNOWN),
            version: AtomicU64::new(0),
            unit: Mutex::new(""),
            message: Mutex::default(),
            errors: AtomicU64::new(errors),
            problems: Mutex::default(),
            checkpoint: Mutex::new(checkpoint),
            unsaved: Mutex::default(),
        }
    }

    /// What it was told last.
    pub fn order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            0 => Order::Run,
            1 => Order::Pause,
            2 => Order::Cancel,
            _ => Order::ShutDown,
        }
    }

    /// Tells it something; a cancel is not taken back.
    pub(crate) fn tell(&self, order: Order) {
        let number = match order {
            Order::Run => 0,
            Order::Pause => 1,
            Order::Cancel => 2,
            Order::ShutDown => 3,
        };
        let _ = self.order.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now != 2).then_some(number));
    }

    /// Fails with [`Error::Interrupted`] when the work must stop. Ask at least ten times a second.
    pub fn check(&self) -> Result<()> {
        if self.order.load(Ordering::Relaxed) == 0 { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// Says what is done now, what is counted, and how much there is to do.
    pub fn begin(&self, message: &str, unit: &'static str, total: Option<u64>) {
        *self.message.lock().unwrap_or_else(PoisonError::into_inner) = message.to_owned();
        *self.unit.lock().unwrap_or_else(PoisonError::into_inner) = unit;
        self.total.store(total.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        self.changed();
    }

    /// So much more is done.
    pub fn add_done(&self, n: u64) {
        self.done.fetch_add(n, Ordering::Relaxed);
        self.changed();
    }

    /// There is so much to do.
    pub fn set_total(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.changed();
    }

    /// Notes something that could not be done; the job goes on.
    pub fn problem(&self, path: &Path, what: impl std::fmt::Display) {
        if self.errors.fetch_add(1, Ordering::Relaxed) < MAX_PROBLEMS {
            self.problems.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), what.to_string()));
        }
        self.changed();
    }

    /// How many problems were noted.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Where an earlier run had come to.
    pub fn checkpoint(&self) -> Option<serde_json::Value> {
        self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says from where a later run may go on: what lies before it is in the database. Stored soon, at the latest when the run
    /// ends.
    pub fn save(&self, checkpoint: serde_json::Value) {
        *self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint.clone());
        *self.unsaved.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint);
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    pub(crate) fn progress(&self) -> (u64, Option<u64>, &'static str, String) {
        let total = self.total.load(Ordering::Relaxed);
        (
            self.done.load(Ordering::Relaxed),
            (total != UNKNOWN).then_some(total),
            *self.unit.lock().unwrap_or_else(PoisonError::into_inner),
            self.message.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        )
    }

    pub(crate) fn take_problems(&self) -> Vec<(WirePath, String)> {
        let problems = std::mem::take(&mut *self.problems.lock().unwrap_or_else(PoisonError::into_inner));
        problems.into_iter().map(|(path, what)| (path.into(), what)).collect()
    }

    pub(crate) fn take_unsaved(&self) -> Option<serde_json::Value> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Default for Task {
    /// A task of no job: nobody looks at its progress.
    fn default() -> Self {
        Self::new(None, 0)
    }
}
