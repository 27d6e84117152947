//! One file or folder of an index.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};

use crate::WirePath;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link; never followed.
    Symlink,
    /// A fifo, socket or device; never opened.
    Other,
}

/// One file or folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryInfo {
    /// The absolute path, with U+FFFD for what is not UTF-8.
    pub path: String,
    /// The path's bytes, when they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// The last part of the path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its size in bytes; 0 for what is not a file.
    pub size: u64,
    /// When it was last modified.
    pub modified: Option<jiff::Timestamp>,
    /// The name of the location that it belongs to.
    pub location: Option<String>,
    /// The device that has it; absent for this one.
    pub device: Option<String>,
    /// BLAKE3 of its content in hexadecimal; begins with `~` when only samples were hashed, so that it is never taken for
    /// equality.
    pub content_id: Option<String>,
}

impl EntryInfo {
    /// Splits a path into the three fields that show it.
    pub fn path_fields(path: &Path) -> (String, Option<String>, String) {
        let wire = WirePath::from(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (wire.to_string_lossy().into_owned(), wire.base64(), name)
    }

    /// The path, byte for byte.
    pub fn real_path(&self) -> PathBuf {
        self.path_base64
            .as_ref()
            .and_then(|text| BASE64_STANDARD.decode(text).ok())
            .map_or_else(|| PathBuf::from(&self.path), |bytes| PathBuf::from(OsString::from_vec(bytes)))
    }
}
