//! What was removed and can be restored.

use serde::{Deserialize, Serialize};

use crate::WirePath;

/// One thing in a trash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trashed {
    /// Its name before it was removed.
    pub name: String,
    /// When it was removed, RFC 3339 in UTC.
    pub removed_at: jiff::Timestamp,
    /// Where it was.
    pub from: WirePath,
    /// Where it lies now.
    pub path: WirePath,
}
