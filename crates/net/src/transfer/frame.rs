//! The messages of a transfer as bytes. A frame is one byte (0: message, 1: data), a length (four bytes,
//! big-endian) and the body: a message in postcard's encoding, or bytes of the current file.

use serde::{Deserialize, Serialize};

use super::error::{Result, TransferError, Why};

/// The longest message, in bytes.
pub(crate) const MAX_MESSAGE: usize = 256 * 1024;
/// The longest run of data in a frame, in bytes.
pub(crate) const MAX_DATA: usize = 1024 * 1024;
/// The length of what precedes a body.
pub(crate) const HEADER: usize = 5;
/// How many top-level names an offer tells.
pub(crate) const MAX_TOPS: usize = 64;
/// The longest sender's name and message, in bytes.
pub(crate) const MAX_TEXT: usize = 4096;

/// What a sender announces before anything is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The transfer, the same when it is tried again.
    pub id: [u8; 16],
    /// Who sends, as the sender calls itself.
    pub sender: String,
    /// What the sender wants to say.
    pub message: Option<String>,
    /// How many files.
    pub files: u64,
    /// How many folders and symlinks.
    pub others: u64,
    /// Their size together, in bytes.
    pub bytes: u64,
    /// What of that is not in holes, in bytes.
    pub stored: u64,
    /// The first top-level entries.
    pub tops: Vec<Top>,
}

/// A top-level entry as it is announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    /// Its name.
    pub name: Vec<u8>,
    /// Whether it is a folder.
    pub folder: bool,
}

/// One entry of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// How many folders it is in, 0 at the top.
    pub depth: u16,
    /// Its name, one component.
    pub name: Vec<u8>,
    /// The permission bits.
    pub mode: u32,
    /// When it was changed: seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A folder; its content follows, one deeper.
    Folder,
    /// A file.
    File {
        /// Its size, in bytes.
        size: u64,
        /// What of that is not in holes, in bytes.
        stored: u64,
    },
    /// A symbolic link.
    Symlink {
        /// What it says.
        target: Vec<u8>,
    },
}

/// From the sender to the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToReceiver {
    /// The first message.
    Offer(Offer),
    /// A part of the manifest.
    Entries(Vec<Entry>),
    /// The manifest is complete.
    End,
    /// The data of a file follows.
    File {
        /// Which of the manifest's files, from 0.
        index: u64,
        /// From which byte on.
        offset: u64,
    },
    /// So many bytes of the current file are a hole.
    Hole(u64),
    /// The current file is complete; the hash of all of it.
    FileEnd([u8; 32]),
    /// The current file changed or failed while it was sent: what came of it is void.
    FileVoid,
    /// The sender reads; nothing to send at the moment.
    Working,
    /// All files were sent.
    Done,
    /// The sender does not go on.
    Failed(Why),
}

/// From the receiver to the sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToSender {
    /// A person is being asked.
    Waiting,
    /// Go on with the manifest.
    Accepted,
    /// No.
    Rejected(Why),
    /// These files are there already: index of the first, and of the one after the last, rising.
    Have(Vec<(u64, u64)>),
    /// The beginning of this file is there.
    Part {
        /// Which file.
        index: u64,
        /// How many bytes.
        length: u64,
        /// Their hash.
        hash: [u8; 32],
    },
    /// Go on with the data.
    Ready,
    /// Everything is in its place.
    Complete,
    /// The receiver does not go on.
    Failed(Why),
}

/// A frame with a message.
pub fn message_frame<T: Serialize>(message: &T) -> Result<Vec<u8>> {
    let body =
        postcard::to_allocvec(message).map_err(|_| TransferError::Protocol { what: "a message that cannot be encoded" })?;
    if body.len() > MAX_MESSAGE {
        return Err(TransferError::Protocol { what: "a message that is too long" });
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// A frame with data.
pub fn data_frame(data: &[u8]) -> Vec<u8> {
    let mut frame = vec![1];
    frame.extend_from_slice(&(data.len() as u32).to_be_bytes());
    frame.extend_from_slice(data);
    frame
}

/// What a frame's header says: whether it is data, and how long the body is.
pub(crate) fn header(bytes: [u8; HEADER]) -> Result<(bool, usize)> {
    let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
    match bytes[0] {
        0 if length <= MAX_MESSAGE => Ok((false, length)),
        1 if length <= MAX_DATA => Ok((true, length)),
        0 | 1 => Err(TransferError::Protocol { what: "a frame that is too long" }),
        _ => Err(TransferError::Protocol { what: "a frame of an unknown kind" }),
    }
}

/// The message in a frame's body; nothing may be left over.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(TransferError::Protocol { what: "bytes after a message" }),
        Err(_) => Err(TransferError::Protocol { what: "a message that cannot be read" }),
    }
}
