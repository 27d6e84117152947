//! What a manifest may say. Pure: no disk, no network.

use super::error::{Result, TransferError};
use super::frame::{Entry, Kind, MAX_TEXT, MAX_TOPS, Offer};

/// What a receiver takes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Files, folders and symlinks together.
    pub entries: u64,
    /// Nested folders.
    pub depth: u16,
    /// The length of a path from the top, in bytes.
    pub path: usize,
    /// The size of everything, in bytes.
    pub bytes: u64,
    /// What must stay free on the file system, in bytes.
    pub reserve: u64,
    /// Permission bits that are taken away from what arrives.
    pub umask: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 1_000_000, depth: 256, path: 4095, bytes: 16 << 40, reserve: 64 << 20, umask: 0o022 }
    }
}

impl Limits {
    /// Whether an offer is within the limits and well-formed.
    pub(crate) fn check_offer(&self, offer: &Offer) -> Result<()> {
        let too_much = |what| Err(TransferError::TooMuch { what });
        match offer.files.checked_add(offer.others) {
            Some(entries) if entries <= self.entries => {}
            _ => return too_much("entries"),
        }
        if offer.bytes > self.bytes {
            return too_much("bytes");
        }
        if offer.stored > offer.bytes || offer.tops.len() > MAX_TOPS {
            return Err(TransferError::Protocol { what: "an offer that contradicts itself" });
        }
        if offer.sender.len() > MAX_TEXT || offer.message.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
            return too_much("text");
        }
        offer.tops.iter().try_for_each(|top| check_name(&top.name))
    }
}

/// One name from elsewhere, by the rule that holds for all of them.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    spacedrive_core::names::check_name(name).map_err(|error| match error {
        spacedrive_core::Error::UnsafeName { why, .. } => TransferError::UnsafeName { name: name.to_vec(), why },
        _ => TransferError::UnsafeName { name: name.to_vec(), why: "it is not a name" },
    })
}

/// Whether a symlink stays inside the top-level entry that it is part of, wherever other such links lead: it
/// is relative, goes up at its beginning only, and not out. `depth` is how many folders it is in.
pub(crate) fn is_inner_link(target: &[u8], depth: u16) -> bool {
    if target.is_empty() || target.len() > 4095 || target.contains(&0) || target[0] == b'/' {
        return false;
    }
    let mut ups = 0;
    let mut down = false;
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if down => return false,
            b".." => ups += 1,
            _ => down = true,
        }
    }
    // At depth 1 a link lies directly in the top-level folder, and may not leave that.
    ups < depth
}

struct Level {
    last: Vec<u8>,
    folder: bool,
}

/// Takes the entries of a manifest one after the other.
pub(crate) struct Checker<'a> {
    limits: &'a Limits,
    offer: &'a Offer,
    levels: Vec<Level>,
    files: u64,
    others: u64,
    bytes: u64,
    stored: u64,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(limits: &'a Limits, offer: &'a Offer) -> Self {
        Self { limits, offer, levels: Vec::new(), files: 0, others: 0, bytes: 0, stored: 0 }
    }

    /// The next entry.
    pub(crate) fn check(&mut self, entry: &Entry) -> Result<()> {
        check_name(&entry.name)?;
        let depth = usize::from(entry.depth);
        if entry.depth > self.limits.depth {
            return Err(TransferError::TooMuch { what: "nested folders" });
        }
        if depth < self.levels.len() {
            self.levels.truncate(depth + 1);
            let level = &mut self.levels[depth];
            if entry.name <= level.last {
                return Err(TransferError::Protocol { what: "names that repeat or are out of order" });
            }
            level.last.clone_from(&entry.name);
            level.folder = entry.kind == Kind::Folder;
        } else {
            let fits = depth == self.levels.len() && self.levels.last().is_none_or(|parent| parent.folder);
            if !fits {
                return Err(TransferError::Protocol { what: "an entry in no folder" });
            }
            self.levels.push(Level { last: entry.name.clone(), folder: entry.kind == Kind::Folder });
        }
        if self.levels.iter().map(|level| level.last.len() + 1).sum::<usize>() > self.limits.path {
            return Err(TransferError::TooMuch { what: "the length of a path" });
        }
        match &entry.kind {
            Kind::File { size, stored } => {
                if stored > size {
                    return Err(TransferError::Protocol { what: "a file that stores more than it has" });
                }
                let overflow = TransferError::TooMuch { what: "bytes" };
                self.files += 1;
                self.bytes = self.bytes.checked_add(*size).ok_or(overflow)?;
                self.stored += stored;
            }
            Kind::Folder => self.others += 1,
            Kind::Symlink { target } if is_inner_link(target, entry.depth) => self.others += 1,
            Kind::Symlink { .. } => {
                return Err(TransferError::UnsafeName { name: entry.name.clone(), why: "it is a link that leads elsewhere" });
            }
        }
        let offer = self.offer;
        if self.files > offer.files || self.others > offer.others || self.bytes > offer.bytes || self.stored > offer.stored {
            return Err(TransferError::TooMuch { what: "more than was offered" });
        }
        Ok(())
    }

    /// The manifest is complete: it must be what was offered.
    pub(crate) fn end(&self) -> Result<()> {
        let offer = self.offer;
        if (self.files, self.others, self.bytes, self.stored) == (offer.files, offer.others, offer.bytes, offer.stored) {
            Ok(())
        } else {
            Err(TransferError::Protocol { what: "a manifest that is not what was offered" })
        }
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
