//! The trash of the freedesktop.org specification, version 1.0: the one in a person's home, and one on each other
//! mount. What goes there is renamed, never copied, and can be put back.
//!
//! Written here and not taken from a library, because a deletion must be journaled before it happens: the name in the
//! trash is chosen first, and the environment is not read (`docs/decisions/0009-own-trash.md`).

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::rooted::{Dir, Kind, Meta, meta_of};
use crate::{Error, Result, names};

/// Where things go when they are deleted.
#[derive(Debug, Clone)]
pub struct Trash {
    home: Option<PathBuf>,
}

/// A mount as seen from a path: two files can be renamed into each other only within one.
type Mount = (u64, u64);

impl Trash {
    /// The trash whose home folder is `home`: `$XDG_DATA_HOME/Trash`. A user without a home has only those of the mounts.
    pub fn new(home: Option<PathBuf>) -> Self {
        Self { home }
    }

    /// Chooses where `original` (absolute, its folder without links) goes. `token` makes the name unique. Makes nothing yet
    /// but the trash folders.
    pub fn choose(&self, original: &Path, token: &str) -> Result<PathBuf> {
        let no = |why: String| Error::NoTrash { path: original.to_owned(), why };
        let parent = original.parent().ok_or_else(|| no("it is the root folder".to_owned()))?;
        let name = trash_name(original.file_name().unwrap_or_default(), token);
        if original.ancestors().any(|above| Some(above) == self.home.as_deref()) || in_a_trash(original) {
            return Err(no("it is in the trash already".to_owned()));
        }
        if self.home.as_ref().is_some_and(|home| home.starts_with(original)) {
            return Err(no("the trash itself is in it".to_owned()));
        }
        let mount = mount_of(parent).map_err(Error::io(parent))?;
        if let Some(home) = self.home.as_ref().filter(|home| nearest_mount(home) == Some(mount)) {
            for part in ["files", "info"] {
                crate::files::make_dir(&home.join(part)).map_err(|error| no(error.to_string()))?;
            }
            return Ok(home.join("files").join(name));
        }
        let top = parent.ancestors().take_while(|above| mount_of(above).is_ok_and(|m| m == mount)).last().unwrap_or(parent);
        let folder = topdir_trash(top).map_err(|error| no(format!("{}: {error}", top.display())))?;
        Ok(folder.join("files").join(name))
    }

    /// Moves the entry `name` of `parent` to `place`, which [`choose`](Self::choose) gave for `original`.
    pub fn put(&self, parent: &Dir, name: &OsStr, original: &Path, place: &Path) -> Result<()> {
        let (files, info, trashed) = open_place(place)?;
        let at_home = self.home.as_ref().is_some_and(|home| files.path().starts_with(home));
        let topdir = if at_home { None } else { topdir_of(place) };
        let told = topdir.as_deref().and_then(|top| original.strip_prefix(top).ok()).unwrap_or(original);
        let note = info_name(&trashed);
        match info.create_new(&note) {
            Ok(mut file) => {
                let date = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S");
                write!(file, "[Trash Info]\nPath={}\nDeletionDate={date}\n", escaped(told))
                    .and_then(|()| file.sync_all())
                    .map_err(Error::io(place))?;
            }
            // Left by a run that was killed.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(place)(error)),
        }
        if let Err(error) = parent.rename_new(name, &files, &trashed) {
            let _ = info.remove_file(&note);
            return Err(Error::io(original)(error));
        }
        files.sync().and_then(|()| info.sync()).and_then(|()| parent.sync()).map_err(Error::io(place))
    }

    /// What lies at `place` in the trash; `None` when it is gone.
    pub fn lookup(&self, place: &Path) -> Option<Meta> {
        meta_of(place).ok().flatten()
    }

    /// Moves what lies at `place` in the trash back to `name` in `parent`, which must be free.
    pub fn restore(&self, place: &Path, parent: &Dir, name: &OsStr) -> Result<()> {
        let (files, info, trashed) = open_place(place)?;
        files.rename_new(&trashed, parent, name).map_err(Error::io(&parent.path().join(name)))?;
        parent.sync().and_then(|()| files.sync()).map_err(Error::io(parent.path()))?;
        let _ = info.remove_file(&info_name(&trashed));
        Ok(())
    }
}

/// The open folders `files` and `info` of the trash that `place` lies in, and its name there.
fn open_place(place: &Path) -> Result<(Dir, Dir, OsString)> {
    let no = || Error::NoTrash { path: place.to_owned(), why: "it is no place in a trash".to_owned() };
    let trash = place.parent().and_then(Path::parent).ok_or_else(no)?;
    let trash = Dir::open(trash).map_err(Error::io(trash))?;
    let open = |name: &str| trash.child(OsStr::new(name)).map_err(Error::io(trash.path()));
    Ok((open("files")?, open("info")?, place.file_name().ok_or_else(no)?.to_owned()))
}

fn info_name(trashed: &OsStr) -> OsString {
    let mut name = trashed.to_owned();
    name.push(".trashinfo");
    name
}

/// `name.token`, short enough that `.trashinfo` still fits.
fn trash_name(name: &OsStr, token: &str) -> OsString {
    let room = names::MAX_COMPONENT - ".trashinfo".len() - 1 - token.len();
    let bytes = name.as_bytes();
    OsString::from_vec([&bytes[..bytes.len().min(room)], b".", token.as_bytes()].concat())
}

/// Whether the path lies in some mount's trash.
fn in_a_trash(path: &Path) -> bool {
    let uid = rustix::process::getuid().as_raw();
    let own = format!(".Trash-{uid}");
    path.components().any(|component| component.as_os_str() == ".Trash" || component.as_os_str() == own.as_str())
}

/// The trash of the mount whose top folder is `top`, made when it is missing.
fn topdir_trash(top: &Path) -> std::io::Result<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let dir = Dir::open(top)?;
    // An administrator's `.Trash` counts only when it is a real folder with the sticky bit.
    let shared = dir.lookup(OsStr::new(".Trash"))?.is_some_and(|meta| meta.kind == Kind::Dir && meta.mode & 0o1000 != 0);
    let (parent, name) =
        if shared { (dir.child(OsStr::new(".Trash"))?, uid.to_string()) } else { (dir, format!(".Trash-{uid}")) };
    let name = OsStr::new(&name);
    match parent.make_dir(name) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let trash = parent.child(name)?;
    if trash.meta()?.uid != uid {
        return Err(std::io::Error::new(ErrorKind::PermissionDenied, format!("{} is another user's", trash.path().display())));
    }
    for part in ["files", "info"] {
        match trash.make_dir(OsStr::new(part)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(trash.path().to_owned())
}

/// The top folder of the mount whose trash holds `place`.
fn topdir_of(place: &Path) -> Option<PathBuf> {
    let trash = place.parent()?.parent()?;
    let above = trash.parent()?;
    let shared = above.file_name().is_some_and(|name| name == ".Trash");
    Some(if shared { above.parent()?.to_owned() } else { above.to_owned() })
}

/// The mount of the nearest folder above `path` that exists.
fn nearest_mount(path: &Path) -> Option<Mount> {
    path.ancestors().find_map(|above| mount_of(above).ok())
}

/// The device and, where the kernel tells it, the mount of a path.
#[cfg(target_os = "linux")]
pub(crate) fn mount_of(path: &Path) -> std::io::Result<Mount> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    match statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID) {
        Ok(stat) => Ok((rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_mnt_id)),
        Err(rustix::io::Errno::NOSYS) => device_of(path),
        Err(error) => Err(error.into()),
    }
}

/// The device of a path.
#[cfg(not(target_os = "linux"))]
pub(crate) fn mount_of(path: &Path) -> std::io::Result<Mount> {
    device_of(path)
}

fn device_of(path: &Path) -> std::io::Result<Mount> {
    let meta = meta_of(path)?.ok_or_else(|| std::io::Error::from(ErrorKind::NotFound))?;
    Ok((meta.dev, 0))
}

/// A path as the `Path` key has it: percent-escaped, but for what is safe.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_trashed_is_restored() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let trash = Trash::new(Some(root.join("home/Trash")));
        let odd = OsString::from_vec([b"a %\n\xff".as_slice(), &[b'x'; 240]].concat());
        fs::create_dir(root.join("d")).unwrap();
        for name in [OsStr::new("f.txt"), &odd] {
            let original = root.join("d").join(name);
            fs::write(&original, "content").unwrap();
            let parent = Dir::open(&root.join("d")).unwrap();
            let place = trash.choose(&original, "0a1b-1").unwrap();
            trash.put(&parent, name, &original, &place).unwrap();
            assert!(!original.exists());
            let info = fs::read_to_string(root.join("home/Trash/info").join(info_name(place.file_name().unwrap()))).unwrap();
            assert!(info.starts_with("[Trash Info]\nPath=/") && info.contains("\nDeletionDate="), "{info}");
            assert!(info.contains(&escaped(&original)), "{info}");
            trash.choose(&place, "x").unwrap_err();
            fs::write(&original, "new").unwrap();
            trash.restore(&place, &parent, name).unwrap_err();
            fs::remove_file(&original).unwrap();
            trash.restore(&place, &parent, name).unwrap();
            assert_eq!(fs::read(&original).unwrap(), b"content");
            assert_eq!(fs::read_dir(root.join("home/Trash/info")).unwrap().count(), 0);
        }
    }
}
