//! Whole copies of a database while it is in use.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use crate::{Error, Result, failpoint, files};

/// Copies what `source` is at this moment to `to`, which must not exist. After a crash `to` is there whole or not at all.
pub(crate) fn copy(source: &Connection, to: &Path) -> Result<u64> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(Error::BackupExists { path: to.to_owned() });
    }
    if let Some(parent) = to.parent() {
        files::make_dir(parent)?;
    }
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
    let temporary = to.with_file_name(name);
    let copied = fill(source, &temporary).and_then(|()| {
        failpoint::hit("library.backup.rename").map_err(Error::io(to))?;
        files::rename_new(&temporary, to)
    });
    if copied.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    copied?;
    Ok(fs::metadata(to).map_err(Error::io(to))?.len())
}

fn fill(source: &Connection, to: &Path) -> Result<()> {
    let db = |e| Error::db(to)(e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(to, flags).map_err(db)?;
    // All pages in one step: the copy is of one moment. Writers go on meanwhile.
    Backup::new(source, &mut target).and_then(|backup| backup.step(-1)).map_err(db)?;
    let journal: String = target.query_row("PRAGMA journal_mode = delete", [], |row| row.get(0)).map_err(db)?;
    let check: String = target.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(db)?;
    if check != "ok" || journal != "delete" {
        return Err(Error::BadFile { path: to.to_owned(), why: format!("the copy is not whole: {check}") });
    }
    target.close().map_err(|(_, e)| db(e))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(Error::io(to))
}

/// Where a database is copied before its schema is changed: `backups/NAME-vN-TIME.db` beside it.
pub(crate) fn before_migration(database: &Path, version: i64) -> PathBuf {
    let stem = database.file_stem().unwrap_or_default().to_string_lossy();
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ");
    database.with_file_name("backups").join(format!("{stem}-v{version}-{time}.db"))
}
