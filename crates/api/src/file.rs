//! Copying, moving and deleting files, and undoing it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::WirePath;

/// What is done with files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAction {
    /// They are copied.
    Copy,
    /// They are moved.
    Move,
    /// They are deleted: to the trash, unless it is for good.
    Delete,
}

impl FileAction {
    /// The word for it, as the command line and the job list have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Move => "move",
            Self::Delete => "delete",
        }
    }
}

/// What happens when the target has an entry of that name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// The new one is left out.
    Skip,
    /// The new one is called `name (2).ext`.
    #[default]
    Rename,
    /// The old one goes to the trash. Folders are merged.
    Overwrite,
    /// As `Overwrite` where the new one was modified later, else as `Skip`.
    Newer,
}

/// Files to copy, move or delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWork {
    /// What to do.
    pub action: FileAction,
    /// The files, folders and links (absolute).
    pub sources: Vec<WirePath>,
    /// The folder to put them into, or the new name of the only one (absolute). `Delete` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<WirePath>,
    /// What happens when a name is taken.
    #[serde(default)]
    pub conflict: Conflict,
    /// Read both sides again and compare their BLAKE3 hashes. A move to another file system always does.
    #[serde(default)]
    pub verify: bool,
    /// Nothing goes to the trash: what is deleted or replaced is gone.
    #[serde(default)]
    pub permanent: bool,
}

/// What was done, or with a dry run would be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileReport {
    /// The job that did it. A dry run has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Uuid>,
    /// How many files and links were copied, moved or deleted; a folder that is moved or trashed whole counts as one.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many of them were compared by their hash.
    pub verified: u64,
    /// How many were left out because the name was taken.
    #[serde(default)]
    pub skipped: u64,
    /// What could not be done, and why; the first thousand.
    pub errors: Vec<FileProblem>,
}

/// One thing that could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProblem {
    /// The file.
    pub path: WirePath,
    /// Why.
    pub message: String,
    /// The two sides have different hashes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub verification: bool,
}

/// Accepts files to copy, move or delete, as a job; or with `dry_run` tells what it would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStart {
    /// What to do.
    pub work: FileWork,
    /// Change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a job that copies, moves or deletes has done so far. Fails as the job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileGet {
    /// The job's id.
    pub job: Uuid,
}

/// Undoes the last copy, move or deletion that was not undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUndo {}

/// What was undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUndone {
    /// What it had been.
    pub action: FileAction,
    /// How many things were put back, or taken away again; a whole folder counts as one.
    pub files: u64,
    /// What could not be done, and why.
    pub errors: Vec<FileProblem>,
}
