//! The job `index`: walks a location, then gives its files an identity.
//!
//! A walk that was broken off begins again: it only finds less to do. Identification goes on from its checkpoint.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};
use spacedrive_api::{IndexMode, IndexScope, WirePath};
use uuid::Uuid;

use super::{Handler, Task};
use crate::index::{Index, walk::Target};
use crate::{Error, Result};

/// The name of the kind.
pub(crate) const KIND: &str = "index";

/// What is to be indexed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexArgs {
    pub(crate) location: Uuid,
    /// Otherwise than the location says.
    pub(crate) mode: Option<IndexMode>,
    pub(crate) scope: IndexScope,
    /// Only what is at this path (absolute).
    pub(crate) below: Option<WirePath>,
    /// Read all content again, and accept another folder in the place of the location's.
    pub(crate) force: bool,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint {
    /// All files up to this number have their identity, or cannot have one.
    identified: u64,
}

/// Does jobs of this kind.
pub(crate) struct IndexHandler(pub(crate) Weak<Index>);

impl Handler for IndexHandler {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn run(&self, args: &serde_json::Value, task: &Task) -> Result<String> {
        let bad = |why: String| Error::BadJob { kind: KIND.to_owned(), why };
        let args: IndexArgs = serde_json::from_value(args.clone()).map_err(|e| bad(e.to_string()))?;
        let index: Arc<Index> = self.0.upgrade().ok_or(Error::Interrupted)?;
        let place = index.place_of(args.location).ok_or_else(|| bad("the location was removed".to_owned()))?;
        index.names.wait();
        let checkpoint: Option<Checkpoint> = task.checkpoint().and_then(|value| serde_json::from_value(value).ok());
        let mut errors = 0;
        let mut seen = None;
        if checkpoint.is_none() {
            task.begin("reading folders", "entries", None);
            let targets = match &args.below {
                None if args.scope == IndexScope::Recursive => None,
                None => Some(vec![Target::Folder { eid: place.row().root, descend: false }]),
                Some(path) => Some(index.targets(&place, &PathBuf::from(path.as_ref() as &std::path::Path), args.scope)?),
            };
            if args.force {
                index.forget_identities(&place, args.below.as_ref().map(AsRef::as_ref))?;
            }
            let walked = index.walk(&place, targets, args.force, task)?;
            errors += walked.errors;
            seen = Some(walked.seen);
            task.save(serde_json::json!(Checkpoint { identified: 0 }));
        }
        let row = place.row();
        let mode = args.mode.unwrap_or(row.mode);
        if mode > IndexMode::Shallow && args.scope == IndexScope::Recursive {
            task.begin("reading files", "files", Some(u64::try_from(row.files).unwrap_or(0)));
            let cursor = checkpoint.map_or(0, |checkpoint| checkpoint.identified);
            errors += crate::index::identify::all(&index, &row, mode, cursor, task, |identified| {
                task.save(serde_json::json!(Checkpoint { identified }));
            })?;
        }
        index.reread(&place)?;
        let row = place.row();
        Ok(match (seen, errors) {
            (_, 0) => format!("{} files, {} folders", row.files, row.dirs),
            (_, errors) => format!("{} files, {} folders, {errors} could not be read", row.files, row.dirs),
        })
    }

    fn ended(&self, args: &serde_json::Value) {
        if let Ok(args) = serde_json::from_value::<IndexArgs>(args.clone())
            && let Some(index) = self.0.upgrade()
            && let Some(place) = index.place_of(args.location)
        {
            place.job_ended();
        }
    }
}
