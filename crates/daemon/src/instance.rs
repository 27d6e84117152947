//! Instances as a whole: made, copied, renamed, removed, restored and tidied up.
//!
//! The command line calls these for an instance that no daemon runs. Each takes the two locks that make a
//! process the owner of an instance first, so that no daemon can start meanwhile.

mod clean;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

pub use clean::{Cleaned, clean};
use spacedrive_api::instance::{self, DataFiles, InstanceName, Places};
use spacedrive_api::{
    ApiError, ConfigChanged, ConfigSet, ErrorKind, InstanceCopied, InstanceCopy, Result, Trashed, locate, record,
};
use spacedrive_core::config::Config;
use spacedrive_core::instance::InstanceStore;
use spacedrive_core::{failpoint, files, trash};

use crate::boot::remember;
use crate::context::Context;
use crate::error::from_core;
use crate::lock::{Locks, Starting, patient};
use crate::publish::clear_stale;

/// Arms a failpoint, in builds that have them.
pub fn arm(spec: &str) -> Result<()> {
    if failpoint::arm(spec) {
        return Ok(());
    }
    Err(ApiError::invalid(format!("failpoint `{spec}`: not of the form name:N[:kill|error], or not compiled in")))
}

/// Takes the locks of an instance that no daemon runs; dropping them gives them up.
pub(crate) async fn hold(places: &Places, name: &InstanceName, data: &DataFiles) -> Result<Locks> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    locate::check_runtime_dir(places)?;
    match Locks::acquire(places, name, data).await {
        Err(error) if error.kind == ErrorKind::Conflict => Err(error.hint(format!("spacedrive instance stop {name}"))),
        other => other,
    }
}

/// An instance that is being made, in a folder that gets its name when it is whole.
#[derive(Debug)]
pub struct NewInstance {
    places: Places,
    name: InstanceName,
    target: PathBuf,
    made: PathBuf,
    _held: Locks,
    _starting: Starting,
}

impl NewInstance {
    /// Begins to make the instance `name` with the data dir `target`.
    ///
    /// # Errors
    /// `Conflict` when it exists already.
    pub async fn begin(places: &Places, name: &InstanceName, target: &Path) -> Result<Self> {
        let runtime = places.runtime_files(name)?;
        locate::check_runtime_dir(places)?;
        let starting = Starting::acquire(places, name).await?;
        locate::check_case(places, name, target)?;
        let exists = |dir: &Path| {
            ApiError::conflict(format!("instance `{name}` exists already, with data in {}", dir.display()))
                .hint(format!("spacedrive instance start {name}"))
        };
        if let Some(there) = locate::known(places).remove(name) {
            return Err(there.map_or_else(
                || {
                    let left = ApiError::conflict(format!("instance `{name}` left files behind in {}", places.runtime.display()));
                    left.hint("spacedrive instance clean")
                },
                |dir| exists(&dir),
            ));
        }
        if locate::has_data(target) {
            return Err(exists(target));
        }
        if locate::is_locked(&runtime.lock) {
            return Err(ApiError::conflict(format!("instance `{name}` is being made or started by another process")));
        }
        // The default instance's folder holds others and cannot be renamed into place.
        let made = match target.parent() {
            Some(root) if !name.is_default() => {
                if fs::symlink_metadata(target).is_ok() {
                    return Err(ApiError::conflict(format!("{} exists already, and is no instance of ours", target.display())));
                }
                root.join(format!("{}{}", instance::UNFINISHED, uuid::Uuid::new_v4().simple()))
            }
            _ => target.to_owned(),
        };
        files::make_dir(&made).map_err(from_core)?;
        let held = match hold(places, name, &DataFiles::new(&made)).await {
            Ok(held) => held,
            Err(error) => {
                discard(&made, target);
                return Err(error);
            }
        };
        Ok(Self { places: places.clone(), name: name.clone(), target: target.to_owned(), made, _held: held, _starting: starting })
    }

    /// The folder to fill.
    pub fn dir(&self) -> &Path {
        &self.made
    }

    /// Completes the instance: adds what is missing in its data dir, gives it its name and remembers it.
    pub fn finish(self) -> Result<PathBuf> {
        let data = DataFiles::new(&self.made);
        if !data.config.exists() {
            Config::new().write(&data.config).map_err(from_core)?;
        }
        files::make_dir(&data.libraries).map_err(from_core)?;
        if !data.cli_state.exists() {
            record::replace_file(&data.cli_state, b"{}\n").map_err(|e| ApiError::io(data.cli_state.display(), &e))?;
        }
        drop(InstanceStore::open(&data.database).map_err(from_core)?);
        if self.made != self.target {
            files::rename_new(&self.made, &self.target).map_err(from_core)?;
        }
        let runtime = self.places.runtime_files(&self.name)?;
        remember(&self.places, &self.name, &DataFiles::new(&self.target), &runtime.socket);
        Ok(self.target.clone())
    }
}

impl Drop for NewInstance {
    fn drop(&mut self) {
        discard(&self.made, &self.target);
    }
}

/// Removes what was begun and not finished; once renamed it is not there any more.
fn discard(made: &Path, target: &Path) {
    if made != target {
        let _ = fs::remove_dir_all(made);
    }
}

/// Copies a stopped instance into the data dir `to`, which is being made.
pub async fn copy_stopped(places: &Places, name: &InstanceName, data_dir: &Path, to: &Path) -> Result<InstanceCopied> {
    let data = DataFiles::new(data_dir);
    let _held = hold(places, name, &data).await?;
    let config = read_config(&data)?;
    let libraries = spacedrive_core::clone::libraries_of(&data).map_err(from_core)?;
    spacedrive_core::clone::copy(&data, &config, &libraries, &DataFiles::new(to)).map_err(from_core)
}

/// The call by which a running daemon copies itself.
pub(crate) async fn copy(context: &Arc<Context>, request: &InstanceCopy) -> Result<InstanceCopied> {
    let to = request.to.0.clone();
    let meta = fs::symlink_metadata(&to).map_err(|e| ApiError::io(to.display(), &e))?;
    let config = context.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !to.is_absolute() || !meta.is_dir() || locate::has_data(&to) {
        return Err(ApiError::invalid(format!("{}: it must be an empty folder", to.display())));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(ApiError::refused(format!("{}: it belongs to the user with uid {}", to.display(), meta.uid())));
    }
    context
        .blocking(move |c| {
            let libraries: Vec<PathBuf> = c.libraries.list().into_iter().map(|library| library.path.0).collect();
            spacedrive_core::clone::copy(&c.data, &config, &libraries, &DataFiles::new(&to))
        })
        .await
}

/// Changes the configuration of a stopped instance.
pub async fn configure(places: &Places, name: &InstanceName, data_dir: &Path, set: &ConfigSet) -> Result<ConfigChanged> {
    let data = DataFiles::new(data_dir);
    let change = crate::config::change(set)?;
    let _held = hold(places, name, &data).await?;
    let mut config = read_config(&data)?;
    change(&mut config);
    config.write(&data.config).map_err(from_core)?;
    Ok(ConfigChanged { key: set.key, value: set.value.clone() })
}

fn read_config(data: &DataFiles) -> Result<Config> {
    let missing = || ApiError::storage(format!("{}: it is missing, but the instance has data", data.config.display()));
    Config::read(&data.config).map_err(from_core)?.ok_or_else(missing)
}

/// Renames the stopped instance `old` with this data dir; gives its new data dir.
pub async fn rename(places: &Places, old: &InstanceName, new: &InstanceName, data_dir: &Path) -> Result<PathBuf> {
    if old.is_default() || new.is_default() {
        return Err(ApiError::invalid("the default instance cannot be renamed: its folder holds the other instances")
            .hint(format!("spacedrive instance clone {old} {new}")));
    }
    let runtime = places.runtime_files(new)?;
    let target = instance::data_dir(&instance::data_root(data_dir, old), new);
    let _held = hold(places, old, &DataFiles::new(data_dir)).await?;
    let _starting = Starting::acquire(places, new).await?;
    let clash = locate::known(places).into_keys().find(|other| other == new || (other != old && other.clashes_with(new)));
    if let Some(other) = clash {
        return Err(ApiError::conflict(format!("instance `{other}` exists already")));
    }
    let name_lock = NameLock::take(places, new).await?;
    // The record comes first: whatever happens then, one of the two records leads to the data.
    remember(places, new, &DataFiles::new(&target), &runtime.socket);
    if let Err(error) = files::rename_new(data_dir, &target) {
        forget(places, new);
        return Err(from_core(error));
    }
    forget(places, old);
    clear_runtime(places, old)?;
    drop(name_lock);
    Ok(target)
}

/// The lock of a name alone.
struct NameLock {
    path: PathBuf,
    _lock: File,
}

impl NameLock {
    async fn take(places: &Places, name: &InstanceName) -> Result<Self> {
        let path = places.runtime_files(name)?.lock;
        match patient(&path).await? {
            Some(lock) => Ok(Self { path, _lock: lock }),
            None => Err(ApiError::conflict(format!("instance `{name}` is in use by another process"))),
        }
    }
}

impl Drop for NameLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the stopped instance with this data dir, to the trash or for good. Of the default instance's folder only
/// its own files are taken, never another instance.
pub async fn remove(places: &Places, name: &InstanceName, data_dir: &Path, purge: bool) -> Result<Trashed> {
    let data = DataFiles::new(data_dir);
    let _held = hold(places, name, &data).await?;
    let root = instance::data_root(data_dir, name);
    let bin = instance::trash(&root);
    let trashed = if name.is_default() {
        remove_pieces(&data, &bin, name)?
    } else {
        trash::put(&bin, data_dir, name.as_str(), data_dir).map_err(from_core)?
    };
    clear_runtime(places, name)?;
    if purge {
        trash::purge(&bin, &trashed).map_err(from_core)?;
        forget(places, name);
    }
    Ok(trashed)
}

/// Moves the default instance's own files, the configuration first and the database last: in between, the instance
/// is known, does not start, and removing it again goes on.
fn remove_pieces(data: &DataFiles, bin: &Path, name: &InstanceName) -> Result<Trashed> {
    let begun = if data.config.exists() { None } else { newest(bin, name)? };
    let trashed = match begun {
        Some(trashed) => trashed,
        None => trash::put_pieces(bin, name.as_str(), &data.dir).map_err(from_core)?,
    };
    let mut pieces = pieces(data, &data.dir)?;
    pieces.sort_by_key(|piece| rank(data, piece));
    for piece in pieces {
        move_piece(&data.dir, &trashed.path.0, &piece)?;
    }
    fs::remove_file(&data.lock).map_err(|e| ApiError::io(data.lock.display(), &e))?;
    Ok(trashed)
}

/// The instance's own entries in `dir`, but for its lock.
fn pieces(data: &DataFiles, dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    let read = fs::read_dir(dir).and_then(|entries| entries.map(|e| e.map(|e| e.file_name())).collect::<Result<Vec<_>, _>>());
    let mut names = read.map_err(|e| ApiError::io(dir.display(), &e))?;
    names.retain(|name| data.owns(name) && data.lock.file_name() != Some(name));
    Ok(names)
}

/// The order of removal; restoring goes the other way round.
fn rank(data: &DataFiles, piece: &std::ffi::OsStr) -> u8 {
    match Some(piece) {
        name if name == data.config.file_name() => 0,
        name if name == data.database.file_name() => 2,
        _ => 1,
    }
}

fn move_piece(from: &Path, to: &Path, piece: &std::ffi::OsStr) -> Result<()> {
    files::rename_new(&from.join(piece), &to.join(piece)).map_err(from_core)?;
    failpoint::hit("instance.remove.piece").map_err(|e| ApiError::io(from.join(piece).display(), &e))
}

/// The removed instances below a data root, the newest first.
pub fn removed(root: &Path) -> Result<Vec<Trashed>> {
    trash::list(&instance::trash(root)).map_err(from_core)
}

fn newest(bin: &Path, name: &InstanceName) -> Result<Option<Trashed>> {
    Ok(trash::list(bin).map_err(from_core)?.into_iter().find(|trashed| trashed.name == name.as_str()))
}

/// Restores the removed instance `name` of this data root; gives its data dir.
pub async fn restore(places: &Places, name: &InstanceName, root: &Path) -> Result<PathBuf> {
    let bin = instance::trash(root);
    let trashed =
        newest(&bin, name)?.ok_or_else(|| ApiError::not_found(format!("no removed instance `{name}` in {}", bin.display())))?;
    let target = instance::data_dir(root, name);
    let runtime = places.runtime_files(name)?;
    locate::check_runtime_dir(places)?;
    let _starting = Starting::acquire(places, name).await?;
    locate::check_case(places, name, &target)?;
    let known = locate::known(places).remove(name).flatten();
    if let Some(dir) = known.filter(|dir| DataFiles::new(dir).config.exists()) {
        return Err(ApiError::conflict(format!("instance `{name}` exists already, with data in {}", dir.display()))
            .hint(format!("spacedrive instance rename {name} NEW, then try again")));
    }
    let data = DataFiles::new(&target);
    if name.is_default() {
        files::make_dir(&target).map_err(from_core)?;
        let _held = hold(places, name, &data).await?;
        let mut pieces = pieces(&data, &trashed.path.0)?;
        pieces.sort_by_key(|piece| std::cmp::Reverse(rank(&data, piece)));
        for piece in pieces {
            move_piece(&trashed.path.0, &target, &piece)?;
        }
        fs::remove_dir(&trashed.path.0).map_err(|e| ApiError::io(trashed.path.0.display(), &e))?;
        trash::forget(&bin, &trashed).map_err(from_core)?;
    } else {
        let _held = hold(places, name, &DataFiles::new(&trashed.path.0)).await?;
        trash::restore(&bin, &trashed, &target).map_err(from_core)?;
    }
    remember(places, name, &data, &runtime.socket);
    Ok(target)
}

/// Removes the instance's record.
fn forget(places: &Places, name: &InstanceName) {
    if let Some(path) = places.record(name) {
        let _ = fs::remove_file(path);
    }
}

/// Removes the socket and pid file that a daemon left behind. The caller holds the locks.
fn clear_runtime(places: &Places, name: &InstanceName) -> Result<()> {
    let files = places.runtime_files(name)?;
    clear_stale(&files.socket)?;
    if clean::is_own_file(&files.pid) {
        fs::remove_file(&files.pid).map_err(|e| ApiError::io(files.pid.display(), &e))?;
    }
    Ok(())
}
