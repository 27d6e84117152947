//! [`Network`]: what the daemon holds. It has the identity, the endpoint, the paired devices and the sessions.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use iroh::{Endpoint, EndpointId, SecretKey};
use iroh_mdns_address_lookup::MdnsAddressLookup;
use spacedrive_api::Networking;
use spacedrive_core::instance::InstanceStore;
use tokio::sync::{Mutex, broadcast, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::announce::{self, Announcer};
use crate::code::Code;
use crate::discovery::{self, Announced, SameHost};
use crate::endpoint::{self, PRESENCE};
use crate::guests::Guests;
use crate::identity::{IdentityFile, Kdf, Password};
use crate::pairing::crypto::Keys;
use crate::pairing::driver::{self, Join, Offer};
use crate::pairing::info::{Info, MAX_ADDRESSES, fit_name};
use crate::pairing::session::{PairingState, PairingStatus, Role, Sessions};
use crate::peers::{DeviceStatus, Peers};
use crate::{Error, Event, Result, background, transfer};

/// The time between two guesses of a password.
const GUESS: Duration = Duration::from_secs(1);

/// How long endpoints may take to close. They say goodbye at once; what takes longer is waiting whether it was heard.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long `join` waits for the ordinary connection.
const CONNECT: Duration = Duration::from_secs(10);

/// What does not change while the daemon runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The identity file.
    pub identity: PathBuf,
    /// The runtime dir, where the instances of this machine find each other.
    pub runtime: PathBuf,
    /// The instance's UUID.
    pub instance: Uuid,
    /// The name that other devices see.
    pub name: String,
    /// The version that other devices see.
    pub version: String,
    /// Whether to look for devices on the local network by multicast DNS.
    pub mdns: bool,
}

/// Networking as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkStatus {
    /// Off, uninitialised, locked or on.
    pub networking: Networking,
    /// The device's public key, once there is an identity.
    pub id: Option<EndpointId>,
    /// The name that other devices see.
    pub name: String,
    /// Where it can be reached.
    pub addresses: Vec<SocketAddr>,
    /// How devices are found.
    pub discovery: Vec<&'static str>,
}

/// What came of [`Network::init`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initialised {
    /// The device's public key.
    pub id: EndpointId,
    /// Whether the identity was made now; it was unlocked otherwise.
    pub created: bool,
}

/// A new pairing code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The 12 words.
    pub code: Zeroizing<String>,
    /// The session.
    pub session: PairingStatus,
}

/// What came of [`Network::pair_join`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The other device.
    pub id: EndpointId,
    /// Its name.
    pub name: String,
    /// Whether the two were paired before.
    pub already: bool,
    /// Whether the ordinary connection is up.
    pub connected: bool,
}

/// The network side of an instance. Cloning gives another handle to the same one.
#[derive(Debug, Clone)]
pub struct Network {
    settings: Arc<Settings>,
    file: IdentityFile,
    host: SameHost,
    peers: Arc<Peers>,
    sessions: Sessions,
    guests: Guests,
    /// Where the transfers of other devices go, and where they are taken from, once.
    transfers: mpsc::Sender<transfer::Stream>,
    taken: Arc<std::sync::Mutex<Option<mpsc::Receiver<transfer::Stream>>>>,
    events: broadcast::Sender<Event>,
    state: Arc<Mutex<State>>,
    guess: Arc<Mutex<Option<Instant>>>,
    /// How networking stands, for those who cannot wait for the lock of `state`.
    shown: Arc<std::sync::Mutex<Networking>>,
}

#[derive(Debug)]
struct State {
    on: bool,
    key: Option<SecretKey>,
    running: Option<Running>,
}

/// What lives while networking is on.
#[derive(Debug)]
struct Running {
    endpoint: Endpoint,
    key: SecretKey,
    mdns: Arc<std::sync::Mutex<Option<MdnsAddressLookup>>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// The codes that wait; they close their endpoints when their sessions are stopped.
    offers: JoinSet<()>,
}

impl Network {
    /// The network side of an instance, not running yet: call [`Network::start`] if it was left switched on.
    pub fn new(settings: Settings, store: Arc<InstanceStore>) -> Result<Self> {
        let (events, _) = broadcast::channel(256);
        let (transfers, taken) = mpsc::channel(8);
        let settings = Settings { name: fit_name(&settings.name), version: fit_name(&settings.version), ..settings };
        Ok(Self {
            file: IdentityFile::new(&settings.identity, settings.instance),
            host: SameHost::new(&settings.runtime),
            peers: Peers::load(store, events.clone())?,
            sessions: Sessions::new(events.clone()),
            guests: Guests::default(),
            transfers,
            taken: Arc::new(std::sync::Mutex::new(Some(taken))),
            state: Arc::new(Mutex::new(State { on: false, key: None, running: None })),
            guess: Arc::default(),
            shown: Arc::default(),
            settings: Arc::new(settings),
            events,
        })
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The transfers that paired devices begin. Only the first call gets them.
    pub fn transfers(&self) -> Option<mpsc::Receiver<transfer::Stream>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Opens a stream for a transfer to a paired device.
    pub async fn open_transfer(&self, device: EndpointId) -> Result<transfer::Stream> {
        let endpoint = {
            let state = self.state.lock().await;
            let running = state.running.as_ref().ok_or_else(|| not_on(self.networking_of(&state)))?;
            running.endpoint.clone()
        };
        if !self.peers.is_paired(&device) {
            return Err(Error::DeviceNotFound { query: device.to_string(), nearest: Vec::new() });
        }
        let addresses = self.host.find(&device).unwrap_or_else(|| self.peers.addresses(&device));
        match transfer::dial(&endpoint, device, addresses).await {
            Some(stream) => Ok(stream),
            None => {
                // A device that was started again has another port. The endpoint dials the one that it knows for as
                // long as any connection to the device lives, and one that the device itself began may live.
                self.peers.hang_up(&device);
                Err(Error::Unreachable { device })
            }
        }
    }

    /// Off, uninitialised, locked or on.
    pub fn networking(&self) -> Networking {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn networking_of(&self, state: &State) -> Networking {
        if state.running.is_some() {
            Networking::On
        } else if !state.on {
            Networking::Off
        } else if matches!(self.file.id(), Ok(None)) {
            Networking::Uninitialised
        } else {
            Networking::Locked
        }
    }

    /// Networking as it stands.
    pub async fn status(&self) -> Result<NetworkStatus> {
        let id = self.file.id()?;
        let state = self.state.lock().await;
        let (addresses, discovery) = match &state.running {
            None => (Vec::new(), Vec::new()),
            Some(running) => {
                let mdns = running.mdns.lock().is_ok_and(|mdns| mdns.is_some());
                (endpoint::addresses(&running.endpoint), if mdns { vec!["same-host", "mdns"] } else { vec!["same-host"] })
            }
        };
        let networking = self.networking_of(&state);
        Ok(NetworkStatus { networking, id, name: self.settings.name.clone(), addresses, discovery })
    }

    /// Makes the identity, sealed with the password (`None`: not sealed), or unlocks the one that there is.
    /// Making one switches networking on; unlocking leaves it as it was. `cost` is that of the password of a new one.
    pub async fn init(&self, password: Option<Password>, cost: Kdf) -> Result<Initialised> {
        let mut state = self.state.lock().await;
        let file = self.file.clone();
        let (key, created) = self
            .guarded(move || match file.unlock(password.as_ref())? {
                Some(key) => Ok((key, false)),
                None => Ok((file.create(password.as_ref(), cost)?, true)),
            })
            .await?;
        let id = key.public();
        state.key = Some(key);
        state.on |= created;
        self.run(&mut state).await?;
        Ok(Initialised { id, created })
    }

    /// Switches networking on. It runs at once if the identity is unlocked or not sealed.
    pub async fn start(&self) -> Result<Networking> {
        let mut state = self.state.lock().await;
        state.on = true;
        if state.key.is_none() && self.file.is_open()? == Some(true) {
            state.key = self.file.unlock(None)?;
        }
        self.run(&mut state).await?;
        Ok(self.networking_of(&state))
    }

    /// Switches networking off. The identity stays unlocked until the process ends.
    pub async fn stop(&self) {
        let mut state = self.state.lock().await;
        state.on = false;
        self.halt(&mut state).await;
        self.tell_state(&state);
    }

    /// Ends everything, for the end of the process. What was switched on or off is not touched.
    pub async fn close(&self) {
        let mut state = self.state.lock().await;
        self.halt(&mut state).await;
        state.key = None;
    }

    /// Seals the same identity with another password (`None`: not at all).
    pub async fn passwd(&self, old: Option<Password>, new: Option<Password>) -> Result<()> {
        let file = self.file.clone();
        self.guarded(move || file.change_password(old.as_ref(), new.as_ref())).await
    }

    /// Destroys the identity and all pairings. The sealed file stays as `.bak`, whose path is the answer.
    pub async fn reset(&self) -> Result<Option<PathBuf>> {
        let mut state = self.state.lock().await;
        self.halt(&mut state).await;
        state.key = None;
        let backup = self.file.reset()?;
        for id in self.peers.ids() {
            self.peers.revoke(id).await?;
        }
        self.tell_state(&state);
        Ok(backup)
    }

    /// The paired devices. Works while networking is off or locked.
    pub fn devices(&self) -> Vec<DeviceStatus> {
        self.peers.list()
    }

    /// Revokes the device with this name, id or unique prefix of the id. Works while networking is off or locked.
    pub async fn revoke(&self, query: &str) -> Result<DeviceStatus> {
        let device = self.find(query)?;
        self.peers.revoke(device.id).await?;
        Ok(device)
    }

    /// The paired device with this name, id or unique prefix of the id; an exact name wins over a prefix.
    pub fn find(&self, query: &str) -> Result<DeviceStatus> {
        let all = self.peers.list();
        let mut found: Vec<&DeviceStatus> = all.iter().filter(|device| device.name == query).collect();
        if found.is_empty() && query.len() >= 4 {
            let wanted = query.to_lowercase();
            found = all.iter().filter(|device| device.id.to_string().starts_with(&wanted)).collect();
        }
        match found[..] {
            [device] => Ok(device.clone()),
            [] => {
                let names: Vec<String> = all.iter().map(|device| device.name.clone()).collect();
                Err(Error::DeviceNotFound { query: query.to_owned(), nearest: spacedrive_api::nearest(query, &names) })
            }
            _ => {
                let candidates = found.iter().map(|device| device.id.to_string()).collect();
                Err(Error::DeviceAmbiguous { query: query.to_owned(), candidates })
            }
        }
    }

    /// Makes a pairing code that lives for `lifetime` (1 s to 1 h) and waits for one joiner.
    pub async fn pair_generate(&self, auto_accept: bool, lifetime: Duration) -> Result<Generated> {
        if !(1..=3600).contains(&lifetime.as_secs()) {
            return Err(Error::BadLifetime { seconds: lifetime.as_secs() });
        }
        let mut state = self.state.lock().await;
        let networking = self.networking_of(&state);
        let running = state.running.as_mut().ok_or_else(|| not_on(networking))?;
        let code = Code::generate()?;
        let keys = Keys::derive(&code);
        let (status, deadline, stop) = self.sessions.open(Role::Initiator, keys.rendezvous(), auto_accept, lifetime)?;
        let bound = self.bind_offer(&keys).await;
        let (endpoint, published, mdns) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                self.sessions.fail(status.id, PairingState::Failed, Some(error.to_string()));
                return Err(error);
            }
        };
        self.sessions.addresses(status.id, endpoint::addresses(&endpoint));
        let offer = Offer {
            session: status.id,
            deadline,
            stop,
            auto_accept,
            keys,
            key: running.key.clone(),
            me: self.info(&running.endpoint),
            sessions: self.sessions.clone(),
            peers: self.peers.clone(),
            guests: self.guests.clone(),
        };
        while running.offers.try_join_next().is_some() {}
        running.offers.spawn(async move {
            let _kept = (published, mdns);
            driver::offer(endpoint, offer).await;
        });
        let session = self.sessions.get(status.id).unwrap_or(status);
        Ok(Generated { code: code.words(), session })
    }

    async fn bind_offer(&self, keys: &Keys) -> Result<(Endpoint, discovery::Published, Option<MdnsAddressLookup>)> {
        let endpoint = endpoint::bind_code(keys.endpoint()).await?;
        let published = self.host.publish(&endpoint);
        let mdns = if self.settings.mdns { discovery::mdns(&endpoint, Announced::Code, true) } else { None };
        if let (Some(mdns), Ok(lookups)) = (&mdns, endpoint.address_lookup()) {
            lookups.add(mdns.clone());
        }
        match published {
            Ok(published) => Ok((endpoint, published, mdns)),
            Err(error) => {
                endpoint.close().await;
                Err(error)
            }
        }
    }

    /// Joins with a code. Answers when both sides have stored each other and the ordinary connection is up, or
    /// did not come up in time. The session's events tell the check number meanwhile.
    pub async fn pair_join(&self, code: &Code, address: Option<SocketAddr>) -> Result<Joined> {
        let keys = Keys::derive(code);
        let (endpoint, join) = {
            let state = self.state.lock().await;
            let running = state.running.as_ref().ok_or_else(|| not_on(self.networking_of(&state)))?;
            if self.sessions.is_own(&keys.rendezvous()) {
                return Err(Error::OwnCode);
            }
            let (status, _, stop) = self.sessions.open(Role::Joiner, keys.rendezvous(), false, Duration::from_secs(3600))?;
            let join = Join {
                session: status.id,
                stop,
                keys,
                key: running.key.clone(),
                me: self.info(&running.endpoint),
                sessions: self.sessions.clone(),
                peers: self.peers.clone(),
                address,
                mdns: self.settings.mdns,
            };
            (running.endpoint.clone(), join)
        };
        let before = self.peers.ids();
        let info = driver::join(&endpoint, &join).await?;
        let connected = self.wait_connected(info.id).await;
        if !self.peers.is_paired(&info.id) {
            // The other side does not know this one: it broke off before it had stored it.
            return Err(Error::NotCompleted);
        }
        self.sessions.confirmed(&info.id);
        Ok(Joined { id: info.id, already: before.contains(&info.id), name: info.name, connected })
    }

    /// Waits until the two see each other connected, or the device is off the list, or too much time has passed.
    async fn wait_connected(&self, id: EndpointId) -> bool {
        let waited = tokio::time::timeout(CONNECT, async {
            loop {
                let Some(wake) = self.peers.wake(&id) else { return false };
                let mut woken = std::pin::pin!(wake.notified());
                woken.as_mut().enable();
                if self.peers.is_settled(&id) {
                    return true;
                }
                if self.peers.wake(&id).is_none() {
                    return false;
                }
                woken.await;
            }
        });
        waited.await.unwrap_or(false)
    }

    /// The pairing sessions, newest first, ended ones too.
    pub fn pair_status(&self) -> Vec<PairingStatus> {
        self.sessions.list()
    }

    /// The pairing sessions that wait for a decision here.
    pub fn pair_pending(&self) -> Vec<PairingStatus> {
        let mut list = self.sessions.list();
        list.retain(|session| session.state == PairingState::Deciding && session.role == Role::Initiator);
        list
    }

    /// Accepts the request with this id or unique prefix of it.
    pub fn pair_accept(&self, query: &str) -> Result<PairingStatus> {
        self.sessions.decide(query, true)
    }

    /// Rejects the request with this id or unique prefix of it.
    pub fn pair_reject(&self, query: &str) -> Result<PairingStatus> {
        self.sessions.decide(query, false)
    }

    /// What this device tells about itself while it pairs.
    fn info(&self, endpoint: &Endpoint) -> Info {
        let mut addresses = endpoint::addresses(endpoint);
        addresses.truncate(MAX_ADDRESSES);
        Info {
            id: endpoint.id(),
            device: self.settings.instance,
            name: self.settings.name.clone(),
            os: std::env::consts::OS.to_owned(),
            version: self.settings.version.clone(),
            addresses,
        }
    }

    /// Runs work that tries a password, away from the runtime. One guess at a time, and a pause after a wrong one.
    async fn guarded<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let mut next = self.guess.lock().await;
        if let Some(at) = *next {
            tokio::time::sleep_until(at).await;
        }
        let result = tokio::task::spawn_blocking(work).await.map_err(|_| Error::System { what: "the identity task" })?;
        *next = matches!(result, Err(Error::WrongPassword)).then(|| Instant::now() + GUESS);
        result
    }

    fn tell_state(&self, state: &State) {
        let networking = self.networking_of(state);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = networking;
        let _ = self.events.send(Event::State(networking));
    }

    /// Binds the endpoint and starts what runs on it, if networking is on and unlocked and not running yet.
    async fn run(&self, state: &mut State) -> Result<()> {
        if let (true, Some(key), None) = (state.on, state.key.clone(), &state.running) {
            self.peers.forget_pending(background::PENDING).await?;
            self.host.sweep();
            let bound = endpoint::bind_device(
                key.clone(),
                vec![PRESENCE.to_vec(), transfer::ALPN.to_vec()],
                self.host.clone(),
                self.peers.clone(),
            );
            let endpoint = bound.await?;
            let stop = CancellationToken::new();
            let mdns = Arc::new(std::sync::Mutex::new(None));
            let mut tasks = JoinSet::new();
            tasks.spawn(background::accept(endpoint.clone(), self.peers.clone(), self.guests.clone(), self.transfers.clone()));
            tasks.spawn(background::keep_all(endpoint.clone(), self.host.clone(), self.peers.clone()));
            tasks.spawn(background::confirm_sessions(self.events.subscribe(), self.sessions.clone()));
            let published = match self.host.publish(&endpoint) {
                Ok(published) => published,
                Err(error) => {
                    endpoint.close().await;
                    return Err(error);
                }
            };
            tasks.spawn(announce::run(Announcer {
                endpoint: endpoint.clone(),
                host: self.host.clone(),
                peers: self.peers.clone(),
                mdns: mdns.clone(),
                use_mdns: self.settings.mdns,
                published,
            }));
            state.running = Some(Running { endpoint, key, mdns, stop, tasks, offers: JoinSet::new() });
        }
        self.tell_state(state);
        Ok(())
    }

    async fn halt(&self, state: &mut State) {
        let Some(mut running) = state.running.take() else { return };
        running.stop.cancel();
        self.sessions.stop_all();
        self.peers.all_down();
        // The codes' endpoints say goodbye to who is connected.
        let _ = tokio::time::timeout(GOODBYE, async { while running.offers.join_next().await.is_some() {} }).await;
        // Nobody may dial again while the endpoint says goodbye.
        running.tasks.shutdown().await;
        let _ = tokio::time::timeout(GOODBYE, running.endpoint.close()).await;
    }
}

fn not_on(networking: Networking) -> Error {
    match networking {
        Networking::Uninitialised => Error::Uninitialised,
        Networking::Locked => Error::Locked,
        _ => Error::Off,
    }
}
