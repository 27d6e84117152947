//! Reading the disk: folders and the facts of their entries. Nothing is opened but folders, nothing is followed, nothing is
//! written.

use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags, openat, openat2, statx};
use rustix::io::Errno;
use spacedrive_api::EntryKind;

use super::row::{Facts, Scanned};

/// The size of the buffer that names are read into.
const BUFFER: usize = 32 * 1024;

/// The longest piece of a path that is opened at once; longer ones are walked piece by piece.
const PIECE: usize = 3800;

/// What identifies a folder on this machine while it is mounted.
pub(crate) type FolderId = (u64, u64);

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

const MASK: StatxFlags = StatxFlags::TYPE.union(StatxFlags::SIZE).union(StatxFlags::MTIME).union(StatxFlags::INO);

/// Opens the folder of a location.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, FOLDER, Mode::empty())
}

/// Opens a folder below `root` without following any link on the way, however long its path is.
pub(crate) fn open_folder(root: &OwnedFd, relative: &[u8]) -> Result<OwnedFd, Errno> {
    open_below(root, relative, FOLDER)
}

/// Opens `relative` below `root` with `flags`, following no link.
pub(crate) fn open_below(root: &OwnedFd, relative: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if relative.is_empty() {
        return openat(root, c".", flags, Mode::empty());
    }
    let mut base: Option<OwnedFd> = None;
    let mut rest = relative;
    while rest.len() > PIECE {
        let cut = rest[..PIECE].iter().rposition(|&b| b == b'/').ok_or(Errno::NAMETOOLONG)?;
        let next = open_one(base.as_ref().unwrap_or(root), &rest[..cut], FOLDER)?;
        base = Some(next);
        rest = &rest[cut + 1..];
    }
    open_one(base.as_ref().unwrap_or(root), rest, flags)
}

fn open_one(base: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = OsStr::from_bytes(path);
    match openat2(base, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS) {
        // Kernels before 5.6 and sandboxes without it: the last part is not followed at least.
        Err(Errno::NOSYS | Errno::PERM) => openat(base, path, flags, Mode::empty()),
        other => other,
    }
}

/// Device and inode of an open folder, and its time.
pub(crate) fn identify(folder: impl AsFd) -> Result<(FolderId, i64), Errno> {
    let stat = statx(folder, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, MASK)?;
    Ok((id_of(&stat), mtime_of(&stat)))
}

/// Device and inode of what is at `path`, links not followed.
pub(crate) fn identify_path(path: &Path) -> Result<FolderId, Errno> {
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC, MASK)?;
    Ok(id_of(&stat))
}

/// Device (major, minor) and inode of a file: where its bytes lie on this machine.
pub(crate) type FileId = (u32, u32, u64);

/// Size, time and identity of what is at `path`, links not followed.
pub(crate) fn look_up(path: &Path) -> Result<(u64, i64, FileId), Errno> {
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC, MASK)?;
    Ok((stat.stx_size, mtime_of(&stat), (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino)))
}

fn id_of(stat: &Statx) -> FolderId {
    (device_of(stat), stat.stx_ino)
}

fn device_of(stat: &Statx) -> u64 {
    rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

pub(crate) fn mtime_of(stat: &Statx) -> i64 {
    stat.stx_mtime.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(stat.stx_mtime.tv_nsec))
}

/// Reads folders, with a buffer that is used again for each.
pub(crate) struct Reader {
    buffer: Vec<MaybeUninit<u8>>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![MaybeUninit::uninit(); BUFFER] }
    }

    /// All entries of the open folder, sorted by name, into `out`; `device` is the folder's own. An entry that vanished
    /// meanwhile is left out; one that cannot be looked at has no facts, and is told to `failed`.
    pub(crate) fn list(
        &mut self,
        folder: &OwnedFd,
        device: u64,
        out: &mut Vec<Scanned>,
        mut failed: impl FnMut(&[u8], Errno),
    ) -> Result<(), Errno> {
        out.clear();
        let mut names = RawDir::new(folder, &mut self.buffer);
        while let Some(entry) = names.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                look(folder, name, device, out, &mut failed);
            }
        }
        // A name that was renamed while it was listed can come twice.
        out.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        out.dedup_by(|a, b| a.name == b.name);
        Ok(())
    }
}

/// Those of `names` (sorted, each once) that are in the open folder, into `out`.
pub(crate) fn look_at(
    folder: &OwnedFd,
    device: u64,
    names: &[Box<[u8]>],
    out: &mut Vec<Scanned>,
    mut failed: impl FnMut(&[u8], Errno),
) {
    out.clear();
    for name in names {
        if let Ok(name) = std::ffi::CString::new(&name[..]) {
            look(folder, &name, device, out, &mut failed);
        }
    }
}

fn look(folder: &OwnedFd, name: &CStr, device: u64, out: &mut Vec<Scanned>, failed: &mut impl FnMut(&[u8], Errno)) {
    let at = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let facts = match statx(folder, name, at, MASK) {
        Ok(stat) => Some(facts_of(&stat, device)),
        Err(Errno::NOENT) => return,
        Err(error) => {
            failed(name.to_bytes(), error);
            None
        }
    };
    out.push(Scanned { name: name.to_bytes().into(), facts });
}

fn facts_of(stat: &Statx, device: u64) -> Facts {
    let kind = match rustix::fs::FileType::from_raw_mode(stat.stx_mode.into()) {
        rustix::fs::FileType::RegularFile => EntryKind::File,
        rustix::fs::FileType::Directory => EntryKind::Dir,
        rustix::fs::FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    Facts {
        kind,
        size: if kind == EntryKind::File { stat.stx_size } else { 0 },
        mtime: mtime_of(stat),
        inode: stat.stx_ino,
        mount: kind == EntryKind::Dir && device_of(stat) != device,
    }
}
