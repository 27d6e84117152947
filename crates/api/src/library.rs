//! Libraries: a folder `NAME.sdlibrary` with `library.json` and `library.db`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::WirePath;

/// Whether a library can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LibraryState {
    /// In use by this daemon.
    Open,
    /// Known, but closed by a person.
    Closed,
    /// Known, but it could not be opened; nothing in it was touched.
    Damaged,
    /// Known, but its folder is not there.
    Missing,
    /// Known, but another daemon has it open.
    Locked,
}

/// One library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryInfo {
    /// Its id, which a rename or a move of the folder keeps.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its folder.
    pub path: WirePath,
    /// Whether it can be used.
    pub state: LibraryState,
    /// Why it cannot be used, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When it was created, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<jiff::Timestamp>,
    /// The size of its database on disk, in bytes.
    #[serde(default)]
    pub bytes: u64,
}

/// Makes a library of this name, in the instance's `libraries/` or in `path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryCreate {
    /// Its name: 1 to 200 bytes without `/`, control characters, or a leading or trailing blank or dot.
    pub name: String,
    /// The folder in which `NAME.sdlibrary` is made (absolute).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<WirePath>,
}

/// Lists the libraries of the instance, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryList {}

/// Opens the library in this folder (absolute), and from then on at every start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryOpen {
    /// The `NAME.sdlibrary` folder.
    pub path: WirePath,
}

/// Closes a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryClose {
    /// Name, id or unique prefix of the id.
    pub library: String,
}

/// Looks up a library, and with `open` opens it when it is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryGet {
    /// Name, id or unique prefix of the id.
    pub library: String,
    /// Open it when it is closed, and fail when it cannot be opened.
    #[serde(default)]
    pub open: bool,
}

/// Removes a library: to the instance's trash, or with `purge` for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryDelete {
    /// Name, id or unique prefix of the id.
    pub library: String,
    /// Remove its files for good.
    #[serde(default)]
    pub purge: bool,
}

/// What became of a deleted library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryDeleted {
    /// The library as it was.
    pub library: LibraryInfo,
    /// Where its folder lies now, unless it was purged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trash: Option<WirePath>,
}

/// Lists the deleted libraries that can be restored, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryTrash {}

/// Puts the newest deleted library of this name back to where it was, and opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryRestore {
    /// Its name.
    pub name: String,
}
