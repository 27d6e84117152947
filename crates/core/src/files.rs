//! Folders, locks and small files, done so that a crash leaves the old or the new state.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::{Error, Result};

/// Makes `dir` and its parents, mode 0700, if they are missing.
pub fn make_dir(dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Error::io(dir))
}

/// Makes `dir` durable: its entries survive a power cut.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io(dir))
}

/// Takes the lock file `path` for as long as the returned file lives. `None` when another process holds it.
pub fn try_lock(path: &Path) -> Result<Option<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(Error::io(path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Error::io(path)(error)),
    }
}

/// Renames `from` to `to`, which must not exist, and makes it durable.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // File systems without RENAME_NOREPLACE (NFS, some FUSE): check first.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !to.exists() => {
            fs::rename(from, to).map_err(Error::io(to))?
        }
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            return Err(Error::io(to)(io::Error::from(io::ErrorKind::AlreadyExists)));
        }
        Err(error) => return Err(Error::io(to)(error.into())),
    }
    to.parent().map_or(Ok(()), sync_dir)
}
