//! What can go wrong in here; each variant names the fact.

use std::path::{Path, PathBuf};

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, with the thing that it concerns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that no library may have.
    #[error("invalid library name `{}`: {why}", shown(name))]
    InvalidLibraryName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No library goes by this name, id or prefix.
    #[error("no library `{}`", shown(query))]
    LibraryNotFound {
        /// What was asked for.
        query: String,
        /// The names that are nearest to it.
        nearest: Vec<String>,
    },
    /// More than one library goes by this name or prefix.
    #[error("`{}` is ambiguous: it names {}", shown(query), candidates.join(", "))]
    LibraryAmbiguous {
        /// What was asked for.
        query: String,
        /// The ids that it could mean.
        candidates: Vec<String>,
    },
    /// There is a library of this name already.
    #[error("a library `{}` exists already: {}", name.escape_debug(), path.display())]
    LibraryExists {
        /// The name.
        name: String,
        /// Where it lies.
        path: PathBuf,
    },
    /// No deleted thing goes by this name.
    #[error("nothing named `{}` is in the trash", query.escape_debug())]
    NotInTrash {
        /// What was asked for.
        query: String,
        /// The names that are nearest to it.
        nearest: Vec<String>,
    },
    /// The library cannot be used as it is; nothing in it was touched.
    #[error("library at {} is damaged: {why}", path.display())]
    LibraryDamaged {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A path that depends on the folder that a process happens to be in.
    #[error("path `{}` is not absolute", path.display())]
    RelativePath {
        /// The path.
        path: PathBuf,
    },
    /// The library's folder is not a library.
    #[error("{} is not a library: it has no library.json", path.display())]
    NotALibrary {
        /// The folder.
        path: PathBuf,
    },
    /// The library's folder is gone.
    #[error("library folder {} is not there", path.display())]
    LibraryMissing {
        /// The folder.
        path: PathBuf,
    },
    /// Another daemon has the library open.
    #[error("library at {} is in use by another daemon", path.display())]
    LibraryLocked {
        /// Its folder.
        path: PathBuf,
    },
    /// The library is closed.
    #[error("library `{}` is closed", name.escape_debug())]
    LibraryClosed {
        /// Its name.
        name: String,
    },
    /// A file was written by a newer version.
    #[error("{} was written by a newer version ({found}; this one knows up to {known}): nothing was changed", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found in it.
        found: i64,
        /// The newest version that this build knows.
        known: i64,
    },
    /// The configuration or another small file cannot be read as what it is.
    #[error("{}: {why}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where there is one.
        why: String,
    },
    /// A database failed.
    #[error("database {}: {source}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A migration failed; the database is as it was.
    #[error("database {}: migration failed: {why}", path.display())]
    Migration {
        /// The database.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// No location goes by this name, id, prefix or path.
    #[error("no location `{}`", query.escape_debug())]
    LocationNotFound {
        /// What was asked for.
        query: String,
        /// The names that are nearest to it.
        nearest: Vec<String>,
    },
    /// More than one location goes by this name or prefix.
    #[error("`{}` is ambiguous: it names {}", query.escape_debug(), candidates.join(", "))]
    LocationAmbiguous {
        /// What was asked for.
        query: String,
        /// The ids that it could mean.
        candidates: Vec<String>,
    },
    /// The folder, or the name, is a location already.
    #[error("{} cannot be added as `{}`: that is a location already, at {}", path.display(), name.escape_debug(), at.display())]
    LocationExists {
        /// The folder that was to be added.
        path: PathBuf,
        /// The name of the location that exists.
        name: String,
        /// Its folder.
        at: PathBuf,
    },
    /// The folder is part of a location already.
    #[error("{} is part of the location `{}` already: {}", path.display(), name.escape_debug(), at.display())]
    LocationInside {
        /// The folder that was to be added.
        path: PathBuf,
        /// The name of the location.
        name: String,
        /// Its folder.
        at: PathBuf,
    },
    /// A name that no location may have.
    #[error("invalid location name `{}`: 1 to 200 bytes without control characters", name.escape_debug())]
    InvalidLocationName {
        /// The name.
        name: String,
    },
    /// The folder of a location cannot be reached; what is known of it is kept.
    #[error("location {} is offline: {why}", path.display())]
    LocationOffline {
        /// Its folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The folder holds data of this program, which are never indexed.
    #[error("{} holds this program's own data", path.display())]
    OwnData {
        /// The folder.
        path: PathBuf,
    },
    /// There is nothing at the path.
    #[error("no such folder: {}", path.display())]
    NoSuchFolder {
        /// The path.
        path: PathBuf,
    },
    /// What is at the path is no folder.
    #[error("{} is not a folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// A word of a search is no expression.
    #[error("invalid pattern `{}`: {why}", pattern.escape_debug())]
    BadPattern {
        /// The word.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// No job goes by this id or prefix.
    #[error("no job `{}`", query.escape_debug())]
    JobNotFound {
        /// What was asked for.
        query: String,
    },
    /// More than one job goes by this prefix.
    #[error("`{}` is ambiguous: it names {}", query.escape_debug(), candidates.join(", "))]
    JobAmbiguous {
        /// What was asked for.
        query: String,
        /// The ids that it could mean.
        candidates: Vec<String>,
    },
    /// The job has ended, so there is nothing to pause, resume or cancel.
    #[error("job {id} has ended already: {status:?}")]
    JobEnded {
        /// Its id.
        id: uuid::Uuid,
        /// How it ended.
        status: spacedrive_api::JobStatus,
    },
    /// A job cannot be done as it was asked for.
    #[error("job `{kind}`: {why}")]
    BadJob {
        /// Its kind.
        kind: String,
        /// Why.
        why: String,
    },
    /// There is something at the path that a backup was to be written to.
    #[error("{} exists already", path.display())]
    BackupExists {
        /// The path.
        path: PathBuf,
    },
    /// The work was stopped: paused, cancelled, or the library is being closed.
    #[error("interrupted")]
    Interrupted,
    /// There is not enough space for what is to be written.
    #[error("disk full: need {need} bytes, have {have} in {}", path.display())]
    NoSpace {
        /// Where it was to go.
        path: PathBuf,
        /// What is needed, in bytes.
        need: u64,
        /// What is free, in bytes.
        have: u64,
    },
    /// A request to copy, move or delete that cannot be meant.
    #[error("{}: {why}", path.display())]
    BadRequest {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// The thing cannot go to the trash.
    #[error("{} cannot go to the trash: {why}", path.display())]
    NoTrash {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no copy, move or deletion left to undo.
    #[error("there is nothing to undo")]
    NothingToUndo,
    /// The last operation cannot be undone; nothing was changed.
    #[error("the last {action} cannot be undone: {}: {why}", path.display())]
    CannotUndo {
        /// `copy`, `move` or `delete`.
        action: &'static str,
        /// What stands in the way.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A name or path from elsewhere that could lead out of its folder, or that no file can have.
    #[error("unsafe name `{}`: {why}", name.escape_debug())]
    UnsafeName {
        /// The name, with U+FFFD for what is not UTF-8.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An operation on a file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Error {
    /// An I/O error at `path`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn db(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Database { path, source }
    }
}

/// What somebody typed, escaped and of a length that fits a line.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let cut = text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end]);
    format!("{}{}", cut.escape_debug(), if cut.len() < text.len() { "…" } else { "" })
}

/// What SQLite says.
pub type DatabaseError = rusqlite::Error;

/// The faults of a database that a person can do something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseFault {
    /// The disk is full.
    DiskFull,
    /// The file system is read-only.
    ReadOnly,
    /// The file is not what it should be.
    Damaged,
    /// The disk failed.
    Io,
    /// Another program holds it.
    Busy,
    /// None of these.
    Other,
}

/// Sorts an error of SQLite.
pub fn database_fault(error: &DatabaseError) -> DatabaseFault {
    use rusqlite::ErrorCode as Code;
    /// SQLITE_IOERR_SHMSIZE: there is no room for the index of the WAL.
    const SHM_SIZE: i32 = 10 | (19 << 8);
    if matches!(error, rusqlite::Error::SqliteFailure(code, _) if code.extended_code == SHM_SIZE) {
        return DatabaseFault::DiskFull;
    }
    match error.sqlite_error_code() {
        Some(Code::DiskFull) => DatabaseFault::DiskFull,
        Some(Code::ReadOnly | Code::CannotOpen) => DatabaseFault::ReadOnly,
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => DatabaseFault::Damaged,
        Some(Code::SystemIoFailure) => DatabaseFault::Io,
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => DatabaseFault::Busy,
        _ => DatabaseFault::Other,
    }
}
