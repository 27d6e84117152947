//! Spacedrop: files and folders that are sent to a paired device.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ErrorKind, PairedDevice, WirePath};

/// Sends files and folders to a paired device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropSend {
    /// The device: name, id or unique prefix of the id.
    pub device: String,
    /// What to send: absolute paths.
    pub paths: Vec<WirePath>,
    /// What the receiver sees as the sender; the device's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// What the receiver sees with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Lists the drops in both directions, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropList {}

/// What to do with a drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropOrder {
    /// Take what another device offers.
    Accept,
    /// Do not take it, or do not go on taking it.
    Reject,
    /// Do not go on sending.
    Cancel,
}

/// Decides about a drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropDecide {
    /// Its id, or a unique prefix of it.
    pub drop: String,
    /// What to do.
    pub order: DropOrder,
    /// Where an accepted drop goes: an absolute path of a folder; the inbox when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<WirePath>,
}

/// Watches a drop until it ends; progress comes as events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropWatch {
    /// Its id, or a unique prefix of it.
    pub drop: String,
}

/// What happens to the drops of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropTrust {
    /// A person is asked.
    #[default]
    Ask,
    /// They are taken into the inbox.
    Accept,
    /// They are refused.
    Refuse,
}

/// Says what happens to the drops of a device from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceTrust {
    /// The device: name, id or unique prefix of the id.
    pub device: String,
    /// What happens to its drops; absent: only ask how it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops: Option<DropTrust>,
}

/// How a device is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustInfo {
    /// The device.
    pub device: PairedDevice,
    /// What happens to its drops.
    pub drops: DropTrust,
}

/// Which way a drop goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropDirection {
    /// From another device to this one.
    In,
    /// From this device to another one.
    Out,
}

/// How far a drop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropState {
    /// It goes on when the other device is reached.
    Waiting,
    /// A person on the receiving side is asked.
    Asked,
    /// Files are on their way.
    Running,
    /// Everything arrived.
    Completed,
    /// The receiver did not want it.
    Declined,
    /// It cannot be done; `problem` says why.
    Failed,
    /// It was stopped.
    Cancelled,
}

impl DropState {
    /// Whether nothing will change any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Declined | Self::Failed | Self::Cancelled)
    }
}

/// A drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropInfo {
    /// Its id.
    pub id: Uuid,
    /// Which way it goes.
    pub direction: DropDirection,
    /// How far it is.
    pub state: DropState,
    /// The device on the other side.
    pub device: PairedDevice,
    /// Who sends, as that device calls itself: escape it before it reaches a terminal.
    pub sender: String,
    /// What the sender says: escape it as well.
    pub message: Option<String>,
    /// The first top-level names; once it has arrived, the names that they got.
    pub names: Vec<WirePath>,
    /// Where it goes to, on the receiving side.
    pub into: Option<WirePath>,
    /// How many files, as far as it is known.
    pub files: u64,
    /// How many bytes, as far as it is known.
    pub bytes: u64,
    /// How many files are done.
    pub files_done: u64,
    /// How many bytes are done.
    pub bytes_done: u64,
    /// How many bytes crossed the network in the last try.
    pub moved: u64,
    /// Files that could not be sent.
    pub errors: u64,
    /// Why it failed, or what was left out.
    pub problem: Option<String>,
    /// Which kind of failure that is.
    #[serde(default)]
    pub kind: Option<ErrorKind>,
    /// When it was made.
    pub created_at: jiff::Timestamp,
}
