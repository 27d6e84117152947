//! The files of this machine: copies, moves and deletions as jobs of the instance, and undo.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use spacedrive_api::{FileAction, FileReport, FileWork};
use uuid::Uuid;

use crate::instance::InstanceStore;
use crate::jobs::Jobs;
use crate::jobs::file::{FileArgs, FileHandler};
use crate::operation::{self, Operation, OperationState, Surroundings, Unwatched};
use crate::undo::{self, Undone};
use crate::{Error, Result};

/// Copies, moves and deletions run one after the other.
const LANE: &str = "files";

/// The operations of one instance, and its jobs that belong to no library.
#[derive(Debug)]
pub struct Files {
    store: Arc<InstanceStore>,
    around: Surroundings,
    jobs: Arc<Jobs>,
    undoing: Mutex<()>,
}

impl Files {
    /// Opens them. What ran when the process ended goes on once the jobs are [started](Jobs::start).
    pub fn open(store: Arc<InstanceStore>, around: Surroundings) -> Result<Self> {
        let handler = |action| FileHandler { action, store: Arc::clone(&store), around: around.clone() };
        let handlers = [FileAction::Copy, FileAction::Move, FileAction::Delete];
        let handlers = handlers.map(|action| Arc::new(handler(action)) as Arc<dyn crate::jobs::Handler>);
        let jobs = Jobs::open(Arc::clone(store.database()), handlers.into())?;
        // Accepted, but killed before its job was: nobody was told that it is.
        let known: HashSet<Uuid> = jobs.list(None)?.into_iter().map(|job| job.id).collect();
        for operation in operation::list(&store)? {
            if operation.state == OperationState::Queued && !known.contains(&operation.id) {
                operation::set_state(&store, operation.id, OperationState::Cancelled, "")?;
            }
        }
        Ok(Self { store, around, jobs, undoing: Mutex::new(()) })
    }

    /// The jobs of no library.
    pub fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    /// Accepts work as a job, which is durable when this answers.
    pub fn start(&self, work: &FileWork) -> Result<Uuid> {
        let id = operation::accept(&self.store, &self.around, work)?;
        self.jobs.add_as(id, work.action.as_str(), &FileArgs { operation: id }, LANE)
    }

    /// What the work would do.
    pub fn dry_run(&self, work: &FileWork) -> Result<FileReport> {
        operation::dry_run(&self.around, work, &Unwatched)
    }

    /// An operation, and what it did so far.
    pub fn get(&self, id: Uuid) -> Result<(Operation, FileReport)> {
        let operation = operation::get(&self.store, id)?.ok_or_else(|| Error::JobNotFound { query: id.to_string() })?;
        Ok((operation, operation::report(&self.store, id)?))
    }

    /// Undoes the last operation that was not undone.
    pub fn undo(&self) -> Result<Undone> {
        let _one = self.undoing.lock().unwrap_or_else(PoisonError::into_inner);
        undo::undo(&self.store, &self.around, &Unwatched)
    }

    /// Stops the jobs; they go on at the next start.
    pub fn close(&self) {
        self.jobs.close();
    }
}
