//! A store, a trash and folders of one test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use spacedrive_api::{Conflict, FileAction, FileReport, FileWork};
use spacedrive_core::desktop_trash::Trash;
use spacedrive_core::instance::InstanceStore;
use spacedrive_core::operation::{self, Surroundings, Unwatched};
use spacedrive_core::undo::{Undone, undo};
use spacedrive_core::{Error, Result};
use tempfile::TempDir;

/// What a test works in; gone when it is dropped.
pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) root: PathBuf,
    pub(crate) store: InstanceStore,
    pub(crate) around: Surroundings,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::at(TempDir::with_prefix("sd-files-").unwrap())
    }

    fn at(folder: TempDir) -> Self {
        let root = folder.path().canonicalize().unwrap();
        let (store, around) = open(&root);
        Self { folder, root, store, around }
    }

    pub(crate) fn path(&self, rest: &str) -> PathBuf {
        self.root.join(rest)
    }

    pub(crate) fn write(&self, rest: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(rest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Mounts a tmpfs of its own here.
    pub(crate) fn tmpfs(&self, rest: &str, options: &str) -> Mounted {
        let path = self.path(rest);
        fs::create_dir_all(&path).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).status().unwrap();
        assert!(done.success());
        Mounted(path)
    }

    pub(crate) fn run(&self, work: &FileWork) -> Result<FileReport> {
        let id = operation::accept(&self.store, &self.around, work)?;
        self.resume(id)
    }

    /// Runs an operation, and says how it ended as a daemon would.
    pub(crate) fn resume(&self, id: uuid::Uuid) -> Result<FileReport> {
        let result = operation::run(&self.store, &self.around, id, &Unwatched);
        if let Err(error) = &result
            && !matches!(error, Error::Interrupted)
        {
            operation::set_failed(&self.store, id, error).unwrap();
        }
        result
    }

    pub(crate) fn undo(&self) -> Result<Undone> {
        undo(&self.store, &self.around, &Unwatched)
    }
}

/// Opens the store and the trash in `root`.
pub(crate) fn open(root: &Path) -> (InstanceStore, Surroundings) {
    let store = InstanceStore::open(&root.join("instance.db")).unwrap();
    (store, Surroundings { trash: Trash::new(Some(root.join("home/Trash"))), protected: vec![root.join("protected")] })
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.folder.path();
    }
}

/// A mount that ends when it is dropped.
pub(crate) struct Mounted(pub(crate) PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub(crate) fn work(action: FileAction, sources: &[&Path], target: Option<&Path>) -> FileWork {
    FileWork {
        action,
        sources: sources.iter().map(|path| (*path).into()).collect(),
        target: target.map(Into::into),
        conflict: Conflict::Rename,
        verify: false,
        permanent: false,
    }
}

pub(crate) fn copy(source: &Path, target: &Path) -> FileWork {
    work(FileAction::Copy, &[source], Some(target))
}

pub(crate) fn moving(source: &Path, target: &Path) -> FileWork {
    work(FileAction::Move, &[source], Some(target))
}

pub(crate) fn delete(source: &Path) -> FileWork {
    work(FileAction::Delete, &[source], None)
}

pub(crate) fn with(mut work: FileWork, conflict: Conflict) -> FileWork {
    work.conflict = conflict;
    work
}

/// Everything below a folder: kind, mode, modification time and content (or its hash) by relative path.
pub(crate) fn tree(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut tree = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let what = if meta.is_dir() {
            "dir".to_owned()
        } else if meta.is_symlink() {
            format!("link {:?}", fs::read_link(entry.path()).unwrap())
        } else if meta.is_file() {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(fs::File::open(entry.path()).unwrap()).unwrap();
            format!("file {:o} {} {} {}", meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec(), hasher.finalize())
        } else {
            "other".to_owned()
        };
        tree.insert(entry.path().strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(), what);
    }
    tree
}

/// Fails when a temporary file is left somewhere.
#[track_caller]
pub(crate) fn no_leftovers(root: &Path) {
    for entry in walkdir::WalkDir::new(root).into_iter().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with(".spacedrive-"), "left behind: {}", entry.path().display());
    }
}
