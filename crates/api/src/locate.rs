//! Where an instance is: which data dir `start` uses, which socket a client connects to, and which
//! instances there are on the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::instance::{self, DataFiles, InstanceName, Places};
use crate::record::Record;
use crate::{ApiError, Result};

/// The data dir that `start` uses, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    /// The data dir (absolute).
    pub path: PathBuf,
    /// What named it.
    pub origin: Origin,
}

/// What named a data dir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--data-dir`.
    Flag,
    /// `SPACEDRIVE_DATA_DIR`.
    Environment,
    /// There is one in the current folder.
    Current,
    /// It is where the instance was last started.
    Record,
    /// There is none yet: a new one in the current folder.
    New,
}

/// Chooses the data dir of an instance that is to be started: the flag, the environment, the one in the
/// current folder, the place that it was last started with, or a new one in the current folder.
pub fn data_dir_for_start(places: &Places, name: &InstanceName, flag: Option<&Path>) -> Result<DataDir> {
    if let Some(chosen) = requested_data_dir(places, name, flag) {
        return Ok(chosen);
    }
    let local = instance::data_dir(&places.local_root(), name);
    if DataFiles::new(&local).config.exists() {
        check_owner(&local)?;
        return Ok(DataDir { path: local, origin: Origin::Current });
    }
    if let Some(record) = Record::read(places, name).filter(|record| has_data(&record.data_dir.0)) {
        return Ok(DataDir { path: record.data_dir.0, origin: Origin::Record });
    }
    Ok(DataDir { path: local, origin: Origin::New })
}

/// The data dir of an instance that exists, whether its daemon runs or not: the one that `start` would use.
///
/// # Errors
/// `NotFound` with the nearest names when there is no such instance.
pub fn data_dir_of(places: &Places, name: &InstanceName, flag: Option<&Path>) -> Result<PathBuf> {
    let chosen = data_dir_for_start(places, name, flag)?;
    if DataFiles::new(&chosen.path).config.exists() {
        return Ok(chosen.path);
    }
    let elsewhere = known(places).remove(name).flatten().filter(|_| !matches!(chosen.origin, Origin::Flag | Origin::Environment));
    elsewhere.ok_or_else(|| no_such_instance(places, name))
}

/// The data dir that the flag or the environment asks for.
pub fn requested_data_dir(places: &Places, name: &InstanceName, flag: Option<&Path>) -> Option<DataDir> {
    let (root, origin) = match (flag, &places.data_root) {
        (Some(root), _) => (places.current.join(root), Origin::Flag),
        (None, Some(root)) => (root.clone(), Origin::Environment),
        (None, None) => return None,
    };
    Some(DataDir { path: instance::data_dir(&root, name), origin })
}

/// A data dir that merely lies in the current folder may have been planted there by somebody else.
fn check_owner(dir: &Path) -> Result<()> {
    let meta = fs::metadata(dir).map_err(|e| ApiError::io(dir.display(), &e))?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        return Err(ApiError::refused(format!("data dir {}: it belongs to the user with uid {}", dir.display(), meta.uid()))
            .hint("start in another folder, or name a data dir of your own with --data-dir"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(ApiError::refused(format!("data dir {}: other users can write to it", dir.display()))
            .hint(format!("chmod go-w '{}'", dir.display())));
    }
    Ok(())
}

/// The sockets at which the daemon of this instance may answer: the one that this environment gives, and
/// the one that its record names when that is another.
pub fn sockets(places: &Places, name: &InstanceName) -> Result<Vec<PathBuf>> {
    let mut sockets = vec![places.runtime_files(name)?.socket];
    if let Some(record) = Record::read(places, name)
        && !sockets.contains(&record.socket.0)
    {
        sockets.push(record.socket.0);
    }
    Ok(sockets)
}

/// Whether a process holds the lock file `path`, which must be a file of this user. Never makes the file, never
/// waits. The probe itself holds the lock for a moment, for which a starting daemon has patience.
pub fn is_locked(path: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NOFOLLOW.union(rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
    let Ok(file) = File::options().read(true).custom_flags(flags).open(path) else { return false };
    let me = rustix::process::geteuid().as_raw();
    if !file.metadata().is_ok_and(|meta| meta.is_file() && meta.uid() == me) {
        return false;
    }
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Whether a daemon of this instance lives, answering or not: it holds the lock of the name or of its data dir.
pub fn is_alive(places: &Places, name: &InstanceName) -> bool {
    let by_name = places.runtime_files(name).is_ok_and(|files| is_locked(&files.lock));
    by_name || Record::read(places, name).is_some_and(|record| is_locked(&DataFiles::new(&record.data_dir.0).lock))
}

/// Every instance that left a trace: in the runtime dir, in the records, or below the data root that is in
/// use here. With its data dir, where that is known.
pub fn known(places: &Places) -> BTreeMap<InstanceName, Option<PathBuf>> {
    let mut all: BTreeMap<InstanceName, Option<PathBuf>> = BTreeMap::new();
    let live = in_runtime_dir(places);
    all.extend(live.iter().map(|name| (name.clone(), None)));
    for root in places.data_root.iter().cloned().chain([places.local_root()]) {
        for name in below_root(&root) {
            let dir = instance::data_dir(&root, &name);
            all.entry(name).or_default().get_or_insert(dir);
        }
    }
    for record in Record::all(places) {
        let there = has_data(&record.data_dir.0);
        let entry = all.entry(record.name).or_default();
        if there {
            *entry = Some(record.data_dir.0);
        }
    }
    all.retain(|name, dir| dir.is_some() || live.contains(name));
    all
}

fn in_runtime_dir(places: &Places) -> BTreeSet<InstanceName> {
    file_names(&places.runtime)
        .filter_map(|file| InstanceName::from_file(&file, "sock").or_else(|| InstanceName::from_file(&file, "pid")))
        .collect()
}

/// The instances that have data below a data root.
pub fn below_root(root: &Path) -> Vec<InstanceName> {
    let has_config = |name: &InstanceName| DataFiles::new(&instance::data_dir(root, name)).config.exists();
    let named = file_names(root).filter_map(|folder| instance::from_folder(&folder));
    std::iter::once(InstanceName::DEFAULT).chain(named).filter(has_config).collect()
}

/// Whether an instance's data are in this folder, whole or not. The folder itself proves nothing: the default
/// instance's holds the others, and stays when it is removed.
pub fn has_data(dir: &Path) -> bool {
    let files = DataFiles::new(dir);
    [&files.config, &files.database, &files.libraries].into_iter().any(|path| path.exists())
}

fn file_names(dir: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(dir).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// Whether the instance ever existed as far as anything on this machine tells.
pub fn was_started(places: &Places, name: &InstanceName) -> bool {
    known(places).contains_key(name) || is_alive(places, name)
}

/// The error for a name that was never started, with the names that are near to it.
pub fn no_such_instance(places: &Places, name: &InstanceName) -> ApiError {
    let names: Vec<String> = known(places).into_keys().map(|name| name.to_string()).collect();
    let near = crate::nearest(name.as_str(), &names);
    let error = ApiError::not_found(format!("no instance `{name}`: it was never started"));
    match near.as_slice() {
        [] => error.hint("spacedrive instance list"),
        near => error.hint(format!("did you mean {}?", near.join(" or "))),
    }
}

/// Fails when an instance exists whose name differs from `name` in case only.
pub fn check_case(places: &Places, name: &InstanceName, data_dir: &Path) -> Result<()> {
    let beside = data_dir.parent().filter(|_| !name.is_default()).map(below_root).unwrap_or_default();
    match known(places).into_keys().chain(beside).find(|other| other.clashes_with(name)) {
        None => Ok(()),
        Some(other) => {
            Err(ApiError::conflict(format!("instance name `{name}` conflicts with `{other}`: they differ only in case"))
                .hint(format!("spacedrive --instance {other} …, or choose another name")))
        }
    }
}

/// What the holder of a data dir's lock wrote into it: its pid and socket.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LockHolder {
    /// Its process id; only as good as the lock is held.
    pub pid: u32,
    /// Its instance.
    pub name: InstanceName,
    /// Its socket.
    pub socket: crate::WirePath,
}

impl LockHolder {
    /// Reads the lock file of a data dir.
    pub fn read(lock: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(lock).ok()?).ok()
    }
}

/// Fails unless sockets may be made in the runtime dir: it must exist and be this user's, or root's with the sticky bit (`/tmp`).
pub fn check_runtime_dir(places: &Places) -> Result<()> {
    let dir = &places.runtime;
    let hint = "set XDG_RUNTIME_DIR to a folder of your own, or unset it to use /tmp";
    let meta = fs::metadata(dir).map_err(|error| match error.kind() {
        ErrorKind::NotFound => ApiError::storage(format!("runtime dir {}: it does not exist", dir.display())).hint(hint),
        _ => ApiError::io(format!("runtime dir {}", dir.display()), &error).hint(hint),
    })?;
    let me = rustix::process::geteuid().as_raw();
    let shared = meta.uid() == 0 && meta.mode() & 0o1000 != 0;
    if !meta.is_dir() {
        Err(ApiError::invalid(format!("runtime dir {}: it is not a folder", dir.display())).hint(hint))
    } else if meta.uid() != me && !shared {
        Err(ApiError::refused(format!(
            "runtime dir {}: it is not owned by you (uid {me}) but by uid {}",
            dir.display(),
            meta.uid()
        ))
        .hint(hint))
    } else if meta.uid() == me && meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 {
        Err(ApiError::refused(format!("runtime dir {}: other users can write to it", dir.display()))
            .hint(format!("chmod go-w '{}'", dir.display())))
    } else {
        Ok(())
    }
}
