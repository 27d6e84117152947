//! A location while the library is open: its row, whose turn it is to walk it, and its watcher.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use spacedrive_api::{LocationInfo, LocationState};

use crate::db::location::LocationRow;
use crate::watch::Watcher;

/// One location of an open library.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) lid: i64,
    row: RwLock<LocationRow>,
    /// Who walks the location holds it.
    turn: Mutex<()>,
    /// How many jobs on it are queued or running.
    jobs: AtomicUsize,
    watcher: Mutex<Option<Arc<Watcher>>>,
}

impl Place {
    pub(crate) fn new(row: LocationRow) -> Arc<Self> {
        Arc::new(Self {
            lid: row.lid,
            row: RwLock::new(row),
            turn: Mutex::new(()),
            jobs: AtomicUsize::new(0),
            watcher: Mutex::default(),
        })
    }

    /// The row as it was read last.
    pub(crate) fn row(&self) -> LocationRow {
        self.row.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_row(&self, row: LocationRow) {
        *self.row.write().unwrap_or_else(PoisonError::into_inner) = row;
    }

    /// Waits until nobody else walks the location.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn, unless somebody else has it.
    pub(crate) fn try_turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// A job was queued.
    pub(crate) fn expect_job(&self) {
        self.jobs.fetch_add(1, Ordering::Relaxed);
    }

    /// A job ended.
    pub(crate) fn job_ended(&self) {
        let _ = self.jobs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    }

    /// The watcher, if there is one.
    pub(crate) fn watcher(&self) -> Option<Arc<Watcher>> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The watcher; made with `make` when there is none.
    pub(crate) fn watcher_or(&self, make: impl FnOnce() -> Option<Arc<Watcher>>) -> Option<Arc<Watcher>> {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if watcher.is_none() {
            *watcher = make();
        }
        watcher.clone()
    }

    /// Ends watching.
    pub(crate) fn stop(&self) {
        if let Some(watcher) = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take() {
            watcher.stop();
        }
    }

    /// The location as it is shown.
    pub(crate) fn info(&self) -> LocationInfo {
        let row = self.row();
        let state = if row.problem.is_some() {
            LocationState::Offline
        } else if self.jobs.load(Ordering::Relaxed) > 0 {
            LocationState::Indexing
        } else {
            LocationState::Watching
        };
        let problem = self.watcher().and_then(|watcher| watcher.watches().problem());
        crate::location::info(&row, state, problem)
    }
}
