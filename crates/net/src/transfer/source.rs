//! What is sent: folders and files, opened relative to a folder that is held open, never through a symlink.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::{Result, TransferError};
use super::frame::{Entry, Kind, Top};
use super::manifest::{check_name, is_inner_link};
use super::send::Skipped;
use super::spool::{Spool, SpoolWriter};

const MAX_DEPTH: u16 = 256;
const MAX_PATH: usize = 4095;

/// The things to send.
#[derive(Debug)]
pub struct Source {
    tops: Vec<SourceTop>,
}

#[derive(Debug)]
struct SourceTop {
    folder: OwnedFd,
    name: OsString,
    path: PathBuf,
}

/// A file as it was when the manifest was made; it must still be that when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    dev: u64,
    ino: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size.cast_unsigned(),
            modified: (stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            changed: (stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
        }
    }
}

/// A record of the sender's spool.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) entry: Entry,
    pub(crate) identity: Identity,
}

/// What the walk found.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) others: u64,
    pub(crate) bytes: u64,
    pub(crate) stored: u64,
    pub(crate) tops: Vec<Top>,
    pub(crate) skipped: Skipped,
}

impl Source {
    /// The files and folders at these paths, each under the last part of its path. A path may lead through
    /// symlinks; what lies beneath it is not followed.
    pub fn paths(paths: &[PathBuf]) -> Result<Self> {
        let mut tops = Vec::with_capacity(paths.len());
        for path in paths {
            let real = std::fs::canonicalize(path).map_err(TransferError::io(path))?;
            let (Some(folder), Some(name)) = (real.parent(), real.file_name()) else {
                return Err(TransferError::io(path)(Errno::INVAL));
            };
            let folder = open_folder(CWD, folder.as_os_str(), false).map_err(TransferError::io(folder))?;
            tops.push(SourceTop { folder, name: name.to_owned(), path: real.clone() });
        }
        Self::new(tops)
    }

    /// Entries of a folder that is open already.
    pub fn entries(folder: &OwnedFd, path: &Path, names: &[OsString]) -> Result<Self> {
        let tops = names.iter().map(|name| {
            let folder = folder.try_clone().map_err(TransferError::io(path))?;
            Ok(SourceTop { folder, name: name.clone(), path: path.join(name) })
        });
        Self::new(tops.collect::<Result<_>>()?)
    }

    fn new(mut tops: Vec<SourceTop>) -> Result<Self> {
        tops.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        match tops.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(TransferError::SameName { name: pair[0].name.as_bytes().to_vec() }),
            None => Ok(Self { tops }),
        }
    }

    pub(crate) fn folder(&self, top: usize) -> Option<BorrowedFd<'_>> {
        self.tops.get(top).map(|top| top.folder.as_fd())
    }

    /// Walks everything once, in the order of the manifest.
    pub(crate) fn scan(&self, scratch: &Path) -> Result<(Spool<Record>, Totals)> {
        let mut walk = Walk { spool: SpoolWriter::create(scratch)?, totals: Totals::default() };
        for top in &self.tops {
            check_name(top.name.as_bytes())?;
            // What a person named must be there: it is not skipped silently.
            let stat =
                rustix::fs::statat(&top.folder, &top.name, AtFlags::SYMLINK_NOFOLLOW).map_err(TransferError::io(&top.path))?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if !matches!(kind, FileType::RegularFile | FileType::Directory) {
                return Err(TransferError::io(&top.path)(Errno::INVAL));
            }
            if walk.totals.tops.len() < super::frame::MAX_TOPS {
                let shown = Top { name: top.name.as_bytes().to_vec(), folder: kind == FileType::Directory };
                walk.totals.tops.push(shown);
            }
            walk.entry(top.folder.as_fd(), &top.name, 0, &top.path)?;
        }
        Ok((walk.spool.finish()?, walk.totals))
    }
}

struct Walk {
    spool: SpoolWriter<Record>,
    totals: Totals,
}

impl Walk {
    fn entry(&mut self, folder: BorrowedFd<'_>, name: &OsStr, depth: u16, path: &Path) -> Result<()> {
        let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return self.skip(path, std::io::Error::from(error).to_string()),
        };
        if depth > MAX_DEPTH || path.as_os_str().len() > MAX_PATH {
            return self.skip(path, "it lies too deep".to_owned());
        }
        // The receiver would refuse all of it.
        if let Err(TransferError::UnsafeName { why, .. }) = check_name(name.as_bytes()) {
            return self.skip(path, format!("its name is not taken elsewhere: {why}"));
        }
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let mut record = Record {
            entry: Entry {
                depth,
                name: name.as_bytes().to_vec(),
                mode: stat.st_mode & 0o777,
                modified: (stat.st_mtime, nanoseconds),
                kind: Kind::Folder,
            },
            identity: Identity::of(&stat),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let dir = match open_folder(folder, name, true) {
                    Ok(dir) => dir,
                    Err(error) => return self.skip(path, std::io::Error::from(error).to_string()),
                };
                let names = match names(&dir) {
                    Ok(names) => names,
                    Err(error) => return self.skip(path, std::io::Error::from(error).to_string()),
                };
                self.spool.push(&record)?;
                self.totals.others += 1;
                for name in names {
                    self.entry(dir.as_fd(), OsStr::from_bytes(&name), depth + 1, &path.join(OsStr::from_bytes(&name)))?;
                }
                Ok(())
            }
            FileType::RegularFile => {
                let size = stat.st_size.cast_unsigned();
                let sparse = stat.st_blocks.cast_unsigned().saturating_mul(512) < size;
                let stored = if sparse { stored_bytes(folder, name, size) } else { size };
                record.entry.kind = Kind::File { size, stored };
                self.spool.push(&record)?;
                self.totals.files += 1;
                self.totals.bytes = self.totals.bytes.checked_add(size).ok_or(TransferError::TooMuch { what: "bytes" })?;
                self.totals.stored += stored;
                Ok(())
            }
            FileType::Symlink => {
                let target = match rustix::fs::readlinkat(folder, name, Vec::new()) {
                    Ok(target) => target.into_bytes(),
                    Err(error) => return self.skip(path, std::io::Error::from(error).to_string()),
                };
                if !is_inner_link(&target, depth) {
                    return self.skip(path, "it is a link that leads out of what is sent".to_owned());
                }
                record.entry.kind = Kind::Symlink { target };
                self.spool.push(&record)?;
                self.totals.others += 1;
                Ok(())
            }
            _ => self.skip(path, "it is neither a file, a folder nor a link".to_owned()),
        }
    }

    fn skip(&mut self, path: &Path, why: String) -> Result<()> {
        self.totals.skipped.add(path, why);
        Ok(())
    }
}

/// Opens a folder; with `strict`, `name` itself must not be a symlink.
pub(crate) fn open_folder(folder: BorrowedFd<'_>, name: &OsStr, strict: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if strict {
        flags |= OFlags::NOFOLLOW;
    }
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Opens a file to read; never waits for a fifo and never follows a symlink.
pub(crate) fn open_file(folder: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(folder, OsStr::from_bytes(name), flags, Mode::empty()).map(File::from)
}

/// The names in a folder, in the order of the manifest.
pub(crate) fn names(dir: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()).into_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What of a sparse file is not in holes. The whole size when that cannot be told.
fn stored_bytes(folder: BorrowedFd<'_>, name: &OsStr, size: u64) -> u64 {
    let Ok(file) = open_file(folder, name.as_bytes()) else { return size };
    let mut stored = 0;
    let mut at = 0;
    while let Some((start, end)) = next_data(&file, at, size) {
        stored += end - start;
        at = end;
    }
    stored
}

/// The next run of bytes that is not a hole, at or after `at`. Without support in the file system that is all.
pub(crate) fn next_data(file: &File, at: u64, size: u64) -> Option<(u64, u64)> {
    if at >= size {
        return None;
    }
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return None,
        Err(_) => return Some((at, size)),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap_or(size);
    (start < size).then_some((start, end.clamp(start, size)))
}
