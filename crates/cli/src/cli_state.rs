//! `cli_state.json`: what the command line remembers of an instance. It is a cache: when it is damaged it
//! is put aside and begun anew.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use spacedrive_api::instance::DataFiles;
use spacedrive_api::{ApiError, Result, record};
use uuid::Uuid;

use crate::session::Session;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CliState {
    /// The library that commands work on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current_library: Option<Uuid>,
    /// What this version does not know, kept as it is.
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

impl CliState {
    /// Reads the state of the instance with this data dir.
    pub(crate) fn read(session: &Session, data_dir: &Path) -> Self {
        let path = DataFiles::new(data_dir).cli_state;
        match load(&path) {
            Ok(state) => state,
            Err(why) => {
                session.output.warning(format!("{}: {why}; it is ignored, and the next change replaces it", path.display()));
                Self::default()
            }
        }
    }

    /// Changes the current library. A damaged file is kept beside the new one.
    pub(crate) fn set_current(session: &Session, data_dir: &Path, library: Option<Uuid>) -> Result<()> {
        let path = DataFiles::new(data_dir).cli_state;
        let mut state = load(&path).unwrap_or_else(|_| {
            let aside = path.with_extension(format!("json.corrupt-{}", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
            let _ = fs::rename(&path, aside);
            Self::read(session, data_dir)
        });
        if state.current_library == library {
            return Ok(());
        }
        state.current_library = library;
        let bytes = record::json(&state).map_err(|e| ApiError::io(path.display(), &e))?;
        record::replace_file(&path, &bytes).map_err(|e| ApiError::io(path.display(), &e))
    }
}

fn load(path: &Path) -> Result<CliState, String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(CliState::default()),
        Err(error) => return Err(error.to_string()),
        Ok(meta) if !meta.is_file() => return Err("it is not a file".to_owned()),
        Ok(meta) if meta.len() > MAX_BYTES => return Err(format!("it has {} bytes", meta.len())),
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    serde_json::from_slice(&bytes).map_err(|e| e.to_string())
}
