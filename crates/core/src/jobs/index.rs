//! The job `index`: walks a location, then gives its files an identity.
//!
//! What is done is in the rows themselves: broken off, it begins again and only finds less to do. It must walk again in any case,
//! for nobody followed the changes meanwhile.

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
        if args.force && task.checkpoint().is_none() {
            index.forget_identities(&place, args.below.as_ref().map(AsRef::as_ref))?;
            task.save(serde_json::json!("forgotten"));
        }
        task.begin("reading folders", "entries", None);
        let targets = match &args.below {
            None if args.scope == IndexScope::Recursive => None,
            None => Some(vec![Target::Folder { eid: place.row().root, descend: false }]),
            Some(path) => Some(index.targets(&place, path.as_ref(), args.scope)?),
        };
        let mut errors = index.walk(&place, targets, args.force, task)?.errors;
        let row = place.row();
        let mode = args.mode.unwrap_or(row.mode);
        if mode > IndexMode::Shallow && args.scope == IndexScope::Recursive {
            task.begin("reading files", "files", Some(u64::try_from(row.files).unwrap_or(0)));
            errors += crate::index::identify::all(&index, &row, mode, task)?;
        }
        index.reread(&place)?;
        let row = place.row();
        Ok(match errors {
            0 => format!("{} files, {} folders", row.files, row.dirs),
            errors => format!("{} files, {} folders, {errors} could not be read", row.files, row.dirs),
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
