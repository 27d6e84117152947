//! What happens in here, for those who watch.

use iroh::EndpointId;
use uuid::Uuid;

/// One thing that happened. Ask [`crate::Network`] for the state that came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A paired device is connected now.
    DeviceConnected(EndpointId),
    /// A paired device is not connected any more.
    DeviceOffline(EndpointId),
    /// A device was paired.
    DevicePaired(EndpointId),
    /// A device was revoked here, or does not know this one any more.
    DeviceRemoved(EndpointId),
    /// A pairing session changed.
    Pairing(Uuid),
    /// Networking went on or off, or was locked or unlocked.
    State(spacedrive_api::Networking),
}
