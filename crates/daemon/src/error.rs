//! The only place that turns the errors of `core` and `net` into the one that crosses the socket.

use spacedrive_api::{ApiError, ErrorKind};
use spacedrive_core::Error;
use spacedrive_net::transfer::{TransferError, Why};

/// The kind, text and hint of an error of `core`.
pub(crate) fn from_core(error: Error) -> ApiError {
    let message = error.to_string();
    match error {
        Error::InvalidLibraryName { .. } | Error::RelativePath { .. } => ApiError::invalid(message),
        Error::BadRequest { .. } | Error::UnsafeName { .. } => ApiError::invalid(message),
        Error::LibraryNotFound { nearest, .. } if nearest.is_empty() => {
            ApiError::not_found(message).hint("spacedrive library list")
        }
        Error::LibraryNotFound { nearest, .. } => {
            ApiError::not_found(message).hint(format!("did you mean `{}`?", nearest.join("` or `")))
        }
        Error::NotInTrash { nearest, .. } if nearest.is_empty() => ApiError::not_found(message),
        Error::NotInTrash { nearest, .. } => {
            ApiError::not_found(message).hint(format!("did you mean `{}`?", nearest.join("` or `")))
        }
        Error::LibraryAmbiguous { .. } => ApiError::not_found(message).hint("use the id: spacedrive library list"),
        Error::LibraryExists { .. } => ApiError::conflict(message),
        Error::LibraryDamaged { .. } => {
            ApiError::storage(message).hint("nothing in it was changed; restore it from a backup, or delete it")
        }
        Error::NotALibrary { .. } | Error::LibraryMissing { .. } => ApiError::not_found(message),
        Error::LibraryLocked { .. } => ApiError::conflict(message),
        Error::LibraryClosed { .. } => ApiError::conflict(message),
        Error::LocationNotFound { nearest, .. } if !nearest.is_empty() => {
            ApiError::not_found(message).hint(format!("did you mean `{}`?", nearest.join("` or `")))
        }
        Error::LocationNotFound { .. } | Error::LocationAmbiguous { .. } => {
            ApiError::not_found(message).hint("spacedrive location list")
        }
        Error::LocationExists { .. } => ApiError::conflict(message).hint("spacedrive location list"),
        Error::LocationInside { path, .. } => {
            ApiError::conflict(message).hint(format!("to index it again: spacedrive scan '{}'", path.display()))
        }
        Error::InvalidLocationName { .. } | Error::BadPattern { .. } | Error::NotAFolder { .. } | Error::OwnData { .. } => {
            ApiError::invalid(message)
        }
        Error::LocationOffline { .. } => ApiError::storage(message).hint("nothing of it was forgotten; bring the disk back"),
        Error::NoSuchFolder { .. } => ApiError::not_found(message),
        Error::JobNotFound { .. } | Error::JobAmbiguous { .. } => ApiError::not_found(message).hint("spacedrive job list"),
        Error::JobEnded { .. } => ApiError::conflict(message),
        Error::BackupExists { .. } => ApiError::conflict(message).hint("name another file"),
        Error::Interrupted => ApiError::new(ErrorKind::Interrupted, message),
        Error::NoSpace { .. } => ApiError::storage(message).hint("free some space; nothing was changed"),
        Error::NoTrash { .. } => ApiError::conflict(message).hint("say --permanent to delete it for good"),
        Error::NothingToUndo => ApiError::not_found(message),
        Error::CannotUndo { .. } => ApiError::conflict(message),
        Error::Newer { .. } => ApiError::version(message).hint("install the newer version of spacedrive"),
        Error::BadFile { .. } | Error::Migration { .. } => ApiError::storage(message),
        Error::Database { ref path, ref source } => database(path, source, message),
        Error::Io { path, source } => ApiError::io(path.display(), &source),
        _ => ApiError::new(ErrorKind::Failed, message),
    }
}

fn database(path: &std::path::Path, source: &spacedrive_core::DatabaseError, message: String) -> ApiError {
    use spacedrive_core::DatabaseFault as Fault;
    match spacedrive_core::database_fault(source) {
        Fault::DiskFull => {
            ApiError::storage(format!("{}: the disk is full", path.display())).hint("free some space; nothing was changed")
        }
        Fault::ReadOnly => ApiError::storage(format!("{}: the file system is read-only", path.display())),
        Fault::Damaged => ApiError::storage(message).hint("restore it from a backup"),
        Fault::Io => ApiError::storage(message),
        Fault::Busy => ApiError::unreachable(format!("{}: another program keeps the database busy", path.display())),
        Fault::Other => ApiError::failed(message),
    }
}

/// The kind, text and hint of an error of `net`.
pub(crate) fn from_net(error: spacedrive_net::Error) -> ApiError {
    use spacedrive_net::Error as Net;
    let message = error.to_string();
    let new_code = "make a new code on the other device: spacedrive network pair generate";
    match error {
        Net::Core(error) => from_core(error),
        Net::Io { path, source } => ApiError::io(path.display(), &source),
        Net::Off => ApiError::refused(message).hint("spacedrive network start"),
        Net::Uninitialised => ApiError::refused(message).hint("spacedrive network init"),
        Net::Locked => ApiError::refused(message).hint("spacedrive network init"),
        Net::WrongPassword | Net::IdentityDamaged { .. } => ApiError::refused(message),
        Net::PasswordNeeded => ApiError::refused(message).hint("give the password"),
        Net::EmptyPassword => ApiError::invalid(message).hint("say --no-password if the identity shall not be sealed"),
        Net::CodeWord { nearest, .. } if !nearest.is_empty() => {
            ApiError::invalid(message).hint(format!("did you mean `{}`?", nearest.join("` or `")))
        }
        Net::CodeWord { .. } | Net::CodeWordCount { .. } | Net::CodeChecksum | Net::BadLifetime { .. } => {
            ApiError::invalid(message)
        }
        Net::Unreachable { .. } => ApiError::unreachable(message).hint("spacedrive network devices"),
        Net::OwnCode | Net::NoAnswer => ApiError::refused(message),
        Net::AlreadyUsed { .. } | Net::Rejected | Net::NoDecision | Net::BadProof | Net::NotCompleted => {
            ApiError::refused(message).hint(new_code)
        }
        Net::Version { .. } => ApiError::version(message).hint("install the same version of spacedrive on both devices"),
        Net::TooManyCodes { .. } => ApiError::conflict(message).hint("spacedrive network pair status"),
        Net::SessionNotFound { .. } | Net::SessionAmbiguous { .. } => {
            ApiError::not_found(message).hint("spacedrive network pair status")
        }
        Net::NotPending { .. } => ApiError::conflict(message).hint("spacedrive network pair list-pending"),
        Net::DeviceNotFound { nearest, .. } if !nearest.is_empty() => {
            ApiError::not_found(message).hint(format!("did you mean `{}`?", nearest.join("` or `")))
        }
        Net::DeviceNotFound { .. } | Net::DeviceAmbiguous { .. } => {
            ApiError::not_found(message).hint("spacedrive network devices")
        }
        _ => ApiError::new(ErrorKind::Failed, message),
    }
}

/// The kind, text and hint of a transfer's error.
pub(crate) fn from_transfer(error: TransferError) -> ApiError {
    let message = error.to_string();
    match error {
        TransferError::Io { path, source } => ApiError::io(path.display(), &source),
        TransferError::SameName { .. } => ApiError::invalid(message).hint("send them one after the other"),
        TransferError::TooMuch { .. } | TransferError::UnsafeName { .. } => ApiError::refused(message),
        TransferError::DiskFull { .. } => ApiError::storage(message),
        TransferError::Verification { .. } => ApiError::new(ErrorKind::Verification, message),
        TransferError::Busy => ApiError::conflict(message),
        TransferError::Lost | TransferError::Silent => ApiError::unreachable(message),
        TransferError::Refused { why } => match why {
            Why::DiskFull => ApiError::storage("the other device has not enough space"),
            Why::Verification => ApiError::new(ErrorKind::Verification, "what arrived at the other device is not what was sent"),
            Why::Declined => ApiError::refused("the other device declined it"),
            Why::Denied => ApiError::refused("the other device does not allow this"),
            Why::TooMuch => ApiError::refused("it is more than the other device takes"),
            Why::Manifest => ApiError::refused("the other device refused a name in it"),
            Why::Cancelled => ApiError::new(ErrorKind::Interrupted, "it was stopped"),
            _ => ApiError::failed("the other device could not go on; its log says more"),
        },
        _ => ApiError::failed(message),
    }
}
