//! Copying and moving: what is asked for is checked, counted, and then done entry by entry.
//!
//! Each file is made under a temporary name beside its target, made durable, recorded as a step, and only then renamed;
//! so no half file ever has its final name. A resumed run finishes the recorded steps, and walks the sources in the same
//! order from where the steps end.

mod apply;
pub(crate) mod data;
mod entry;
mod walk;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use spacedrive_api::{FileAction, FileProblem, FileReport, FileWork, WirePath};
use uuid::Uuid;

use crate::instance::InstanceStore;
use crate::operation::{self, Operation, Position, Step, Surroundings, Watch};
use crate::rooted::{Dir, Kind, Meta, meta_of};
use crate::{Error, Result};

/// A run of an operation, or with no store a dry run.
pub(crate) struct Engine<'a> {
    store: Option<&'a InstanceStore>,
    around: &'a Surroundings,
    watch: &'a dyn Watch,
    work: &'a FileWork,
    id: Uuid,
    /// What the names of temporary files begin with.
    tag: String,
    /// The folder that everything goes into, its links resolved, and what it is.
    root: Rc<Dir>,
    root_meta: Meta,
    position: Position,
    batch: Vec<Pending>,
    /// The targets of the batch, where two sources could have the same.
    targets: HashSet<PathBuf>,
    /// One source lies in another: what was moved must be gone before the next is looked at.
    nested: bool,
    problems: Vec<FileProblem>,
    copier: data::Copier,
    /// Sources that a killed run had renamed, as this run found out.
    renamed: HashSet<PathBuf>,
    /// What a dry run found to be written, in bytes.
    need: u64,
}

/// A step with the open folders that it works in.
struct Pending {
    step: Step,
    /// The folder of the source, and what the source was.
    source: Rc<Dir>,
    source_meta: Option<Meta>,
    /// The folder that it is held in.
    held: Rc<Dir>,
    /// The folder that it goes into.
    target: Rc<Dir>,
    /// Its bytes are on the disk, not only in memory.
    synced: bool,
    accessed: (i64, i64),
}

/// Where things go: a folder, and the name there when a person chose one.
#[derive(Debug)]
struct Destination {
    folder: PathBuf,
    name: Option<OsString>,
}

/// Fails when the request cannot be meant.
pub(crate) fn check(around: &Surroundings, work: &FileWork) -> Result<()> {
    let bad = |path: &Path, why| Err(Error::BadRequest { path: path.to_owned(), why });
    if work.sources.is_empty() {
        return bad(Path::new(""), "there is nothing to do");
    }
    let destination = destination(work)?;
    for source in &work.sources {
        let path = source.0.as_path();
        if !path.is_absolute() {
            return bad(path, "it is not an absolute path");
        }
        let Some(meta) = meta_of(path).map_err(Error::io(path))? else {
            return Err(Error::io(path)(std::io::ErrorKind::NotFound.into()));
        };
        if path.file_name().is_none() {
            return bad(path, "it has no name of its own");
        }
        if work.action == FileAction::Move {
            crate::remove::check_protected(around, path)?;
        }
        if meta.kind == Kind::Dir {
            let real = path.canonicalize().map_err(Error::io(path))?;
            if destination.folder.starts_with(&real) {
                return bad(path, "it cannot be put into itself");
            }
        }
    }
    Ok(())
}

/// Finds where things go, as `cp` does: into a folder that exists, else under the name that is given.
fn destination(work: &FileWork) -> Result<Destination> {
    let Some(target) = &work.target else {
        return Err(Error::BadRequest { path: PathBuf::new(), why: "there is no target" });
    };
    let target = target.0.as_path();
    let bad = |why| Error::BadRequest { path: target.to_owned(), why };
    if !target.is_absolute() {
        return Err(bad("it is not an absolute path"));
    }
    if target.is_dir() {
        return Ok(Destination { folder: target.canonicalize().map_err(Error::io(target))?, name: None });
    }
    let ends_in_slash = std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str()).ends_with(b"/");
    if work.sources.len() > 1 || ends_in_slash {
        return Err(bad("it is not a folder"));
    }
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { return Err(bad("it has no name of its own")) };
    let folder = parent.canonicalize().map_err(Error::io(parent))?;
    Ok(Destination { folder, name: Some(name.to_owned()) })
}

/// What the work would do.
pub(crate) fn dry_run(around: &Surroundings, work: &FileWork, watch: &dyn Watch) -> Result<FileReport> {
    let mut engine = Engine::new(None, around, work, watch, Uuid::nil(), Position::default(), destination(work)?)?;
    engine.walk_all()?;
    engine.position.report.errors = engine.problems;
    Ok(engine.position.report)
}

/// Runs or goes on with an operation.
pub(crate) fn run(store: &InstanceStore, around: &Surroundings, operation: &Operation, watch: &dyn Watch) -> Result<()> {
    let work = &operation.work;
    let mut position = operation.position.clone();
    let resumed = position.total.is_some();
    if !resumed {
        position = begin(around, work, watch)?;
        // Written down before the first byte: what a name resolves to now is what it means from here on.
        position.names.resize(work.sources.len(), None);
        operation::begin(store, operation.id, &position)?;
    }
    let (files, bytes) = position.total.unwrap_or_default();
    watch.total(files, bytes);
    watch.done(position.report.files, position.report.bytes);
    let destination = position.destination()?;
    let mut engine = Engine::new(Some(store), around, work, watch, operation.id, position, destination)?;
    if resumed {
        engine.recover()?;
    }
    match engine.walk_all() {
        Ok(()) => engine.finish(),
        Err(error) => {
            // What is complete already is kept, if that can still be written down.
            if engine.finish().is_err() {
                engine.discard();
            }
            Err(error)
        }
    }
}

/// Counts what there is to do, and fails when it cannot fit.
fn begin(around: &Surroundings, work: &FileWork, watch: &dyn Watch) -> Result<Position> {
    let destination = destination(work)?;
    let mut position = Position {
        folder: Some(WirePath(destination.folder.clone())),
        name: destination.name.clone().map(|name| WirePath(name.into())),
        ..Position::default()
    };
    let mut engine = Engine::new(None, around, work, watch, Uuid::nil(), Position::default(), destination)?;
    engine.walk_all()?;
    let report = &engine.position.report;
    position.total = Some((report.files, report.bytes));
    engine.check_space()?;
    Ok(position)
}

/// Finishes the recorded steps of an operation that will not go on, and removes its temporary files.
pub(crate) fn clean_up(store: &InstanceStore, around: &Surroundings, operation: &Operation) -> Result<()> {
    if operation.position.total.is_none() {
        return Ok(());
    }
    let position = operation.position.clone();
    let destination = position.destination()?;
    let watch = operation::Unwatched;
    let mut engine = Engine::new(Some(store), around, &operation.work, &watch, operation.id, position, destination)?;
    engine.recover()?;
    engine.finish()
}

impl Position {
    fn destination(&self) -> Result<Destination> {
        let lost = || Error::BadRequest { path: PathBuf::new(), why: "the operation does not know where it goes" };
        let folder = self.folder.clone().ok_or_else(lost)?.0;
        Ok(Destination { folder, name: self.name.clone().map(|name| name.0.into_os_string()) })
    }
}

impl<'a> Engine<'a> {
    fn new(
        store: Option<&'a InstanceStore>,
        around: &'a Surroundings,
        work: &'a FileWork,
        watch: &'a dyn Watch,
        id: Uuid,
        mut position: Position,
        destination: Destination,
    ) -> Result<Self> {
        let root = Dir::open(&destination.folder).map_err(Error::io(&destination.folder))?;
        let root_meta = root.meta().map_err(Error::io(&destination.folder))?;
        position.names.resize(work.sources.len(), None);
        let mut sorted: Vec<&Path> = work.sources.iter().map(AsRef::as_ref).collect();
        sorted.sort_unstable();
        let nested = sorted.windows(2).any(|pair| pair[1].starts_with(pair[0]));
        position.name = destination.name.map(|name| WirePath(name.into()));
        Ok(Self {
            store,
            around,
            watch,
            work,
            id,
            tag: format!(".spacedrive-{}-", crate::operation::tag(id)),
            root: Rc::new(root),
            root_meta,
            position,
            batch: Vec::new(),
            targets: HashSet::new(),
            nested,
            problems: Vec::new(),
            copier: data::Copier::new(),
            renamed: HashSet::new(),
            need: 0,
        })
    }

    /// Whether nothing is to be changed.
    fn dry(&self) -> bool {
        self.store.is_none()
    }

    fn moving(&self) -> bool {
        self.work.action == FileAction::Move
    }

    /// Notes what could not be done; the rest goes on.
    fn problem(&mut self, path: &Path, message: impl Into<String>) {
        if self.position.problems < operation::MAX_PROBLEMS as u64 {
            self.problems.push(operation::problem(path, message));
        }
        self.position.problems += 1;
    }

    fn check_space(&self) -> Result<()> {
        let path = self.root.path();
        let space = rustix::fs::fstatvfs(&self.root).map_err(|error| Error::io(path)(error.into()))?;
        if space.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) && self.position.report.files > 0 {
            return Err(Error::io(path)(std::io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        let have = space.f_bavail.saturating_mul(space.f_frsize);
        if self.need > have {
            return Err(Error::NoSpace { path: path.to_owned(), need: self.need, have });
        }
        Ok(())
    }
}

impl std::fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("id", &self.id).field("position", &self.position).finish_non_exhaustive()
    }
}
