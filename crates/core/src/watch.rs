//! Following changes of a location. A watcher writes nothing: it only says which names are to be looked at again.
//!
//! It talks to inotify itself: for 86,000 folders that costs 1 MB and nothing on top of the walk that is made anyway
//! (docs/decisions/0006-watching.md).

pub(crate) mod debounce;
mod thread;

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::index::row::Eid;
use crate::jobs::Task;

/// What is told of a folder.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

/// The watched folders of a location.
#[derive(Debug)]
pub(crate) struct Watches {
    inotify: OwnedFd,
    folders: RwLock<HashMap<i32, Eid>>,
    /// How many folders could not be watched because the user's limit is reached.
    missed: AtomicU64,
    /// Whether the kernel dropped events, and a walk has to find out what they were.
    overflowed: AtomicBool,
}

impl Watches {
    fn new() -> Result<Self, Errno> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            folders: RwLock::default(),
            missed: AtomicU64::new(0),
            overflowed: AtomicBool::new(false),
        })
    }

    /// Watches an open folder. Does nothing new for one that is watched already.
    pub(crate) fn add(&self, folder: &OwnedFd, eid: Eid) {
        // By its descriptor: no path that could be too long, or lead elsewhere by now.
        match inotify::add_watch(&self.inotify, format!("/proc/self/fd/{}", folder.as_raw_fd()), EVENTS) {
            Ok(number) => {
                self.folders.write().unwrap_or_else(PoisonError::into_inner).insert(number, eid);
            }
            Err(Errno::NOSPC | Errno::NOMEM) => {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
            // The folder is gone; its parent tells.
            Err(_) => {}
        }
    }

    /// Ends watching of a folder that does not belong to the location any more.
    pub(crate) fn forget(&self, eid: Eid) {
        self.folders.write().unwrap_or_else(PoisonError::into_inner).retain(|number, watched| {
            if *watched == eid {
                let _ = inotify::remove_watch(&self.inotify, *number);
            }
            *watched != eid
        });
    }

    /// How many folders are watched.
    pub(crate) fn len(&self) -> usize {
        self.folders.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A whole walk begins, which counts anew what cannot be watched.
    pub(crate) fn begin(&self) {
        self.missed.store(0, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Why not all changes are seen at once; one line.
    pub(crate) fn problem(&self) -> Option<String> {
        let missed = self.missed();
        if missed > 0 {
            let watched = self.len();
            let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").unwrap_or_default();
            return Some(format!(
                "watch limit reached ({}): {watched} of {} folders watched; the rest is looked through every {} s; raise fs.inotify.max_user_watches",
                limit.trim(),
                watched as u64 + missed,
                thread::LOOK_AGAIN.as_secs(),
            ));
        }
        self.overflowed.load(Ordering::Relaxed).then(|| "too many changes at once: looking through everything again".to_owned())
    }
}

/// The thread that follows one location.
#[derive(Debug)]
pub(crate) struct Watcher {
    watches: Watches,
    wake: OwnedFd,
    stopping: AtomicBool,
    /// What its work is told to stop by.
    task: Task,
}

impl Watcher {
    fn new() -> Result<Arc<Self>, Errno> {
        Ok(Arc::new(Self {
            watches: Watches::new()?,
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stopping: AtomicBool::new(false),
            task: Task::default(),
        }))
    }

    /// The watched folders.
    pub(crate) fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Tells the thread to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.task.tell(crate::jobs::Order::ShutDown);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

pub(crate) use thread::start;
