//! Indexing again, and looking at folders without indexing them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{EntryInfo, IndexMode, IndexScope, LocationInfo, LocationQuery, WirePath};

/// Indexes a location again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexLocation {
    /// Name, id or unique prefix of the library.
    pub library: String,
    /// Which one.
    pub location: LocationQuery,
    /// From now on read so much of its files; as before when absent.
    #[serde(default)]
    pub mode: Option<IndexMode>,
    /// The folder itself, or all below it.
    #[serde(default)]
    pub scope: IndexScope,
    /// Read all content again, and take the folder that is at the path now even if it is another one than before.
    #[serde(default)]
    pub force: bool,
}

/// Indexes a path now: a part of a location, or a folder that becomes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// Name, id or unique prefix of the library.
    pub library: String,
    /// The path (absolute).
    pub path: WirePath,
    /// How much of a file is read; for a part of a location as the location says when absent.
    #[serde(default)]
    pub mode: Option<IndexMode>,
}

/// A job that was accepted, and the location that it works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStarted {
    /// The job.
    pub job: Uuid,
    /// The location.
    pub location: LocationInfo,
    /// Whether the location was added by this call.
    #[serde(default)]
    pub added: bool,
}

/// Looks at a folder and writes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Browse {
    /// The folder (absolute).
    pub path: WirePath,
    /// The folder itself, or all below it.
    #[serde(default)]
    pub scope: IndexScope,
    /// Hash the content too.
    #[serde(default)]
    pub content: bool,
    /// Answer with the entries, and not only with their numbers.
    #[serde(default)]
    pub entries: bool,
}

/// What was seen in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Browsed {
    /// The folder.
    pub path: WirePath,
    /// How many files.
    pub files: u64,
    /// How many folders.
    pub dirs: u64,
    /// The sum of the sizes.
    pub bytes: u64,
    /// How many could not be read.
    pub errors: u64,
    /// The entries, by path, where they were asked for: the first 100,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<EntryInfo>,
}

/// Checks a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryCheck {
    /// Name, id or unique prefix of the library.
    pub library: String,
    /// Read every page and row, and the content of every file that has a hash.
    #[serde(default)]
    pub deep: bool,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryChecked {
    /// What is wrong with the database; empty when nothing is.
    pub problems: Vec<String>,
    /// Files whose content is not what the index says although size and time are: the disk, or the index, is wrong.
    pub rotten: Vec<WirePath>,
    /// How many entries were looked at.
    pub entries: u64,
    /// How many files were read.
    pub files_read: u64,
}

/// Writes a consistent copy of a library's database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryBackup {
    /// Name, id or unique prefix of the library.
    pub library: String,
    /// Where to; the library's own `backups/` when absent. Must not exist.
    #[serde(default)]
    pub to: Option<WirePath>,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryBackedUp {
    /// The copy.
    pub path: WirePath,
    /// Its size.
    pub bytes: u64,
}
