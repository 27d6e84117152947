//! Tidying up: only what is provably dead, and this user's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use spacedrive_api::instance::{self, DataFiles, InstanceName, Places};
use spacedrive_api::record::Record;
use spacedrive_api::{Result, WirePath, locate};
use spacedrive_core::{files, trash};

use super::forget;
use crate::publish::clear_stale;

/// Something dead that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Cleaned {
    /// What it is.
    pub kind: &'static str,
    /// Where it is.
    pub path: WirePath,
    /// Why it is dead.
    pub why: String,
    /// Whether it was removed.
    pub removed: bool,
}

/// Below these, a missing folder may be a disk that is not there for the moment.
const MOUNTS: &[&str] = &["/media", "/mnt", "/run/media", "/Volumes"];

/// Finds stale sockets, pid files and locks of this user, records whose data are gone, and folders that a crash left
/// half made; removes them unless `dry_run`.
pub fn clean(places: &Places, dry_run: bool) -> Result<Vec<Cleaned>> {
    let mut cleaned = Vec::new();
    for name in names_in_runtime_dir(places) {
        runtime_files(places, &name, dry_run, &mut cleaned);
    }
    case_locks(places, dry_run, &mut cleaned);
    let mut roots: BTreeSet<PathBuf> = [places.local_root()].into_iter().chain(places.data_root.clone()).collect();
    for record in Record::all(places) {
        let root = instance::data_root(&record.data_dir.0, &record.name);
        dead_record(places, &record, &root, dry_run, &mut cleaned);
        roots.insert(root);
    }
    for root in roots {
        unfinished(&root, dry_run, &mut cleaned);
    }
    Ok(cleaned)
}

/// Whether this is a plain file of this user.
pub(super) fn is_own_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && is_own(&meta))
}

fn is_own(meta: &fs::Metadata) -> bool {
    meta.uid() == rustix::process::geteuid().as_raw()
}

fn names_in_runtime_dir(places: &Places) -> BTreeSet<InstanceName> {
    let entries = fs::read_dir(&places.runtime).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|file| ["sock", "pid", "lock"].iter().find_map(|suffix| InstanceName::from_file(&file, suffix)))
        .collect()
}

/// The files of a name whose locks are free: nobody can be using them.
fn runtime_files(places: &Places, name: &InstanceName, dry_run: bool, cleaned: &mut Vec<Cleaned>) {
    let Ok(runtime) = places.runtime_files(name) else { return };
    let data = locate::known(places).remove(name).flatten().map(|dir| DataFiles::new(&dir));
    if data.is_some_and(|data| locate::is_locked(&data.lock)) {
        return;
    }
    // The lock is held while its files are removed; looking must not make one.
    let lock = if is_own_file(&runtime.lock) { files::try_lock(&runtime.lock).ok().flatten() } else { None };
    if lock.is_none() && fs::symlink_metadata(&runtime.lock).is_ok() {
        return;
    }
    let why = || format!("no daemon of instance `{name}` holds its lock");
    let mut found = |kind, path: &Path, removed| {
        cleaned.push(Cleaned { kind, path: path.into(), why: why(), removed });
    };
    let is_own_socket = fs::symlink_metadata(&runtime.socket).is_ok_and(|meta| meta.file_type().is_socket() && is_own(&meta));
    if is_own_socket && std::os::unix::net::UnixStream::connect(&runtime.socket).is_err() {
        found("socket", &runtime.socket, !dry_run && clear_stale(&runtime.socket).is_ok());
    }
    if is_own_file(&runtime.pid) {
        found("pid file", &runtime.pid, !dry_run && fs::remove_file(&runtime.pid).is_ok());
    }
    if lock.is_some() {
        found("lock", &runtime.lock, !dry_run && fs::remove_file(&runtime.lock).is_ok());
    }
}

/// Locks of starts that are gone; they belong to no one name.
fn case_locks(places: &Places, dry_run: bool, cleaned: &mut Vec<Cleaned>) {
    for entry in fs::read_dir(&places.runtime).into_iter().flatten().flatten() {
        let path = entry.path();
        let named = entry.file_name().to_str().is_some_and(|file| InstanceName::from_file(file, "case").is_some());
        if !named || !is_own_file(&path) {
            continue;
        }
        let Ok(Some(_lock)) = files::try_lock(&path) else { continue };
        let removed = !dry_run && fs::remove_file(&path).is_ok();
        cleaned.push(Cleaned { kind: "lock", path: WirePath(path), why: "no start holds it".to_owned(), removed });
    }
}

/// A record that leads nowhere, unless what it led to can be restored or may lie on a disk that is not there now.
fn dead_record(places: &Places, record: &Record, root: &Path, dry_run: bool, cleaned: &mut Vec<Cleaned>) {
    let dir = &record.data_dir.0;
    let in_trash = trash::list(&instance::trash(root))
        .map_or(true, |trashed| trashed.iter().any(|trashed| trashed.name == record.name.as_str()));
    if locate::has_data(dir) || in_trash || !is_gone(dir) || locate::is_alive(places, &record.name) {
        return;
    }
    let Some(path) = places.record(&record.name) else { return };
    if !dry_run {
        forget(places, &record.name);
    }
    let removed = !dry_run && !path.exists();
    cleaned.push(Cleaned { kind: "record", path: WirePath(path), why: format!("{} is gone", dir.display()), removed });
}

/// Whether a folder was removed, and not merely its disk: the nearest folder that is still there has other things in
/// it (the place of a disk that is not mounted is empty), and is not where disks are mounted.
fn is_gone(dir: &Path) -> bool {
    if MOUNTS.iter().any(|mount| dir.starts_with(mount)) {
        return false;
    }
    dir.ancestors().find_map(|ancestor| fs::read_dir(ancestor).ok()).is_some_and(|mut entries| entries.next().is_some())
}

/// Data dirs that were being made when their maker died: it held their lock.
fn unfinished(root: &Path, dry_run: bool, cleaned: &mut Vec<Cleaned>) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let named = entry.file_name().to_string_lossy().starts_with(instance::UNFINISHED);
        if !named || !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir() && is_own(&meta)) {
            continue;
        }
        let data = DataFiles::new(&path);
        if !is_own_file(&data.lock) {
            continue;
        }
        let Ok(Some(_lock)) = files::try_lock(&data.lock) else { continue };
        let removed = !dry_run && fs::remove_dir_all(&path).is_ok();
        let why = "it was being made by a process that is gone".to_owned();
        cleaned.push(Cleaned { kind: "unfinished instance", path: WirePath(path), why, removed });
    }
}
