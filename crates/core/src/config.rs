//! `spacedrive.json`: the configuration and the instance's UUID.
//!
//! A damaged file is never overwritten: the daemon refuses to start and names the line and the last good copy.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Result, failpoint};

/// The version of the file that this build writes.
const VERSION: i64 = 1;

/// The largest file that is read, in bytes; the real one has a few hundred.
const MAX_BYTES: u64 = 1 << 20;

/// The instance's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The version of this file's form.
    pub version: i64,
    /// The instance's UUID, made once.
    pub id: Uuid,
    /// When the instance was made.
    pub created_at: jiff::Timestamp,
    /// Whether networking was switched on.
    #[serde(default)]
    pub networking: bool,
    /// Whether to look for devices on the local network by multicast DNS.
    #[serde(default = "yes")]
    pub mdns: bool,
    /// What is logged, as a tracing filter, when neither flag nor environment says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// What this version does not know, kept as it is.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

impl Config {
    /// A new configuration with a new UUID.
    #[expect(clippy::new_without_default, reason = "each call makes another UUID")]
    pub fn new() -> Self {
        Self {
            version: VERSION,
            id: Uuid::new_v4(),
            created_at: jiff::Timestamp::now(),
            networking: false,
            mdns: true,
            log: None,
            other: serde_json::Map::new(),
        }
    }

    /// Reads the file. `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let bad = |why: String| Error::BadFile { path: path.to_owned(), why };
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(path)(error)),
            Ok(meta) if !meta.is_file() => return Err(bad("it is not a file".to_owned())),
            Ok(meta) if meta.len() > MAX_BYTES => {
                return Err(bad(format!("it has {} bytes, which is no configuration of ours", meta.len())));
            }
            Ok(_) => {}
        }
        let bytes = fs::read(path).map_err(Error::io(path))?;
        // The version comes first: a newer file may have another shape.
        #[derive(Deserialize)]
        struct Versioned {
            version: i64,
        }
        let found = serde_json::from_slice::<Versioned>(&bytes).map_err(|e| bad(format!("line {}: {e}", e.line())))?.version;
        if found > VERSION {
            return Err(Error::Newer { path: path.to_owned(), found, known: VERSION });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|e| bad(format!("line {}: {e}", e.line())))
    }

    /// Keeps the file that is in use as the last good copy, unless it is kept already.
    pub fn keep_copy(path: &Path) -> Result<()> {
        let (good, copy) = (fs::read(path).map_err(Error::io(path))?, backup(path));
        if fs::read(&copy).is_ok_and(|kept| kept == good) {
            return Ok(());
        }
        spacedrive_api::record::replace_file(&copy, &good).map_err(Error::io(&copy))
    }

    /// Writes the file in place of the older one, which stays beside it as the last good copy.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Ok(Some(_)) = Self::read(path) {
            let old = fs::read(path).map_err(Error::io(path))?;
            let copy = backup(path);
            spacedrive_api::record::replace_file(&copy, &old).map_err(Error::io(&copy))?;
        }
        failpoint::hit("config.write").map_err(Error::io(path))?;
        let bytes = spacedrive_api::record::json(self).map_err(Error::io(path))?;
        spacedrive_api::record::replace_file(path, &bytes).map_err(Error::io(path))
    }
}

fn yes() -> bool {
    true
}

/// Where the last good copy of the configuration lies: `spacedrive.json.bak`.
pub fn backup(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".bak");
    PathBuf::from(name)
}
