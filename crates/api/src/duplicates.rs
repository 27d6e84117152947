//! Files with equal content.

use serde::{Deserialize, Serialize};

use crate::WirePath;

/// Looks for files of a library whose content is equal, whole hash for whole hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicates {
    /// Name, id or unique prefix of the library.
    pub library: String,
    /// Only files of at least so many bytes; empty files are never listed.
    #[serde(default)]
    pub min_size: Option<u64>,
    /// Name or id of a location.
    #[serde(default)]
    pub location: Option<String>,
    /// A folder (absolute) in whose contents to look.
    #[serde(default)]
    pub path: Option<WirePath>,
}

/// Files with the same content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicateGroup {
    /// BLAKE3 of the content in hexadecimal.
    pub hash: String,
    /// The size of each file.
    pub size: u64,
    /// Their paths, with U+FFFD for what is not UTF-8.
    pub files: Vec<String>,
    /// The bytes of those paths that are not UTF-8, each with its place in `files`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files_base64: Vec<(usize, String)>,
    /// How many bytes would be free if one file were kept. Hard links of one file count once.
    pub reclaimable: u64,
}

/// All groups, biggest waste first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicatesFound {
    /// The groups.
    pub groups: Vec<DuplicateGroup>,
    /// The sum of what could be freed.
    pub reclaimable: u64,
    /// How many bytes were read to find out.
    pub bytes_read: u64,
    /// Files that could not be read or changed meanwhile, and are in no group.
    pub skipped: u64,
}
