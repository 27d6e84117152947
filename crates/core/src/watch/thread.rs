//! The thread that reads events of one location and has the index look at what they name.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{ReadFlags, Reader};
use rustix::io::Errno;
use spacedrive_api::IndexMode;

use super::Watcher;
use super::debounce::Debounce;
use crate::index::row::Eid;
use crate::index::{Index, identify, place::Place, scan, walk::Target};
use crate::{Error, Result};

/// How often a location that cannot be watched in full is walked.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How often it is looked whether a location that was offline is back.
const LOOK_FOR: Duration = Duration::from_secs(2);

/// How long to wait when another walk has the turn.
const BUSY: Duration = Duration::from_millis(20);

/// How long after a change files are read: one that is being written is left alone.
const READ_AFTER: Duration = Duration::from_millis(300);

/// Starts the thread of a location.
pub(crate) fn start(index: &Arc<Index>, place: &Arc<Place>) -> Result<Arc<Watcher>> {
    let watcher = Watcher::new().map_err(|error| Error::io(&place.row().path)(error.into()))?;
    let thread = Thread {
        index: Arc::downgrade(index),
        place: Arc::clone(place),
        watcher: Arc::clone(&watcher),
        debounce: Debounce::default(),
        unread: Arc::default(),
        walked: Instant::now(),
    };
    index.spawn("watch", move || thread.run())?;
    Ok(watcher)
}

/// Changed files that wait to be read.
#[derive(Debug, Default)]
struct Unread {
    files: Mutex<Vec<Eid>>,
    reading: AtomicBool,
}

struct Thread {
    index: Weak<Index>,
    place: Arc<Place>,
    watcher: Arc<Watcher>,
    debounce: Debounce,
    unread: Arc<Unread>,
    /// When the location was last walked because it cannot be watched in full, or looked for because it is offline.
    walked: Instant,
}

impl Thread {
    fn run(mut self) {
        let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
        while !self.watcher.is_stopping() {
            let timeout = self.timeout();
            let mut fds =
                [PollFd::new(&self.watcher.watches.inotify, PollFlags::IN), PollFd::new(&self.watcher.wake, PollFlags::IN)];
            let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs().cast_signed(), tv_nsec: t.subsec_nanos().into() });
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return tracing::error!(%error, "watching ended"),
            }
            if self.watcher.is_stopping() {
                return;
            }
            self.read(&mut buffer);
            let Some(index) = self.index.upgrade() else { return };
            self.look(&index);
            self.read_files(&index);
        }
    }

    /// How long nothing needs to be done unless something happens.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut waits = Vec::new();
        waits.extend(self.debounce.due_in(now));
        let every = if self.place.row().problem.is_some() {
            Some(LOOK_FOR)
        } else {
            (self.watcher.watches.missed() > 0).then_some(LOOK_AGAIN)
        };
        waits.extend(every.map(|every| every.saturating_sub(self.walked.elapsed())));
        if !self.unread.files.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            waits.push(READ_AFTER);
        }
        waits.into_iter().min()
    }

    /// Takes in all events that are there.
    fn read(&mut self, buffer: &mut [MaybeUninit<u8>]) {
        let watches = &self.watcher.watches;
        let root = self.place.row().root;
        let mut reader = Reader::new(&watches.inotify, buffer);
        let now = Instant::now();
        while let Ok(event) = reader.next() {
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                watches.overflowed.store(true, Ordering::Relaxed);
                self.debounce.note_all(now);
                continue;
            }
            if flags.contains(ReadFlags::IGNORED) {
                watches.folders.write().unwrap_or_else(PoisonError::into_inner).remove(&event.wd());
                continue;
            }
            let Some(eid) = watches.folders.read().unwrap_or_else(PoisonError::into_inner).get(&event.wd()).copied() else {
                continue;
            };
            match event.file_name() {
                Some(name) => self.debounce.note(now, eid, name.to_bytes()),
                // The folder itself: its parent tells of it, but nobody tells of the location's own.
                None if eid == root && !flags.contains(ReadFlags::ATTRIB) => self.debounce.note_all(now),
                None => {}
            }
        }
    }

    /// Has the index look at what has been quiet for long enough.
    fn look(&mut self, index: &Arc<Index>) {
        let now = Instant::now();
        let row = self.place.row();
        let offline = row.problem.is_some();
        if offline && self.walked.elapsed() >= LOOK_FOR {
            self.walked = now;
            if scan::identify_path(&row.path).is_ok_and(|id| id.1 == row.inode) {
                self.debounce.note_all(now - Duration::from_secs(1));
            }
        }
        if !offline && self.watcher.watches.missed() > 0 && self.walked.elapsed() >= LOOK_AGAIN {
            self.debounce.note_all(now - Duration::from_secs(1));
        }
        if self.debounce.due_in(now).is_none_or(|wait| !wait.is_zero()) {
            return;
        }
        let Some(turn) = self.place.try_turn() else { return self.debounce.put_off(now + BUSY) };
        let targets = self.debounce.take(row.root);
        let whole = targets.iter().any(|target| matches!(target, Target::Tree(eid) if *eid == row.root));
        let task = &self.watcher.task;
        let walked = index.walk_with(&self.place, &turn, (!whole).then(|| targets.clone()), false, task);
        drop(turn);
        if whole {
            self.walked = Instant::now();
        }
        match walked {
            Ok(walked) => {
                if whole {
                    self.watcher.watches.overflowed.store(false, Ordering::Relaxed);
                }
                if row.mode > IndexMode::Shallow {
                    self.unread.files.lock().unwrap_or_else(PoisonError::into_inner).extend(walked.changed);
                }
            }
            Err(Error::Interrupted | Error::LocationOffline { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, location = %row.path.display(), "changes cannot be followed; trying again");
                self.debounce.note_all(Instant::now() + Duration::from_secs(5));
            }
        }
        task.take_problems();
    }

    /// Has changed files read, on a thread of its own so that further changes are seen meanwhile.
    fn read_files(&mut self, index: &Arc<Index>) {
        let quiet = self.debounce.quiet_for(Instant::now()).is_none_or(|quiet| quiet >= READ_AFTER);
        let none = self.unread.files.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if !quiet || none || self.unread.reading.swap(true, Ordering::SeqCst) {
            return;
        }
        let (weak, place, watcher, unread) =
            (self.index.clone(), Arc::clone(&self.place), Arc::clone(&self.watcher), Arc::clone(&self.unread));
        let spawned = index.spawn("identify", move || {
            loop {
                let files = std::mem::take(&mut *unread.files.lock().unwrap_or_else(PoisonError::into_inner));
                let Some(index) = weak.upgrade().filter(|_| !files.is_empty()) else { break };
                let row = place.row();
                match identify::some(&index, &row, row.mode, &files, &watcher.task) {
                    Ok(_) => {}
                    Err(Error::Interrupted) => break,
                    Err(error) => {
                        tracing::warn!(%error, location = %row.path.display(), "changed files cannot be identified");
                        break;
                    }
                }
                watcher.task.take_problems();
            }
            unread.reading.store(false, Ordering::SeqCst);
        });
        if spawned.is_err() {
            self.unread.reading.store(false, Ordering::SeqCst);
        }
    }
}
