//! The socket and the pid file: made when the daemon is ready, kept while it lives, removed when it ends.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spacedrive_api::instance::{InstanceName, Places, RuntimeFiles};
use spacedrive_api::{ApiError, Result};
use tokio::net::UnixListener;
use tokio::sync::mpsc::Sender;

use crate::context::Context;
use crate::lock::Locks;

/// How often the files are looked at; they must come back within 5 s.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// The files of this daemon in the runtime dir, and the locks that entitle it to them.
#[derive(Debug)]
pub(crate) struct Published {
    files: RuntimeFiles,
    locks: Locks,
    /// Device and inode of our socket.
    socket: (u64, u64),
}

impl Published {
    /// Makes the socket and the pid file. Only who holds the locks may take a stale socket away.
    pub(crate) fn publish(places: &Places, name: &InstanceName, locks: Locks) -> Result<(Self, UnixListener)> {
        let files = places.runtime_files(name)?;
        clear_stale(&files.socket)?;
        let listener = bind(&files.socket).map_err(|e| ApiError::io(format!("socket {}", files.socket.display()), &e))?;
        let socket = identity(&files.socket).unwrap_or_default();
        if let Err(error) = write_pid(&files.pid) {
            let _ = fs::remove_file(&files.socket);
            return Err(match fs::symlink_metadata(&files.pid) {
                Ok(meta) if meta.is_dir() => {
                    ApiError::conflict(format!("pid file {}: there is a folder in its place", files.pid.display()))
                }
                _ => ApiError::io(format!("pid file {}", files.pid.display()), &error),
            });
        }
        Ok((Self { files, locks, socket }, listener))
    }

    /// Where the socket is.
    pub(crate) fn socket(&self) -> &Path {
        &self.files.socket
    }

    /// Puts the files back when they vanish, until the daemon stops. If somebody else took the name
    /// meanwhile, this daemon ends.
    pub(crate) async fn keep(mut self, listeners: Sender<UnixListener>, context: Arc<Context>) -> Self {
        let mut ticks = tokio::time::interval(CHECK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = context.stopping.cancelled() => return self,
                _ = ticks.tick() => {}
            }
            match self.restore() {
                Ok(None) => {}
                Ok(Some(listener)) => {
                    tracing::warn!(socket = %self.files.socket.display(), "the socket was gone; it is back");
                    let _ = listeners.send(listener).await;
                }
                Err(Lost::Name) => {
                    tracing::error!("another process took this instance's name; this daemon ends");
                    context.stopping.cancel();
                }
                Err(Lost::Files(error)) => tracing::warn!(%error, "the socket or pid file cannot be put back"),
            }
        }
    }

    fn restore(&mut self) -> Result<Option<UnixListener>, Lost> {
        if !self.locks.still_ours() {
            return Err(Lost::Name);
        }
        if fs::symlink_metadata(&self.files.pid).is_err() {
            write_pid(&self.files.pid).map_err(Lost::Files)?;
        }
        match identity(&self.files.socket) {
            Some(there) if there == self.socket => Ok(None),
            Some(_) if UnixStream::connect(&self.files.socket).is_ok() => Err(Lost::Name),
            Some(_) => Err(Lost::Files(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is not ours", self.files.socket.display()),
            ))),
            None => {
                let listener = bind(&self.files.socket).map_err(Lost::Files)?;
                self.socket = identity(&self.files.socket).unwrap_or_default();
                Ok(Some(listener))
            }
        }
    }

    /// Removes what is ours; the locks go last.
    pub(crate) fn withdraw(self) {
        if identity(&self.files.socket) == Some(self.socket) {
            let _ = fs::remove_file(&self.files.socket);
        }
        let ours = fs::read_to_string(&self.files.pid).is_ok_and(|text| text.trim() == std::process::id().to_string());
        if ours {
            let _ = fs::remove_file(&self.files.pid);
        }
    }
}

enum Lost {
    Name,
    Files(io::Error),
}

/// Removes a socket of this user that nobody listens on; refuses to touch anything else.
pub(crate) fn clear_stale(path: &Path) -> Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let at = path.display();
    if !meta.file_type().is_socket() {
        return Err(ApiError::conflict(format!("{at} exists and is not our socket: it is {}", describe(&meta)))
            .hint("nothing was removed; look at it, and remove it yourself if nobody needs it"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(ApiError::refused(format!(
            "{at} exists and is not our socket: it belongs to the user with uid {}",
            meta.uid()
        ))
        .hint("set XDG_RUNTIME_DIR to a folder of your own"));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(ApiError::conflict(format!("{at}: another process of yours listens there")));
    }
    fs::remove_file(path).map_err(|e| ApiError::io(at, &e))
}

fn describe(meta: &fs::Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a fifo"
    } else {
        "a file"
    }
}

/// Binds under a short temporary name, closed to others by the umask from the first moment, and renames it
/// into place with mode 0600: at no time can another user connect, and the path is never half made.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let temporary = path.with_file_name(format!(".sd-{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600))?;
    match spacedrive_core::files::rename_new(&temporary, path) {
        Ok(()) => Ok(listener),
        Err(spacedrive_core::Error::Io { source, .. }) => {
            let _ = fs::remove_file(&temporary);
            Err(source)
        }
        Err(other) => Err(io::Error::other(other)),
    }
}

/// The pid and a newline, by a temporary file and a rename: a link in the file's place is replaced, not followed.
fn write_pid(path: &Path) -> io::Result<()> {
    let temporary: PathBuf = path.with_file_name(format!(".sd-{}.pid", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let written = (|| {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        writeln!(file, "{}", std::process::id())?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}
