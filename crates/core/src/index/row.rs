//! The facts of an entry: as the disk tells them, and as they are stored.

use spacedrive_api::EntryKind;

/// The number of an entry in this device's feed: dense, never used again.
pub(crate) type Eid = u64;

/// Where an entry hangs whose place another one took, until the end of the walk tells whether it is found elsewhere. No entry
/// has this number.
pub(crate) const PARKED: Eid = i64::MAX as Eid;

/// Bits of the column `flags`.
pub(crate) mod flags {
    /// Only samples of the file were hashed.
    pub(crate) const SAMPLED: i64 = 1;
    /// The folder could not be read at the last look; what is below it is as it was before.
    pub(crate) const UNREADABLE: i64 = 2;
    /// Another file system was mounted here.
    pub(crate) const MOUNT: i64 = 4;
    /// The file changed each time while it was read, so it has no identity.
    pub(crate) const CHANGING: i64 = 8;
    /// What depends on the content, and ends with it.
    pub(crate) const OF_CONTENT: i64 = SAMPLED | CHANGING;
}

/// What the disk tells of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: EntryKind,
    /// Bytes; 0 for what is not a file.
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) mtime: i64,
    pub(crate) inode: u64,
    /// It is the root of another file system than its folder.
    pub(crate) mount: bool,
}

/// An entry as it was read from the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub(crate) name: Box<[u8]>,
    /// `None`: it is there, and could not be looked at.
    pub(crate) facts: Option<Facts>,
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) eid: Eid,
    pub(crate) name: Box<[u8]>,
    pub(crate) kind: EntryKind,
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) inode: u64,
    pub(crate) flags: i64,
    /// Whether it has a content identity.
    pub(crate) hashed: bool,
}

/// One change of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new entry.
    Insert { eid: Eid, parent: Eid, name: Box<[u8]>, facts: Facts },
    /// Size, time or inode changed; the content too unless `same_content`.
    Update { eid: Eid, facts: Facts, flags: i64, same_content: bool, grown: i64 },
    /// It is in another place now.
    Move { eid: Eid, parent: Eid, name: Box<[u8]> },
    /// Only its flags changed.
    Flags { eid: Eid, flags: i64 },
}

/// The number of a kind in the database.
pub(crate) fn kind_number(kind: EntryKind) -> i64 {
    match kind {
        EntryKind::File => 0,
        EntryKind::Dir => 1,
        EntryKind::Symlink => 2,
        EntryKind::Other => 3,
    }
}

/// The kind that a number in the database means.
pub(crate) fn kind_of(number: i64) -> EntryKind {
    match number {
        0 => EntryKind::File,
        1 => EntryKind::Dir,
        2 => EntryKind::Symlink,
        _ => EntryKind::Other,
    }
}
