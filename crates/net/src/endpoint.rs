//! The QUIC endpoints: no relay, no DNS, no port mapping, no fixed port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{ConnectOptions, ConnectionError, PortmapperConfig, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, EndpointId, RelayMode, SecretKey};

use crate::discovery::{self, SameHost};
use crate::peers::{Gate, Peers};
use crate::{Error, Result};

/// The protocol of pairing.
pub(crate) const PAIR: &[u8] = b"spacedrive/pair/1";

/// The protocol that keeps two paired devices in touch.
pub(crate) const PRESENCE: &[u8] = b"spacedrive/presence/1";

/// Why a connection is closed.
pub(crate) mod close {
    use iroh::endpoint::VarInt;

    /// All went well.
    pub(crate) const DONE: VarInt = VarInt::from_u32(0);
    /// The other side is not on the list of paired devices.
    pub(crate) const NOT_PAIRED: VarInt = VarInt::from_u32(16);
    /// Networking goes off.
    pub(crate) const STOPPING: VarInt = VarInt::from_u32(17);
    /// There is a newer connection between the same two devices.
    pub(crate) const DOUBLE: VarInt = VarInt::from_u32(18);
    /// The other side does not keep to the protocol.
    pub(crate) const PROTOCOL: VarInt = VarInt::from_u32(19);
}

/// How often the dialling side of a presence connection shows that it lives, and how long silence may last.
/// Silence is noticed after at most the sum of both: the kept promise is three seconds.
const PRESENCE_KEEP_ALIVE: Duration = Duration::from_millis(700);
const PRESENCE_SILENCE: Duration = Duration::from_millis(2000);

/// Binds the long-lived endpoint of the device. Only paired devices pass its gate.
pub(crate) async fn bind_device(key: SecretKey, alpns: Vec<Vec<u8>>, host: SameHost, peers: Arc<Peers>) -> Result<Endpoint> {
    base(key, alpns).hooks(Gate(peers)).address_lookup(host).bind().await.map_err(Error::endpoint)
}

/// Binds the temporary endpoint of a pairing code. It speaks nothing but pairing.
pub(crate) async fn bind_code(key: SecretKey) -> Result<Endpoint> {
    base(key, vec![PAIR.to_vec()]).bind().await.map_err(Error::endpoint)
}

/// All interfaces, any port. Listening on all of them keeps the loopback address reachable when the others vanish.
fn base(key: SecretKey, alpns: Vec<Vec<u8>>) -> iroh::endpoint::Builder {
    let transport = QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(8))
        .max_concurrent_uni_streams(VarInt::from_u32(8))
        .build();
    Endpoint::builder(presets::Minimal)
        .secret_key(key)
        .alpns(alpns)
        .relay_mode(RelayMode::Disabled)
        .portmapper_config(PortmapperConfig::Disabled)
        .transport_config(transport)
}

/// The same for a connection that pairs: a person may take a minute to accept, so a dead side must be noticed meanwhile.
const PAIR_KEEP_ALIVE: Duration = Duration::from_secs(1);
const PAIR_SILENCE: Duration = Duration::from_secs(4);

/// The options of a presence connection.
pub(crate) fn presence_options() -> ConnectOptions {
    options(PRESENCE_KEEP_ALIVE, PRESENCE_SILENCE)
}

/// The options of a connection that pairs.
pub(crate) fn pair_options() -> ConnectOptions {
    options(PAIR_KEEP_ALIVE, PAIR_SILENCE)
}

fn options(keep_alive: Duration, silence: Duration) -> ConnectOptions {
    let transport = QuicTransportConfig::builder()
        .keep_alive_interval(keep_alive)
        .max_idle_timeout(silence.try_into().ok())
        .max_concurrent_bidi_streams(VarInt::from_u32(8))
        .max_concurrent_uni_streams(VarInt::from_u32(8))
        .build();
    ConnectOptions::new().with_transport_config(transport)
}

/// Where the endpoint can be reached: on the network first, then on this machine.
pub(crate) fn addresses(endpoint: &Endpoint) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = endpoint.addr().ip_addrs().copied().collect();
    for address in discovery::loopback(endpoint) {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

/// The first 16 hexadecimal digits of an id: what two people compare.
pub(crate) fn short(id: &EndpointId) -> String {
    let mut text = id.to_string();
    text.truncate(16);
    text
}

/// Whether the other side closed the connection because this device is not on its list.
pub(crate) fn said_not_paired(error: &ConnectionError) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == close::NOT_PAIRED)
}
