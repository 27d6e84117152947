//! Presence: one connection to each paired device for as long as both run.
//!
//! Each side dials the devices on its list that are not connected. The dialling side says hello, the other one
//! notes the connection as up and answers, the dialling side notes it too and says so: each knows then that the
//! connection passed both gates. A device is connected while such a connection lives.

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{Connection, SendStream};
use iroh::{Endpoint, EndpointAddr, EndpointId};
use tokio::time::timeout;

use crate::discovery::SameHost;
use crate::endpoint::{self, PRESENCE, close};
use crate::peers::Peers;

/// The version of this protocol.
const VERSION: u8 = 1;

/// How long the dialled side may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pauses between attempts to reach a device that does not answer. Whoever starts dials, so these only matter
/// when the network was away; a change of this machine's addresses, or news from the other, cuts a pause short.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoPresence {
    /// The other device does not have this one on its list.
    NotPaired,
    /// It did not answer, or not as it should.
    Unreachable,
}

/// Keeps in touch with `id` until it is off the list.
pub(crate) async fn keep(endpoint: Endpoint, host: SameHost, peers: Arc<Peers>, id: EndpointId) {
    let mut failures = 0;
    loop {
        let Some(wake) = peers.wake(&id) else { return };
        let mut woken = std::pin::pin!(wake.notified());
        woken.as_mut().enable();
        if !peers.is_paired(&id) {
            return;
        }
        if peers.is_connected(&id) {
            woken.await;
            failures = 0;
            continue;
        }
        match dial(&endpoint, &host, &peers, id, failures > 0).await {
            Ok(connection) => {
                failures = 0;
                connection.closed().await;
                peers.down(&connection);
                // A device that stops closes its connection a moment before its socket: do not dial into that.
                tokio::time::sleep(PAUSES[0]).await;
            }
            Err(NoPresence::NotPaired) => {
                tracing::info!(peer = %endpoint::short(&id), "the other device revoked the pairing");
                if let Err(error) = peers.forget(id).await {
                    tracing::warn!(%error, "cannot forget a device that revoked the pairing");
                }
                return;
            }
            Err(NoPresence::Unreachable) => {
                let pause = PAUSES[failures.min(PAUSES.len() - 1)];
                failures += 1;
                let _ = timeout(pause, woken).await;
            }
        }
    }
}

/// Dials `id` once; the connection is up when this returns it.
async fn dial(
    endpoint: &Endpoint,
    host: &SameHost,
    peers: &Arc<Peers>,
    id: EndpointId,
    again: bool,
) -> Result<Connection, NoPresence> {
    // A device on this machine is reached on this machine, whatever happens to the other interfaces.
    let mut addresses = host.find(&id).unwrap_or_default();
    if addresses.is_empty() || again {
        addresses.extend(peers.addresses(&id));
    }
    let address = addresses.into_iter().fold(EndpointAddr::new(id), EndpointAddr::with_ip_addr);
    let attempt = async {
        let connecting = endpoint.connect_with_opts(address, PRESENCE, endpoint::presence_options()).await.ok()?;
        let connection = connecting.await.ok()?;
        let greeted = greet(&connection).await;
        Some((connection, greeted))
    };
    let Some((connection, greeted)) = timeout(PATIENCE, attempt).await.ok().flatten() else {
        return Err(NoPresence::Unreachable);
    };
    if let Some(mut send) = greeted
        && peers.up(endpoint.id(), &connection)
    {
        // The other side noted it before it answered; now it learns that this side did too.
        peers.settle(&connection);
        let _ = send.write_all(&[VERSION]).await;
        let _ = send.finish();
        return Ok(connection);
    }
    let refused = connection.close_reason().is_some_and(|reason| endpoint::said_not_paired(&reason));
    connection.close(close::PROTOCOL, b"no greeting");
    Err(if refused { NoPresence::NotPaired } else { NoPresence::Unreachable })
}

/// Says hello and waits for the answer.
async fn greet(connection: &Connection) -> Option<SendStream> {
    let greeted = async {
        let (mut send, mut recv) = connection.open_bi().await.ok()?;
        send.write_all(&[VERSION]).await.ok()?;
        let mut answer = [0];
        recv.read_exact(&mut answer).await.ok()?;
        (answer[0] == VERSION).then_some(send)
    };
    let greeted = greeted.await;
    if greeted.is_none() {
        // The reason why the connection failed may be a moment behind.
        let _ = timeout(Duration::from_millis(500), connection.closed()).await;
    }
    greeted
}

/// Answers a device that passed the gate, and stays until the connection ends.
pub(crate) async fn serve(endpoint: Endpoint, peers: Arc<Peers>, connection: Connection) {
    let greeted = timeout(PATIENCE, async {
        let (send, mut recv) = connection.accept_bi().await.ok()?;
        let mut hello = [0];
        recv.read_exact(&mut hello).await.ok()?;
        (hello[0] == VERSION).then_some((send, recv))
    });
    let Some((mut send, mut recv)) = greeted.await.ok().flatten() else {
        connection.close(close::PROTOCOL, b"no greeting");
        return;
    };
    // The first contact of a device that was stored as pending shows that it stored this one.
    match peers.confirm(connection.remote_id()).await {
        Ok(true) => {}
        Ok(false) => return connection.close(close::NOT_PAIRED, b"not paired"),
        Err(error) => {
            tracing::warn!(%error, "cannot store that a pairing is complete");
            return connection.close(close::STOPPING, b"storage");
        }
    }
    if !peers.up(endpoint.id(), &connection) {
        return connection.close(close::NOT_PAIRED, b"not paired");
    }
    let answered = send.write_all(&[VERSION]).await.is_ok() && send.finish().is_ok();
    let mut noted = [0];
    if answered && matches!(timeout(PATIENCE, recv.read_exact(&mut noted)).await, Ok(Ok(()))) {
        peers.settle(&connection);
        connection.closed().await;
    }
    connection.close(close::DONE, b"done");
    peers.down(&connection);
}
