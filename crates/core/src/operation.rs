//! Copies, moves and deletions as durable operations: what was asked for, how far it is, and every step that was
//! taken, written down before it was taken, so that a `kill -9` at any moment can be gone on from, and the whole
//! can be undone.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spacedrive_api::{FileProblem, FileReport, FileWork, WirePath};
use uuid::Uuid;

use crate::db::Durability;
use crate::db::instance::operations as rows;
use crate::desktop_trash::Trash;
use crate::instance::InstanceStore;
use crate::{Error, Result, copy, remove};

/// How many ended operations are kept to be undone.
const KEPT: u32 = 50;

/// How many problems of one operation are kept.
pub(crate) const MAX_PROBLEMS: usize = 1000;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $default:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// The word that stands for it in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            pub(crate) fn parse(word: &str) -> Self {
                match word { $($word => Self::$variant,)* _ => Self::$default }
            }
        }
    };
}

words! {
    /// How an operation stands.
    OperationState: Failed {
        /// It waits for its turn.
        Queued = "queued",
        /// It runs, or ran when the daemon was killed.
        Running = "running",
        /// It is done; some items may have failed.
        Completed = "completed",
        /// It could not be done.
        Failed = "failed",
        /// A person cancelled it.
        Cancelled = "cancelled",
    }
}

words! {
    /// How far the undoing of an operation is.
    UndoState: Begun {
        /// It was begun; it must be gone on with.
        Begun = "begun",
        /// It is done.
        Done = "done",
    }
}

words! {
    /// What a step does.
    StepKind: Put {
        /// What was made under a temporary name gets its own.
        Put = "put",
        /// A folder was made in a folder that the operation had made itself.
        Folder = "folder",
        /// A source is renamed to its target.
        Rename = "rename",
        /// A source goes to the trash.
        Trash = "trash",
        /// A folder that is complete gets its mode and times.
        Leave = "leave",
    }
}

words! {
    /// Why an operation failed, as far as a person can do something about it.
    Fault: Other {
        /// The disk is full, read-only or failing.
        Storage = "storage",
        /// It is not allowed.
        Refused = "refused",
        /// None of these.
        Other = "other",
    }
}

impl Fault {
    /// Sorts an error.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::NoSpace { .. } | Error::Database { .. } => Self::Storage,
            Error::Io { source, .. } if copy::data::is_fatal(source) => Self::Storage,
            Error::Io { source, .. } if source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Self::Storage,
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => Self::Refused,
            _ => Self::Other,
        }
    }
}

impl OperationState {
    /// Whether nothing more will happen.
    pub fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// One change of the disk that is recorded before it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) seq: u64,
    pub(crate) kind: StepKind,
    /// Where it was, or what it was copied from.
    pub(crate) source: PathBuf,
    /// Where it is until the step is taken.
    pub(crate) held: PathBuf,
    /// Where it is afterwards.
    pub(crate) target: PathBuf,
    /// Device and inode, which a rename keeps.
    pub(crate) file: (u64, u64),
    pub(crate) size: u64,
    pub(crate) modified: (i64, i64),
    pub(crate) mode: u32,
    /// Device and inode of what was at the target.
    pub(crate) replaced: Option<(u64, u64)>,
    /// Where that, or what was deleted, lies in the trash.
    pub(crate) trashed: Option<PathBuf>,
}

/// How far an operation is: everything before it was done and is in the steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The folder that everything goes into, its links resolved.
    pub(crate) folder: Option<WirePath>,
    /// The name that a person chose there.
    pub(crate) name: Option<WirePath>,
    /// The source that is being worked on.
    pub(crate) top: usize,
    /// Below it, the entry that was done last. Empty: the source itself, which is a folder, was begun.
    pub(crate) path: Option<Vec<WirePath>>,
    /// That entry is complete, and not only begun.
    pub(crate) complete: bool,
    /// The number of the next step.
    pub(crate) seq: u64,
    /// The names that the sources got where theirs were taken.
    pub(crate) names: Vec<Option<WirePath>>,
    /// What was done so far.
    pub(crate) report: FileReport,
    /// How many problems there were; only the first are kept.
    pub(crate) problems: u64,
    /// How much there is to do: files and bytes.
    pub(crate) total: Option<(u64, u64)>,
}

impl Position {
    /// What was done so far; its problems are in the database.
    pub fn report(&self) -> &FileReport {
        &self.report
    }

    /// How many items could not be done.
    pub fn problems(&self) -> u64 {
        self.problems
    }

    /// How many files and bytes there are to do, as far as it is known.
    pub fn total(&self) -> Option<(u64, u64)> {
        self.total
    }
}

/// A copy, move or deletion.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its id.
    pub id: Uuid,
    /// What was asked for.
    pub work: FileWork,
    /// How it stands.
    pub state: OperationState,
    /// How far it is.
    pub position: Position,
    /// Why it failed.
    pub message: String,
    /// The same in a word for programs.
    pub fault: Option<Fault>,
    /// When it was accepted.
    pub created_at: jiff::Timestamp,
    /// When it first ran.
    pub started_at: Option<jiff::Timestamp>,
    /// When it ended.
    pub finished_at: Option<jiff::Timestamp>,
    /// Whether it was undone.
    pub undo: Option<UndoState>,
}

/// Who looks on while something is done, and may stop it.
pub trait Watch: Sync {
    /// Fails with [`Error::Interrupted`] when the work must stop. Asked at least after every 8 MiB.
    fn check(&self) -> Result<()>;

    /// There are so many files and bytes to do.
    fn total(&self, _files: u64, _bytes: u64) {}

    /// So many more files and bytes are done.
    fn done(&self, _files: u64, _bytes: u64) {}
}

/// Nobody looks on.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// What is not to be moved or deleted, and where the trash is.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The trash.
    pub trash: Trash,
    /// Folders that must stay where they are: the instance's own.
    pub protected: Vec<PathBuf>,
}

/// Accepts work: from here on it is durable. What cannot be meant is refused, and nothing was changed then.
pub fn accept(store: &InstanceStore, around: &Surroundings, work: &FileWork) -> Result<Uuid> {
    check(around, work)?;
    let id = Uuid::now_v7();
    store.database().write(Durability::Full, |t| {
        rows::prune(t, KEPT)?;
        rows::insert(t, id, work, now())
    })?;
    Ok(id)
}

fn check(around: &Surroundings, work: &FileWork) -> Result<()> {
    match work.action {
        spacedrive_api::FileAction::Delete => remove::check(around, work),
        _ => copy::check(around, work),
    }
}

/// What the work would do, with nothing changed.
pub fn dry_run(around: &Surroundings, work: &FileWork, watch: &dyn Watch) -> Result<FileReport> {
    check(around, work)?;
    match work.action {
        spacedrive_api::FileAction::Delete => remove::dry_run(work, watch),
        _ => copy::dry_run(around, work, watch),
    }
}

/// Runs an accepted operation to its end, or until `watch` stops it; then it can be run again. One that was killed goes on from
/// where it was. The caller sees to it that each operation is run by one thread at a time.
///
/// # Errors
/// [`Error::Interrupted`], or why it cannot go on; its state is left to the caller then.
pub fn run(store: &InstanceStore, around: &Surroundings, id: Uuid, watch: &dyn Watch) -> Result<FileReport> {
    let Some(operation) = get(store, id)? else { return Err(Error::JobNotFound { query: id.to_string() }) };
    if !operation.state.ended() {
        set_state(store, id, OperationState::Running, "")?;
        match operation.work.action {
            spacedrive_api::FileAction::Delete => remove::run(store, around, &operation, watch)?,
            _ => copy::run(store, around, &operation, watch)?,
        }
        set_state(store, id, OperationState::Completed, "")?;
    }
    report(store, id)
}

/// What an operation did so far.
pub fn report(store: &InstanceStore, id: Uuid) -> Result<FileReport> {
    let mut report = get(store, id)?.map(|operation| operation.position.report).unwrap_or_default();
    report.job = Some(id);
    report.errors = store.database().read(|c| rows::problems(c, id))?;
    Ok(report)
}

/// Whether an operation did something that can be undone.
pub fn has_steps(store: &InstanceStore, id: Uuid) -> Result<bool> {
    store.database().read(|c| rows::has_steps(c, id))
}

/// Removes what an operation that will not go on has left half done.
pub fn clean_up(store: &InstanceStore, around: &Surroundings, id: Uuid) -> Result<()> {
    match get(store, id)? {
        Some(operation) if operation.work.action != spacedrive_api::FileAction::Delete => {
            copy::clean_up(store, around, &operation)
        }
        _ => Ok(()),
    }
}

/// One operation.
pub fn get(store: &InstanceStore, id: Uuid) -> Result<Option<Operation>> {
    store.database().read(|c| rows::get(c, id))
}

/// All operations that are remembered, the newest first.
pub fn list(store: &InstanceStore) -> Result<Vec<Operation>> {
    store.database().read(rows::list)
}

/// Says how an operation stands.
pub fn set_state(store: &InstanceStore, id: Uuid, state: OperationState, message: &str) -> Result<()> {
    store.database().write(Durability::Full, |t| rows::set_state(t, id, state, message, now()))
}

/// Says that an operation could not be done.
pub fn set_failed(store: &InstanceStore, id: Uuid, error: &Error) -> Result<()> {
    store.database().write(Durability::Full, |t| {
        rows::set_state(t, id, OperationState::Failed, &error.to_string(), now())?;
        rows::set_fault(t, id, Fault::of(error))
    })
}

/// Keeps where an operation begins, before its first step.
pub(crate) fn begin(store: &InstanceStore, id: Uuid, position: &Position) -> Result<()> {
    store.database().write(Durability::Full, |t| rows::settle(t, id, position))
}

/// A problem with a file.
pub(crate) fn problem(path: &Path, message: impl Into<String>) -> FileProblem {
    FileProblem { path: path.into(), message: message.into(), verification: false }
}

/// What the names of an operation's temporary files, and of its things in the trash, have in them: the random end of its id, for
/// the beginning is the time.
pub(crate) fn tag(id: Uuid) -> String {
    id.simple().to_string()[20..].to_owned()
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
