//! Where a transfer is put together: a folder of its own beneath the target, on the same file system.
//!
//! Everything is opened relative to a folder that is held open, one component at a time, and with `openat2`
//! (beneath, no symlinks) where the kernel has it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec, Timestamps,
};
use rustix::io::Errno;

use spacedrive_core::names::numbered;

use super::error::{Result, TransferError};

/// How many names are tried for an entry whose name is taken.
const NAMES: u32 = 10_000;
/// 1 January 2100: later times are not believed.
const LATEST: i64 = 4_102_444_800;

/// The staging folder of one transfer, locked against a second receiver.
#[derive(Debug)]
pub(crate) struct Stage {
    root: OwnedFd,
    path: PathBuf,
    name: OsString,
    folder: OwnedFd,
    pub(crate) tree: OwnedFd,
}

/// The name of a staging folder. The device is part of it, so that no device can continue what another began.
pub fn stage_name(from: &[u8], id: &[u8; 16]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("spacedrive 2026 staging folder of a transfer");
    hasher.update(id).update(from);
    format!(".spacedrop-{}", &hasher.finalize().to_hex()[..32])
}

impl Stage {
    /// Opens or makes the staging folder of transfer `id` of the device `from` in the folder `path`, which must
    /// exist.
    pub(crate) fn open(path: &Path, from: &[u8], id: &[u8; 16]) -> Result<Self> {
        let io = |error: Errno| TransferError::io(path)(error);
        let root =
            rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(io)?;
        let name = OsString::from(stage_name(from, id));
        let folder = make_folder(root.as_fd(), name.as_bytes()).map_err(io)?;
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(TransferError::Busy),
            Err(error) => return Err(io(error)),
        }
        // Whoever held the lock before may have finished and removed the folder.
        let same = rustix::fs::statat(&root, &name, AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|now| rustix::fs::fstat(&folder).map(|mine| (mine.st_dev, mine.st_ino) == (now.st_dev, now.st_ino)))
            .unwrap_or(false);
        if !same {
            return Err(TransferError::Busy);
        }
        let tree = make_folder(folder.as_fd(), b"tree").map_err(io)?;
        Ok(Self { root, path: path.to_owned(), name, folder, tree })
    }

    /// The staging folder's path, for an unnamed temporary file.
    pub(crate) fn path(&self) -> PathBuf {
        self.path.join(&self.name)
    }

    /// The target folder.
    pub(crate) fn target(&self) -> &Path {
        &self.path
    }

    /// What may still be written on the file system, in bytes and in files (`None`: it does not say).
    pub(crate) fn free(&self) -> Result<(u64, Option<u64>)> {
        let stat = rustix::fs::fstatvfs(&self.folder).map_err(TransferError::io(&self.path))?;
        Ok((stat.f_bavail.saturating_mul(stat.f_frsize), (stat.f_files > 0).then_some(stat.f_favail)))
    }

    /// Makes what was staged durable, so that no file has its name without its bytes after a power cut.
    pub(crate) fn sync(&self) -> Result<()> {
        #[cfg(target_os = "linux")]
        let synced = rustix::fs::syncfs(&self.folder);
        #[cfg(not(target_os = "linux"))]
        let synced = rustix::fs::fsync(&self.folder);
        synced.map_err(TransferError::io(&self.path))
    }

    /// Makes the names in the target folder durable.
    pub(crate) fn sync_names(&self) -> Result<()> {
        rustix::fs::fsync(&self.root).map_err(TransferError::io(&self.path))
    }

    /// Whether all of it had arrived and publishing had begun.
    pub(crate) fn is_done(&self) -> bool {
        rustix::fs::statat(&self.folder, "done", AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Notes that all of it is here: from now on only publishing is left.
    pub(crate) fn set_done(&self) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&self.folder, "done", flags, Mode::RUSR | Mode::WUSR).map(drop).map_err(TransferError::io(&self.path))
    }

    /// Moves the entry `name` from the tree to the target, under its name or `name (2).ext`. `None` when it is
    /// not in the tree (it was moved before a kill).
    pub(crate) fn publish(&self, name: &[u8]) -> Result<Option<OsString>> {
        for number in 1..=NAMES {
            let to = if number == 1 { OsStr::from_bytes(name).to_owned() } else { numbered(OsStr::from_bytes(name), number) };
            match self.rename_new(OsStr::from_bytes(name), &to) {
                Ok(()) => return Ok(Some(to)),
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::ISDIR | Errno::NOTDIR) => {}
                Err(error) => return Err(TransferError::io(self.path.join(&to))(error)),
            }
        }
        Err(TransferError::io(self.path.join(OsStr::from_bytes(name)))(Errno::EXIST))
    }

    fn rename_new(&self, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
        match rustix::fs::renameat_with(&self.tree, from, &self.root, to, RenameFlags::NOREPLACE) {
            // File systems without RENAME_NOREPLACE (NFS, some FUSE): a hard link never replaces anything
            // either; for a folder mkdir does not, and a rename onto an empty folder is then ours.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let stat = rustix::fs::statat(&self.tree, from, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    rustix::fs::mkdirat(&self.root, to, Mode::RWXU)?;
                    rustix::fs::renameat(&self.tree, from, &self.root, to)
                } else {
                    rustix::fs::linkat(&self.tree, from, &self.root, to, AtFlags::empty())?;
                    rustix::fs::unlinkat(&self.tree, from, AtFlags::empty())
                }
            }
            other => other,
        }
    }

    /// Removes the staging folder with what is left in it.
    pub(crate) fn remove(self) -> Result<()> {
        remove_in(self.root.as_fd(), &self.name).map_err(TransferError::io(&self.path))
    }
}

/// Opens exactly `name` in `folder`.
fn open_beneath(folder: BorrowedFd<'_>, name: &[u8], flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let name = OsStr::from_bytes(name);
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(folder, name, flags, mode, resolve) {
        // A kernel before 5.6, or a sandbox: one component and NOFOLLOW says the same.
        Err(Errno::NOSYS) => rustix::fs::openat(folder, name, flags, mode),
        other => other,
    }
}

/// Makes the folder `name`, or takes the one that is there.
pub(crate) fn make_folder(folder: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let os = OsStr::from_bytes(name);
    match rustix::fs::mkdirat(folder, os, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    match open_beneath(folder, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => {
            rustix::fs::unlinkat(folder, os, AtFlags::empty())?;
            rustix::fs::mkdirat(folder, os, Mode::RWXU)?;
            open_beneath(folder, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
        }
        other => other,
    }
}

/// The file `name` to write on from `offset`; with 0 a new one, in the place of whatever is there.
pub(crate) fn open_part(folder: BorrowedFd<'_>, name: &[u8], offset: u64) -> rustix::io::Result<File> {
    if offset > 0 {
        let file = File::from(open_beneath(folder, name, OFlags::RDWR, Mode::empty())?);
        rustix::fs::ftruncate(&file, offset)?;
        return Ok(file);
    }
    let create = || open_beneath(folder, name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR);
    match create() {
        Err(Errno::EXIST) => {
            remove_in(folder, OsStr::from_bytes(name))?;
            create().map(File::from)
        }
        other => other.map(File::from),
    }
}

/// The file `name` of an earlier try, which may have got its final mode already.
pub(crate) fn reopen_part(folder: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<File> {
    rustix::fs::chmodat(folder, OsStr::from_bytes(name), Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    open_beneath(folder, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).map(File::from)
}

/// Whether a file is complete: the time is set last.
pub(crate) fn is_finished(stat: &Stat, size: u64, modified: (i64, u32)) -> bool {
    let time = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
    stat.st_size.cast_unsigned() == size && time == believable(modified)
}

/// Opens the folder `name`, if it is one.
pub(crate) fn open_folder(folder: BorrowedFd<'_>, name: &[u8]) -> Option<OwnedFd> {
    open_beneath(folder, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).ok()
}

/// What is there under `name`, if it is a file.
pub(crate) fn stat_file(folder: BorrowedFd<'_>, name: &[u8]) -> Option<Stat> {
    let stat = rustix::fs::statat(folder, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(stat)
}

/// Makes the symlink `name`, in the place of whatever is there.
pub(crate) fn make_link(folder: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> rustix::io::Result<()> {
    let (name, target) = (OsStr::from_bytes(name), OsStr::from_bytes(target));
    match rustix::fs::symlinkat(target, folder, name) {
        Err(Errno::EXIST) => {
            remove_in(folder, name)?;
            rustix::fs::symlinkat(target, folder, name)
        }
        other => other,
    }
}

/// Sets mode and time, the time last: it says that the file is complete.
pub(crate) fn finish_meta(fd: BorrowedFd<'_>, mode: u32, modified: (i64, u32)) -> rustix::io::Result<()> {
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))?;
    let (seconds, nanoseconds) = believable(modified);
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    rustix::fs::futimens(fd, &Timestamps { last_access: time, last_modification: time })
}

/// The time as it is set: between 1970 and 2100.
pub(crate) fn believable((seconds, nanoseconds): (i64, u32)) -> (i64, u32) {
    (seconds.clamp(0, LATEST), if nanoseconds < 1_000_000_000 { nanoseconds } else { 0 })
}

/// Removes `name` and, if it is a folder, all in it. Follows no symlink.
pub(crate) fn remove_in(folder: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let dir = open_beneath(folder, name.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            remove_in(dir.as_fd(), OsStr::from_bytes(name))?;
        }
    }
    rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}
