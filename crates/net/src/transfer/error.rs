//! What can go wrong in a transfer; each variant names the fact.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The result of this module.
pub type Result<T, E = TransferError> = std::result::Result<T, E>;

/// Why a side does not go on, as one tells the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Why {
    /// The person, or the setting for this device, said no.
    Declined,
    /// A name or the order of the manifest is not allowed.
    Manifest,
    /// It is more than the receiver takes.
    TooMuch,
    /// The receiver has not enough space.
    DiskFull,
    /// What came is not what was announced.
    Verification,
    /// The same transfer runs already.
    Busy,
    /// A side was told to stop.
    Cancelled,
    /// The device may not do this.
    Denied,
    /// Something else failed on that side.
    Failed,
}

/// A transfer that did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The other side broke the protocol.
    #[error("the other device broke the transfer protocol: {what}")]
    Protocol {
        /// What was wrong.
        what: &'static str,
    },
    /// A name in the manifest is not safe to write.
    #[error("unsafe name `{}`: {why}", name.escape_ascii())]
    UnsafeName {
        /// The name as it came.
        name: Vec<u8>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More than the limits allow.
    #[error("too much: {what}")]
    TooMuch {
        /// Which limit.
        what: &'static str,
    },
    /// Not enough space for what was announced.
    #[error("not enough space: needs {needed} bytes, {available} are free in {}", path.display())]
    DiskFull {
        /// Where it was to be written.
        path: PathBuf,
        /// What it needs, in bytes.
        needed: u64,
        /// What is free, in bytes.
        available: u64,
    },
    /// The content is not what the other side announced.
    #[error("`{}` did not arrive as it was sent: its hash differs", name.escape_ascii())]
    Verification {
        /// The file's name.
        name: Vec<u8>,
    },
    /// Another task receives the same transfer.
    #[error("this transfer is being received already")]
    Busy,
    /// The other side said that it does not go on.
    #[error("the other device ended the transfer: {why:?}")]
    Refused {
        /// Its reason.
        why: Why,
    },
    /// The connection ended.
    #[error("the connection to the other device was lost")]
    Lost,
    /// Nothing came for too long.
    #[error("the other device fell silent")]
    Silent,
    /// Two things to send have the same name.
    #[error("two of the things to send are called `{}`", name.escape_ascii())]
    SameName {
        /// The name.
        name: Vec<u8>,
    },
    /// An operation on a file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder, as far as it is known.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl TransferError {
    pub(crate) fn io<E: Into<std::io::Error>>(path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source: source.into() }
    }

    /// What the other side is told.
    pub(crate) fn why(&self) -> Why {
        match self {
            Self::Protocol { .. } | Self::UnsafeName { .. } => Why::Manifest,
            Self::TooMuch { .. } => Why::TooMuch,
            Self::DiskFull { .. } => Why::DiskFull,
            Self::Verification { .. } => Why::Verification,
            Self::Busy => Why::Busy,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => Why::DiskFull,
            _ => Why::Failed,
        }
    }

    /// Whether trying again later, without anybody doing anything, may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Lost | Self::Silent | Self::Busy | Self::Refused { why: Why::Busy })
    }
}
