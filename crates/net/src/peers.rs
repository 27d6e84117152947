//! The list of paired devices, kept equal to the database, and who of them is connected.
//!
//! It is the one gate: [`Gate`] asks it after every handshake, in either direction and for every protocol,
//! before any stream is read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iroh::endpoint::{AfterHandshakeOutcome, Connection, EndpointHooks, Side, WeakConnectionHandle};
use iroh::{EndpointId, TransportAddr};
use spacedrive_core::devices::{Device, DeviceState};
use spacedrive_core::instance::InstanceStore;
use tokio::sync::{Notify, broadcast};

use crate::endpoint::{self, PAIR, PRESENCE, close};
use crate::pairing::info::{Info, MAX_ADDRESSES};
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

/// How many connections one device may have.
const MAX_CONNECTIONS: usize = 64;

/// Why a connection may not go on.
enum Refusal {
    NotPaired,
    TooMany,
}

#[derive(Debug)]
struct Peer {
    device: Device,
    /// Where the local network says that it is. Anybody there can say that, so it is not kept.
    announced: Vec<SocketAddr>,
    /// All connections of all protocols, to close them when the device is revoked.
    live: Vec<WeakConnectionHandle>,
    /// The presence connections, newest last. The device is connected while there is one.
    up: Vec<Connection>,
    /// Those of them (by their stable ids) that are known to be up on the other side too.
    settled: Vec<usize>,
    /// Wakes those who wait for a change of this peer.
    wake: Arc<Notify>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peers {
    store: Arc<InstanceStore>,
    map: Mutex<HashMap<EndpointId, Peer>>,
    /// Held while database and list change, so that they change in the same order.
    changing: Mutex<()>,
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
        Ok(Arc::new(Self { store, map: Mutex::new(map), changing: Mutex::new(()), changed: Notify::new(), events }))
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

    /// Whether the device is connected and sees this one connected as well.
    pub(crate) fn is_settled(&self, id: &EndpointId) -> bool {
        let alive = |peer: &Peer, c: &Connection| c.close_reason().is_none() && peer.settled.contains(&c.stable_id());
        self.map().get(id).is_some_and(|peer| peer.up.iter().any(|c| alive(peer, c)))
    }

    /// The other side told that this connection is up there.
    pub(crate) fn settle(&self, connection: &Connection) {
        if let Some(peer) = self.map().get_mut(&connection.remote_id()) {
            peer.settled.retain(|&id| peer.up.iter().any(|c| c.stable_id() == id));
            peer.settled.push(connection.stable_id());
            peer.wake.notify_waiters();
        }
    }

    /// Where the device was reached last.
    pub(crate) fn addresses(&self, id: &EndpointId) -> Vec<SocketAddr> {
        let map = self.map();
        let Some(peer) = map.get(id) else { return Vec::new() };
        let mut all = peer.announced.clone();
        all.extend(peer.device.addresses.iter().filter_map(|address| address.parse::<SocketAddr>().ok()));
        all
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

    /// The local network says that the device is at these addresses: wakes who waits to dial it.
    pub(crate) fn announced(&self, id: &EndpointId, addresses: impl Iterator<Item = SocketAddr>) {
        if let Some(peer) = self.map().get_mut(id) {
            peer.announced = addresses.take(MAX_ADDRESSES).collect();
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
        let id = info.id;
        self.change(move |peers| {
            peers.store.store_device(&device)?;
            let Some(device) = peers.store.device(&device.endpoint)? else {
                return Err(Error::System { what: "storing the device" });
            };
            let paired = device.state == DeviceState::Paired;
            match peers.map().entry(id) {
                Entry::Occupied(mut entry) => entry.get_mut().device = device,
                Entry::Vacant(entry) => drop(entry.insert(Peer::new(device))),
            }
            if paired {
                peers.now_paired(id);
            }
            Ok(())
        })
        .await
    }

    /// Makes a pending device a paired one, durably. Answers whether it is paired now.
    pub(crate) async fn confirm(self: &Arc<Self>, id: EndpointId) -> Result<bool> {
        if self.is_paired(&id) {
            return Ok(true);
        }
        self.change(move |peers| {
            let known = peers.store.confirm_device(id.as_bytes())?;
            if known {
                if let Some(peer) = peers.map().get_mut(&id) {
                    peer.device.state = DeviceState::Paired;
                }
                peers.now_paired(id);
            }
            Ok(known)
        })
        .await
    }

    /// Revokes a device: a durable tombstone first, then its connections are closed.
    pub(crate) async fn revoke(self: &Arc<Self>, id: EndpointId) -> Result<bool> {
        self.change(move |peers| {
            let known = peers.store.revoke_device(id.as_bytes(), jiff::Timestamp::now())?;
            peers.remove(&id);
            Ok(known)
        })
        .await
    }

    /// Forgets a device that said that it is not paired with this one.
    pub(crate) async fn forget(self: &Arc<Self>, id: EndpointId) -> Result<()> {
        self.change(move |peers| {
            peers.store.forget_device(id.as_bytes())?;
            peers.remove(&id);
            Ok(())
        })
        .await
    }

    /// Forgets pending devices that never came back, stored more than `age` ago.
    pub(crate) async fn forget_pending(self: &Arc<Self>, age: Duration) -> Result<()> {
        let before = jiff::Timestamp::now() - jiff::SignedDuration::try_from(age).unwrap_or_default();
        let stale = |peer: &Peer| peer.device.state == DeviceState::Pending && peer.device.paired_at < before;
        if !self.map().values().any(stale) {
            return Ok(());
        }
        self.change(move |peers| {
            peers.store.forget_pending_devices(before)?;
            peers.map().retain(|_, peer| peer.device.state == DeviceState::Paired || peer.device.paired_at >= before);
            Ok(())
        })
        .await
    }

    fn now_paired(&self, id: EndpointId) {
        self.changed.notify_one();
        self.tell(Event::DevicePaired(id));
    }

    /// Closes all connections to the device, which are then made anew.
    pub(crate) fn hang_up(&self, id: &EndpointId) {
        if let Some(peer) = self.map().get_mut(id) {
            for connection in peer.live.iter().filter_map(WeakConnectionHandle::upgrade) {
                connection.close(close::DOUBLE, b"again");
            }
        }
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
            self.note_seen(connection);
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
            self.note_seen(connection);
            self.tell(Event::DeviceOffline(id));
        }
        if let Some(wake) = self.wake(&id) {
            wake.notify_waiters();
        }
    }

    /// Writes down that the device is, or just was, connected, and at which addresses.
    fn note_seen(self: &Arc<Self>, connection: &Connection) {
        let id = connection.remote_id();
        let now = jiff::Timestamp::now();
        let mut used = Vec::new();
        for path in connection.paths().iter() {
            if let TransportAddr::Ip(address) = path.remote_addr()
                && !address.ip().is_loopback()
            {
                used.push(address.to_string());
            }
        }
        let addresses = {
            let mut map = self.map();
            let Some(peer) = map.get_mut(&id) else { return };
            peer.device.last_seen = Some(now);
            for address in used {
                peer.device.addresses.retain(|known| *known != address);
                peer.device.addresses.insert(0, address);
            }
            peer.device.addresses.truncate(MAX_ADDRESSES);
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
            self.note_seen(&connection);
            connection.close(close::STOPPING, b"stopping");
            self.tell(Event::DeviceOffline(id));
        }
    }

    /// Whether this connection may go on; if so, notes it. One lock covers the check and the note.
    fn admit(&self, connection: &Connection) -> Result<(), Refusal> {
        let mut map = self.map();
        let peer = map.get_mut(&connection.remote_id()).ok_or(Refusal::NotPaired)?;
        // A pending device may do one thing: show itself, which makes it a paired one.
        if peer.device.state == DeviceState::Pending && connection.alpn() != PRESENCE {
            return Err(Refusal::NotPaired);
        }
        peer.live.retain(|weak| weak.upgrade().is_some_and(|c| c.close_reason().is_none()));
        if peer.live.len() >= MAX_CONNECTIONS {
            return Err(Refusal::TooMany);
        }
        peer.live.push(connection.weak_handle());
        Ok(())
    }

    /// Changes the database and then the list, away from the runtime. Once begun it is done to its end, even if
    /// nobody waits for it any more.
    async fn change<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce(&Self) -> Result<T> + Send + 'static) -> Result<T> {
        let peers = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _order = peers.changing.lock().unwrap_or_else(PoisonError::into_inner);
            work(&peers)
        });
        done.await.map_err(|_| Error::System { what: "writing to the database" })?
    }
}

impl Peer {
    fn new(device: Device) -> Self {
        Self {
            device,
            announced: Vec::new(),
            live: Vec::new(),
            up: Vec::new(),
            settled: Vec::new(),
            wake: Arc::new(Notify::new()),
        }
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
        if joining {
            return AfterHandshakeOutcome::Accept;
        }
        let (error_code, reason) = match self.0.admit(connection) {
            Ok(()) => return AfterHandshakeOutcome::Accept,
            Err(Refusal::NotPaired) => (close::NOT_PAIRED, b"not paired".to_vec()),
            Err(Refusal::TooMany) => (close::PROTOCOL, b"too many connections".to_vec()),
        };
        tracing::debug!(peer = %endpoint::short(&connection.remote_id()), "refused a connection");
        AfterHandshakeOutcome::Reject { error_code, reason }
    }
}
