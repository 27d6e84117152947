//! Instance names, and where everything of an instance lies. This is the only file that computes such a
//! path, and the only one that reads the environment for it.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use etcetera::BaseStrategy;

use crate::{ApiError, Result};

/// The longest socket path that the platform takes, in bytes (`sun_path` less its NUL; unix(7)).
pub const MAX_SOCKET_PATH: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// The name that stands for the unnamed instance.
pub const DEFAULT: &str = "default";

/// The data root below the current folder when nothing else names one.
pub const DATA_ROOT: &str = "data/sd-cli-data";

/// The names that Windows reserves; an instance's folder must be portable.
const RESERVED: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2", "lpt3",
    "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// A valid instance name: 1 to 64 of `A–Z a–z 0–9 - _`, beginning with a letter or digit, and none that
/// Windows reserves. `default` is the unnamed instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceName(Option<String>);

impl InstanceName {
    /// The unnamed instance.
    pub const DEFAULT: Self = Self(None);

    /// The name, `default` for the unnamed instance.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(DEFAULT)
    }

    /// Whether this is the unnamed instance.
    pub fn is_default(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the two differ in case only, and so would share files on a case-insensitive disk.
    pub fn clashes_with(&self, other: &Self) -> bool {
        self != other && self.as_str().eq_ignore_ascii_case(other.as_str())
    }

    /// The file name of this instance's `suffix` file in the runtime dir: `spacedrive.sock`, `spacedrive-alice.sock`.
    fn file(&self, suffix: &str) -> String {
        match &self.0 {
            None => format!("spacedrive.{suffix}"),
            Some(name) => format!("spacedrive-{name}.{suffix}"),
        }
    }

    /// The instance whose `suffix` file has this name, if it is one.
    pub fn from_file(file: &str, suffix: &str) -> Option<Self> {
        let stem = file.strip_suffix(suffix)?.strip_suffix('.')?;
        if stem == "spacedrive" {
            return Some(Self::DEFAULT);
        }
        stem.strip_prefix("spacedrive-")?.parse().ok().filter(|name: &Self| !name.is_default())
    }
}

impl FromStr for InstanceName {
    type Err = ApiError;

    fn from_str(text: &str) -> Result<Self> {
        if text == DEFAULT {
            return Ok(Self(None));
        }
        let wrong = |why: &str| ApiError::invalid(format!("invalid instance name `{}`: {why}", text.escape_debug()));
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        if text.len() > 64 {
            return Err(wrong(&format!("it has {} bytes, the limit is 64", text.len())));
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(wrong("use only the letters A-Z and a-z, digits, `-` and `_`"));
        }
        if !text.as_bytes()[0].is_ascii_alphanumeric() {
            return Err(wrong("it must begin with a letter or a digit"));
        }
        if RESERVED.contains(&text.to_ascii_lowercase().as_str()) {
            return Err(wrong("this name is reserved on Windows"));
        }
        if text.eq_ignore_ascii_case(DEFAULT) {
            return Err(ApiError::conflict(format!("instance name `{text}` conflicts with `default`: they differ only in case")));
        }
        Ok(Self(Some(text.to_owned())))
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for InstanceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for InstanceName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The folders that the environment gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Where sockets, pid files and name locks are: `$XDG_RUNTIME_DIR` if it is set, else `/tmp`.
    pub runtime: PathBuf,
    /// Where the records of instances are: `$XDG_STATE_HOME/spacedrive/instances`, by default below `~/.local/state`.
    /// `None` when the user has no home.
    pub records: Option<PathBuf>,
    /// The trash in the user's home: `$XDG_DATA_HOME/Trash`, by default `~/.local/share/Trash`. `None` when the user has no
    /// home.
    pub trash: Option<PathBuf>,
    /// The current folder.
    pub current: PathBuf,
    /// The data root that `SPACEDRIVE_DATA_DIR` names (absolute).
    pub data_root: Option<PathBuf>,
    /// The instance that `SPACEDRIVE_INSTANCE` names, as it stands there.
    pub instance: Option<String>,
}

impl Places {
    /// Reads the environment. A relative `XDG_RUNTIME_DIR` is wrong usage, since two programs in two
    /// folders would disagree about it.
    pub fn from_env() -> Result<Self> {
        let current = std::env::current_dir().map_err(|e| ApiError::io("the current folder", &e))?;
        let runtime = match std::env::var_os("XDG_RUNTIME_DIR").filter(|v| !v.is_empty()) {
            None => PathBuf::from("/tmp"),
            Some(dir) => PathBuf::from(dir),
        };
        if !runtime.is_absolute() {
            return Err(ApiError::invalid(format!("XDG_RUNTIME_DIR is `{}`: it must be an absolute path", runtime.display()))
                .hint("unset XDG_RUNTIME_DIR, or set it to a folder of your own such as /run/user/1000"));
        }
        let xdg = etcetera::base_strategy::Xdg::new().ok();
        let trash = xdg.as_ref().map(|xdg| xdg.data_dir().join("Trash")).filter(|dir| dir.is_absolute());
        let records =
            xdg.and_then(|xdg| xdg.state_dir()).filter(|dir| dir.is_absolute()).map(|dir| dir.join("spacedrive/instances"));
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let data_root = variable("SPACEDRIVE_DATA_DIR").map(|dir| current.join(dir));
        let instance = variable("SPACEDRIVE_INSTANCE").map(|name| name.to_string_lossy().into_owned());
        Ok(Self { runtime, records, trash, current, data_root, instance })
    }

    /// The runtime files of an instance. Fails when the socket's path would not fit the platform's limit.
    pub fn runtime_files(&self, name: &InstanceName) -> Result<RuntimeFiles> {
        let files = RuntimeFiles {
            socket: self.runtime.join(name.file("sock")),
            pid: self.runtime.join(name.file("pid")),
            lock: self.runtime.join(name.file("lock")),
            case: self.runtime.join(name.file("case").to_ascii_lowercase()),
        };
        let length = files.socket.as_os_str().as_bytes().len();
        if length > MAX_SOCKET_PATH {
            return Err(ApiError::invalid(format!(
                "socket path {} is {length} bytes long: the limit is {MAX_SOCKET_PATH}",
                files.socket.display()
            ))
            .hint("set XDG_RUNTIME_DIR to a shorter path, or choose a shorter instance name"));
        }
        Ok(files)
    }

    /// The record of an instance.
    pub fn record(&self, name: &InstanceName) -> Option<PathBuf> {
        self.records.as_ref().map(|dir| dir.join(format!("{name}.json")))
    }

    /// The data root when neither flag nor environment names one: `data/sd-cli-data` in the current folder.
    pub fn local_root(&self) -> PathBuf {
        self.current.join(DATA_ROOT)
    }
}

/// The files of a running instance in the runtime dir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeFiles {
    /// `spacedrive.sock`, `spacedrive-alice.sock`.
    pub socket: PathBuf,
    /// `spacedrive.pid`, `spacedrive-alice.pid`.
    pub pid: PathBuf,
    /// Guards the name: held as long as the daemon lives.
    pub lock: PathBuf,
    /// The same file for all names that differ in case only: held while one of them starts.
    pub case: PathBuf,
}

/// The data dir of an instance below a data root: the root itself, or `instance-NAME` in it.
pub fn data_dir(root: &Path, name: &InstanceName) -> PathBuf {
    match &name.0 {
        None => root.to_owned(),
        Some(name) => root.join(format!("instance-{name}")),
    }
}

/// The data root of an instance with this data dir: the inverse of [`data_dir`].
pub fn data_root(data_dir: &Path, name: &InstanceName) -> PathBuf {
    match data_dir.parent() {
        Some(parent) if !name.is_default() => parent.to_owned(),
        _ => data_dir.to_owned(),
    }
}

/// Where removed instances below this data root lie until they are restored or purged.
pub fn trash(root: &Path) -> PathBuf {
    root.join(TRASH)
}

/// The name of a trash in a folder that holds other things too.
pub const TRASH: &str = ".spacedrive-trash";

/// What begins the name of a data dir that is being made; one that nobody has locked is rubbish.
pub const UNFINISHED: &str = ".unfinished-";

/// The instance whose data dir has this folder name (`instance-alice`), if it is one.
pub fn from_folder(folder: &str) -> Option<InstanceName> {
    folder.strip_prefix("instance-")?.parse().ok().filter(|name: &InstanceName| !name.is_default())
}

/// The files in the data dir of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFiles {
    /// The data dir (absolute).
    pub dir: PathBuf,
    /// The configuration and the instance's UUID.
    pub config: PathBuf,
    /// The folder of libraries.
    pub libraries: PathBuf,
    /// What the command line remembers: the current library.
    pub cli_state: PathBuf,
    /// What belongs to the instance and to no library.
    pub database: PathBuf,
    /// Held as long as the daemon lives.
    pub lock: PathBuf,
    /// The daemon's log and its older parts.
    pub logs: PathBuf,
    /// What was deleted and can be restored.
    pub trash: PathBuf,
    /// The device's identity, sealed with the password.
    pub identity: PathBuf,
    /// Where accepted drops land.
    pub inbox: PathBuf,
}

impl DataFiles {
    /// The files in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            config: dir.join("spacedrive.json"),
            libraries: dir.join("libraries"),
            cli_state: dir.join("cli_state.json"),
            database: dir.join("instance.db"),
            lock: dir.join("daemon.lock"),
            logs: dir.join("logs"),
            trash: dir.join("trash"),
            identity: dir.join("network_identity.json"),
            inbox: dir.join("inbox"),
        }
    }

    /// Whether an entry of this name in the data dir is the instance's own: one of its files, or a copy or journal
    /// beside it. The default instance's data dir holds other instances, and may hold what is nobody's of ours.
    pub fn owns(&self, entry: &std::ffi::OsStr) -> bool {
        let own = [
            &self.config,
            &self.libraries,
            &self.cli_state,
            &self.database,
            &self.lock,
            &self.logs,
            &self.trash,
            &self.identity,
            &self.inbox,
        ];
        own.iter().filter_map(|path| path.file_name()).any(|name| {
            let (name, entry) = (name.as_bytes(), entry.as_bytes());
            entry.strip_prefix(name).is_some_and(|rest| matches!(rest.first(), None | Some(b'.' | b'-')))
        })
    }

    /// The file that the daemon logs to.
    pub fn log(&self) -> PathBuf {
        self.logs.join("daemon.log")
    }
}
