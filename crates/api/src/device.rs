//! Paired devices.

use serde::{Deserialize, Serialize};

/// Whether a paired device is in touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// A connection to it lives.
    Connected,
    /// There is none.
    Offline,
}

/// A paired device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Its public key (64 hexadecimal digits); the first 16 are its fingerprint.
    pub id: String,
    /// Its name, as it told it: escape it before it reaches a terminal.
    pub name: String,
    /// Whether it is in touch.
    pub status: DeviceState,
    /// When it was paired.
    pub paired_at: jiff::Timestamp,
    /// When it was connected last; now, if it is connected.
    pub last_seen: Option<jiff::Timestamp>,
    /// Its operating system.
    #[serde(default)]
    pub os: String,
    /// The version of its software when it was paired.
    #[serde(default)]
    pub version: String,
}

/// Lists the paired devices, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceList {}

/// Revokes a paired device: it cannot connect any more, and open connections close.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRevoke {
    /// Name, id or unique prefix of the id.
    pub device: String,
}
