//! Locations: the folders that a library indexes.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::WirePath;

/// How much of a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexMode {
    /// Names, sizes and times only.
    Shallow,
    /// And a hash of the content: all of it, or samples of a large file.
    #[default]
    Content,
    /// And the whole of large files, and the facts of media files.
    Deep,
}

/// Whether only a folder itself is looked at, or all that is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexScope {
    /// The folder's own entries.
    Current,
    /// All that is below it.
    #[default]
    Recursive,
}

/// What is left out of a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// What systems leave behind: `.DS_Store`, `Thumbs.db`, `lost+found`, trash folders …
    pub system: bool,
    /// Names that begin with a dot.
    pub hidden: bool,
    /// Folders of version control: `.git`, `.hg`, `.svn` …
    pub vcs: bool,
    /// What `.gitignore` files name.
    pub gitignore: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { system: true, hidden: false, vcs: false, gitignore: false }
    }
}

/// How a location stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocationState {
    /// Changes are followed.
    Watching,
    /// It is being indexed.
    Indexing,
    /// Its folder cannot be reached; what was known of it is kept.
    Offline,
}

/// One location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationInfo {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its folder (absolute).
    pub path: WirePath,
    /// How much of a file is read.
    pub mode: IndexMode,
    /// How it stands.
    pub state: LocationState,
    /// How many files (everything that is not a folder).
    pub files: u64,
    /// How many folders, itself not counted.
    pub dirs: u64,
    /// The sum of the files' sizes.
    pub bytes: u64,
    /// How many entries could not be read at the last look.
    pub errors: u64,
    /// What is left out.
    pub rules: Rules,
    /// Why it is offline, or not watched in full; one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A location by what a person typed: its name, its id or a unique prefix of it, or its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationQuery {
    /// As it was typed.
    pub text: String,
    /// The same as an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<WirePath>,
}

/// Adds a folder to a library; indexing and watching begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationAdd {
    /// Name, id or unique prefix of the library.
    pub library: String,
    /// The folder (absolute).
    pub path: WirePath,
    /// Its name; the folder's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How much of a file is read.
    #[serde(default)]
    pub mode: IndexMode,
    /// What is left out.
    #[serde(default)]
    pub rules: Rules,
}

/// A location that was added, and the job that indexes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationAdded {
    /// The location.
    #[serde(flatten)]
    pub location: LocationInfo,
    /// The job.
    pub job: Uuid,
}

/// Lists the locations of a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationList {
    /// Name, id or unique prefix of the library.
    pub library: String,
}

/// One location.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationGet {
    /// Name, id or unique prefix of the library.
    pub library: String,
    /// Which one.
    pub location: LocationQuery,
}

/// Takes a location out of the library. The files on disk are not touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationRemove {
    /// Name, id or unique prefix of the library.
    pub library: String,
    /// Which one.
    pub location: LocationQuery,
}
