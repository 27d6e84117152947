//! The only place that turns a kind of error into an exit code. The table is in `docs/exit-codes.md`.

use spacedrive_api::ErrorKind;

/// The exit code of a kind of error.
pub(crate) fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Invalid => 2,
        ErrorKind::NotRunning => 3,
        ErrorKind::NotFound => 4,
        ErrorKind::Refused => 5,
        ErrorKind::Conflict => 6,
        ErrorKind::Storage => 7,
        ErrorKind::Unreachable => 8,
        ErrorKind::Version => 9,
        ErrorKind::Partial => 10,
        ErrorKind::Verification => 11,
        ErrorKind::Interrupted => 130,
        _ => 1,
    }
}
