//! The jobs `copy`, `move` and `delete`: each runs the operation of its own id.
//!
//! What is done is in the operation's steps, so the job needs no checkpoint of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use spacedrive_api::{FileAction, FileReport};
use uuid::Uuid;

use super::{Handler, Task};
use crate::instance::InstanceStore;
use crate::operation::{self, OperationState, Surroundings, Watch};
use crate::{Error, Result};

/// Which operation is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileArgs {
    pub(crate) operation: Uuid,
}

/// Does jobs of one of the three kinds.
pub(crate) struct FileHandler {
    pub(crate) action: FileAction,
    pub(crate) store: Arc<InstanceStore>,
    pub(crate) around: Surroundings,
}

impl Handler for FileHandler {
    fn kind(&self) -> &'static str {
        self.action.as_str()
    }

    fn run(&self, args: &serde_json::Value, task: &Task) -> Result<String> {
        let id = self.operation(args)?;
        let told = Told { task, bytes: self.action != FileAction::Delete };
        match operation::run(&self.store, &self.around, id, &told) {
            Ok(report) => {
                for problem in &report.errors {
                    task.problem(problem.path.as_ref(), &problem.message);
                }
                Ok(summary(self.action, &report))
            }
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => {
                operation::set_failed(&self.store, id, &error)?;
                Err(error)
            }
        }
    }

    fn ended(&self, args: &serde_json::Value) {
        let cleaned = self.operation(args).and_then(|id| {
            if operation::get(&self.store, id)?.is_some_and(|operation| !operation.state.ended()) {
                operation::clean_up(&self.store, &self.around, id)?;
                operation::set_state(&self.store, id, OperationState::Cancelled, "")?;
            }
            Ok(())
        });
        if let Err(error) = cleaned {
            tracing::warn!(%error, "a cancelled operation left something behind");
        }
    }
}

impl FileHandler {
    fn operation(&self, args: &serde_json::Value) -> Result<Uuid> {
        let bad = |why: String| Error::BadJob { kind: self.kind().to_owned(), why };
        serde_json::from_value(args.clone()).map(|args: FileArgs| args.operation).map_err(|error| bad(error.to_string()))
    }
}

/// What is left behind of a job that is done.
fn summary(action: FileAction, report: &FileReport) -> String {
    let done = match action {
        FileAction::Copy => "copied",
        FileAction::Move => "moved",
        FileAction::Delete => "deleted",
    };
    let skipped = if report.skipped > 0 { format!(", {} left out", report.skipped) } else { String::new() };
    format!("{done} {} files, {} bytes{skipped}", report.files, report.bytes)
}

/// A job as the work sees it.
struct Told<'a> {
    task: &'a Task,
    /// Bytes are counted, else files.
    bytes: bool,
}

impl Watch for Told<'_> {
    fn check(&self) -> Result<()> {
        self.task.check()
    }

    fn total(&self, files: u64, bytes: u64) {
        let (unit, total) = if self.bytes { ("bytes", bytes) } else { ("files", files) };
        self.task.begin(if self.bytes { "copying" } else { "deleting" }, unit, Some(total));
    }

    fn done(&self, files: u64, bytes: u64) {
        self.task.add_done(if self.bytes { bytes } else { files });
    }
}
