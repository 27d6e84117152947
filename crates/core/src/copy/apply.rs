//! Steps are collected, made durable, recorded, and then taken: a rename each.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::Mode;
use spacedrive_api::Conflict;

use super::data::plain;
use super::{Engine, Pending};
use crate::db::Durability;
use crate::db::instance::operations as rows;
use crate::operation::{Step, StepKind};
use crate::rooted::{Dir, Kind, Meta, timestamps};
use crate::{Error, Result, failpoint, names};

/// No more steps than this are recorded together.
const MAX_STEPS: usize = 1024;

/// No more folders than this are held open by steps that wait.
const MAX_FOLDERS: usize = 64;

/// Up to so many files and folders are made durable one by one, more of them with all that the file system holds.
const FEW: usize = 8;

/// The mode of a `Leave` step for a folder that is not the operation's own.
pub(super) const AS_IT_WAS: u32 = u32::MAX;

/// What became of a step.
enum Taken {
    /// It was taken, now or by a run that was killed.
    Done,
    /// It cannot be taken for good; the reason was noted.
    Dropped,
    /// Source and target are on different mounts.
    OtherMount,
}

impl Engine<'_> {
    pub(super) fn push(&mut self, pending: Pending) {
        if self.work.sources.len() > 1 {
            self.targets.insert(pending.step.target.clone());
        }
        self.batch.push(pending);
    }

    pub(super) fn batch_is_full(&self) -> bool {
        let mut folders = 0;
        let mut last: Option<&Rc<Dir>> = None;
        for pending in &self.batch {
            if last.is_none_or(|last| !Rc::ptr_eq(last, &pending.target)) {
                folders += 1;
                last = Some(&pending.target);
            }
        }
        self.batch.len() >= MAX_STEPS || folders >= MAX_FOLDERS
    }

    /// Whether the operation made this folder.
    pub(super) fn made(&self, meta: &Meta) -> Result<bool> {
        if self.batch.iter().any(|pending| pending.step.file == (meta.dev, meta.ino)) {
            return Ok(true);
        }
        match self.store {
            Some(store) => store.database().read(|c| rows::made(c, self.id, (meta.dev, meta.ino))),
            None => Ok(false),
        }
    }

    /// Takes the steps that wait.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.flush_renames().map(drop)
    }

    /// As [`flush`](Self::flush); answers false when the last step must be done by copying, for its source is on another mount.
    pub(super) fn flush_renames(&mut self) -> Result<bool> {
        let Some(store) = self.store else { return Ok(true) };
        self.sync_files()?;
        failpoint::hit("copy.batch.synced").map_err(Error::io(self.root.path()))?;
        self.record()?;
        failpoint::hit("copy.batch.recorded").map_err(Error::io(self.root.path()))?;
        let batch = std::mem::take(&mut self.batch);
        self.targets.clear();
        let mut dropped = Vec::new();
        let mut same_mount = true;
        let mut done = Vec::with_capacity(batch.len());
        for pending in batch {
            match self.take(&pending)? {
                Taken::Done => done.push(pending),
                Taken::Dropped => dropped.push(pending.step.seq),
                Taken::OtherMount => {
                    dropped.push(pending.step.seq);
                    same_mount = false;
                }
            }
        }
        failpoint::hit("copy.batch.renamed").map_err(Error::io(self.root.path()))?;
        self.complete(&done)?;
        if !dropped.is_empty() {
            store.database().write(Durability::Full, |t| rows::forget(t, self.id, &dropped))?;
        }
        Ok(same_mount)
    }

    /// Writes down one step that was taken already.
    pub(super) fn record_step(&mut self, step: Step) -> Result<()> {
        self.flush()?;
        let Some(store) = self.store else { return Ok(()) };
        store.database().write(Durability::Full, |t| rows::intend(t, self.id, &[step], &self.position))
    }

    /// Writes down the steps that wait, how far the way is, and what could not be done.
    fn record(&mut self) -> Result<()> {
        let Some(store) = self.store else { return Ok(()) };
        let steps: Vec<Step> = self.batch.iter().map(|pending| pending.step.clone()).collect();
        let problems = std::mem::take(&mut self.problems);
        store.database().write(Durability::Full, |t| {
            rows::intend(t, self.id, &steps, &self.position)?;
            rows::add_problems(t, self.id, &problems)
        })
    }

    /// After the renames: folders are made durable, moved sources removed, complete folders get their mode and times.
    fn complete(&mut self, done: &[Pending]) -> Result<()> {
        let changed = |pending: &&Pending| pending.step.kind != StepKind::Leave;
        sync_folders(done.iter().filter(changed).flat_map(|pending| [&pending.target, &pending.held]))?;
        failpoint::hit("copy.batch.durable").map_err(Error::io(self.root.path()))?;
        for pending in done {
            match pending.step.kind {
                StepKind::Put if self.moving() => self.remove_source(pending),
                StepKind::Leave => self.leave_folder(pending),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes a source that was copied to another file system, if it is still what was copied.
    fn remove_source(&mut self, pending: &Pending) {
        let step = &pending.step;
        let name = step.source.file_name().unwrap_or_default();
        let now = match pending.source.lookup(name) {
            Ok(Some(now)) if now.kind == Kind::Dir => return,
            Ok(Some(now)) => now,
            Ok(None) => return,
            Err(error) => return self.problem(&step.source, plain(&error)),
        };
        let same = match &pending.source_meta {
            // Not the time of change: removing another link of the same file sets that.
            Some(before) => before.same(&now) && (before.size, before.modified) == (now.size, now.modified),
            None => now.size == step.size && now.modified == step.modified,
        };
        if !same {
            self.problem(&step.source, "it changed after it was copied; both are kept");
        } else if let Err(error) = pending.source.remove_file(name) {
            self.problem(&step.source, format!("it was copied, but cannot be removed: {}", plain(&error)));
        }
    }

    /// Gives a folder that is complete its mode and times, and removes a moved one that is empty now.
    fn leave_folder(&mut self, pending: &Pending) {
        let step = &pending.step;
        if step.mode != AS_IT_WAS {
            let set = || -> rustix::io::Result<()> {
                if let Some(before) = pending.source_meta.filter(|_| self.moving()) {
                    use rustix::fs::{Gid, Uid, fchown};
                    let _ = fchown(&pending.target, Some(Uid::from_raw(before.uid)), Some(Gid::from_raw(before.gid)));
                }
                rustix::fs::fchmod(&pending.target, Mode::from_raw_mode(step.mode as _))?;
                rustix::fs::futimens(&pending.target, &timestamps(pending.accessed, step.modified))
            };
            if let Err(error) = set() {
                self.problem(&step.target, format!("its mode and times cannot be set: {}", plain(&error.into())));
            }
        }
        if self.moving() {
            match pending.source.remove_dir(step.source.file_name().unwrap_or_default()) {
                // What could not be moved is still in it, and was noted.
                Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {}
                Err(error) => self.problem(&step.source, format!("it is empty, but cannot be removed: {}", plain(&error))),
                Ok(()) => {}
            }
        }
    }

    /// Takes one step, or finds that it was taken.
    fn take(&mut self, pending: &Pending) -> Result<Taken> {
        let step = &pending.step;
        if !matches!(step.kind, StepKind::Put | StepKind::Rename) {
            return Ok(Taken::Done);
        }
        let held_name = step.held.file_name().unwrap_or_default();
        let name = step.target.file_name().unwrap_or_default();
        let lookup = |dir: &Dir, name: &OsStr| dir.lookup(name).map_err(Error::io(&dir.path().join(name)));
        let file = |meta: Option<Meta>| meta.map(|meta| (meta.dev, meta.ino));
        let held = file(lookup(&pending.held, held_name)?);
        let there = file(lookup(&pending.target, name)?);
        if held != Some(step.file) {
            if there == Some(step.file) {
                // It was taken. What it replaced may still be under the temporary name.
                if held.is_some() && held == step.replaced {
                    self.dispose(pending, held_name, name)?;
                }
                return Ok(Taken::Done);
            }
            self.uncount(step);
            self.problem(&step.target, "it vanished before it had its name");
            return Ok(Taken::Dropped);
        }
        let renamed = match there {
            Some(old) if Some(old) == step.replaced => {
                let swapped = pending.held.exchange(held_name, &pending.target, name);
                if swapped.is_ok() {
                    failpoint::hit("copy.replace.swapped").map_err(Error::io(&step.target))?;
                    return self.dispose(pending, held_name, name);
                }
                swapped
            }
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => pending.held.rename_new(held_name, &pending.target, name),
        };
        match renamed {
            Ok(()) => Ok(Taken::Done),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.taken_meanwhile(pending),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices && step.kind == StepKind::Rename => Ok(Taken::OtherMount),
            Err(error) => {
                self.uncount(step);
                self.problem(&step.target, plain(&error));
                self.drop_held(pending);
                Ok(Taken::Dropped)
            }
        }
    }

    /// What was replaced lies under the temporary name now: it goes to the trash, or back when it cannot.
    fn dispose(&mut self, pending: &Pending, held_name: &OsStr, name: &OsStr) -> Result<Taken> {
        let step = &pending.step;
        let disposed = match &step.trashed {
            Some(place) => self.around.trash.put(&pending.held, held_name, &step.target, place),
            None => pending.held.remove_file(held_name).map_err(Error::io(&step.target)),
        };
        let Err(error) = disposed else { return Ok(Taken::Done) };
        pending.held.exchange(held_name, &pending.target, name).map_err(Error::io(&step.target))?;
        self.uncount(step);
        self.problem(&step.target, format!("it was not replaced: {error}"));
        self.drop_held(pending);
        Ok(Taken::Dropped)
    }

    /// Somebody else took the name since it was looked up.
    fn taken_meanwhile(&mut self, pending: &Pending) -> Result<Taken> {
        let step = &pending.step;
        let Some(store) = self.store.filter(|_| self.work.conflict == Conflict::Rename) else {
            self.uncount(step);
            self.problem(&step.target, "its name was taken meanwhile; nothing was replaced");
            self.drop_held(pending);
            return Ok(Taken::Dropped);
        };
        let original = step.source.file_name().unwrap_or_default();
        for n in 2.. {
            let name = names::numbered(original, n);
            let target = step.target.with_file_name(&name);
            if pending.target.lookup(&name).map_err(Error::io(&target))?.is_some() {
                continue;
            }
            store.database().write(Durability::Full, |t| rows::retarget(t, self.id, step.seq, &target))?;
            match pending.held.rename_new(step.held.file_name().unwrap_or_default(), &pending.target, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(&target)(error)),
                Ok(()) => return Ok(Taken::Done),
            }
        }
        Ok(Taken::Dropped)
    }

    /// A temporary file that gets no name is removed; a source that is not renamed stays.
    fn drop_held(&mut self, pending: &Pending) {
        let name = pending.step.held.file_name().unwrap_or_default();
        if pending.step.kind == StepKind::Put && pending.held.remove_file(name).is_err() {
            let _ = pending.held.remove_dir(name);
        }
    }

    fn uncount(&mut self, step: &Step) {
        let report = &mut self.position.report;
        report.files = report.files.saturating_sub(1);
        report.bytes = report.bytes.saturating_sub(step.size);
    }

    /// Makes the bytes of the files durable that wait for their names.
    fn sync_files(&self) -> Result<()> {
        let unsynced: Vec<&Pending> = self.batch.iter().filter(|pending| !pending.synced).collect();
        if unsynced.len() > FEW && sync_all(unsynced.iter().map(|pending| &pending.target))? {
            return Ok(());
        }
        for pending in unsynced {
            let held = &pending.step.held;
            let name = held.file_name().unwrap_or_default();
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
            match rustix::fs::openat(&*pending.held, name, flags, Mode::empty()) {
                Ok(file) => File::from(file).sync_all().map_err(Error::io(held))?,
                // Its mode forbids even its owner to read it, or it is gone, which the renaming finds out.
                Err(rustix::io::Errno::ACCESS) => drop(sync_all([&pending.held].into_iter())?),
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(Error::io(held)(error.into())),
            }
        }
        Ok(())
    }

    /// Takes what waits, and says that all was taken.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.record()
    }

    /// Removes the temporary files of steps that will not be taken.
    pub(super) fn discard(&mut self) {
        for pending in std::mem::take(&mut self.batch) {
            self.drop_held(&pending);
        }
    }

    /// Finishes the steps that a killed run had recorded, and removes what it had not recorded.
    pub(super) fn recover(&mut self) -> Result<()> {
        let Some(store) = self.store else { return Ok(()) };
        let steps = store.database().read(|c| rows::steps(c, self.id, true))?;
        let mut done = Vec::new();
        let mut dropped = Vec::new();
        for step in steps {
            let seq = step.seq;
            match self.reopened(step) {
                Ok(pending) => match self.take(&pending)? {
                    Taken::Done => {
                        if pending.step.kind == StepKind::Rename {
                            self.renamed.insert(pending.step.source.clone());
                        }
                        done.push(pending);
                    }
                    Taken::Dropped => dropped.push(seq),
                    Taken::OtherMount => {
                        self.uncount(&pending.step);
                        dropped.push(seq);
                    }
                },
                Err(error) => {
                    dropped.push(seq);
                    self.problem(self.root.path().to_owned().as_path(), error.to_string());
                }
            }
        }
        self.complete(&done)?;
        store.database().write(Durability::Full, |t| {
            rows::forget(t, self.id, &dropped)?;
            rows::settle(t, self.id, &self.position)
        })?;
        self.sweep()
    }

    /// A step of an earlier run with its folders.
    fn reopened(&self, step: Step) -> Result<Pending> {
        let open = |path: &Path| -> Result<Rc<Dir>> {
            let parent = path.parent().unwrap_or(Path::new("/"));
            let dir = match parent.strip_prefix(self.root.path()) {
                Ok(below) => self.root.beneath(below),
                Err(_) => Dir::open(parent),
            };
            dir.map(Rc::new).map_err(Error::io(parent))
        };
        let source = open(&step.source)?;
        let held = open(&step.held)?;
        let target = if step.kind == StepKind::Leave {
            let below = step.target.strip_prefix(self.root.path()).unwrap_or(Path::new(""));
            Rc::new(self.root.beneath(below).map_err(Error::io(&step.target))?)
        } else {
            open(&step.target)?
        };
        let accessed = step.modified;
        Ok(Pending { step, source, source_meta: None, held, target, synced: true, accessed })
    }

    /// Removes temporary files that no step knows, wherever this operation can have made some.
    fn sweep(&self) -> Result<()> {
        let mut waiting = Vec::new();
        self.sweep_folder(&self.root)?;
        for (source, name) in self.work.sources.iter().zip(&self.position.names) {
            let chosen = name.as_ref().or(self.position.name.as_ref()).map(|name| name.0.as_os_str());
            let name = chosen.or(source.0.file_name()).unwrap_or_default();
            waiting.extend(self.root.child(name));
        }
        while let Some(dir) = waiting.pop() {
            waiting.extend(self.sweep_folder(&dir)?);
        }
        Ok(())
    }

    /// Removes the temporary files in one folder, and gives the folders in it.
    fn sweep_folder(&self, dir: &Dir) -> Result<Vec<Dir>> {
        let mut below = Vec::new();
        let names = dir.names().map_err(Error::io(dir.path()))?;
        for name in names {
            let ours = std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str()).starts_with(self.tag.as_bytes());
            let Ok(Some(meta)) = dir.lookup(&name) else { continue };
            match (ours, meta.kind) {
                (true, Kind::Dir) => dir.remove_dir(&name).map_err(Error::io(dir.path()))?,
                (true, _) => dir.remove_file(&name).map_err(Error::io(dir.path()))?,
                (false, Kind::Dir) if !std::ptr::eq(dir, &raw const *self.root) => below.extend(dir.child(&name)),
                _ => {}
            }
        }
        Ok(below)
    }
}

/// Makes the entries of folders durable.
fn sync_folders<'a>(folders: impl Iterator<Item = &'a Rc<Dir>>) -> Result<()> {
    let mut seen = HashSet::new();
    let distinct: Vec<&Rc<Dir>> = folders.filter(|dir| seen.insert(Rc::as_ptr(dir))).collect();
    if distinct.len() > FEW && sync_all(distinct.iter().copied())? {
        return Ok(());
    }
    distinct.iter().try_for_each(|dir| dir.sync().map_err(Error::io(dir.path())))
}

/// Makes everything durable on the file systems of these folders, in one go for each. Answers whether that is possible.
fn sync_all<'a>(folders: impl Iterator<Item = &'a Rc<Dir>>) -> Result<bool> {
    #[cfg(target_os = "linux")]
    {
        let mut seen = HashSet::new();
        for dir in folders {
            let dev = dir.meta().map_err(Error::io(dir.path()))?.dev;
            if seen.insert(dev) {
                rustix::fs::syncfs(dir.as_fd()).map_err(|error| Error::io(dir.path())(error.into()))?;
            }
        }
        Ok(true)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folders.map(|dir| dir.as_fd()).count();
        Ok(false)
    }
}
