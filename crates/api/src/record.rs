//! The record of an instance: one small file that says where it was last started, so that a client in
//! another folder or with another `XDG_RUNTIME_DIR` (cron, ssh) finds it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::WirePath;
use crate::instance::{InstanceName, Places};

/// Where an instance was last started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: InstanceName,
    /// Its data dir (absolute).
    pub data_dir: WirePath,
    /// Its socket (absolute).
    pub socket: WirePath,
}

impl Record {
    /// The record of `name`, or `None` when it was never started or the record is damaged.
    pub fn read(places: &Places, name: &InstanceName) -> Option<Self> {
        let record: Self = serde_json::from_slice(&fs::read(places.record(name)?).ok()?).ok()?;
        (record.name == *name && record.data_dir.0.is_absolute()).then_some(record)
    }

    /// All records, by name.
    pub fn all(places: &Places) -> Vec<Self> {
        let Some(entries) = places.records.as_ref().and_then(|dir| fs::read_dir(dir).ok()) else { return Vec::new() };
        let mut all: Vec<Self> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".json")?.parse().ok())
            .filter_map(|name| Self::read(places, &name))
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Writes the record in place of an older one.
    pub fn write(&self, places: &Places) -> io::Result<()> {
        let Some(path) = places.record(&self.name) else { return Ok(()) };
        replace_file(&path, &json(self)?)
    }
}

/// `value` as indented JSON with a newline at its end.
pub fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Replaces `path` by `bytes` so that a crash at any moment leaves the old or the new content, whole:
/// temporary file (mode 0600), fsync, rename, fsync of the folder. Makes the folder when it is missing.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};

    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let temporary = temporary_beside(path);
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        // The umask may have taken away what we need ourselves.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(parent)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Removes what writers of `path` that were killed have left beside it. Only for whoever alone writes the file.
pub fn clear_temporaries(path: &Path) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
    let is_left = |file: &str| {
        let middle = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".tmp"));
        middle.is_some_and(|middle| middle.len() == 32 && middle.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_left) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A name beside `path` that no other writer uses.
fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
    path.with_file_name(name)
}
