//! Pairing: a code, the sessions that it begins, and the decision of a person.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Secret;

/// Makes a pairing code and waits for one joiner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairGenerate {
    /// Accept the first joiner that proves that it has the code, without asking.
    pub auto_accept: bool,
    /// How long the code lives, in seconds: 1 to 3600.
    pub ttl_s: u64,
}

/// A new pairing code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairGenerated {
    /// The 12 words.
    pub code: Secret,
    /// The session's id.
    pub session: Uuid,
    /// When the code ends.
    pub expires_at: jiff::Timestamp,
    /// Where it can be joined by address.
    #[serde(default)]
    pub addresses: Vec<SocketAddr>,
}

/// Joins with a code. Answers when both sides have stored each other and are connected; the check number comes
/// as an event when a person has to accept on the other device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairJoin {
    /// The words, as they were typed.
    pub code: Secret,
    /// Where the code is offered, if discovery does not find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
}

/// The device on the other side of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairedDevice {
    /// Its public key (64 hexadecimal digits); the first 16 are its fingerprint.
    pub id: String,
    /// Its name, as it told it: escape it before it reaches a terminal.
    pub name: String,
}

/// What came of [`PairJoin`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairJoined {
    /// The other device.
    pub device: PairedDevice,
    /// Whether the two were paired before.
    #[serde(default)]
    pub already: bool,
}

/// Which side of a session this instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairingRole {
    /// It made the code.
    Initiator,
    /// It was given the code.
    Joiner,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairingState {
    /// The code waits for a joiner, or the joiner looks for the code's device.
    Waiting,
    /// The two sides prove themselves to each other.
    Proving,
    /// A person has to accept, on the device that made the code.
    Deciding,
    /// Both sides stored each other.
    Paired,
    /// This side stored the other; whether the other did too shows at the next contact.
    Unconfirmed,
    /// The code's time is over.
    Expired,
    /// A person said no.
    Rejected,
    /// Nobody answered in time.
    NoDecision,
    /// It failed; the reason says why.
    Failed,
    /// A state that a newer version knows and this one does not.
    #[serde(other)]
    Unknown,
}

/// One pairing session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingInfo {
    /// Its id.
    pub id: Uuid,
    /// Which side this instance is.
    pub role: PairingRole,
    /// How it stands.
    pub state: PairingState,
    /// Whether the first joiner is accepted without asking.
    pub auto_accept: bool,
    /// When it began.
    pub created_at: jiff::Timestamp,
    /// When the code ends.
    pub expires_at: Option<jiff::Timestamp>,
    /// How many came without the right proof.
    pub wrong_proofs: u64,
    /// The other device, once it is known.
    pub device: Option<PairedDevice>,
    /// The number that both people compare.
    pub check: Option<String>,
    /// Where the code can be joined by address.
    pub addresses: Vec<SocketAddr>,
    /// Why it failed, in one line.
    pub reason: Option<String>,
}

/// Lists the sessions, newest first, ended ones too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairList {
    /// Only those that wait for a decision here.
    #[serde(default)]
    pub pending: bool,
}

/// Accepts or rejects a joiner that waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairDecide {
    /// The session's id or a unique prefix of it.
    pub session: String,
    /// Yes or no.
    pub accept: bool,
}

/// Watches a session until it ends: each change is an event, the last state the reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairWatch {
    /// The session's id.
    pub session: Uuid,
}
