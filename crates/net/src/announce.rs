//! Keeps the announcements of the device equal to its addresses, and dials devices that announce themselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::{Endpoint, Watcher};
use iroh_mdns_address_lookup::{DiscoveryEvent, MdnsAddressLookup};
use n0_future::StreamExt;

use crate::discovery::{self, Announced, SameHost};
use crate::peers::Peers;

/// What is announced, and where.
pub(crate) struct Announcer {
    pub(crate) endpoint: Endpoint,
    pub(crate) host: SameHost,
    pub(crate) peers: Arc<Peers>,
    /// The multicast DNS of the moment, for the status too.
    pub(crate) mdns: Arc<std::sync::Mutex<Option<MdnsAddressLookup>>>,
    pub(crate) use_mdns: bool,
    pub(crate) published: discovery::Published,
}

/// Runs until the endpoint is closed.
pub(crate) async fn run(mut announcer: Announcer) {
    let mut addresses = announcer.endpoint.watch_addr();
    let mut last = None;
    loop {
        let now: Vec<SocketAddr> = addresses.get().ip_addrs().copied().collect();
        if last.as_ref() != Some(&now) {
            if let Err(error) = announcer.published.refresh(&announcer.endpoint) {
                tracing::warn!(%error, "the other instances of this machine cannot find this one");
            }
            announcer.restart_mdns();
            announcer.peers.wake_all();
            last = Some(now);
        }
        let mdns = announcer.mdns.lock().ok().and_then(|mdns| mdns.clone());
        let discovered = async {
            match mdns {
                None => std::future::pending().await,
                Some(mdns) => {
                    let mut events = mdns.subscribe().await;
                    while let Some(event) = events.next().await {
                        if let DiscoveryEvent::Discovered { endpoint_info, .. } = event
                            && announcer.peers.is_paired(&endpoint_info.endpoint_id)
                        {
                            announcer.peers.announced(&endpoint_info.endpoint_id, endpoint_info.ip_addrs().copied());
                        }
                    }
                }
            }
        };
        tokio::select! {
            changed = addresses.updated() => if changed.is_err() { return },
            () = discovered => tokio::time::sleep(Duration::from_secs(1)).await,
        }
        // Interfaces come and go in bursts.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Announcer {
    /// Multicast groups are joined on the interfaces that there are, so a change of them needs a new start.
    fn restart_mdns(&self) {
        if !self.use_mdns {
            return;
        }
        let Ok(lookups) = self.endpoint.address_lookup() else { return };
        lookups.clear();
        lookups.add(self.host.clone());
        let mdns = discovery::mdns(&self.endpoint, Announced::Device, true);
        if let Some(mdns) = &mdns {
            lookups.add(mdns.clone());
        }
        if let Ok(mut slot) = self.mdns.lock() {
            *slot = mdns;
        }
    }
}
