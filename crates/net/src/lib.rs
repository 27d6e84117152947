//! Talking to other devices: identity, pairing, presence.
//!
//! [`Network`] is what the daemon holds. Nothing in here prints or reads the environment; each peer protocol
//! is one ALPN, and a device that is not paired gets no stream on any of them but pairing.

mod announce;
mod background;
mod clock;
pub mod code;
mod discovery;
mod endpoint;
mod error;
mod event;
mod guests;
pub mod identity;
mod network;
pub mod pairing;
mod peers;
mod presence;
pub mod transfer;

#[cfg(test)]
extern crate self as spacedrive_net;
#[cfg(test)]
#[path = "../tests/support/devices.rs"]
mod support;

pub use error::{Error, Result};
pub use event::Event;
pub use iroh::EndpointId;
pub use network::{Generated, Initialised, Joined, Network, NetworkStatus, Settings};
pub use peers::DeviceStatus;

/// Fills `bytes` with random ones from the operating system.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    use rand::TryRng;
    rand::rngs::SysRng.try_fill_bytes(bytes).map_err(|_| Error::System { what: "the random generator of the system" })
}
