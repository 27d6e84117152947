//! Locations: the folders that a library indexes, and finding them by what a person typed.

use std::path::Path;

use spacedrive_api::{
    IndexLocation, IndexMode, IndexStarted, LocationAdd, LocationAdded, LocationInfo, LocationQuery, LocationState, Rules, Scan,
};

use crate::db::location::LocationRow;
use crate::index::Index;
use crate::jobs::index::IndexArgs;
use crate::library::Library;
use crate::{Error, Result};

/// The location that `text` names: an exact name wins over an id, an id over a unique prefix of 4 or more characters, all of
/// these over a path, which is `text` made absolute.
pub(crate) fn find<'a>(all: &'a [LocationRow], text: &str, path: Option<&Path>) -> Result<&'a LocationRow> {
    let matches = |test: &dyn Fn(&LocationRow) -> bool| all.iter().filter(|row| test(row)).collect::<Vec<_>>();
    let lower = text.to_ascii_lowercase();
    let mut found = matches(&|row| row.name == text);
    if found.is_empty() {
        found = matches(&|row| row.id.to_string() == lower);
    }
    if found.is_empty() && text.len() >= 4 {
        found = matches(&|row| row.id.to_string().starts_with(&lower));
    }
    if found.is_empty() {
        let real = path.and_then(|path| std::fs::canonicalize(path).ok());
        found = matches(&|row| Some(row.path.as_path()) == path || Some(&row.path) == real.as_ref());
    }
    match found.as_slice() {
        [row] => Ok(row),
        [] => {
            let names: Vec<String> = all.iter().map(|row| row.name.clone()).collect();
            Err(Error::LocationNotFound { query: text.to_owned(), nearest: spacedrive_api::nearest(text, &names) })
        }
        several => Err(Error::LocationAmbiguous {
            query: text.to_owned(),
            candidates: several.iter().map(|row| row.id.to_string()).collect(),
        }),
    }
}

/// The innermost location that `path` is, or lies in.
pub(crate) fn containing<'a>(all: &'a [LocationRow], path: &Path) -> Option<&'a LocationRow> {
    all.iter().filter(|row| path.starts_with(&row.path)).max_by_key(|row| row.path.as_os_str().len())
}

/// A location as it is shown.
pub(crate) fn info(row: &LocationRow, state: LocationState, problem: Option<String>) -> LocationInfo {
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    LocationInfo {
        id: row.id,
        name: row.name.clone(),
        path: row.path.clone().into(),
        mode: row.mode,
        state,
        files: count(row.files),
        dirs: count(row.dirs),
        bytes: count(row.bytes),
        errors: count(row.errors),
        rules: row.rules,
        problem: row.problem.clone().or(problem),
    }
}

impl Library {
    /// Adds a folder, and a job that indexes it.
    pub fn add_location(&self, request: &LocationAdd) -> Result<LocationAdded> {
        self.add(request.path.as_ref(), request.name.as_deref(), request.mode, request.rules)
    }

    fn add(&self, path: &Path, name: Option<&str>, mode: IndexMode, rules: Rules) -> Result<LocationAdded> {
        let location = self.index().add(path, name, mode, rules)?;
        let job = self.enqueue(&location.id.to_string(), |_| {})?;
        Ok(LocationAdded { location: self.index().location(&by_id(&location))?, job })
    }

    /// Takes a location out, and cancels its jobs. The files on disk are not touched.
    pub fn remove_location(&self, query: &LocationQuery) -> Result<LocationInfo> {
        let id = self.index().location(query)?.id;
        for (job, args, _) in self.jobs().unfinished(crate::jobs::index::KIND)? {
            if serde_json::from_value::<IndexArgs>(args).is_ok_and(|args| args.location == id) {
                // One that ends in this moment is as good as cancelled.
                let _ = self.jobs().control(job, spacedrive_api::JobOrder::Cancel);
            }
        }
        self.index().remove(&LocationQuery { text: id.to_string(), path: None })
    }

    /// Indexes a location again, from now on in another mode if one is given.
    pub fn index_location(&self, request: &IndexLocation) -> Result<IndexStarted> {
        let place = self.index().find(&request.location)?;
        if let Some(mode) = request.mode {
            self.index().change(&place, |row| row.mode = mode)?;
        }
        let id = place.row().id.to_string();
        let job = self.enqueue(&id, |args| {
            args.scope = request.scope;
            args.force = request.force;
        })?;
        Ok(IndexStarted { job, location: place.info(), added: false })
    }

    /// Indexes a path: a part of a location, or a folder that becomes one.
    pub fn scan(&self, request: &Scan) -> Result<IndexStarted> {
        let path: &Path = request.path.as_ref();
        let real = std::fs::canonicalize(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::NoSuchFolder { path: path.to_owned() },
            _ => Error::io(path)(error),
        })?;
        let rows = self.index().rows();
        let Some(row) = containing(&rows, &real) else {
            let added = self.add(&real, None, request.mode.unwrap_or_default(), Rules::default())?;
            return Ok(IndexStarted { job: added.job, location: added.location, added: true });
        };
        let whole = row.path == real;
        let job = self.enqueue(&row.id.to_string(), |args| {
            args.mode = request.mode;
            args.below = (!whole).then(|| real.clone().into());
        })?;
        let location = self.index().location(&LocationQuery { text: row.id.to_string(), path: None })?;
        Ok(IndexStarted { job, location, added: false })
    }

    fn enqueue(&self, location: &str, change: impl FnOnce(&mut IndexArgs)) -> Result<uuid::Uuid> {
        let place = self.index().find(&LocationQuery { text: location.to_owned(), path: None })?;
        let mut args = Index::whole(&place);
        change(&mut args);
        self.index().enqueue(self.jobs(), &place, args)
    }
}

fn by_id(location: &LocationInfo) -> LocationQuery {
    LocationQuery { text: location.id.to_string(), path: None }
}
