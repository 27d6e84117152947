//! Files between two devices: one ALPN, one bidirectional stream a transfer.
//!
//! ```text
//! sender                              receiver
//! Offer (who, what, how much)  ─────►
//!                              ◄───── Waiting | Accepted | Rejected
//! Entries… End (the manifest)  ─────►  every name checked, space checked
//!                              ◄───── Have… Part? Ready (what it has already)
//! File, data…, FileEnd (hash)  ─────►  written beneath the staging folder
//! Done                         ─────►  published under the final names
//!                              ◄───── Complete
//! ```
//!
//! The receiver writes into `.spacedrop-…/tree` inside the folder that it was told, and only there; when all is
//! there and verified, it renames the top-level entries out of it, never over anything. What survives a kill is
//! in that tree: a file whose size and time are the announced ones is finished (the time is set last), one that is
//! shorter goes on from its length, after both sides compared the BLAKE3 hash of that part.
//!
//! The manifest is a depth-first walk: an entry has a depth and one name, never a path, and siblings come in
//! rising order. So neither a path that leads elsewhere nor a duplicate can even be said.

mod error;
mod frame;
mod link;
mod manifest;
mod pipe;
mod receive;
mod send;
mod source;
mod spool;
mod stage;

pub use iroh::endpoint::Connection;

pub use error::{Result, TransferError, Why};
pub use frame::{Entry, Kind, Offer, ToReceiver, ToSender, Top, data_frame, message_frame};
pub use link::Stream;
pub(crate) use link::{dial, serve};
pub use manifest::Limits;
pub use pipe::Progress;
pub use receive::{Incoming, Received, Report, discard};
pub use send::{About, Outgoing, Sent, Skipped};
pub use source::Source;
pub use stage::stage_name;

/// The protocol's name in the TLS handshake.
pub const ALPN: &[u8] = b"spacedrive/drop/1";
