//! The way through the sources: folders in the order of their names' bytes, so that a later run takes the same way.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::rc::Rc;

use spacedrive_api::WirePath;

use super::Engine;
use crate::operation::StepKind;
use crate::rooted::{Dir, Meta};
use crate::{Error, Result};

/// A folder on the way.
pub(super) struct Frame {
    /// Its name in the folder above.
    pub(super) name: OsString,
    pub(super) above: Rc<Dir>,
    pub(super) source: Rc<Dir>,
    pub(super) meta: Meta,
    /// Where its entries go; a dry run may have no such folder.
    pub(super) target: Option<Rc<Dir>>,
    /// The operation made the target.
    pub(super) fresh: bool,
    pub(super) names: std::vec::IntoIter<OsString>,
}

/// Where an earlier run had come to, as far as this one has not passed it.
struct Resume {
    path: Vec<OsString>,
    complete: bool,
}

impl Engine<'_> {
    /// Does all sources from the position on.
    pub(super) fn walk_all(&mut self) -> Result<()> {
        let work = self.work;
        let mut resume = self.position.path.clone().map(|path| Resume {
            path: path.into_iter().map(|name| name.0.into_os_string()).collect(),
            complete: self.position.complete,
        });
        for top in self.position.top..work.sources.len() {
            self.position.top = top;
            self.walk(work.sources[top].as_ref(), resume.take())?;
        }
        Ok(())
    }

    fn walk(&mut self, source: &Path, mut resume: Option<Resume>) -> Result<()> {
        let parent = source.parent().unwrap_or(Path::new("/"));
        let name = source.file_name().unwrap_or_default();
        let parent = match Dir::open(parent) {
            Ok(parent) => Rc::new(parent),
            Err(error) => {
                self.problem(source, super::data::plain(&error));
                self.position.top += 1;
                return Ok(());
            }
        };
        let as_name = match (&self.position.names[self.position.top], &self.position.name) {
            (Some(chosen), _) | (None, Some(chosen)) => chosen.0.clone().into_os_string(),
            (None, None) => name.to_owned(),
        };
        let root = self.root.clone();
        let mut stack: Vec<Frame> = Vec::new();
        stack.extend(self.entry(&parent, name, Some(&root), &as_name, false, true)?);
        if resume.is_none() {
            self.reached(&stack, None, false);
        }
        if resume.as_ref().is_some_and(|resume| resume.path.is_empty()) {
            resume = None;
        }
        while let Some(frame) = stack.last_mut() {
            self.watch.check()?;
            let Some(name) = frame.names.next() else {
                if let Some(frame) = stack.pop() {
                    let name = frame.name.clone();
                    self.leave(frame)?;
                    self.reached(&stack, Some(&name), true);
                }
                continue;
            };
            let depth = stack.len() - 1;
            if let Some(point) = &resume {
                match name.as_os_str().cmp(&point.path[depth]) {
                    Ordering::Less => continue,
                    Ordering::Equal if depth + 1 < point.path.len() => {}
                    Ordering::Equal => {
                        let complete = point.complete;
                        resume = None;
                        if complete {
                            continue;
                        }
                    }
                    Ordering::Greater => resume = None,
                }
            }
            let frame = &stack[depth];
            let (source, target, fresh) = (frame.source.clone(), frame.target.clone(), frame.fresh);
            let deeper = self.entry(&source, &name, target.as_ref(), &name, fresh, false)?;
            match deeper {
                Some(frame) => {
                    stack.push(frame);
                    self.reached(&stack, None, false);
                }
                None => {
                    // The folder that the position leads through is gone or is a folder no more.
                    if resume.as_ref().is_some_and(|point| depth + 1 < point.path.len() && name == point.path[depth]) {
                        resume = None;
                    }
                    self.reached(&stack, Some(&name), true);
                }
            }
            if self.batch_is_full() {
                self.flush()?;
            }
        }
        self.position.top += 1;
        self.position.path = None;
        if self.batch_is_full() || self.nested { self.flush() } else { Ok(()) }
    }

    /// Notes how far the way is: `name` in the innermost folder, or that folder itself.
    fn reached(&mut self, stack: &[Frame], name: Option<&OsStr>, complete: bool) {
        if self.dry() || stack.is_empty() {
            return;
        }
        let path = stack.iter().skip(1).map(|frame| frame.name.as_os_str()).chain(name);
        self.position.path = Some(path.map(|name| WirePath(name.into())).collect());
        self.position.complete = complete;
    }

    /// Opens a folder of the sources and lists it.
    pub(super) fn frame(
        &mut self,
        above: &Rc<Dir>,
        name: &OsStr,
        meta: Meta,
        target: Option<Rc<Dir>>,
        fresh: bool,
    ) -> Option<Frame> {
        let opened = above.child(name).and_then(|source| {
            let names = source.names()?;
            Ok((source, names))
        });
        match opened {
            Ok((source, names)) => Some(Frame {
                name: name.to_owned(),
                above: above.clone(),
                source: Rc::new(source),
                meta,
                target,
                fresh,
                names: names.into_iter(),
            }),
            Err(error) => {
                self.problem(&above.path().join(name), super::data::plain(&error));
                None
            }
        }
    }

    /// A folder is through: its mode and times are set after its entries are there, and a moved one is removed.
    fn leave(&mut self, frame: Frame) -> Result<()> {
        let Some(target) = frame.target.filter(|_| !self.dry()) else { return Ok(()) };
        if !frame.fresh && !self.moving() {
            return Ok(());
        }
        let made = target.meta().map_err(Error::io(target.path()))?;
        let mut step = self.step(StepKind::Leave, frame.source.path(), target.path(), target.path(), &made);
        step.modified = frame.meta.modified;
        // Without this mark the folder was there before, and stays as it was.
        step.mode = if frame.fresh { frame.meta.mode & 0o777 } else { super::apply::AS_IT_WAS };
        self.push(super::Pending {
            step,
            source: frame.above,
            source_meta: Some(frame.meta),
            held: target.clone(),
            target,
            synced: true,
            accessed: frame.meta.accessed,
        });
        Ok(())
    }
}
