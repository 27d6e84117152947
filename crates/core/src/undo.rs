//! Undoing the last copy, move or deletion.
//!
//! First everything is looked at: if one thing is no longer as the operation left it, nothing is changed and the reason
//! is told. Nothing is removed for good: the copies of a copy that is undone go to the trash.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use spacedrive_api::{Conflict, FileAction, FileReport, FileWork};
use uuid::Uuid;

use crate::db::Durability;
use crate::db::instance::operations as rows;
use crate::instance::InstanceStore;
use crate::operation::{self, Operation, Step, StepKind, Surroundings, UndoState, Watch};
use crate::rooted::{Dir, Kind, Meta, meta_of};
use crate::{Error, Result, failpoint};

/// What was undone.
#[derive(Debug)]
pub struct Undone {
    /// What it had been.
    pub action: FileAction,
    /// What was put back or taken away.
    pub report: FileReport,
}

/// Undoes the newest operation that was not undone, or goes on with an undo that was killed.
///
/// # Errors
/// [`Error::NothingToUndo`], or [`Error::CannotUndo`] with the reason; nothing was changed then.
pub fn undo(store: &InstanceStore, around: &Surroundings, watch: &dyn Watch) -> Result<Undone> {
    let Some(operation) = store.database().read(rows::last_to_undo)? else { return Err(Error::NothingToUndo) };
    let first = operation.work.sources.first().map(|path| path.0.clone()).unwrap_or_default();
    let undo = Undo { store, around, watch, operation: &operation, report: FileReport::default() };
    if !operation.state.ended() {
        return Err(undo.cannot(&first, "it has not ended yet; pause or cancel does not undo it, wait or cancel first"));
    }
    let steps = store.database().read(|c| rows::steps(c, operation.id, false))?;
    let steps: Vec<Step> = steps.into_iter().filter(|step| step.kind != StepKind::Leave).collect();
    let action = operation.work.action;
    let report = match action {
        FileAction::Copy => undo.copy(&steps)?,
        FileAction::Move => undo.moving(&steps)?,
        FileAction::Delete => undo.deletion(&steps)?,
    };
    store.database().write(Durability::Full, |t| rows::set_undo(t, operation.id, UndoState::Done))?;
    Ok(Undone { action, report })
}

struct Undo<'a> {
    store: &'a InstanceStore,
    around: &'a Surroundings,
    watch: &'a dyn Watch,
    operation: &'a Operation,
    report: FileReport,
}

fn file(meta: Option<Meta>) -> Option<(u64, u64)> {
    meta.map(|meta| (meta.dev, meta.ino))
}

fn look(path: &Path) -> Result<Option<Meta>> {
    match meta_of(path) {
        // A folder above it became a file.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
        other => other.map_err(Error::io(path)),
    }
}

impl Undo<'_> {
    fn cannot(&self, path: &Path, why: impl Into<String>) -> Error {
        Error::CannotUndo { action: self.operation.work.action.as_str(), path: path.to_owned(), why: why.into() }
    }

    /// Fails when something that is no folder stands where a folder above `path` has to be.
    fn check_room(&self, path: &Path) -> Result<()> {
        let above = path.ancestors().skip(1).find_map(|folder| std::fs::metadata(folder).ok().map(|meta| (folder, meta)));
        match above {
            Some((place, meta)) if !meta.is_dir() => Err(self.cannot(place, "something else has its name now")),
            _ => Ok(()),
        }
    }

    fn begin(&self) -> Result<()> {
        self.store.database().write(Durability::Full, |t| rows::set_undo(t, self.operation.id, UndoState::Begun))
    }

    fn forget(&self, step: &Step) -> Result<()> {
        failpoint::hit("undo.step").map_err(Error::io(&step.target))?;
        self.store.database().write(Durability::Full, |t| rows::forget(t, self.operation.id, &[step.seq]))
    }

    /// Takes copies away again, and puts back what they replaced.
    fn copy(mut self, steps: &[Step]) -> Result<FileReport> {
        let made: HashMap<&Path, &Step> = steps.iter().map(|step| (step.target.as_path(), step)).collect();
        for step in steps {
            self.watch.check()?;
            self.check_unchanged(step, &made)?;
        }
        let outermost: Vec<&Step> = outermost(steps, &made).collect();
        for step in &outermost {
            if look(&step.target)?.is_some() {
                self.around.trash.choose(&step.target, &self.token(step))?;
            }
        }
        self.begin()?;
        for step in outermost.into_iter().rev() {
            self.watch.check()?;
            if file(look(&step.target)?) == Some(step.file) {
                let place = self.around.trash.choose(&step.target, &self.token(step))?;
                let (parent, name) = open_parent(&step.target)?;
                self.around.trash.put(&parent, name, &step.target, &place)?;
                self.count(step);
            }
            self.put_back_replaced(step)?;
            self.forget(step)?;
        }
        Ok(self.report)
    }

    /// Fails unless the copy that this step made is as it was made, or gone.
    fn check_unchanged(&self, step: &Step, made: &HashMap<&Path, &Step>) -> Result<()> {
        let now = look(&step.target)?;
        if step.replaced.is_some() && file(now) == step.replaced {
            return Ok(());
        }
        self.check_replaced(step)?;
        // Replaced by a later step of the same operation, which puts it back first.
        if made.get(step.target.as_path()).is_some_and(|last| last.seq != step.seq) {
            return Ok(());
        }
        let Some(now) = now else { return Ok(()) };
        if (now.dev, now.ino) != step.file {
            return Err(self.cannot(&step.target, "something else has its name now"));
        }
        if now.kind != Kind::Dir {
            return match (now.size, now.modified) == (step.size, step.modified) {
                true => Ok(()),
                false => Err(self.cannot(&step.target, "it changed since")),
            };
        }
        let names = Dir::open(&step.target).and_then(|dir| dir.names()).map_err(Error::io(&step.target))?;
        for path in names.into_iter().map(|name| step.target.join(name)) {
            if !made.contains_key(path.as_path()) {
                return Err(self.cannot(&path, "it was put there since"));
            }
        }
        Ok(())
    }

    /// Fails unless what the step replaced can be put back.
    fn check_replaced(&self, step: &Step) -> Result<()> {
        let Some(replaced) = step.replaced else { return Ok(()) };
        let Some(place) = &step.trashed else {
            return Err(self.cannot(&step.target, "what was there before was replaced for good"));
        };
        match file(self.around.trash.lookup(place)) == Some(replaced) {
            true => Ok(()),
            false => Err(self.cannot(&step.target, "what was there before is no longer in the trash")),
        }
    }

    fn put_back_replaced(&self, step: &Step) -> Result<()> {
        let (Some(replaced), Some(place)) = (step.replaced, &step.trashed) else { return Ok(()) };
        if file(self.around.trash.lookup(place)) == Some(replaced) {
            let (parent, name) = open_parent(&step.target)?;
            self.around.trash.restore(place, &parent, name)?;
        }
        Ok(())
    }

    /// Puts what was deleted back from the trash.
    fn deletion(mut self, steps: &[Step]) -> Result<FileReport> {
        for step in steps {
            self.watch.check()?;
            let now = file(look(&step.source)?);
            if now == Some(step.file) {
                continue;
            }
            if now.is_some() {
                return Err(self.cannot(&step.source, "something else has its name now"));
            }
            self.check_room(&step.source)?;
            if file(self.around.trash.lookup(&step.target)) != Some(step.file) {
                return Err(self.cannot(&step.source, "it is no longer in the trash"));
            }
        }
        self.begin()?;
        for step in steps.iter().rev() {
            self.watch.check()?;
            if file(look(&step.source)?) != Some(step.file) {
                make_parent(&step.source)?;
                let (parent, name) = open_parent(&step.source)?;
                self.around.trash.restore(&step.target, &parent, name)?;
            }
            self.count(step);
            self.forget(step)?;
        }
        Ok(self.report)
    }

    /// Moves what was moved back to where it was.
    fn moving(mut self, steps: &[Step]) -> Result<FileReport> {
        let made: HashMap<&Path, &Step> = steps.iter().map(|step| (step.target.as_path(), step)).collect();
        let outermost: Vec<&Step> = outermost(steps, &made).collect();
        for step in &outermost {
            self.watch.check()?;
            if self.store.database().read(|c| rows::get(c, reverse_id(self.operation.id, step)))?.is_some() {
                continue;
            }
            let source = file(look(&step.source)?);
            if source == Some(step.file) {
                continue;
            }
            if source.is_some() {
                return Err(self.cannot(&step.source, "something has its name there"));
            }
            self.check_room(&step.source)?;
            let replaced_later = made.get(step.target.as_path()).is_some_and(|last| last.seq != step.seq);
            match file(look(&step.target)?) {
                _ if replaced_later => {}
                Some(now) if now == step.file => {}
                Some(_) => return Err(self.cannot(&step.target, "something else has its name now")),
                None => return Err(self.cannot(&step.target, "it is gone")),
            }
            self.check_replaced(step)?;
        }
        self.begin()?;
        for step in outermost.into_iter().rev() {
            self.watch.check()?;
            if file(look(&step.source)?) != Some(step.file) {
                make_parent(&step.source)?;
                if step.kind == StepKind::Rename {
                    let ((from, old), (to, new)) = (open_parent(&step.target)?, open_parent(&step.source)?);
                    from.rename_new(old, &to, new).map_err(Error::io(&step.source))?;
                    to.sync().and_then(|()| from.sync()).map_err(Error::io(&step.source))?;
                } else {
                    self.reverse(step)?;
                }
            }
            self.count(step);
            self.put_back_replaced(step)?;
            self.forget(step)?;
        }
        Ok(self.report)
    }

    /// Moves something back to another file system, as an operation of its own that a killed undo goes on with.
    fn reverse(&mut self, step: &Step) -> Result<()> {
        let id = reverse_id(self.operation.id, step);
        let database = self.store.database();
        if database.read(|c| rows::get(c, id))?.is_none() {
            if look(&step.source)?.is_some() {
                return Err(self.cannot(&step.source, "something has its name there"));
            }
            let work = FileWork {
                action: FileAction::Move,
                sources: vec![step.target.as_path().into()],
                target: Some(step.source.as_path().into()),
                conflict: Conflict::Skip,
                verify: true,
                permanent: false,
            };
            let now = jiff::Timestamp::now().as_millisecond();
            database.write(Durability::Full, |t| {
                rows::insert(t, id, &work, now)?;
                rows::set_undo(t, id, UndoState::Done)
            })?;
        }
        let report = operation::run(self.store, self.around, id, self.watch)?;
        self.report.errors.extend(report.errors);
        Ok(())
    }

    fn count(&mut self, step: &Step) {
        self.report.files += 1;
        self.report.bytes += step.size;
    }

    fn token(&self, step: &Step) -> String {
        format!("{}-u{}", crate::operation::tag(self.operation.id), step.seq)
    }
}

/// The steps whose targets do not lie in the target of another.
fn outermost<'a>(steps: &'a [Step], made: &HashMap<&Path, &Step>) -> impl Iterator<Item = &'a Step> {
    steps.iter().filter(|step| step.target.parent().is_none_or(|parent| !made.contains_key(parent)))
}

/// The id of the operation that moves a step's target back.
fn reverse_id(operation: Uuid, step: &Step) -> Uuid {
    let hash = blake3::Hasher::new().update(operation.as_bytes()).update(&step.seq.to_le_bytes()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn open_parent(path: &Path) -> Result<(Dir, &std::ffi::OsStr)> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok((Dir::open(parent).map_err(Error::io(parent))?, path.file_name().unwrap_or_default()))
}

/// Makes the folders above `path` that are missing.
fn make_parent(path: &Path) -> Result<()> {
    let parent: PathBuf = path.parent().unwrap_or(Path::new("/")).to_owned();
    std::fs::create_dir_all(&parent).map_err(Error::io(&parent))
}
