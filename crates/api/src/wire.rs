//! The envelope of a request and the frames of its answer.
//!
//! A call is `POST /v1/call` with an [`Envelope`] as its body. The answer is a stream of JSON lines: any
//! number of [`Frame::Event`] and then exactly one [`Frame::Reply`] or [`Frame::Error`]. `docs/ipc.md`
//! shows it with `curl`.

use serde::{Deserialize, Serialize};

use crate::{ApiError, Call, Event};

/// The version of the calls in this build. Both sides must have the same one; the frozen calls
/// (`GET /v1/status`, `POST /v1/stop`) work between all versions.
pub const PROTOCOL: u32 = 1;

/// The protocol that this process speaks: [`PROTOCOL`], but for tests of version skew.
pub fn protocol() -> u32 {
    *OVERRIDE.get().unwrap_or(&PROTOCOL)
}

static OVERRIDE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();

/// Makes this process speak another protocol. Only debug builds do; in others it has no effect.
pub fn override_protocol(protocol: u32) {
    if cfg!(debug_assertions) {
        let _ = OVERRIDE.set(protocol);
    }
}

/// The largest request body that a daemon reads, in bytes.
pub const MAX_REQUEST_BYTES: usize = 1 << 20;

/// A request: which protocol it speaks, and the call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The [`PROTOCOL`] of the sender.
    pub protocol: u32,
    /// What to do.
    #[serde(flatten)]
    pub call: Call,
}

/// One line of an answer. `R` is the reply's type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame<R> {
    /// Something happened; more follows.
    Event(Event),
    /// The call was done; the last line.
    Reply(R),
    /// The call failed; the last line.
    Error(ApiError),
}
