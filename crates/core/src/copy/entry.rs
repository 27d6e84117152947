//! One entry of the sources: what becomes of it, and its copy under a temporary name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{Advice, Gid, Mode, Uid};
use spacedrive_api::{Conflict, WirePath};

use super::data::{Copied, is_fatal, plain};
use super::walk::Frame;
use super::{Engine, Pending};
use crate::operation::{Step, StepKind};
use crate::rooted::{Dir, Kind, Meta, meta_of_file, timestamps};
use crate::{Error, Result, failpoint, names};

/// How often a file is copied anew that changes meanwhile.
const ATTEMPTS: u32 = 3;

/// Larger files are made durable one by one.
const LARGE: u64 = 1 << 20;

/// Where an entry goes.
struct Place<'a> {
    target: Option<&'a Rc<Dir>>,
    name: OsString,
    /// What it replaces.
    replaced: Option<Meta>,
}

/// What is to be done with an entry.
enum Decision<'a> {
    Put(Place<'a>),
    /// Its entries go into this folder, which may be the operation's own.
    Merge {
        fresh: bool,
    },
    Leave,
}

impl Engine<'_> {
    /// Does one entry; a folder whose entries are to be done next is given back.
    pub(super) fn entry(
        &mut self,
        source: &Rc<Dir>,
        name: &OsStr,
        target: Option<&Rc<Dir>>,
        as_name: &OsStr,
        fresh: bool,
        top: bool,
    ) -> Result<Option<Frame>> {
        let path = source.path().join(name);
        let meta = match source.lookup(name) {
            Ok(Some(meta)) => meta,
            // A run that was killed had moved it already.
            Ok(None) if self.renamed.contains(&path) => return Ok(None),
            Ok(None) => return self.refuse(&path, "it is not there"),
            Err(error) => return self.refuse(&path, plain(&error)),
        };
        if meta.kind == Kind::Other {
            return self.refuse(&path, "it is neither a file nor a folder nor a link");
        }
        if meta.same(&self.root_meta) {
            return self.refuse(&path, "it cannot be put into itself");
        }
        // Two sources of one name: the first must have it before the second is decided on.
        if target.is_some_and(|target| self.targets.contains(&target.path().join(as_name))) {
            self.flush()?;
        }
        let existing = match target.map(|target| target.lookup(as_name)).transpose() {
            Ok(existing) => existing.flatten(),
            Err(error) => return self.refuse(&path, plain(&error)),
        };
        match self.decide(&path, &meta, target, as_name, existing, fresh, top)? {
            Decision::Leave => Ok(None),
            Decision::Merge { fresh } => {
                let Some(target) = target else { return Ok(None) };
                match target.child(as_name) {
                    Ok(child) => Ok(self.frame(source, name, meta, Some(Rc::new(child)), fresh)),
                    Err(error) => self.refuse(&path, plain(&error)),
                }
            }
            Decision::Put(place) => self.put(source, name, meta, place, fresh, top),
        }
    }

    fn refuse(&mut self, path: &Path, why: impl Into<String>) -> Result<Option<Frame>> {
        self.problem(path, why);
        Ok(None)
    }

    #[allow(clippy::too_many_arguments, reason = "each is one fact that the decision depends on")]
    fn decide<'t>(
        &mut self,
        path: &Path,
        meta: &Meta,
        target: Option<&'t Rc<Dir>>,
        as_name: &OsStr,
        existing: Option<Meta>,
        fresh: bool,
        top: bool,
    ) -> Result<Decision<'t>> {
        let put = |name: OsString, replaced| Ok(Decision::Put(Place { target, name, replaced }));
        let Some(old) = existing else { return put(as_name.to_owned(), None) };
        let folders = (meta.kind == Kind::Dir, old.kind == Kind::Dir);
        if folders == (true, true) {
            // A source's own folder has a name that was chosen for it; another source's of that name is somebody else's.
            let mine = !top || self.position.names[self.position.top].is_some();
            let made = mine && self.made(&old)?;
            if fresh && !made && !self.dry() {
                // Made by a run that was killed before it could record that.
                let to = target.map(|target| target.path().join(as_name)).unwrap_or_default();
                let step = self.step(StepKind::Folder, path, &to, &to, &old);
                self.record_step(step)?;
            }
            if fresh || made {
                return Ok(Decision::Merge { fresh: true });
            }
        }
        if old.same(meta) && (self.moving() || self.work.conflict != Conflict::Rename) {
            return self.refuse(path, "source and target are the same").map(|_| Decision::Leave);
        }
        let conflict = self.work.conflict;
        if conflict == Conflict::Rename && (top || folders != (true, true)) {
            let mut free = (2..).map(|n| names::numbered(as_name, n));
            let target = target.cloned();
            let found = free.find(|name| target.as_ref().is_none_or(|target| !matches!(target.lookup(name), Ok(Some(_)))));
            return put(found.unwrap_or_default(), None);
        }
        match (folders, conflict) {
            ((true, true), _) => Ok(Decision::Merge { fresh: false }),
            (_, Conflict::Skip) => self.skip(),
            (_, Conflict::Newer) if meta.modified <= old.modified => self.skip(),
            ((true, false), _) => self.refuse(path, "a file of its name is in the way").map(|_| Decision::Leave),
            ((false, true), _) => self.refuse(path, "a folder of its name is in the way").map(|_| Decision::Leave),
            _ if old.kind == Kind::Other => {
                self.refuse(path, "something of its name is in the way that is no file").map(|_| Decision::Leave)
            }
            _ => put(as_name.to_owned(), Some(old)),
        }
    }

    fn skip<'t>(&mut self) -> Result<Decision<'t>> {
        self.position.report.skipped += 1;
        Ok(Decision::Leave)
    }

    fn put(
        &mut self,
        source: &Rc<Dir>,
        name: &OsStr,
        meta: Meta,
        place: Place<'_>,
        fresh: bool,
        top: bool,
    ) -> Result<Option<Frame>> {
        let path = source.path().join(name);
        let whole = self.moving() && self.can_rename(&meta, place.target);
        if let (Some(target), false) = (place.target, self.dry()) {
            if top {
                self.position.names[self.position.top] = Some(WirePath(place.name.clone().into()));
            }
            if whole && self.rename(source, name, &meta, target, &place)? {
                return Ok(None);
            }
        } else if whole {
            self.count(if meta.kind == Kind::Dir { 0 } else { meta.size });
            return Ok(None);
        }
        let (Some(target), false) = (place.target, self.dry()) else {
            if meta.kind == Kind::Dir {
                return Ok(self.frame(source, name, meta, None, true));
            }
            self.count(meta.size);
            self.need += self.space_of(&meta);
            return Ok(None);
        };
        let made = match meta.kind {
            Kind::Dir => return self.put_folder(source, name, meta, target, &place.name, fresh),
            Kind::Symlink => self.put_link(source, name, meta, target, &place),
            _ => self.put_file(source, name, target, &place),
        };
        match made {
            Ok(()) => Ok(None),
            Err(Error::Io { source, path: at }) if is_fatal(&source) => Err(Error::Io { source, path: at }),
            Err(Error::Io { source, .. }) => self.refuse(&path, plain(&source)),
            Err(error @ (Error::NoTrash { .. } | Error::BadRequest { .. })) => self.refuse(&path, error.to_string()),
            Err(error) => Err(error),
        }
    }

    fn count(&mut self, bytes: u64) {
        self.position.report.files += 1;
        self.position.report.bytes += bytes;
    }

    /// What a copy takes on disk, as far as it cannot share its blocks.
    fn space_of(&self, meta: &Meta) -> u64 {
        const SHARING: [i64; 2] = [0x9123_683E, 0xCA45_1A4E];
        let shares =
            meta.dev == self.root_meta.dev && rustix::fs::fstatfs(&self.root).is_ok_and(|fs| SHARING.contains(&fs.f_type));
        if shares || meta.kind != Kind::File { 0 } else { meta.size.min(meta.stored.max(1)) }
    }

    fn can_rename(&self, meta: &Meta, target: Option<&Rc<Dir>>) -> bool {
        target.is_some_and(|target| target.meta().is_ok_and(|folder| folder.dev == meta.dev))
    }

    /// Moves an entry by renaming it. Answers false when the two are on different mounts after all.
    fn rename(&mut self, source: &Rc<Dir>, name: &OsStr, meta: &Meta, target: &Rc<Dir>, place: &Place<'_>) -> Result<bool> {
        self.flush()?;
        let (from, to) = (source.path().join(name), target.path().join(&place.name));
        let mut step = self.step(StepKind::Rename, &from, &from, &to, meta);
        if let Err(error) = self.replace(&mut step, place) {
            return self.refuse(&from, error.to_string()).map(|_| true);
        }
        self.push(Pending {
            step,
            source: source.clone(),
            source_meta: Some(*meta),
            held: source.clone(),
            target: target.clone(),
            synced: true,
            accessed: meta.accessed,
        });
        let bytes = if meta.kind == Kind::Dir { 0 } else { meta.size };
        self.count(bytes);
        let renamed = self.flush_renames()?;
        if renamed {
            self.watch.done(1, bytes);
        } else {
            self.position.report.files -= 1;
            self.position.report.bytes -= bytes;
        }
        Ok(renamed)
    }

    /// Fills in what a step replaces, and where that goes.
    fn replace(&self, step: &mut Step, place: &Place<'_>) -> Result<()> {
        let Some(old) = place.replaced else { return Ok(()) };
        step.replaced = Some((old.dev, old.ino));
        if !self.work.permanent {
            step.trashed = Some(self.around.trash.choose(&step.target, &self.token(step.seq))?);
        }
        Ok(())
    }

    fn put_folder(
        &mut self,
        source: &Rc<Dir>,
        name: &OsStr,
        meta: Meta,
        target: &Rc<Dir>,
        as_name: &OsStr,
        fresh: bool,
    ) -> Result<Option<Frame>> {
        let path = source.path().join(name);
        let to = target.path().join(as_name);
        // Within a folder of the operation's own nobody else's can be meant; elsewhere it is recorded before it has its name.
        let held = if fresh { as_name.to_owned() } else { self.temporary() };
        let made = match target.make_dir(&held) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        };
        if let Err(error) = made {
            if is_fatal(&error) {
                return Err(Error::io(&to)(error));
            }
            return self.refuse(&path, plain(&error));
        }
        let made = target.lookup(&held).map_err(Error::io(&to))?.ok_or_else(|| Error::io(&to)(io::ErrorKind::NotFound.into()))?;
        let kind = if fresh { StepKind::Folder } else { StepKind::Put };
        let step = self.step(kind, &path, &target.path().join(&held), &to, &made);
        self.push(Pending {
            step,
            source: source.clone(),
            source_meta: Some(meta),
            held: target.clone(),
            target: target.clone(),
            synced: true,
            accessed: meta.accessed,
        });
        if !fresh {
            failpoint::hit("copy.folder.made").map_err(Error::io(&to))?;
            self.flush()?;
        }
        // A name that was taken meanwhile is the reason why this looks it up by what it is.
        match target.child(as_name) {
            Ok(child) if child.meta().is_ok_and(|meta| meta.same(&made)) => {
                Ok(self.frame(source, name, meta, Some(Rc::new(child)), true))
            }
            Ok(_) => self.refuse(&path, "a folder of its name appeared meanwhile"),
            Err(error) => self.refuse(&path, plain(&error)),
        }
    }

    fn put_link(&mut self, source: &Rc<Dir>, name: &OsStr, meta: Meta, target: &Rc<Dir>, place: &Place<'_>) -> Result<()> {
        let path = source.path().join(name);
        let to = target.path().join(&place.name);
        let text = source.read_link(name).map_err(Error::io(&path))?;
        let held = self.temporary();
        let make = || match target.make_link(&text, &held) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                target.remove_file(&held)?;
                target.make_link(&text, &held)
            }
            other => other,
        };
        make().map_err(Error::io(&to))?;
        let _ = target.set_times(&held, meta.accessed, meta.modified);
        let made = target.lookup(&held).map_err(Error::io(&to))?.ok_or_else(|| Error::io(&to)(io::ErrorKind::NotFound.into()))?;
        let mut step = self.step(StepKind::Put, &path, &target.path().join(&held), &to, &made);
        self.replace(&mut step, place).inspect_err(|_| drop(target.remove_file(&held)))?;
        self.count(meta.size);
        self.watch.done(1, meta.size);
        self.push(Pending {
            step,
            source: source.clone(),
            source_meta: Some(meta),
            held: target.clone(),
            target: target.clone(),
            synced: true,
            accessed: meta.accessed,
        });
        Ok(())
    }

    fn put_file(&mut self, source: &Rc<Dir>, name: &OsStr, target: &Rc<Dir>, place: &Place<'_>) -> Result<()> {
        let path = source.path().join(name);
        let to = target.path().join(&place.name);
        let held = self.temporary();
        for attempt in 1.. {
            let from = source.open_file(name).map_err(Error::io(&path))?;
            let before = meta_of_file(&from).map_err(Error::io(&path))?;
            let file = create(target, &held).map_err(Error::io(&to))?;
            let filled = self.fill(&from, &before, &file, &path, &to);
            failpoint::hit("copy.file.filled").map_err(Error::io(&to))?;
            let outcome = match filled {
                Ok(Some(outcome)) => outcome,
                // It changed meanwhile.
                Ok(None) if attempt < ATTEMPTS => continue,
                Ok(None) => {
                    let _ = target.remove_file(&held);
                    self.problem(&path, "it changed while it was copied, three times; it was left out");
                    return Ok(());
                }
                Err(error) => {
                    let _ = target.remove_file(&held);
                    return Err(error);
                }
            };
            let Filled { made, synced, verified } = outcome;
            if verified == Some(false) {
                let _ = target.remove_file(&held);
                self.problem(&path, "the copy has another hash than the source; it was left out");
                if let Some(problem) = self.problems.last_mut() {
                    problem.verification = true;
                }
                return Ok(());
            }
            let mut step = self.step(StepKind::Put, &path, &target.path().join(&held), &to, &made);
            self.replace(&mut step, place).inspect_err(|_| drop(target.remove_file(&held)))?;
            self.position.report.verified += u64::from(verified.is_some());
            self.count(made.size);
            self.watch.done(1, 0);
            self.push(Pending {
                step,
                source: source.clone(),
                source_meta: Some(before),
                held: target.clone(),
                target: target.clone(),
                synced,
                accessed: before.accessed,
            });
            return Ok(());
        }
        Ok(())
    }

    /// Fills `file`; `None` when the source changed meanwhile.
    fn fill(&mut self, from: &File, before: &Meta, file: &File, path: &Path, to: &Path) -> Result<Option<Filled>> {
        let dev = self.root_meta.dev;
        let copied = self.copier.copy(from, before, file, dev, self.watch)?.map_err(Error::io(to))?;
        let after = meta_of_file(from).map_err(Error::io(path))?;
        if copied == Copied::Short || !before.unchanged(&after) {
            return Ok(None);
        }
        let large = before.size >= LARGE;
        let verify = self.work.verify || self.moving();
        let verified = if verify {
            if large {
                file.sync_data().map_err(Error::io(to))?;
                // So that the disk is asked and not the memory, as far as the kernel follows the advice.
                let _ = rustix::fs::fadvise(file, 0, None, Advice::DontNeed);
            }
            let ours = self.copier.hash(file, self.watch)?.map_err(Error::io(to))?;
            let theirs = self.copier.hash(from, self.watch)?.map_err(Error::io(path))?;
            if !before.unchanged(&meta_of_file(from).map_err(Error::io(path))?) {
                return Ok(None);
            }
            Some(ours == theirs)
        } else {
            None
        };
        let set = || -> rustix::io::Result<()> {
            if self.moving() {
                // Only root may give files away; for others the file is theirs already.
                let _ = rustix::fs::fchown(file, Some(Uid::from_raw(before.uid)), Some(Gid::from_raw(before.gid)));
            }
            rustix::fs::fchmod(file, Mode::from_raw_mode((before.mode & 0o777) as _))?;
            rustix::fs::futimens(file, &timestamps(before.accessed, before.modified))
        };
        set().map_err(|error| Error::io(to)(error.into()))?;
        if large {
            file.sync_all().map_err(Error::io(to))?;
        }
        let made = meta_of_file(file).map_err(Error::io(to))?;
        Ok(Some(Filled { made, synced: large, verified }))
    }

    /// The next temporary name; the step that is made next has its number.
    fn temporary(&self) -> OsString {
        format!("{}{}.part", self.tag, self.position.seq).into()
    }

    /// What makes a name in the trash unique.
    pub(super) fn token(&self, seq: u64) -> String {
        format!("{}-{seq}", crate::operation::tag(self.id))
    }

    /// The next step.
    pub(super) fn step(&mut self, kind: StepKind, source: &Path, held: &Path, target: &Path, meta: &Meta) -> Step {
        let seq = self.position.seq;
        self.position.seq += 1;
        Step {
            seq,
            kind,
            source: source.to_owned(),
            held: held.to_owned(),
            target: target.to_owned(),
            file: (meta.dev, meta.ino),
            size: meta.size,
            modified: meta.modified,
            mode: meta.mode,
            replaced: None,
            trashed: None,
        }
    }
}

/// A complete copy under its temporary name.
struct Filled {
    made: Meta,
    synced: bool,
    /// Whether the hashes are equal, if they were compared.
    verified: Option<bool>,
}

/// Makes a temporary file anew; one of that name was left by a killed run of this operation.
fn create(target: &Dir, name: &OsStr) -> io::Result<File> {
    match target.create_new(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            target.remove_file(name)?;
            target.create_new(name)
        }
        other => other,
    }
}
