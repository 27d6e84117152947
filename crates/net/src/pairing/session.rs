//! What is known of each pairing session, ended ones too. In memory only: a restart voids every code.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iroh::EndpointId;
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::info::Info;
use super::machine::End;
use crate::clock::Moment;
use crate::{Error, Event, Result};

/// How many codes may wait for a joiner at once.
pub const MAX_CODES: usize = 4;

/// How many ended sessions are remembered.
const MAX_ENDED: usize = 32;

/// Which side of a session this instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It made the code.
    Initiator,
    /// It was given the code.
    Joiner,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairingState {
    /// The code waits for a joiner, or the joiner looks for the code's device.
    Waiting,
    /// The two sides prove themselves to each other.
    Proving,
    /// A person has to accept: here, if this is the initiator, else there.
    Deciding,
    /// Both sides stored each other.
    Paired,
    /// This side stored the other; whether the other did too shows at the next contact.
    Unconfirmed,
    /// The code's time is over.
    Expired,
    /// A person said no.
    Rejected,
    /// Nobody answered in time.
    NoDecision,
    /// It failed; the reason says why.
    Failed,
}

impl PairingState {
    /// Whether nothing more happens in the session.
    pub fn ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::Proving | Self::Deciding)
    }

    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Proving => "proving",
            Self::Deciding => "deciding",
            Self::Paired => "paired",
            Self::Unconfirmed => "unconfirmed",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::NoDecision => "no_decision",
            Self::Failed => "failed",
        }
    }
}

/// The device on the other side of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingPeer {
    /// Its public key; its first 16 digits are its fingerprint.
    pub id: EndpointId,
    /// Its name, as it told it: escape it before it reaches a terminal.
    pub name: String,
    /// Its operating system.
    pub os: String,
}

/// One session, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingStatus {
    /// Its id.
    pub id: Uuid,
    /// Which side this instance is.
    pub role: Role,
    /// How it stands.
    pub state: PairingState,
    /// Whether the first valid joiner is accepted without asking.
    pub auto_accept: bool,
    /// When it began.
    pub created_at: jiff::Timestamp,
    /// When the code ends.
    pub expires_at: Option<jiff::Timestamp>,
    /// How many came without the right proof.
    pub wrong_proofs: u64,
    /// The other device, once it is known.
    pub peer: Option<PairingPeer>,
    /// The number that both people compare.
    pub check: Option<String>,
    /// Where the code can be joined by address.
    pub addresses: Vec<SocketAddr>,
    /// Why it failed, in one line.
    pub reason: Option<String>,
}

#[derive(Debug)]
struct Entry {
    status: PairingStatus,
    rendezvous: EndpointId,
    deadline: Moment,
    /// Whether an attempt claimed the code; it stays claimed when the attempt fails.
    claimed: bool,
    decision: Option<oneshot::Sender<bool>>,
    stop: CancellationToken,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    entries: Arc<Mutex<VecDeque<Entry>>>,
    events: broadcast::Sender<Event>,
}

impl Sessions {
    pub(crate) fn new(events: broadcast::Sender<Event>) -> Self {
        Self { entries: Arc::default(), events }
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session. The token is cancelled when networking goes off.
    pub(crate) fn open(
        &self,
        role: Role,
        rendezvous: EndpointId,
        auto_accept: bool,
        lifetime: Duration,
    ) -> Result<(PairingStatus, Moment, CancellationToken)> {
        let mut entries = self.entries();
        let live = entries.iter().filter(|e| e.status.role == Role::Initiator && !e.status.state.ended()).count();
        if role == Role::Initiator && live >= MAX_CODES {
            return Err(Error::TooManyCodes { max: MAX_CODES });
        }
        while entries.len() >= MAX_ENDED + MAX_CODES {
            let Some(index) = entries.iter().position(|e| e.status.state.ended()) else { break };
            entries.remove(index);
        }
        let now = jiff::Timestamp::now();
        let status = PairingStatus {
            id: Uuid::new_v4(),
            role,
            state: PairingState::Waiting,
            auto_accept,
            created_at: now,
            expires_at: (role == Role::Initiator).then(|| now + jiff::SignedDuration::try_from(lifetime).unwrap_or_default()),
            wrong_proofs: 0,
            peer: None,
            check: None,
            addresses: Vec::new(),
            reason: None,
        };
        let deadline = Moment::now().after(lifetime);
        let stop = CancellationToken::new();
        entries.push_back(Entry {
            status: status.clone(),
            rendezvous,
            deadline,
            claimed: false,
            decision: None,
            stop: stop.clone(),
        });
        drop(entries);
        self.tell(status.id);
        Ok((status, deadline, stop))
    }

    /// Whether a live code of this instance has this rendezvous id.
    pub(crate) fn is_own(&self, rendezvous: &EndpointId) -> bool {
        self.entries().iter().any(|e| e.status.role == Role::Initiator && e.rendezvous == *rendezvous)
    }

    /// Claims the code for a device that proved that it has it. The first one wins; the others get its name.
    /// `None` when the code is not to be had any more.
    pub(crate) fn claim(&self, id: Uuid, info: &Info) -> Claim {
        let mut entries = self.entries();
        let Some(entry) = entries.iter_mut().find(|e| e.status.id == id) else { return Claim::Void };
        if entry.claimed {
            return Claim::Taken(entry.status.peer.as_ref().map(|peer| peer.name.clone()).unwrap_or_default());
        }
        if entry.status.state != PairingState::Waiting || entry.deadline.passed() {
            return Claim::Void;
        }
        entry.claimed = true;
        entry.status.state = PairingState::Proving;
        entry.status.peer = Some(peer(info));
        drop(entries);
        self.tell(id);
        Claim::Yours
    }

    /// Whether the code's time is over.
    pub(crate) fn expired(&self, id: Uuid) -> bool {
        self.entries().iter().find(|e| e.status.id == id).is_none_or(|e| e.deadline.passed())
    }

    /// The attempt waits for a person, who sees this device and this number.
    pub(crate) fn deciding(&self, id: Uuid, info: &Info, check: &str) -> oneshot::Receiver<bool> {
        let (sender, receiver) = oneshot::channel();
        self.update(id, |entry| {
            entry.status.state = PairingState::Deciding;
            entry.status.peer = Some(peer(info));
            entry.status.check = Some(check.to_owned());
            entry.decision = Some(sender);
        });
        receiver
    }

    /// Accepts or rejects the request with this id, or unique prefix of it.
    pub(crate) fn decide(&self, query: &str, accept: bool) -> Result<PairingStatus> {
        let id = self.find(query)?;
        let mut entries = self.entries();
        let not_found = || Error::SessionNotFound { query: query.to_owned() };
        let entry = entries.iter_mut().find(|e| e.status.id == id).ok_or_else(not_found)?;
        let waits = entry.status.state == PairingState::Deciding && entry.status.role == Role::Initiator;
        let sent = waits && entry.decision.take().is_some_and(|decision| decision.send(accept).is_ok());
        if !sent {
            return Err(Error::NotPending { id: id.to_string(), state: entry.status.state.as_str().to_owned() });
        }
        Ok(entry.status.clone())
    }

    fn find(&self, query: &str) -> Result<Uuid> {
        let entries = self.entries();
        let wanted = query.to_lowercase();
        let ids: Vec<Uuid> = entries.iter().map(|e| e.status.id).filter(|id| id.to_string().starts_with(&wanted)).collect();
        match ids[..] {
            [id] if wanted.len() >= 4 => Ok(id),
            [] | [_] => Err(Error::SessionNotFound { query: query.to_owned() }),
            _ => Err(Error::SessionAmbiguous { query: query.to_owned(), count: ids.len() }),
        }
    }

    /// Counts a wrong proof.
    pub(crate) fn wrong_proof(&self, id: Uuid) {
        self.update(id, |entry| entry.status.wrong_proofs += 1);
    }

    /// Where the code can be joined by address.
    pub(crate) fn addresses(&self, id: Uuid, addresses: Vec<SocketAddr>) {
        self.update(id, |entry| entry.status.addresses = addresses);
    }

    /// Notes how the attempt that holds the claim ended.
    pub(crate) fn ended(&self, id: Uuid, end: &End) {
        let (state, reason) = match end {
            End::Paired(_) => (PairingState::Paired, None),
            End::Half(_) => (PairingState::Unconfirmed, Some("the other device did not confirm yet".to_owned())),
            End::Rejected => (PairingState::Rejected, None),
            End::NoDecision => (PairingState::NoDecision, None),
            End::AlreadyUsed(by) => (PairingState::Failed, Some(Error::AlreadyUsed { by: by.clone() }.to_string())),
            End::BadProof => (PairingState::Failed, Some(Error::BadProof.to_string())),
            End::Version(theirs) => {
                let ours = super::frame::VERSION;
                (PairingState::Failed, Some(Error::Version { ours, theirs: *theirs }.to_string()))
            }
            End::NotStored => (PairingState::Failed, Some("the other device could not be stored".to_owned())),
            End::NotCompleted | End::Unproven => (PairingState::Failed, Some(Error::NotCompleted.to_string())),
        };
        self.finish(
            id,
            state,
            reason,
            match end {
                End::Paired(info) | End::Half(info) => Some(peer(info)),
                _ => None,
            },
        );
    }

    /// Ends the session with another state, unless it ended before.
    pub(crate) fn fail(&self, id: Uuid, state: PairingState, reason: Option<String>) {
        self.finish(id, state, reason, None);
    }

    /// A session that was not confirmed is now: the other device showed itself.
    pub(crate) fn confirmed(&self, device: &EndpointId) {
        let mut entries = self.entries();
        for entry in entries.iter_mut() {
            let status = &mut entry.status;
            if status.state == PairingState::Unconfirmed && status.peer.as_ref().is_some_and(|peer| peer.id == *device) {
                status.state = PairingState::Paired;
                status.reason = None;
            }
        }
    }

    fn finish(&self, id: Uuid, state: PairingState, reason: Option<String>, peer: Option<PairingPeer>) {
        self.update(id, |entry| {
            if entry.status.state.ended() {
                return;
            }
            entry.status.state = state;
            entry.status.reason = reason;
            entry.decision = None;
            if peer.is_some() {
                entry.status.peer = peer;
            }
        });
    }

    /// Ends all sessions: networking goes off.
    pub(crate) fn stop_all(&self) {
        let mut changed = Vec::new();
        for entry in self.entries().iter_mut() {
            entry.stop.cancel();
            if !entry.status.state.ended() {
                entry.status.state = PairingState::Failed;
                entry.status.reason = Some("networking was stopped".to_owned());
                entry.decision = None;
                changed.push(entry.status.id);
            }
        }
        changed.into_iter().for_each(|id| self.tell(id));
    }

    /// All sessions, newest first.
    pub(crate) fn list(&self) -> Vec<PairingStatus> {
        self.entries().iter().rev().map(|e| e.status.clone()).collect()
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<PairingStatus> {
        self.entries().iter().find(|e| e.status.id == id).map(|e| e.status.clone())
    }

    fn update(&self, id: Uuid, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries().iter_mut().find(|e| e.status.id == id) {
            change(entry);
        }
        self.tell(id);
    }

    fn tell(&self, id: Uuid) {
        let _ = self.events.send(Event::Pairing(id));
    }
}

/// What came of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// This attempt is the one.
    Yours,
    /// The device with this name was first.
    Taken(String),
    /// Expired, or voided.
    Void,
}

fn peer(info: &Info) -> PairingPeer {
    PairingPeer { id: info.id, name: info.name.clone(), os: info.os.clone() }
}
