//! Ties the state machine to connections, the database and the people.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::address_lookup::AddressLookup;
use iroh::endpoint::{Connection, Incoming, IncomingAddr, RecvStream, SendStream};
use iroh::{Endpoint, EndpointAddr, SecretKey};
use n0_future::StreamExt;
use spacedrive_core::devices::DeviceState;
use spacedrive_core::failpoint;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::crypto::{Channel, EXPORTER, Keys};
use super::frame::{MAX_BODY, Message};
use super::info::Info;
use super::machine::{Action, End, Initiator, Input, Joiner, Side0};
use super::session::{Claim, PairingState, Sessions};
use super::throttle::Throttle;
use crate::clock::{Moment, wait_until};
use crate::discovery::{self, Announced};
use crate::endpoint::{PAIR, close, pair_options};
use crate::guests::{Guests, Seat};
use crate::peers::Peers;
use crate::{Error, Result};

/// How long the other side may take for one message.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a person may take to accept.
pub(crate) const DECISION: Duration = Duration::from_secs(60);

/// How long a joiner looks for the device that offers the code.
const SEARCH: Duration = Duration::from_secs(5);

/// How long a used code still answers that it was used.
const LINGER: Duration = Duration::from_secs(30);

/// What an offered code needs while it waits.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) session: Uuid,
    pub(crate) deadline: Moment,
    pub(crate) stop: CancellationToken,
    pub(crate) auto_accept: bool,
    pub(crate) keys: Keys,
    /// The long-lived key and what this device tells.
    pub(crate) key: SecretKey,
    pub(crate) me: Info,
    pub(crate) sessions: Sessions,
    pub(crate) peers: Arc<Peers>,
    pub(crate) guests: Guests,
}

/// Serves a code on its temporary endpoint until it is used or its time is over.
pub(crate) async fn offer(endpoint: Endpoint, offer: Offer) {
    let offer = Arc::new(offer);
    let throttle = Arc::new(Throttle::default());
    let mut attempts = JoinSet::new();
    let mut linger: Option<Instant> = None;
    loop {
        let over = async {
            match linger {
                Some(at) => tokio::time::sleep_until(at).await,
                None => wait_until(offer.deadline).await,
            }
        };
        tokio::select! {
            () = offer.stop.cancelled() => break,
            () = over => {
                let waiting = offer.sessions.get(offer.session).is_some_and(|s| s.state == PairingState::Waiting);
                if waiting {
                    offer.sessions.fail(offer.session, PairingState::Expired, None);
                }
                // An attempt that claimed the code in time goes on; nobody else gets in.
                if linger.is_some() || waiting || attempts.is_empty() {
                    break;
                }
                linger = Some(Instant::now() + LINGER + DECISION);
            }
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                if offer.guests.crowded() && !incoming.remote_addr_validated() {
                    let _ = incoming.retry();
                    continue;
                }
                let source = match incoming.remote_addr() {
                    IncomingAddr::Ip(address) => Some(address.ip()),
                    _ => None,
                };
                let seat = offer.guests.enter(source);
                attempts.spawn(attempt(incoming, seat, offer.clone(), throttle.clone()));
            }
            Some(claimed) = attempts.join_next(), if !attempts.is_empty() => {
                if matches!(claimed, Ok(true)) {
                    linger = Some(Instant::now() + LINGER);
                }
            }
        }
    }
    attempts.abort_all();
    endpoint.close().await;
}

/// One joiner. Answers whether he had claimed the code.
async fn attempt(incoming: Incoming, seat: Seat, offer: Arc<Offer>, throttle: Arc<Throttle>) -> bool {
    let connecting = async {
        let connection = timeout(PATIENCE, incoming).await.ok()?.ok()?;
        let wire = timeout(PATIENCE, connection.accept_bi()).await.ok()?.ok()?;
        Some((connection, wire))
    };
    let connected = tokio::select! {
        connected = connecting => connected,
        () = seat.evicted() => None,
    };
    let Some((connection, (send, recv))) = connected else { return false };
    let mut wire = Wire { connection, send, recv };
    let Some(side) = wire.side(&offer.keys, &offer.key, &offer.me, wire.connection.remote_id()) else { return false };
    let mut run = Attempt { machine: Some(Initiator::new(side)), offer, throttle, seat: Some(seat), claimed: false };
    let end = run.drive(&mut wire).await;
    if run.claimed {
        run.offer.sessions.ended(run.offer.session, &end);
    }
    wire.finish(&end).await;
    run.claimed
}

struct Attempt {
    machine: Option<Initiator>,
    offer: Arc<Offer>,
    throttle: Arc<Throttle>,
    seat: Option<Seat>,
    claimed: bool,
}

impl Attempt {
    /// Runs the machine to its end.
    async fn drive(&mut self, wire: &mut Wire) -> End {
        let mut input = wire.next(self.seat.as_ref()).await;
        loop {
            // M3, too, must come in time.
            if self.claimed && matches!(input, Input::Message(Message::M3(_))) && self.offer.sessions.expired(self.offer.session)
            {
                input = Input::Gone;
            }
            let Some(machine) = self.machine.take() else { return End::NotCompleted };
            let (machine, actions) = machine.step(input);
            let ended = machine.ended();
            self.machine = Some(machine);
            let mut next = None;
            for action in actions {
                match action {
                    Action::Send(message) => wire.send(&message).await,
                    Action::Throttle => {
                        self.offer.sessions.wrong_proof(self.offer.session);
                        if !self.throttle.turn().await {
                            return End::Unproven;
                        }
                    }
                    Action::Claim(info) => next = Some(self.claim(&info)),
                    Action::Ask(info, check) => next = Some(self.ask(wire, &info, &check).await),
                    Action::Store(info) => next = Some(stored(self.offer.peers.store(&info, DeviceState::Pending).await)),
                    Action::Confirm(id) => next = Some(stored(self.offer.peers.confirm(id).await.map(drop))),
                    Action::Show(..) => {}
                    Action::End(end) => return end,
                }
            }
            input = match next {
                Some(input) => input,
                None if ended => return End::NotCompleted,
                None => wire.next(self.seat.as_ref()).await,
            };
        }
    }

    fn claim(&mut self, info: &Info) -> Input {
        // He has proved that he has the code: no stranger any more.
        self.seat = None;
        match self.offer.sessions.claim(self.offer.session, info) {
            Claim::Yours => {
                self.claimed = true;
                Input::Claimed
            }
            Claim::Taken(by) => Input::Taken(by),
            Claim::Void => Input::Gone,
        }
    }

    async fn ask(&self, wire: &Wire, info: &Info, check: &str) -> Input {
        if self.offer.auto_accept {
            return Input::Decision(true);
        }
        let decision = self.offer.sessions.deciding(self.offer.session, info, check);
        tokio::select! {
            decided = decision => decided.map_or(Input::NoDecision, Input::Decision),
            () = tokio::time::sleep(DECISION) => Input::NoDecision,
            () = self.offer.stop.cancelled() => Input::NoDecision,
            _ = wire.connection.closed() => Input::Gone,
        }
    }
}

fn stored(result: Result<()>) -> Input {
    match result {
        Ok(()) => Input::Stored,
        Err(error) => {
            tracing::error!(%error, "cannot store a paired device");
            Input::NotStored
        }
    }
}

/// What a joiner needs.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) session: Uuid,
    pub(crate) stop: CancellationToken,
    pub(crate) keys: Keys,
    pub(crate) key: SecretKey,
    pub(crate) me: Info,
    pub(crate) sessions: Sessions,
    pub(crate) peers: Arc<Peers>,
    /// Where the code is offered, if a person said it.
    pub(crate) address: Option<SocketAddr>,
    /// Whether to look on the local network.
    pub(crate) mdns: bool,
}

/// Joins with a code. Answers the device that was stored.
pub(crate) async fn join(endpoint: &Endpoint, join: &Join) -> Result<Info> {
    let run = async {
        let connection = search(endpoint, join).await?;
        let (send, recv) = connection.open_bi().await.map_err(|_| Error::NoAnswer)?;
        let mut wire = Wire { connection, send, recv };
        let side = wire.side(&join.keys, &join.key, &join.me, join.key.public()).ok_or(Error::NoAnswer)?;
        let end = talk(side, &mut wire, join).await;
        wire.finish(&end).await;
        if matches!(end, End::Paired(_) | End::Half(_)) {
            join.sessions.ended(join.session, &end);
        }
        match end {
            End::Paired(info) | End::Half(info) => Ok(info),
            End::Unproven => Err(Error::NoAnswer),
            End::AlreadyUsed(by) => Err(Error::AlreadyUsed { by }),
            End::Version(theirs) => Err(Error::Version { ours: super::frame::VERSION, theirs }),
            End::Rejected => Err(Error::Rejected),
            End::NoDecision => Err(Error::NoDecision),
            End::BadProof => Err(Error::BadProof),
            End::NotCompleted => Err(Error::NotCompleted),
            End::NotStored => Err(Error::System { what: "storing the other device" }),
        }
    };
    let result = tokio::select! {
        result = run => result,
        () = join.stop.cancelled() => Err(Error::Off),
    };
    if let Err(error) = &result {
        let state = match error {
            Error::Rejected => PairingState::Rejected,
            Error::NoDecision => PairingState::NoDecision,
            _ => PairingState::Failed,
        };
        join.sessions.fail(join.session, state, Some(error.to_string()));
    }
    result
}

/// Looks for the device that offers the code: where it was said to be, on this machine, and on the local network.
async fn search(endpoint: &Endpoint, join: &Join) -> Result<Connection> {
    let rendezvous = EndpointAddr::new(join.keys.rendezvous());
    let here = dial(endpoint, join.address.iter().fold(rendezvous.clone(), |all, &one| all.with_ip_addr(one)));
    let around = async {
        // A discovery of its own: the device's is slow, for it runs all the time.
        let Some(mdns) = join.mdns.then(|| discovery::mdns(endpoint, Announced::Code, false)).flatten() else {
            return std::future::pending().await;
        };
        let Some(mut found) = mdns.resolve(rendezvous.id) else { return std::future::pending().await };
        while let Some(item) = found.next().await {
            if let Ok(item) = item {
                return dial(endpoint, item.into_endpoint_addr()).await;
            }
        }
        std::future::pending().await
    };
    let search = async {
        tokio::select! {
            connection = here => connection,
            connection = around => connection,
        }
    };
    timeout(SEARCH, search).await.map_err(|_| Error::NoAnswer)
}

/// Dials until it works.
async fn dial(endpoint: &Endpoint, address: EndpointAddr) -> Connection {
    loop {
        if let Ok(connecting) = endpoint.connect_with_opts(address.clone(), PAIR, pair_options()).await
            && let Ok(connection) = connecting.await
        {
            return connection;
        }
        // Not there, or refused because of a crowd.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Runs the joiner's machine to its end.
async fn talk(side: Side0, wire: &mut Wire, join: &Join) -> End {
    let (mut machine, mut actions) = Joiner::start(side);
    loop {
        let mut next = None;
        for action in std::mem::take(&mut actions) {
            match action {
                Action::Send(message) => wire.send(&message).await,
                Action::Show(info, check) => drop(join.sessions.deciding(join.session, &info, &check)),
                Action::Store(info) => next = Some(stored(join.peers.store(&info, DeviceState::Paired).await)),
                Action::End(end) => return end,
                Action::Throttle | Action::Claim(_) | Action::Ask(..) | Action::Confirm(_) => {}
            }
        }
        let input = match next {
            Some(input) => input,
            None if machine.ended() => return End::NotCompleted,
            None => wire.next_within(DECISION + PATIENCE).await,
        };
        (machine, actions) = machine.step(input);
    }
}

/// The failpoint after a message was sent.
fn sent(message: &Message) -> &'static str {
    match message {
        Message::M1(_) => "pair.m1.sent",
        Message::M2(_) => "pair.m2.sent",
        Message::M3(_) => "pair.m3.sent",
        Message::M4(_) => "pair.m4.sent",
        Message::M5(_) => "pair.m5.sent",
        Message::M6(_) => "pair.m6.sent",
        Message::Fail(_) => "pair.fail.sent",
    }
}

/// One connection that speaks pairing on one stream.
struct Wire {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
}

impl Wire {
    /// What the machine of this side starts with. `None` when the connection or the system gives no key material.
    fn side(&self, keys: &Keys, key: &SecretKey, me: &Info, joiner: iroh::EndpointId) -> Option<Side0> {
        let mut ekm = [0; 32];
        self.connection.export_keying_material(&mut ekm, EXPORTER, b"").ok()?;
        let channel = Channel { ekm, rendezvous: keys.rendezvous(), joiner };
        let (mut nonce, mut seal_nonce) = ([0; 32], [0; 12]);
        crate::random(&mut nonce).ok()?;
        crate::random(&mut seal_nonce).ok()?;
        Some(Side0 { keys: keys.clone(), channel, key: key.clone(), me: me.clone(), nonce, seal_nonce })
    }

    /// Sends a message. That it cannot be sent shows at the next read.
    async fn send(&mut self, message: &Message) {
        let body = message.encode();
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
        let frame = [length.as_slice(), &body].concat();
        let _ = timeout(PATIENCE, self.send.write_all(&frame)).await;
        // A test ends the process here; what else it can do is end the connection.
        if failpoint::hit(sent(message)).is_err() {
            self.connection.close(close::PROTOCOL, b"failpoint");
        }
    }

    /// The next message, unless the seat is taken away first.
    async fn next(&mut self, seat: Option<&Seat>) -> Input {
        match seat {
            None => self.next_within(PATIENCE).await,
            Some(seat) => tokio::select! {
                input = self.next_within(PATIENCE) => input,
                () = seat.evicted() => Input::Gone,
            },
        }
    }

    async fn next_within(&mut self, patience: Duration) -> Input {
        let read = async {
            let mut length = [0; 2];
            self.recv.read_exact(&mut length).await.ok()?;
            let length = usize::from(u16::from_be_bytes(length));
            if length > MAX_BODY {
                return Some(Input::Garbage);
            }
            let mut body = vec![0; length];
            self.recv.read_exact(&mut body).await.ok()?;
            Some(Message::decode(&body).map_or(Input::Garbage, Input::Message))
        };
        timeout(patience, read).await.ok().flatten().unwrap_or(Input::Gone)
    }

    /// Lets the last message arrive, then closes.
    async fn finish(mut self, _end: &End) {
        let _ = self.send.finish();
        let _ = timeout(Duration::from_secs(2), self.send.stopped()).await;
        self.connection.close(close::DONE, b"done");
    }
}
