//! Files beneath a folder, and never outside it: whatever is received or copied is opened, made and renamed here.
//!
//! A [`Dir`] is an open folder. Its operations take one name, which is resolved in that very folder and never
//! followed when it is a symbolic link, so somebody who swaps folders for links meanwhile changes nothing. A longer
//! relative path is resolved by the kernel with `openat2` (`RESOLVE_BENEATH`, no links), or component by component
//! where there is no `openat2`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

/// How a folder is opened that must not be a link.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A pipe, socket or device.
    Other,
}

/// What an entry is now: enough to see whether it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// The file system that it lies on.
    pub dev: u64,
    /// Its number there, which a rename keeps.
    pub ino: u64,
    /// Its size in bytes.
    pub size: u64,
    /// What it takes on disk, in bytes; less than `size` when it has holes.
    pub stored: u64,
    /// Its permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was last read: seconds and nanoseconds since 1970.
    pub accessed: (i64, i64),
    /// When its content last changed: seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
    /// When it last changed at all: seconds and nanoseconds since 1970.
    pub changed: (i64, i64),
}

impl Meta {
    /// Whether `other` is the same file with the same content, as far as the file system tells.
    pub fn unchanged(&self, other: &Self) -> bool {
        self.same(other) && (self.size, self.modified, self.changed) == (other.size, other.modified, other.changed)
    }

    /// Whether `other` is the same file, whatever its content.
    pub fn same(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

#[allow(clippy::unnecessary_cast, clippy::cast_sign_loss, reason = "the fields have other types on other systems")]
impl From<Stat> for Meta {
    fn from(stat: Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        };
        Self {
            kind,
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            stored: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
            mode: stat.st_mode as u32 & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            accessed: (stat.st_atime as i64, stat.st_atime_nsec as i64),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

/// What an entry is that lies anywhere; a link is not followed. `None` when there is nothing.
pub fn meta_of(path: &Path) -> io::Result<Option<Meta>> {
    found(rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW))
}

/// What an open file is.
pub fn meta_of_file(file: &File) -> io::Result<Meta> {
    Ok(rustix::fs::fstat(file)?.into())
}

fn found(stat: rustix::io::Result<Stat>) -> io::Result<Option<Meta>> {
    match stat {
        Ok(stat) => Ok(Some(stat.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An open folder.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens a folder that a person named; links in this path are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::fs::openat(CWD, path, flags, Mode::empty())?, path: path.to_owned() })
    }

    /// Its path when it was opened; for messages, it is not resolved again.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is.
    pub fn meta(&self) -> io::Result<Meta> {
        Ok(rustix::fs::fstat(&self.fd)?.into())
    }

    /// Opens a folder in this one.
    pub fn child(&self, name: &OsStr) -> io::Result<Self> {
        let fd = rustix::fs::openat(&self.fd, single(name)?, FOLDER, Mode::empty())?;
        Ok(Self { fd, path: self.path.join(name) })
    }

    /// Opens a folder beneath this one. The empty path is this folder itself.
    pub fn beneath(&self, path: &Path) -> io::Result<Self> {
        if path.components().any(|component| !matches!(component, Component::Normal(_))) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads out of its folder"));
        }
        let fd = if path.as_os_str().is_empty() { self.fd.try_clone()? } else { self.resolve(path)? };
        Ok(Self { fd, path: self.path.join(path) })
    }

    #[cfg(target_os = "linux")]
    fn resolve(&self, path: &Path) -> io::Result<OwnedFd> {
        use rustix::fs::ResolveFlags;
        // A path that is too long for one call goes component by component, as it does on old kernels.
        if path.as_os_str().len() < 4000 {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            for _ in 0..100 {
                match rustix::fs::openat2(&self.fd, path, FOLDER, Mode::empty(), resolve) {
                    // A rename went on at the same time; the kernel cannot tell and asks to try again.
                    Err(Errno::AGAIN) => {}
                    Err(Errno::NOSYS | Errno::PERM) => break,
                    other => return Ok(other?),
                }
            }
        }
        self.walk(path)
    }

    #[cfg(not(target_os = "linux"))]
    fn resolve(&self, path: &Path) -> io::Result<OwnedFd> {
        self.walk(path)
    }

    /// Component by component, following no link.
    fn walk(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut fd = self.fd.try_clone()?;
        for component in path.components() {
            fd = rustix::fs::openat(&fd, component.as_os_str(), FOLDER, Mode::empty())?;
        }
        Ok(fd)
    }

    /// Opens a folder beneath this one, and makes those that are missing, mode 0700 as far as the umask lets.
    pub fn make_beneath(&self, path: &Path) -> io::Result<Self> {
        let mut dir = self.beneath(Path::new(""))?;
        for component in path.components() {
            let Component::Normal(name) = component else {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads out of its folder"));
            };
            dir = match dir.child(name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    match dir.make_dir(name) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                        _ => {}
                    }
                    dir.child(name)?
                }
                other => other?,
            };
        }
        Ok(dir)
    }

    /// The names in the folder, sorted by their bytes.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What an entry is; a link is not followed. `None` when there is nothing.
    pub fn lookup(&self, name: &OsStr) -> io::Result<Option<Meta>> {
        found(rustix::fs::statat(&self.fd, single(name)?, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Opens a regular file for reading; anything else is refused, and nothing waits for a pipe's other end.
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        self.open_as(name, OFlags::RDONLY)
    }

    /// Opens a regular file for writing where it was left, as a resumed transfer does.
    pub fn open_existing(&self, name: &OsStr) -> io::Result<File> {
        self.open_as(name, OFlags::RDWR)
    }

    fn open_as(&self, name: &OsStr, access: OFlags) -> io::Result<File> {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = File::from(rustix::fs::openat(&self.fd, single(name)?, flags, Mode::empty())?);
        if meta_of_file(&file)?.kind != Kind::File {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(file)
    }

    /// Makes a new file, mode 0600, open for reading and writing.
    pub fn create_new(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.fd, single(name)?, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Makes a folder, mode 0700.
    pub fn make_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.fd, single(name)?, Mode::RWXU)?)
    }

    /// Makes a symbolic link with this text, which is not looked at.
    pub fn make_link(&self, text: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(text, &self.fd, single(name)?)?)
    }

    /// The text of a symbolic link.
    pub fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        Ok(OsString::from_vec(rustix::fs::readlinkat(&self.fd, single(name)?, Vec::new())?.into_bytes()))
    }

    /// Renames an entry of this folder to a name in another (or the same) that must be free.
    pub fn rename_new(&self, from: &OsStr, to: &Self, name: &OsStr) -> io::Result<()> {
        let (from, name) = (single(from)?, single(name)?);
        match rustix::fs::renameat_with(&self.fd, from, &to.fd, name, RenameFlags::NOREPLACE) {
            // File systems without RENAME_NOREPLACE (NFS, some FUSE): look first. A folder never replaces a file there.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match to.lookup(name)? {
                Some(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
                None => Ok(rustix::fs::renameat(&self.fd, from, &to.fd, name)?),
            },
            other => Ok(other?),
        }
    }

    /// Swaps an entry of this folder with one of another (or the same), in one step.
    pub fn exchange(&self, from: &OsStr, to: &Self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat_with(&self.fd, single(from)?, &to.fd, single(name)?, RenameFlags::EXCHANGE)?)
    }

    /// Removes a file or a link.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, single(name)?, AtFlags::empty())?)
    }

    /// Removes an empty folder.
    pub fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, single(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Sets the times of an entry; of a link itself, not of what it leads to.
    pub fn set_times(&self, name: &OsStr, accessed: (i64, i64), modified: (i64, i64)) -> io::Result<()> {
        let times = timestamps(accessed, modified);
        Ok(rustix::fs::utimensat(&self.fd, single(name)?, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Makes its entries durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Access and modification time as the kernel takes them.
pub fn timestamps(accessed: (i64, i64), modified: (i64, i64)) -> Timestamps {
    let spec = |(tv_sec, nanos): (i64, i64)| Timespec { tv_sec, tv_nsec: nanos as _ };
    Timestamps { last_access: spec(accessed), last_modification: spec(modified) }
}

/// Refuses what is not one component.
fn single(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not one name"));
    }
    Ok(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn os(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    #[test]
    fn nothing_leads_out_of_a_folder() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("root/a/b")).unwrap();
        fs::create_dir(temp.path().join("outside")).unwrap();
        fs::write(temp.path().join("outside/secret"), "s").unwrap();
        symlink("../outside", temp.path().join("root/link")).unwrap();
        symlink(temp.path().join("outside"), temp.path().join("root/a/far")).unwrap();
        symlink("b", temp.path().join("root/a/near")).unwrap();
        symlink("../../outside/secret", temp.path().join("root/a/file")).unwrap();
        let root = Dir::open(&temp.path().join("root")).unwrap();
        root.beneath(Path::new("a/b")).unwrap();
        for path in ["link", "a/far", "a/near", "..", "../outside", "a/../..", "/", "/etc", "a/b/../../../outside"] {
            root.beneath(Path::new(path)).unwrap_err();
            root.make_beneath(Path::new(path)).unwrap_err();
            if path.starts_with(|c: char| c.is_ascii_alphabetic()) && !path.contains("..") {
                root.walk(Path::new(path)).unwrap_err();
            }
        }
        for name in ["", ".", "..", "/", "a/b", "../x", "a\0b"] {
            root.child(os(name)).unwrap_err();
            root.create_new(os(name)).unwrap_err();
            root.make_dir(os(name)).unwrap_err();
            root.open_file(os(name)).unwrap_err();
            root.remove_file(os(name)).unwrap_err();
            root.make_link(os("x"), os(name)).unwrap_err();
            root.rename_new(os("a"), &root, os(name)).unwrap_err();
        }
        let a = root.child(os("a")).unwrap();
        a.open_file(os("file")).unwrap_err();
        a.create_new(os("file")).unwrap_err();
        a.child(os("far")).unwrap_err();
        assert_eq!(fs::read(temp.path().join("outside/secret")).unwrap(), b"s");
        assert_eq!(fs::read_dir(temp.path().join("outside")).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_turns_into_a_link_meanwhile_catches_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let path = |rest: &str| temp.path().join(rest);
        fs::create_dir_all(path("root/real")).unwrap();
        fs::create_dir(path("victim")).unwrap();
        symlink("../victim", path("root/link")).unwrap();
        let root = Dir::open(&path("root")).unwrap();
        let done = AtomicBool::new(false);
        let mut inside = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let flipper = Dir::open(&path("root")).unwrap();
                while !done.load(Ordering::Relaxed) {
                    flipper.exchange(os("real"), &flipper, os("link")).unwrap();
                }
            });
            for n in 0..20_000 {
                let name = OsString::from(format!("f{n}"));
                if let Ok(dir) = root.beneath(Path::new("real"))
                    && let Ok(mut file) = dir.create_new(&name)
                {
                    inside += 1;
                    file.write_all(b"x").unwrap();
                    drop(file);
                    dir.remove_file(&name).unwrap();
                    dir.create_new(os("kept")).ok();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(inside > 0, "the folder was never one");
        assert_eq!(fs::read_dir(path("victim")).unwrap().count(), 0, "something was written outside");
    }

    #[test]
    fn a_pipe_is_no_file_and_nobody_waits_for_it() {
        let temp = tempfile::tempdir().unwrap();
        let root = Dir::open(temp.path()).unwrap();
        rustix::fs::mknodat(&root, "pipe", FileType::Fifo, Mode::RWXU, 0).unwrap();
        root.open_file(os("pipe")).unwrap_err();
        assert_eq!(root.lookup(os("pipe")).unwrap().unwrap().kind, Kind::Other);
    }

    #[test]
    fn a_rename_never_replaces() {
        let temp = tempfile::tempdir().unwrap();
        let root = Dir::open(temp.path()).unwrap();
        fs::write(temp.path().join("a"), "a").unwrap();
        fs::write(temp.path().join("b"), "b").unwrap();
        assert_eq!(root.rename_new(os("a"), &root, os("b")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        root.rename_new(os("a"), &root, os("c")).unwrap();
        root.exchange(os("c"), &root, os("b")).unwrap();
        assert_eq!(fs::read(temp.path().join("b")).unwrap(), b"a");
        assert_eq!(root.names().unwrap(), ["b", "c"]);
    }
}
