//! Copies of an instance: its configuration and libraries, under a new identity.
//!
//! A library is copied by SQLite's backup, as one consistent state, while a daemon may be writing to it. What
//! is paired, granted or waiting in the source is not copied: the copy is another device.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use spacedrive_api::instance::DataFiles;
use spacedrive_api::{InstanceCopied, Skipped, record};
use uuid::Uuid;

use crate::config::Config;
use crate::library::{EXTENSION, Manifest, UNFINISHED};
use crate::{Error, Result, db, failpoint, files, libraries};

/// The folder of every library of the instance, whether its daemon runs or not.
pub fn libraries_of(data: &DataFiles) -> Result<Vec<PathBuf>> {
    // An instance that was made and never started has neither.
    let known =
        if data.database.exists() { db::peek(&data.database, &db::instance::KIND, db::instance::libraries)? } else { Vec::new() };
    if !data.libraries.is_dir() {
        return Ok(known.into_iter().map(|library| library.path).collect());
    }
    Ok(libraries::paths(&data.libraries, known, false)?.into_keys().collect())
}

/// Copies the configuration `config` (under a new UUID, with networking off) and the libraries in the folders
/// `libraries` into the empty data dir `to`. A library that cannot be copied is skipped and told.
pub fn copy(from: &DataFiles, config: &Config, libraries: &[PathBuf], to: &DataFiles) -> Result<InstanceCopied> {
    let mut copied = InstanceCopied::default();
    files::make_dir(&to.libraries)?;
    let mut taken = BTreeSet::new();
    for path in libraries {
        let target = to.libraries.join(free_name(&mut taken, path));
        match copy_library(path, &target) {
            Ok(manifest) => copied.libraries.push(manifest.name),
            // What hinders every copy is no fault of this library.
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => copied.skipped.push(Skipped { path: path.as_path().into(), why: error.to_string() }),
        }
        failpoint::hit("instance.clone.library").map_err(Error::io(&target))?;
    }
    if let Ok(state) = fs::read(&from.cli_state) {
        record::replace_file(&to.cli_state, &state).map_err(Error::io(&to.cli_state))?;
    }
    // The configuration comes last: without it the folder is no instance.
    let config = Config { id: Uuid::new_v4(), created_at: jiff::Timestamp::now(), networking: false, ..config.clone() };
    config.write(&to.config)?;
    copied.libraries.sort();
    Ok(copied)
}

/// Copies one library to the folder `to`, which must not exist.
pub fn copy_library(from: &Path, to: &Path) -> Result<Manifest> {
    let manifest = Manifest::read(from)?;
    let temporary = to.with_file_name(format!("{UNFINISHED}{}", Uuid::new_v4().simple()));
    let made = (|| {
        files::make_dir(&temporary)?;
        db::back_up(&from.join("library.db"), &temporary.join("library.db"), &db::library::KIND)?;
        let path = temporary.join("library.json");
        let bytes = record::json(&manifest).map_err(Error::io(&path))?;
        record::replace_file(&path, &bytes).map_err(Error::io(&path))?;
        files::rename_new(&temporary, to)
    })();
    if made.is_err() {
        let _ = fs::remove_dir_all(&temporary);
    }
    made.map(|()| manifest)
}

/// The folder's name, or one like it when two libraries from different folders share it.
fn free_name(taken: &mut BTreeSet<OsString>, path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let mut again = 1;
    while !taken.insert(name.clone()) {
        again += 1;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        name = format!("{stem}-{again}.{EXTENSION}").into();
    }
    name
}
