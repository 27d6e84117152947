//! The drops that are under way, in both directions. What is decided is stored before anybody hears of it, so
//! that a drop survives a restart, a kill and a vanished network: the sender dials again, and the transfer goes
//! on from what has arrived.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spacedrive_api::{ApiError, DropState, DropTrust, ErrorKind, Result, WirePath};
use spacedrive_core::devices::EndpointBytes;
use spacedrive_core::drops::{DropKey, DropRecord};
use spacedrive_core::instance::InstanceStore;
use spacedrive_net::transfer::{About, Incoming, Limits, Offer, Outgoing, Progress, Source, Stream, TransferError, Why, discard};
use spacedrive_net::{EndpointId, Event as NetEvent, Network};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::{from_core, from_transfer};

/// How many transfers are taken at once.
const AT_ONCE: usize = 16;
/// How many offers of one device may wait for a person.
const ASKED: u64 = 100;
/// The pauses between attempts to reach the receiver; a connection of that device cuts them short.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// See the module.
#[derive(Debug)]
pub(crate) struct Drops {
    store: Arc<InstanceStore>,
    network: Network,
    inbox: PathBuf,
    scratch: PathBuf,
    live: Mutex<HashMap<DropKey, Live>>,
    changed: watch::Sender<u64>,
    stopping: CancellationToken,
    seats: Semaphore,
}

/// A drop that is being worked on.
#[derive(Debug)]
struct Live {
    progress: Arc<Progress>,
    /// What it does now: waits, was asked about, or runs.
    state: DropState,
    stop: CancellationToken,
}

/// What to do with an offer.
enum Verdict {
    Take(Box<DropRecord>),
    Already,
    Refuse(Why),
}

impl Drops {
    /// The drops of an instance whose inbox is `inbox`; `scratch` is a folder for unnamed temporary files.
    pub(crate) fn new(
        store: Arc<InstanceStore>,
        network: Network,
        inbox: PathBuf,
        scratch: PathBuf,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let (changed, _) = watch::channel(0);
        let seats = Semaphore::new(AT_ONCE);
        Arc::new(Self { store, network, inbox, scratch, live: Mutex::default(), changed, stopping, seats })
    }

    /// Goes on with what is not over, and takes what other devices offer, until the daemon stops.
    pub(crate) async fn run(self: Arc<Self>) {
        let Some(mut streams) = self.network.transfers() else { return };
        match self.all().await {
            Ok(records) => {
                for record in records.into_iter().filter(|record| record.key.outgoing && !record.state.is_over()) {
                    tokio::spawn(self.clone().deliver(record));
                }
            }
            Err(error) => tracing::error!(%error, "the drops cannot be read"),
        }
        loop {
            tokio::select! {
                stream = next(&mut streams) => {
                    let Some(stream) = stream else { return };
                    let drops = self.clone();
                    tokio::spawn(async move {
                        let connection = stream.connection.clone();
                        let Ok(_seat) = drops.seats.try_acquire() else { return };
                        tokio::select! {
                            () = drops.clone().receive(stream) => {}
                            () = drops.stopping.cancelled() => {}
                        }
                        drop(connection);
                    });
                }
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// All drops, newest first.
    pub(crate) async fn all(&self) -> Result<Vec<DropRecord>> {
        self.blocking(InstanceStore::drops).await
    }

    /// One drop that is known to exist.
    pub(crate) async fn get(&self, key: DropKey) -> Result<DropRecord> {
        let record = self.blocking(move |store| store.drop_record(&key)).await?;
        record.ok_or_else(|| ApiError::not_found(format!("no drop `{}`", key.id)))
    }

    /// Resolves when something about a drop changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What it does now; files and bytes that are done; bytes that crossed the network.
    pub(crate) fn progress(&self, record: &DropRecord) -> (DropState, u64, u64, u64) {
        match self.live().get(&record.key) {
            Some(live) if live.state == DropState::Running && !record.state.is_over() => {
                let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
                (DropState::Running, load(&live.progress.files), load(&live.progress.bytes), load(&live.progress.moved))
            }
            Some(live) if live.state == DropState::Asked && !record.state.is_over() => (DropState::Asked, 0, 0, record.moved),
            _ if record.state == DropState::Completed => {
                (record.state, record.files - record.errors.min(record.files), record.bytes, record.moved)
            }
            _ => (record.state, 0, 0, record.moved),
        }
    }

    pub(crate) async fn trust(&self, device: EndpointBytes) -> Result<DropTrust> {
        self.blocking(move |store| store.drop_trust(&device)).await
    }

    pub(crate) async fn set_trust(&self, device: EndpointBytes, trust: DropTrust) -> Result<()> {
        self.blocking(move |store| store.set_drop_trust(&device, trust)).await
    }

    /// Forgets what a revoked device was allowed.
    pub(crate) async fn forget(&self, device: EndpointBytes) -> Result<()> {
        self.blocking(move |store| store.forget_drops_of(&device)).await?;
        self.tell();
        Ok(())
    }

    /// Stores a new outgoing drop and begins with it.
    pub(crate) async fn add(self: &Arc<Self>, record: DropRecord) -> Result<()> {
        self.put(record.clone()).await?;
        tokio::spawn(self.clone().deliver(record));
        Ok(())
    }

    /// Takes a drop that a person was asked about.
    pub(crate) async fn accept(&self, mut record: DropRecord, into: Option<PathBuf>) -> Result<DropRecord> {
        if record.state == DropState::Asked {
            record.state = DropState::Waiting;
            record.into = Some(into.unwrap_or_else(|| self.inbox.clone()));
            self.put(record.clone()).await?;
        }
        Ok(record)
    }

    /// Ends a drop that is not over.
    pub(crate) async fn stop(&self, mut record: DropRecord, state: DropState) -> Result<DropRecord> {
        record.state = state;
        self.put(record.clone()).await?;
        if let Some(live) = self.live().get(&record.key) {
            live.stop.cancel();
        }
        if let (false, Some(into)) = (record.key.outgoing, record.into.clone()) {
            self.discard(record.key, into).await;
        }
        Ok(record)
    }

    /// Removes what has arrived of a drop that will not go on.
    async fn discard(&self, key: DropKey, into: PathBuf) {
        let removed = tokio::task::spawn_blocking(move || discard(&key.device, &into, key.id.as_bytes())).await;
        // The thread that still writes holds it: it is removed when that one ends.
        if let Ok(Err(error)) = removed
            && !matches!(error, TransferError::Busy)
        {
            tracing::warn!(%error, "what arrived of a drop that ended cannot be removed");
        }
    }

    // ---- out ----

    /// Offers and sends until it is over.
    async fn deliver(self: Arc<Self>, mut record: DropRecord) {
        let key = record.key;
        let stop = CancellationToken::new();
        let Ok(device) = EndpointId::from_bytes(&key.device) else { return };
        let mut events = self.network.events();
        let mut failures = 0;
        loop {
            let progress = Arc::new(Progress::default());
            self.live().insert(key, Live { progress: progress.clone(), state: DropState::Waiting, stop: stop.clone() });
            let tried = tokio::select! {
                tried = self.offer(device, &mut record, progress, &stop) => tried,
                () = stop.cancelled() => break,
                () = self.stopping.cancelled() => break,
            };
            match tried {
                Ok(()) => record.state = DropState::Completed,
                Err(TransferError::Refused { why: Why::Declined }) => record.state = DropState::Declined,
                Err(TransferError::Refused { why: Why::Cancelled }) => record.state = DropState::Cancelled,
                Err(error) if error.is_passing() && self.is_paired(device) => {
                    self.now(key, DropState::Waiting);
                    let pause = PAUSES[failures.min(PAUSES.len() - 1)];
                    failures += 1;
                    let woken =
                        async { while !matches!(events.recv().await, Ok(NetEvent::DeviceConnected(id)) if id == device) {} };
                    tokio::select! {
                        _ = tokio::time::timeout(pause, woken) => continue,
                        () = stop.cancelled() => break,
                        () = self.stopping.cancelled() => break,
                    }
                }
                Err(error) => fail(&mut record, error),
            }
            // Whoever cancelled it meanwhile has stored that.
            if !stop.is_cancelled()
                && let Err(error) = self.put(record).await
            {
                tracing::error!(%error, "how a drop ended cannot be stored");
            }
            break;
        }
        self.live().remove(&key);
        self.tell();
    }

    async fn offer(
        self: &Arc<Self>,
        device: EndpointId,
        record: &mut DropRecord,
        progress: Arc<Progress>,
        stop: &CancellationToken,
    ) -> Result<(), TransferError> {
        let Ok(stream) = self.network.open_transfer(device).await else { return Err(TransferError::Lost) };
        let paths: Vec<PathBuf> = record.paths.iter().map(|path| path.0.clone()).collect();
        let about = About { id: *record.key.id.as_bytes(), sender: record.sender.clone(), message: record.message.clone() };
        let scratch = self.scratch.clone();
        let scanned = tokio::task::spawn_blocking(move || Outgoing::scan(Source::paths(&paths)?, about, &scratch)).await;
        let outgoing = scanned.unwrap_or(Err(TransferError::Lost))?;
        let Offer { files, bytes, .. } = *outgoing.offer();
        (record.files, record.bytes) = (files, bytes);
        let Stream { send, recv, connection, .. } = stream;
        let cancelled = {
            let (connection, stop) = (connection.clone(), stop.clone());
            tokio::spawn(async move {
                stop.cancelled().await;
                Stream::cancel(&connection);
            })
        };
        let key = record.key;
        let (drops, same) = (self.clone(), self.clone());
        let asked = move || drops.now(key, DropState::Asked);
        let accepted = move || same.now(key, DropState::Running);
        let sent = outgoing.send(send, recv, progress, asked, accepted).await;
        cancelled.abort();
        Stream::close(&connection);
        let sent = sent?;
        record.moved = sent.moved;
        record.errors = sent.skipped.count;
        record.problem = sent.skipped.items.first().map(|(path, why)| format!("{}: {why}", path.display()));
        Ok(())
    }

    fn is_paired(&self, device: EndpointId) -> bool {
        self.network.devices().iter().any(|known| known.id == device)
    }

    // ---- in ----

    async fn receive(self: Arc<Self>, stream: Stream) {
        let Stream { device, send, recv, connection } = stream;
        let limits = Limits::default();
        let mut incoming = match Incoming::read(send, recv, limits).await {
            Ok(incoming) => incoming,
            Err(error) => return tracing::info!(%device, %error, "refused an offer"),
        };
        let key = DropKey { outgoing: false, device: *device.as_bytes(), id: Uuid::from_bytes(incoming.offer().id) };
        let stop = CancellationToken::new();
        let progress = Arc::new(Progress::default());
        {
            use std::collections::hash_map::Entry;
            let entry = match self.live().entry(key) {
                Entry::Occupied(_) => false,
                Entry::Vacant(vacant) => {
                    vacant.insert(Live { progress: progress.clone(), state: DropState::Waiting, stop: stop.clone() });
                    true
                }
            };
            if !entry {
                return incoming.reject(Why::Busy).await;
            }
        }
        let _end = OnEnd(|| {
            self.live().remove(&key);
            self.tell();
        });
        let offer = incoming.offer().clone();
        let record = match self.admit(key, offer).await {
            Ok(Verdict::Take(record)) => *record,
            Ok(Verdict::Already) => return drop(incoming.already_here().await),
            Ok(Verdict::Refuse(why)) => return incoming.reject(why).await,
            Err(error) => {
                tracing::error!(%error, "an offer cannot be stored");
                return incoming.reject(Why::Failed).await;
            }
        };
        self.tell();
        let mut changes = self.changes();
        let mut record = record;
        if record.state == DropState::Asked {
            tracing::info!(%device, id = %key.id, "a device offers files");
            if incoming.waiting().await.is_err() {
                return;
            }
        }
        while record.state == DropState::Asked {
            tokio::select! {
                _ = changes.changed() => {}
                () = incoming.withdrawn() => {
                    return self.withdrawn(&connection, record).await;
                }
            }
            record = match self.get(key).await {
                Ok(record) => record,
                Err(_) => return incoming.reject(Why::Declined).await,
            };
        }
        if record.state.is_over() {
            return incoming.reject(Why::Declined).await;
        }
        let into = record.into.clone().unwrap_or_else(|| self.inbox.clone());
        if into == self.inbox
            && let Err(error) = spacedrive_core::files::make_dir(&into)
        {
            tracing::error!(%error, "the inbox cannot be made");
            return incoming.reject(Why::Failed).await;
        }
        self.now(key, DropState::Running);
        let received = tokio::select! {
            received = incoming.receive(&key.device, &into, progress) => received,
            // What ended it has been stored.
            () = stop.cancelled() => return,
        };
        match received {
            Ok(received) => {
                let report = received.report();
                record.state = DropState::Completed;
                record.moved = report.moved;
                record.errors = report.missing;
                if !report.names.is_empty() {
                    record.names = report.names.iter().map(|name| WirePath::from(std::path::Path::new(name))).collect();
                }
                record.into = Some(into);
                // Only what is stored may be confirmed: otherwise the sender tries again, and finds it there.
                match self.put(record).await {
                    Ok(()) => drop(received.confirm().await),
                    Err(error) => tracing::error!(%error, "how a drop ended cannot be stored"),
                }
            }
            Err(error) if error.is_passing() => self.withdrawn(&connection, record).await,
            Err(TransferError::Refused { why: Why::Cancelled }) => drop(self.stop(record, DropState::Cancelled).await),
            Err(error) => {
                tracing::warn!(%device, id = %key.id, %error, "a drop failed");
                fail(&mut record, error);
                if let Err(error) = self.put(record).await {
                    tracing::error!(%error, "how a drop ended cannot be stored");
                }
                self.discard(key, into).await;
            }
        }
    }

    /// The connection ended before the drop did: that is its end if the sender meant it.
    async fn withdrawn(&self, connection: &spacedrive_net::transfer::Connection, record: DropRecord) {
        // The reason comes with the end of the connection, not with that of the stream.
        let _ = tokio::time::timeout(Duration::from_secs(1), connection.closed()).await;
        if Stream::was_cancelled(connection) {
            drop(self.stop(record, DropState::Cancelled).await);
        }
    }

    /// What becomes of an offer, stored.
    async fn admit(&self, key: DropKey, offer: Offer) -> Result<Verdict> {
        let inbox = self.inbox.clone();
        self.blocking(move |store| {
            let trust = store.drop_trust(&key.device)?;
            let names: Vec<WirePath> = offer.tops.iter().map(|top| WirePath::from_bytes(top.name.clone())).collect();
            let mut record = match store.drop_record(&key)? {
                Some(record) if record.state == DropState::Completed => return Ok(Verdict::Already),
                Some(record) if record.state.is_over() => return Ok(Verdict::Refuse(Why::Declined)),
                Some(record) => {
                    // What was accepted is what was shown: something else is asked about again.
                    let same = record.files == offer.files && record.bytes == offer.bytes && record.names == names;
                    let state = if same { record.state } else { DropState::Asked };
                    DropRecord { state, files: offer.files, bytes: offer.bytes, names, ..record }
                }
                None if trust == DropTrust::Refuse => return Ok(Verdict::Refuse(Why::Declined)),
                None if trust == DropTrust::Ask && store.drops_asked(&key.device)? >= ASKED => {
                    return Ok(Verdict::Refuse(Why::TooMuch));
                }
                None => DropRecord {
                    key,
                    state: DropState::Asked,
                    sender: offer.sender.clone(),
                    message: offer.message.clone(),
                    paths: Vec::new(),
                    names,
                    into: None,
                    files: offer.files,
                    bytes: offer.bytes,
                    moved: 0,
                    errors: 0,
                    problem: None,
                    kind: None,
                    created_at: jiff::Timestamp::now(),
                },
            };
            if trust == DropTrust::Accept && record.state == DropState::Asked {
                record.state = DropState::Waiting;
                record.into.get_or_insert(inbox);
            }
            store.store_drop(&record)?;
            Ok(Verdict::Take(Box::new(record)))
        })
        .await
    }

    // ---- both ----

    async fn put(&self, record: DropRecord) -> Result<()> {
        self.blocking(move |store| store.store_drop(&record)).await?;
        self.tell();
        Ok(())
    }

    fn now(&self, key: DropKey, state: DropState) {
        if let Some(live) = self.live().get_mut(&key) {
            live.state = state;
        }
        self.tell();
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<DropKey, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&InstanceStore) -> spacedrive_core::Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result.map_err(from_core),
            Err(_) => Err(ApiError::failed("the daemon failed while it worked on this; its log says more")),
        }
    }
}

async fn next(streams: &mut mpsc::Receiver<Stream>) -> Option<Stream> {
    streams.recv().await
}

/// Notes why a drop cannot be done.
fn fail(record: &mut DropRecord, error: TransferError) {
    let ApiError { kind, message, .. } = from_transfer(error);
    record.state = DropState::Failed;
    record.problem = Some(message);
    record.kind = Some(if kind == ErrorKind::Unknown { ErrorKind::Failed } else { kind });
}

/// Runs when it is dropped, however the function ends.
struct OnEnd<F: Fn()>(F);

impl<F: Fn()> Drop for OnEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
