//! The connections that carry transfers: dialled for each, taken from paired devices only.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{ConnectOptions, Connection, ConnectionError, QuicTransportConfig, RecvStream, SendStream, VarInt};
use iroh::{Endpoint, EndpointAddr, EndpointId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::ALPN;

/// How long the other device may take to answer a dial.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a connection shows that it lives, and how long silence may last.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(8);

/// A stream for one transfer, with the connection that it lives on.
#[derive(Debug)]
pub struct Stream {
    /// The paired device on the other side.
    pub device: EndpointId,
    /// To that device.
    pub send: SendStream,
    /// From that device.
    pub recv: RecvStream,
    /// Closed when the device is revoked. Keep it for as long as the stream.
    pub connection: Connection,
}

/// The code that a connection is closed with when its transfer was cancelled.
const CANCELLED: VarInt = VarInt::from_u32(32);

impl Stream {
    /// Ends the connection; the other side learns that it was no accident.
    pub fn cancel(connection: &Connection) {
        connection.close(CANCELLED, b"cancelled");
    }

    /// Whether the other side ended the connection with [`Stream::cancel`].
    pub fn was_cancelled(connection: &Connection) -> bool {
        matches!(connection.close_reason(), Some(ConnectionError::ApplicationClosed(close)) if close.error_code == CANCELLED)
    }

    /// Ends the connection after a transfer.
    pub fn close(connection: &Connection) {
        connection.close(VarInt::from_u32(0), b"done");
    }
}

/// Takes the transfers of a connection that passed the gate, until it ends.
pub(crate) async fn serve(connection: Connection, streams: mpsc::Sender<Stream>) {
    while let Ok((send, recv)) = connection.accept_bi().await {
        let stream = Stream { device: connection.remote_id(), send, recv, connection: connection.clone() };
        if streams.send(stream).await.is_err() {
            return;
        }
    }
}

/// Dials `device` and opens a stream.
pub(crate) async fn dial(endpoint: &Endpoint, device: EndpointId, addresses: Vec<SocketAddr>) -> Option<Stream> {
    let options = options(addresses.iter().all(|address| is_near(address.ip())));
    let address = addresses.into_iter().fold(EndpointAddr::new(device), EndpointAddr::with_ip_addr);
    let attempt = async {
        let connection = endpoint.connect_with_opts(address, ALPN, options).await.ok()?.await.ok()?;
        let (send, recv) = connection.open_bi().await.ok()?;
        Some(Stream { device, send, recv, connection })
    };
    timeout(PATIENCE, attempt).await.ok().flatten()
}

/// The options of a connection for transfers. On this machine and on a local network the default congestion
/// control is the fastest; farther away paths lose packets, which slows it down more than ten times, and Bbr3 not.
fn options(near: bool) -> ConnectOptions {
    let mut transport = QuicTransportConfig::builder()
        .keep_alive_interval(KEEP_ALIVE)
        .max_idle_timeout(SILENCE.try_into().ok())
        .max_concurrent_bidi_streams(VarInt::from_u32(8))
        .max_concurrent_uni_streams(VarInt::from_u32(0));
    if !near {
        transport = transport.congestion_controller_factory(Arc::new(noq_proto::congestion::Bbr3Config::default()));
    }
    ConnectOptions::new().with_transport_config(transport.build())
}

/// Whether an address is one of this machine or of a local network.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_near(IpAddr::V4(address)),
            None => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
        },
    }
}
