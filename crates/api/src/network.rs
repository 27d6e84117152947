//! Networking of an instance: its identity, on and off.

use serde::{Deserialize, Serialize};

use crate::{Networking, Secret, WirePath};

/// Asks how networking stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {}

/// How networking stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// Off, uninitialised, locked or on.
    pub networking: Networking,
    /// The device's public key (64 hexadecimal digits), once there is an identity.
    pub id: Option<String>,
    /// The name that other devices see.
    pub name: String,
    /// Where the device can be reached: `IP:PORT` each.
    pub addresses: Vec<String>,
    /// How devices are found, such as `same-host, mdns`; `none` while networking is not on.
    pub discovery: String,
}

/// How hard it is to try a password: the cost of Argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KdfCost {
    /// Memory, in KiB: 8192 to 1048576.
    pub m_kib: u32,
    /// Passes: 1 to 10.
    pub t: u32,
    /// Lanes: 1 to 16.
    pub p: u32,
}

/// Makes the device's identity, which switches networking on, or unlocks the one that there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInit {
    /// The password; `None` for an identity that is not sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The cost of the password of a new identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<KdfCost>,
}

/// What came of [`NetworkInit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkInitialised {
    /// Whether the identity was made now; otherwise it was unlocked.
    pub created: bool,
    /// How networking stands.
    #[serde(flatten)]
    pub network: NetworkInfo,
}

/// Switches networking on, and remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStart {}

/// Switches networking off, and remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStop {}

/// Seals the same identity with another password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPasswd {
    /// The password that it has; `None` if it is not sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Secret>,
    /// The password that it gets; `None` to leave it unsealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Secret>,
}

/// Destroys the identity and all pairings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkReset {}

/// What came of [`NetworkReset`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkWasReset {
    /// Where the old identity lies, still sealed; `None` when there was none.
    pub backup: Option<WirePath>,
}
