//! The list of paired devices, kept equal to the database, and who of them is connected.
//!
//! It is the one gate: [`Gate`] asks it after every handshake, in either direction and for every protocol,
//! before any stream is read.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iroh::EndpointId;
use iroh::endpoint::{AfterHandshakeOutcome, Connection, EndpointHooks, Side, VarInt, WeakConnectionHandle};
use spacedrive_core::devices::{Device, DeviceState};
use spacedrive_core::instance::InstanceStore;
use tokio::sync::{Notify, broadcast};

use crate::endpoint::{self, PAIR, PRESENCE, close};
use crate::pairing::info::Info;
use crate::{Error, Event, Result};

/// How long two connections to the same device may live beside each other, so that both sides have seen both.
const DOUBLE: Duration = Duration::from_secs(5);

/// A paired device as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Its public key.
    pub id: EndpointId,
    /// Its name, as it told it: escape it before it reaches a terminal.
    pub name: String,
    /// Its operating system.
    pub os: String,
    /// The version of its software when it was paired.
    pub version: String,
    /// Whether it is connected.
    pub connected: bool,
    /// When it was paired.
    pub paired_at: jiff::Timestamp,
    /// When it was connected last; now, if it is connected.
    pub last_seen: Option<jiff::Timestamp>,
}

#[derive(Debug)]
struct Peer {
    device: Device,
    /// All connections of all protocols, to close them when the device is revoked.
    live: Vec<WeakConnectionHandle>,
    /// The presence connections, newest last. The device is connected while there is one.
    up: Vec<Connection>,
    /// Wakes those who wait for a change of this peer.
    wake: Arc<Notify>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peers {
    store: Arc<InstanceStore>,
    map: Mutex<HashMap<EndpointId, Peer>>,
    /// Told when a device was added or removed.
    pub(crate) changed: Notify,
    events: broadcast::Sender<Event>,
}

impl Peers {
    pub(crate) fn load(store: Arc<InstanceStore>, events: broadcast::Sender<Event>) -> Result<Arc<Self>> {
        let mut map = HashMap::new();
        for device in store.devices()? {
            match EndpointId::from_bytes(&device.endpoint) {
                Ok(id) => drop(map.insert(id, Peer::new(device))),
                Err(_) => tracing::warn!(name = %device.name.escape_debug(), "a stored device has no valid key: left out"),
            }
        }
        Ok(Arc::new(Self { store, map: Mutex::new(map), changed: Notify::new(), events }))
    }

    fn map(&self) -> MutexGuard<'_, HashMap<EndpointId, Peer>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: Event) {
        // Nobody listening is no failure.
        let _ = self.events.send(event);
    }

    /// The paired devices, by name.
    pub(crate) fn list(&self) -> Vec<DeviceStatus> {
        let mut list: Vec<DeviceStatus> = self
            .map()
            .iter()
            .filter(|(_, peer)| peer.device.state == DeviceState::Paired)
            .map(|(id, peer)| {
                let connected = peer.connected();
                DeviceStatus {
                    id: *id,
                    name: peer.device.name.clone(),
                    os: peer.device.os.clone(),
                    version: peer.device.version.clone(),
                    connected,
                    paired_at: peer.device.paired_at,
                    last_seen: if connected { Some(jiff::Timestamp::now()) } else { peer.device.last_seen },
                }
            })
            .collect();
        list.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
        list
    }

    /// The ids of the paired devices.
    pub(crate) fn ids(&self) -> Vec<EndpointId> {
        self.map().iter().filter(|(_, peer)| peer.device.state == DeviceState::Paired).map(|(id, _)| *id).collect()
    }

    pub(crate) fn is_paired(&self, id: &EndpointId) -> bool {
        self.map().get(id).is_some_and(|peer| peer.device.state == DeviceState::Paired)
    }

    pub(crate) fn is_connected(&self, id: &EndpointId) -> bool {
        self.map().get(id).is_some_and(Peer::connected)
    }

    /// Where the device was reached last.
    pub(crate) fn addresses(&self, id: &EndpointId) -> Vec<SocketAddr> {
        let map = self.map();
        map.get(id).map(|peer| peer.device.addresses.iter().filter_map(|a| a.parse().ok()).collect()).unwrap_or_default()
    }

    /// What wakes when something about the device changes, or `None` when it is not paired.
    pub(crate) fn wake(&self, id: &EndpointId) -> Option<Arc<Notify>> {
        self.map().get(id).map(|peer| peer.wake.clone())
    }

    /// Wakes all who wait to dial: an address changed.
    pub(crate) fn wake_all(&self) {
        for peer in self.map().values() {
            peer.wake.notify_waiters();
        }
    }

    /// A device was seen at these addresses: remembers them until it ends, and wakes who waits to dial it.
    pub(crate) fn seen_at(&self, id: &EndpointId, addresses: impl Iterator<Item = SocketAddr>) {
        if let Some(peer) = self.map().get_mut(id) {
            for address in addresses.map(|a| a.to_string()) {
                if !peer.device.addresses.contains(&address) {
                    peer.device.addresses.insert(0, address);
                }
            }
            peer.device.addresses.truncate(crate::pairing::info::MAX_ADDRESSES);
            peer.wake.notify_waiters();
        }
    }

    /// Stores a device that proved itself, durably, before anything else may rely on it.
    pub(crate) async fn store(self: &Arc<Self>, info: &Info, state: DeviceState) -> Result<()> {
        let device = Device {
            endpoint: *info.id.as_bytes(),
            device: info.device,
            name: info.name.clone(),
            os: info.os.clone(),
            version: info.version.clone(),
            addresses: info.addresses.iter().map(SocketAddr::to_string).collect(),
            state,
            paired_at: jiff::Timestamp::now(),
            last_seen: None,
        };
        let stored = self
            .blocking(move |store| {
                store.store_device(&device)?;
                store.device(&device.endpoint)
            })
            .await?;
        let Some(device) = stored else { return Err(Error::System { what: "storing the device" }) };
        let paired = device.state == DeviceState::Paired;
        {
            let mut map = self.map();
            match map.get_mut(&info.id) {
                Some(peer) => peer.device = device,
                None => drop(map.insert(info.id, Peer::new(device))),
            }
        }
        if paired {
            self.changed.notify_one();
            self.tell(Event::DevicePaired(info.id));
        }
        Ok(())
    }

    /// Makes a pending device a paired one, durably. Answers whether it is paired now.
    pub(crate) async fn confirm(self: &Arc<Self>, id: EndpointId) -> Result<bool> {
        if self.is_paired(&id) {
            return Ok(true);
        }
        let known = self.blocking(move |store| store.confirm_device(id.as_bytes())).await?;
        if known {
            if let Some(peer) = self.map().get_mut(&id) {
                peer.device.state = DeviceState::Paired;
            }
            self.changed.notify_one();
            self.tell(Event::DevicePaired(id));
        }
        Ok(known)
    }

    /// Revokes a device: a durable tombstone first, then its connections are closed.
    pub(crate) async fn revoke(self: &Arc<Self>, id: EndpointId) -> Result<bool> {
        let known = self.blocking(move |store| store.revoke_device(id.as_bytes(), jiff::Timestamp::now())).await?;
        self.remove(&id);
        Ok(known)
    }

    /// Forgets a device that said that it is not paired with this one.
    pub(crate) async fn forget(self: &Arc<Self>, id: EndpointId) -> Result<()> {
        self.blocking(move |store| store.forget_device(id.as_bytes())).await?;
        self.remove(&id);
        Ok(())
    }

    /// Forgets pending devices that never came back, stored more than `age` ago.
    pub(crate) async fn forget_pending(self: &Arc<Self>, age: Duration) -> Result<()> {
        let before = jiff::Timestamp::now() - jiff::SignedDuration::try_from(age).unwrap_or_default();
        self.blocking(move |store| store.forget_pending_devices(before)).await?;
        self.map().retain(|_, peer| peer.device.state == DeviceState::Paired || peer.device.paired_at >= before);
        Ok(())
    }

    fn remove(&self, id: &EndpointId) {
        // Whoever is let in before this line is in the list that is closed here.
        let Some(peer) = self.map().remove(id) else { return };
        for connection in peer.live.iter().filter_map(WeakConnectionHandle::upgrade) {
            connection.close(close::NOT_PAIRED, b"not paired");
        }
        peer.wake.notify_waiters();
        self.changed.notify_one();
        self.tell(Event::DeviceRemoved(*id));
    }

    /// Notes a presence connection: the device is connected while it lasts.
    pub(crate) fn up(self: &Arc<Self>, me: EndpointId, connection: &Connection) -> bool {
        let id = connection.remote_id();
        let (first, double) = {
            let mut map = self.map();
            let Some(peer) = map.get_mut(&id) else { return false };
            peer.up.retain(|c| c.close_reason().is_none());
            peer.up.push(connection.clone());
            (peer.up.len() == 1, peer.up.len() > 1)
        };
        if first {
            self.tell(Event::DeviceConnected(id));
            self.note_seen(id);
        }
        // Both dialled at once: one side, the same on both, closes the older connection.
        if double && me < id {
            let peers = Arc::downgrade(self);
            tokio::spawn(async move {
                tokio::time::sleep(DOUBLE).await;
                if let Some(peers) = peers.upgrade() {
                    peers.close_older(&id);
                }
            });
        }
        if let Some(wake) = self.wake(&id) {
            wake.notify_waiters();
        }
        true
    }

    fn close_older(&self, id: &EndpointId) {
        if let Some(peer) = self.map().get_mut(id) {
            peer.up.retain(|c| c.close_reason().is_none());
            if let Some((_, older)) = peer.up.split_last() {
                older.iter().for_each(|c| c.close(close::DOUBLE, b"double"));
            }
        }
    }

    /// Notes that a presence connection ended.
    pub(crate) fn down(self: &Arc<Self>, connection: &Connection) {
        let id = connection.remote_id();
        let offline = {
            let mut map = self.map();
            let Some(peer) = map.get_mut(&id) else { return };
            let before = peer.up.len();
            peer.up.retain(|c| c.stable_id() != connection.stable_id() && c.close_reason().is_none());
            before > 0 && peer.up.is_empty()
        };
        if offline {
            self.note_seen(id);
            self.tell(Event::DeviceOffline(id));
        }
        if let Some(wake) = self.wake(&id) {
            wake.notify_waiters();
        }
    }

    /// Writes down that the device is, or just was, connected, and where.
    fn note_seen(self: &Arc<Self>, id: EndpointId) {
        let now = jiff::Timestamp::now();
        let addresses = {
            let mut map = self.map();
            let Some(peer) = map.get_mut(&id) else { return };
            peer.device.last_seen = Some(now);
            peer.device.addresses.clone()
        };
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || {
            let written = store.device_seen(id.as_bytes(), now).and_then(|()| store.device_addresses(id.as_bytes(), &addresses));
            if let Err(error) = written {
                tracing::warn!(%error, "cannot write when a device was seen last");
            }
        });
    }

    /// Closes all connections: networking goes off.
    pub(crate) fn all_down(self: &Arc<Self>) {
        let up: Vec<Connection> = self.map().values_mut().flat_map(|peer| std::mem::take(&mut peer.up)).collect();
        for connection in up {
            let id = connection.remote_id();
            connection.close(close::STOPPING, b"stopping");
            self.note_seen(id);
            self.tell(Event::DeviceOffline(id));
        }
    }

    /// Whether this connection may go on; if so, notes it. One lock covers the check and the note.
    fn admit(&self, connection: &Connection) -> bool {
        let mut map = self.map();
        let Some(peer) = map.get_mut(&connection.remote_id()) else { return false };
        // A pending device may do one thing: show itself, which makes it a paired one.
        if peer.device.state == DeviceState::Pending && connection.alpn() != PRESENCE {
            return false;
        }
        peer.live.retain(|weak| weak.upgrade().is_some_and(|c| c.close_reason().is_none()));
        peer.live.push(connection.weak_handle());
        true
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&InstanceStore) -> spacedrive_core::Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        Ok(done.map_err(|_| Error::System { what: "writing to the database" })??)
    }
}

impl Peer {
    fn new(device: Device) -> Self {
        Self { device, live: Vec::new(), up: Vec::new(), wake: Arc::new(Notify::new()) }
    }

    fn connected(&self) -> bool {
        self.up.iter().any(|c| c.close_reason().is_none())
    }
}

/// The hook of the long-lived endpoint that asks the list.
#[derive(Debug)]
pub(crate) struct Gate(pub(crate) Arc<Peers>);

impl EndpointHooks for Gate {
    async fn after_handshake<'a>(&'a self, connection: &'a Connection) -> AfterHandshakeOutcome {
        // A joiner dials the temporary endpoint of a code, which is on no list.
        let joining = connection.side() == Side::Client && connection.alpn() == PAIR;
        if joining || self.0.admit(connection) {
            AfterHandshakeOutcome::Accept
        } else {
            tracing::debug!(peer = %endpoint::short(&connection.remote_id()), "refused a device that is not paired");
            AfterHandshakeOutcome::Reject { error_code: VarInt::from_u32(close::NOT_PAIRED_CODE), reason: b"not paired".to_vec() }
        }
    }
}
