//! The two locks that make a process the daemon: of the data dir and of the name. The kernel releases them
//! when the process ends, however it ends.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use spacedrive_api::instance::{DataFiles, InstanceName, Places};
use spacedrive_api::locate::LockHolder;
use spacedrive_api::{ApiError, Result, WirePath};
use spacedrive_core::files;

use crate::error::from_core;

/// How long a lock is tried for: clients probe locks by taking them for a moment, and a daemon that stops
/// gives up its socket just before its lock.
const PATIENCE: Duration = Duration::from_millis(400);

/// Both locks, held.
#[derive(Debug)]
pub(crate) struct Locks {
    /// The lock of the data dir.
    _data: File,
    name: File,
    path: PathBuf,
}

impl Locks {
    /// Takes both locks.
    ///
    /// # Errors
    /// `Conflict` when another daemon has one of them: the caller then looks whether that one answers.
    pub(crate) async fn acquire(places: &Places, name: &InstanceName, data: &DataFiles) -> Result<Self> {
        let runtime = places.runtime_files(name)?;
        let data_lock = patient(&data.lock).await?.ok_or_else(|| {
            let holder = LockHolder::read(&data.lock).map_or(String::new(), |h| {
                format!(" by instance `{}` (pid {}, socket {})", h.name, h.pid, h.socket.to_string_lossy())
            });
            ApiError::conflict(format!("data dir {} is in use{holder}", data.dir.display()))
        })?;
        let name_lock = patient(&runtime.lock).await?.ok_or_else(|| {
            ApiError::conflict(format!("instance `{name}` is running already: {} is locked", runtime.lock.display()))
        })?;
        let holder = LockHolder { pid: std::process::id(), name: name.clone(), socket: WirePath(runtime.socket) };
        describe(&data_lock, &holder).map_err(|e| ApiError::io(data.lock.display(), &e))?;
        Ok(Self { _data: data_lock, name: name_lock, path: runtime.lock })
    }

    /// Sees to it that the lock of the name is still at its path; somebody may have removed the file.
    /// Answers whether this process still owns the name.
    pub(crate) fn still_ours(&mut self) -> bool {
        if is_at(&self.name, &self.path) {
            return true;
        }
        match files::try_lock(&self.path) {
            Ok(Some(lock)) if is_at(&lock, &self.path) => {
                self.name = lock;
                true
            }
            Ok(_) => false,
            // The runtime dir itself may be gone for the moment.
            Err(_) => true,
        }
    }
}

impl Drop for Locks {
    /// Removes the lock file of the name, if it is still ours. The locks themselves go with their files.
    fn drop(&mut self) {
        if is_at(&self.name, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Held while an instance starts, so that of two names that differ in case only just one gets through.
#[derive(Debug)]
pub(crate) struct Starting {
    file: File,
    path: PathBuf,
}

impl Starting {
    pub(crate) async fn acquire(places: &Places, name: &InstanceName) -> Result<Self> {
        let path = places.runtime_files(name)?.case;
        match patient(&path).await? {
            Some(file) => Ok(Self { file, path }),
            None => {
                Err(ApiError::conflict(format!("instance `{name}`, or one whose name differs only in case, is just starting")))
            }
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Tries for a while. The file that was locked must still be the one at the path: the former holder
/// removes it when it ends.
pub(crate) async fn patient(path: &Path) -> Result<Option<File>> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        check_ours(path)?;
        if let Some(lock) = files::try_lock(path).map_err(from_core)? {
            if is_at(&lock, path) {
                return Ok(Some(lock));
            }
        } else if tokio::time::Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// In `/tmp` somebody else may have put something in the lock's place.
fn check_ours(path: &Path) -> Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let why = if !meta.is_file() {
        "it is not a file".to_owned()
    } else if meta.uid() != rustix::process::geteuid().as_raw() {
        format!("it belongs to the user with uid {}", meta.uid())
    } else {
        return Ok(());
    };
    Err(ApiError::refused(format!("lock {} is not ours: {why}", path.display()))
        .hint("nothing was removed; look at it, or set XDG_RUNTIME_DIR to a folder of your own"))
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(there)) => held.dev() == there.dev() && held.ino() == there.ino(),
        _ => false,
    }
}

fn describe(mut lock: &File, holder: &LockHolder) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(&spacedrive_api::record::json(holder)?)
}
