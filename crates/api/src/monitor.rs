//! Watching an instance as a whole.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{DaemonInfo, DeviceInfo, JobInfo, LibraryInfo, LocationInfo, NetworkInfo, PairingInfo};

/// Watches the instance until the client hangs up or the daemon stops: an [`Overview`] at once, and another one
/// whenever something in it has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {}

/// The daemon stops; there is nothing more to watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorEnded {}

/// The instance as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The daemon.
    pub daemon: DaemonInfo,
    /// Its libraries, by name.
    pub libraries: Vec<LibraryInfo>,
    /// The locations of its open libraries.
    #[serde(default)]
    pub locations: Vec<OfLibrary<LocationInfo>>,
    /// The newest jobs of its open libraries.
    #[serde(default)]
    pub jobs: Vec<OfLibrary<JobInfo>>,
    /// Networking.
    pub network: NetworkInfo,
    /// The paired devices, by name.
    pub devices: Vec<DeviceInfo>,
    /// The pairings that wait for a decision here.
    pub pairings: Vec<PairingInfo>,
}

/// Something, and the library that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfLibrary<T> {
    /// The library's name.
    pub library: String,
    /// The library's id.
    pub library_id: Uuid,
    /// What belongs to it.
    #[serde(flatten)]
    pub item: T,
}

impl Overview {
    /// Whether the two differ in more than what passes by itself.
    pub fn differs_from(&self, other: &Self) -> bool {
        let still = |overview: &Self| {
            let mut still = overview.clone();
            still.daemon.uptime_s = 0;
            still.devices.iter_mut().for_each(|device| device.last_seen = None);
            still
        };
        still(self) != still(other)
    }
}
