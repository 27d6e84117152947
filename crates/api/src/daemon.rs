//! The daemon of an instance, as it tells of itself and as others see it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DeviceInfo, JobInfo, LibraryInfo, LocationInfo, WirePath};

/// Networking of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Networking {
    /// Switched off.
    #[default]
    Off,
    /// Switched on, but there is no identity yet: `network init` makes one.
    Uninitialised,
    /// Switched on, but the identity is locked until the password is given.
    Locked,
    /// On.
    On,
}

/// What a daemon tells to a client of any version: the reply of `GET /v1/status`. Fields may be added, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonInfo {
    /// The instance's name; `default` for the unnamed one.
    pub name: String,
    /// The instance's UUID, from its `spacedrive.json`.
    pub id: Uuid,
    /// The daemon's process id.
    pub pid: u32,
    /// The daemon's version.
    pub version: String,
    /// The protocol of its calls.
    pub protocol: u32,
    /// Whole seconds since it began to answer.
    pub uptime_s: u64,
    /// Where the instance's data are (absolute).
    pub data_dir: WirePath,
    /// Its socket (absolute).
    pub socket: WirePath,
    /// Networking.
    pub networking: Networking,
    /// How many libraries it knows.
    #[serde(default)]
    pub libraries: u64,
}

/// How an instance stands, seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceStatus {
    /// Its daemon answers.
    Running,
    /// It has data, and no daemon.
    Stopped,
    /// Its lock is held, and nothing answers yet.
    Starting,
    /// A socket or pid file is left behind by a daemon that is gone.
    Stale,
    /// Its daemon accepts connections and does not answer.
    Unresponsive,
    /// Its socket is another user's, or not a socket.
    Foreign,
}

/// One instance, as `instance list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceInfo {
    /// Its name; `default` for the unnamed one.
    pub name: String,
    /// How it stands.
    pub status: InstanceStatus,
    /// The daemon's process id.
    pub pid: Option<u32>,
    /// Whole seconds since the daemon began to answer.
    pub uptime_s: Option<u64>,
    /// The daemon's version.
    pub version: Option<String>,
    /// Networking.
    pub networking: Networking,
    /// Where its data are.
    pub data_dir: Option<WirePath>,
    /// Its socket.
    pub socket: WirePath,
}

/// Asks for the whole view of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The library whose locations are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
}

/// The whole view of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusInfo {
    /// The daemon.
    pub daemon: DaemonInfo,
    /// Its libraries.
    pub libraries: Vec<LibraryInfo>,
    /// The devices that it is paired with.
    #[serde(default)]
    pub devices: Vec<DeviceInfo>,
    /// The locations of the library that was asked for.
    #[serde(default)]
    pub locations: Vec<LocationInfo>,
    /// Its jobs that have not ended.
    #[serde(default)]
    pub jobs: Vec<JobInfo>,
}

/// Copies the instance's configuration and libraries into a data dir that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceCopy {
    /// The new data dir (absolute): an empty folder of this user.
    pub to: WirePath,
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InstanceCopied {
    /// The libraries, by name.
    pub libraries: Vec<String>,
    /// The libraries that could not be copied, with the reason.
    pub skipped: Vec<Skipped>,
}

/// A library that could not be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its folder.
    pub path: WirePath,
    /// Why.
    pub why: String,
}
