//! The one error that crosses the socket.

use serde::{Deserialize, Serialize};

/// The result of a call.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// What went wrong, in a form that a program can act on. The command line maps each kind to one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// None of the others.
    Failed,
    /// The request itself is wrong: a bad name, a bad code, a bad option.
    Invalid,
    /// The daemon of the instance does not run.
    NotRunning,
    /// No such thing, or more than one thing goes by that name.
    NotFound,
    /// Locked, wrong password, wrong or used code, not paired, another user's.
    Refused,
    /// It exists already, or is in use.
    Conflict,
    /// Disk full, read-only, damaged.
    Storage,
    /// Nobody answered in time, or the other side is busy.
    Unreachable,
    /// The two sides speak different protocol versions.
    Version,
    /// Done in part: some items failed.
    Partial,
    /// What arrived is not what was announced.
    Verification,
    /// A person interrupted it.
    Interrupted,
    /// A kind that a newer version knows and this one does not.
    #[serde(other)]
    Unknown,
}

/// A failure: what and why in one line, and where there is one, the command that mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What a program needs to know.
    pub kind: ErrorKind,
    /// What a person needs to know: `what: why`, one line, naming the thing.
    pub message: String,
    /// The command or change that mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ApiError {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same error with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sorts an I/O error into `Storage` (full, read-only, failing disk), `Refused` (permission) or `Failed`.
    pub fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::StorageFull | Io::QuotaExceeded | Io::ReadOnlyFilesystem => ErrorKind::Storage,
            Io::PermissionDenied => ErrorKind::Refused,
            Io::NotFound => ErrorKind::NotFound,
            _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => ErrorKind::Storage,
            _ => ErrorKind::Failed,
        };
        Self::new(kind, format!("{what}: {}", plain(error)))
    }
}

/// The text of an I/O error without Rust's trailing `(os error 28)`.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident,)*) => {
        impl ApiError {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self { Self::new(ErrorKind::$kind, message) })*
        }
    };
}

constructors! {
    /// An [`ErrorKind::Failed`] error.
    failed => Failed,
    /// An [`ErrorKind::Invalid`] error.
    invalid => Invalid,
    /// An [`ErrorKind::NotRunning`] error.
    not_running => NotRunning,
    /// An [`ErrorKind::NotFound`] error.
    not_found => NotFound,
    /// An [`ErrorKind::Refused`] error.
    refused => Refused,
    /// An [`ErrorKind::Conflict`] error.
    conflict => Conflict,
    /// An [`ErrorKind::Storage`] error.
    storage => Storage,
    /// An [`ErrorKind::Unreachable`] error.
    unreachable => Unreachable,
    /// An [`ErrorKind::Version`] error.
    version => Version,
}
