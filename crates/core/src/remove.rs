//! Deleting: to the trash, or for good.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use spacedrive_api::{FileProblem, FileReport, FileWork};

use crate::copy::data::{is_fatal, plain};
use crate::db::Durability;
use crate::db::instance::operations as rows;
use crate::instance::InstanceStore;
use crate::operation::{self, Operation, Position, Step, StepKind, Surroundings, Watch};
use crate::rooted::{Dir, Kind, Meta, meta_of};
use crate::{Error, Result, failpoint};

/// How many are recorded together.
const TOGETHER: usize = 256;

/// Fails when the request cannot be meant.
pub(crate) fn check(around: &Surroundings, work: &FileWork) -> Result<()> {
    let bad = |path: &Path, why| Err(Error::BadRequest { path: path.to_owned(), why });
    if work.sources.is_empty() {
        return bad(Path::new(""), "there is nothing to do");
    }
    for source in &work.sources {
        let path = source.0.as_path();
        if !path.is_absolute() {
            return bad(path, "it is not an absolute path");
        }
        if path.file_name().is_none() {
            return bad(path, "it has no name of its own");
        }
        if meta_of(path).map_err(Error::io(path))?.is_none() {
            return Err(Error::io(path)(io::ErrorKind::NotFound.into()));
        }
        check_protected(around, path)?;
        if !work.permanent {
            around.trash.choose(&resolved(path)?, "check")?;
        }
    }
    Ok(())
}

/// Fails when `path` is, or has in it, what must stay where it is.
pub(crate) fn check_protected(around: &Surroundings, path: &Path) -> Result<()> {
    let real = resolved(path)?;
    match around.protected.iter().any(|protected| protected.starts_with(&real)) {
        true => Err(Error::BadRequest { path: path.to_owned(), why: "the instance's own data is in it" }),
        false => Ok(()),
    }
}

/// The path with the links above its last name resolved.
pub(crate) fn resolved(path: &Path) -> Result<PathBuf> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(parent.canonicalize().map_err(Error::io(parent))?.join(path.file_name().unwrap_or_default()))
}

/// What would be deleted.
pub(crate) fn dry_run(work: &FileWork, watch: &dyn Watch) -> Result<FileReport> {
    let mut report = FileReport::default();
    for source in &work.sources {
        watch.check()?;
        match meta_of(source.as_ref()) {
            Ok(Some(meta)) => {
                report.files += 1;
                report.bytes += if meta.kind == Kind::Dir { 0 } else { meta.size };
            }
            Ok(None) => report.errors.push(operation::problem(source.as_ref(), "it is not there")),
            Err(error) => report.errors.push(operation::problem(source.as_ref(), plain(&error))),
        }
    }
    Ok(report)
}

/// Runs or goes on with a deletion.
pub(crate) fn run(store: &InstanceStore, around: &Surroundings, operation: &Operation, watch: &dyn Watch) -> Result<()> {
    let mut position = operation.position.clone();
    let sources = &operation.work.sources;
    watch.total(sources.len() as u64, 0);
    watch.done(position.report.files, position.report.bytes);
    for step in store.database().read(|c| rows::steps(c, operation.id, true))? {
        take(around, &step)?;
    }
    position.total = Some((sources.len() as u64, 0));
    while position.top < sources.len() {
        watch.check()?;
        let mut problems = Vec::new();
        if operation.work.permanent {
            let path = sources[position.top].0.as_path();
            remove_whole(path, &mut position, &mut problems, watch)?;
            position.top += 1;
            record(store, operation, &[], &position, &problems)?;
        } else {
            trash_some(store, around, operation, &mut position, watch)?;
        }
    }
    record(store, operation, &[], &position, &[])
}

fn record(
    store: &InstanceStore,
    operation: &Operation,
    steps: &[Step],
    position: &Position,
    problems: &[FileProblem],
) -> Result<()> {
    store.database().write(Durability::Full, |t| {
        rows::intend(t, operation.id, steps, position)?;
        rows::add_problems(t, operation.id, problems)
    })
}

/// Moves the next few sources to the trash.
fn trash_some(
    store: &InstanceStore,
    around: &Surroundings,
    operation: &Operation,
    position: &mut Position,
    watch: &dyn Watch,
) -> Result<()> {
    let mut steps = Vec::new();
    let mut problems = Vec::new();
    while position.top < operation.work.sources.len() && steps.len() < TOGETHER {
        let path = operation.work.sources[position.top].0.as_path();
        position.top += 1;
        match step(around, operation, path, position.seq) {
            Ok(step) => {
                position.seq += 1;
                position.report.files += 1;
                position.report.bytes += step.size;
                steps.push(step);
            }
            Err(error) => {
                position.problems += 1;
                problems.push(operation::problem(path, error_text(&error)));
            }
        }
    }
    record(store, operation, &steps, position, &problems)?;
    failpoint::hit("delete.trash.recorded").map_err(Error::io(Path::new("/")))?;
    for step in &steps {
        if let Err(error) = take(around, step) {
            position.problems += 1;
            position.report.files -= 1;
            position.report.bytes -= step.size;
            let problem = operation::problem(&step.source, error_text(&error));
            store.database().write(Durability::Full, |t| {
                rows::forget(t, operation.id, &[step.seq])?;
                rows::add_problems(t, operation.id, &[problem])
            })?;
        } else {
            watch.done(1, step.size);
        }
    }
    Ok(())
}

fn error_text(error: &Error) -> String {
    match error {
        Error::Io { source, .. } => plain(source),
        other => other.to_string(),
    }
}

fn step(around: &Surroundings, operation: &Operation, path: &Path, seq: u64) -> Result<Step> {
    let path = resolved(path)?;
    let Some(meta) = meta_of(&path).map_err(Error::io(&path))? else {
        return Err(Error::io(&path)(io::ErrorKind::NotFound.into()));
    };
    let token = format!("{}-{seq}", crate::operation::tag(operation.id));
    let place = around.trash.choose(&path, &token)?;
    Ok(Step {
        seq,
        kind: StepKind::Trash,
        held: path.clone(),
        target: place.clone(),
        source: path,
        file: (meta.dev, meta.ino),
        size: if meta.kind == Kind::Dir { 0 } else { meta.size },
        modified: meta.modified,
        mode: meta.mode,
        replaced: None,
        trashed: Some(place),
    })
}

/// Moves one thing to the trash, or finds that a killed run did.
pub(crate) fn take(around: &Surroundings, step: &Step) -> Result<()> {
    let Some(place) = &step.trashed else { return Ok(()) };
    if around.trash.lookup(place).is_some_and(|meta| (meta.dev, meta.ino) == step.file) {
        return Ok(());
    }
    let parent = step.source.parent().unwrap_or(Path::new("/"));
    let name = step.source.file_name().unwrap_or_default();
    let parent = Dir::open(parent).map_err(Error::io(parent))?;
    match parent.lookup(name).map_err(Error::io(&step.source))? {
        Some(meta) if (meta.dev, meta.ino) == step.file => around.trash.put(&parent, name, &step.source, place),
        Some(_) => Err(Error::BadRequest { path: step.source.clone(), why: "something else has its name now" }),
        None => Err(Error::io(&step.source)(io::ErrorKind::NotFound.into())),
    }
}

/// Removes one source for good, with everything in it.
fn remove_whole(path: &Path, position: &mut Position, problems: &mut Vec<FileProblem>, watch: &dyn Watch) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default();
    let mut removal = Removal { position, problems, watch, dev: 0 };
    match Dir::open(parent) {
        Ok(parent) => match parent.lookup(name) {
            Ok(Some(meta)) => {
                removal.dev = meta.dev;
                removal.remove(&parent, name, &meta).map(drop)
            }
            // A run that was killed had got so far.
            Ok(None) => Ok(()),
            Err(error) => removal.problem(path, &error),
        },
        Err(error) => removal.problem(path, &error),
    }
}

struct Removal<'a> {
    position: &'a mut Position,
    problems: &'a mut Vec<FileProblem>,
    watch: &'a dyn Watch,
    /// What lies on another file system is not touched.
    dev: u64,
}

impl Removal<'_> {
    fn problem(&mut self, path: &Path, error: &io::Error) -> Result<()> {
        self.position.problems += 1;
        if self.problems.len() < operation::MAX_PROBLEMS {
            self.problems.push(operation::problem(path, plain(error)));
        }
        if is_fatal(error) { Err(Error::io(path)(io::Error::from(error.kind()))) } else { Ok(()) }
    }

    /// Removes an entry and what is in it, without recursion: folders can be nested deeper than a stack.
    fn remove(&mut self, parent: &Dir, name: &OsStr, meta: &Meta) -> Result<()> {
        let mut stack: Vec<(Dir, std::vec::IntoIter<std::ffi::OsString>)> = Vec::new();
        self.one(parent, name, meta, &mut stack)?;
        while let Some((dir, names)) = stack.last_mut() {
            self.watch.check()?;
            let Some(name) = names.next() else {
                let path = dir.path().to_owned();
                stack.pop();
                let above = stack.last().map_or(parent, |(dir, _)| dir);
                match above.remove_dir(path.file_name().unwrap_or_default()) {
                    // What could not be removed is still in it, and was noted.
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                    Err(error) => self.problem(&path, &error)?,
                    Ok(()) => {}
                }
                continue;
            };
            let looked_up = dir.lookup(&name);
            let path = dir.path().join(&name);
            match looked_up {
                Ok(Some(meta)) => {
                    let Some((dir, names)) = stack.pop() else { break };
                    let mut deeper = Vec::new();
                    let result = self.one(&dir, &name, &meta, &mut deeper);
                    stack.push((dir, names));
                    stack.append(&mut deeper);
                    result?;
                }
                Ok(None) => {}
                Err(error) => self.problem(&path, &error)?,
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        meta: &Meta,
        stack: &mut Vec<(Dir, std::vec::IntoIter<std::ffi::OsString>)>,
    ) -> Result<()> {
        let path = dir.path().join(name);
        if meta.dev != self.dev {
            return self.problem(&path, &io::Error::other("it is on another file system; delete it by its own name"));
        }
        if meta.kind == Kind::Dir {
            let opened = dir.child(name).and_then(|child| child.names().map(|names| (child, names.into_iter())));
            return match opened {
                Ok(opened) => {
                    stack.push(opened);
                    Ok(())
                }
                Err(error) => self.problem(&path, &error),
            };
        }
        match dir.remove_file(name) {
            Ok(()) => {
                self.position.report.files += 1;
                self.position.report.bytes += meta.size;
                self.watch.done(1, meta.size);
                Ok(())
            }
            Err(error) => self.problem(&path, &error),
        }
    }
}
