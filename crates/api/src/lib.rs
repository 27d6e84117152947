//! The vocabulary that the command line and the daemon share: calls and their replies, events,
//! errors, ids, instance names and paths, and the client.
//!
//! Nothing in here touches a database or a peer; see `docs/architecture.md` for the line of crates.

mod call;
pub mod client;
mod config;
mod daemon;
mod device;
mod drop;
mod duplicates;
mod entry;
mod error;
mod event;
mod file;
mod index;
pub mod instance;
mod job;
mod library;
pub mod locate;
mod location;
mod monitor;
mod names;
mod network;
mod pairing;
mod path;
pub mod record;
mod search;
mod secret;
mod trash;
mod wire;

pub use call::{Call, Request};
pub use config::*;
pub use daemon::*;
pub use device::*;
pub use drop::*;
pub use duplicates::*;
pub use entry::*;
pub use error::{ApiError, ErrorKind, Result};
pub use event::{Event, Progress};
pub use file::*;
pub use index::*;
pub use job::*;
pub use library::*;
pub use location::*;
pub use monitor::*;
pub use names::nearest;
pub use network::*;
pub use pairing::*;
pub use path::WirePath;
pub use search::*;
pub use secret::Secret;
pub use trash::Trashed;
pub use wire::{Envelope, Frame, MAX_REQUEST_BYTES, PROTOCOL, override_protocol, protocol};

/// The version of this build, as `CARGO_PKG_VERSION` gives it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
