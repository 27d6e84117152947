//! What runs while networking is on: taking connections, keeping in touch, completing sessions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use iroh::{Endpoint, EndpointId};
use tokio::sync::{broadcast, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use crate::discovery::SameHost;
use crate::guests::Guests;
use crate::pairing::session::Sessions;
use crate::peers::Peers;
use crate::{Event, presence, transfer};

/// How long a device that was stored as pending may take to show itself.
pub(crate) const PENDING: Duration = Duration::from_secs(600);

/// How often to look for such that did not.
const LOOK: Duration = Duration::from_secs(60);

/// Takes connections of paired devices.
pub(crate) async fn accept(endpoint: Endpoint, peers: Arc<Peers>, guests: Guests, transfers: mpsc::Sender<transfer::Stream>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                if guests.crowded() && !incoming.remote_addr_validated() {
                    let _ = incoming.retry();
                    continue;
                }
                let source = match incoming.remote_addr() {
                    iroh::endpoint::IncomingAddr::Ip(address) => Some(address.ip()),
                    _ => None,
                };
                let seat = guests.enter(source);
                let (endpoint, peers, transfers) = (endpoint.clone(), peers.clone(), transfers.clone());
                tasks.spawn(async move {
                    // The gate has refused who is not paired by the time this answers.
                    let handshake = tokio::time::timeout(Duration::from_secs(10), incoming);
                    let connection = tokio::select! {
                        connection = handshake => connection,
                        () = seat.evicted() => return,
                    };
                    drop(seat);
                    match connection {
                        Ok(Ok(connection)) if connection.alpn() == transfer::ALPN => transfer::serve(connection, transfers).await,
                        Ok(Ok(connection)) => presence::serve(endpoint, peers, connection).await,
                        _ => {}
                    }
                });
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
}

/// Keeps one task for each paired device.
pub(crate) async fn keep_all(endpoint: Endpoint, host: SameHost, peers: Arc<Peers>) {
    let mut tasks = JoinSet::new();
    let mut kept: HashMap<EndpointId, AbortHandle> = HashMap::new();
    loop {
        kept.retain(|_, task| !task.is_finished());
        for id in peers.ids() {
            kept.entry(id).or_insert_with(|| tasks.spawn(presence::keep(endpoint.clone(), host.clone(), peers.clone(), id)));
        }
        tokio::select! {
            () = peers.changed.notified() => {}
            () = tokio::time::sleep(LOOK) => {
                if let Err(error) = peers.forget_pending(PENDING).await {
                    tracing::warn!(%error, "cannot forget devices that never completed their pairing");
                }
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
}

/// A code's session that waited for the joiner's confirmation is complete when the joiner shows itself.
pub(crate) async fn confirm_sessions(mut events: broadcast::Receiver<Event>, sessions: Sessions) {
    loop {
        match events.recv().await {
            Ok(Event::DevicePaired(id) | Event::DeviceConnected(id)) => sessions.confirmed(&id),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
