//! Pairing as a pure state machine: (state, input) → (state, actions). No clock, no socket, no database.
//!
//! The property that all of it serves: [`Action::Store`] comes out of a side only after the other side
//! proved, over the whole transcript, that it has the code and holds the long-lived key that is stored.

use iroh::{EndpointId, SecretKey};

use super::crypto::{self, Channel, Keys, Side, Transcript};
use super::frame::{Failure, M1, M2, M3, M4, Message, VERSION};
use super::info::Info;

/// What happens to a side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// A message came.
    Message(Message),
    /// A frame came that is no message.
    Garbage,
    /// The claim succeeded: this attempt is the one that the code is for.
    Claimed,
    /// The claim failed: this device was first.
    Taken(String),
    /// The person (or auto-accept) said yes or no.
    Decision(bool),
    /// The person said nothing in time.
    NoDecision,
    /// What was to be stored is stored.
    Stored,
    /// It could not be stored.
    NotStored,
    /// The other side is gone, or silent for too long.
    Gone,
}

/// What a side does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this.
    Send(Message),
    /// Count a wrong proof, and hold the answer back as long as the throttle wants.
    Throttle,
    /// Claim the code for this device, and answer with [`Input::Claimed`] or [`Input::Taken`].
    Claim(Info),
    /// Ask the person, showing this device and the check number; answer with [`Input::Decision`] or [`Input::NoDecision`].
    Ask(Info, String),
    /// Show this device and the check number.
    Show(Info, String),
    /// Store this device durably (the initiator as pending, the joiner as paired), and answer with
    /// [`Input::Stored`] or [`Input::NotStored`].
    Store(Info),
    /// Make the stored device a paired one, durably, and answer with [`Input::Stored`] or [`Input::NotStored`].
    Confirm(EndpointId),
    /// The attempt ended.
    End(End),
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides stored each other.
    Paired(Info),
    /// This side stored the other; whether the other did too shows at the next contact.
    Half(Info),
    /// The other side did not prove anything; the code is as it was.
    Unproven,
    /// Another device was first.
    AlreadyUsed(String),
    /// The versions differ.
    Version(u8),
    /// The person on the other device, or on this one, said no.
    Rejected,
    /// The person did not answer in time.
    NoDecision,
    /// A proof after the claim was wrong.
    BadProof,
    /// It broke off.
    NotCompleted,
    /// Storing failed.
    NotStored,
}

/// What both sides need.
#[derive(Debug, Clone)]
pub(crate) struct Side0 {
    /// What the code gives.
    pub(crate) keys: Keys,
    /// What the connection proves.
    pub(crate) channel: Channel,
    /// This side's long-lived key.
    pub(crate) key: SecretKey,
    /// What this side tells.
    pub(crate) me: Info,
    /// This side's fresh nonce.
    pub(crate) nonce: [u8; 32],
    /// A fresh nonce to seal the info with.
    pub(crate) seal_nonce: [u8; 12],
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum InitiatorState {
    AwaitM1,
    Claiming(M1, Info),
    AwaitM3(M1, M2, Info),
    Deciding(Transcript, Info),
    Storing(Transcript, Info),
    AwaitM5(Transcript, Info),
    Confirming(Transcript, Info),
    Ended,
}

/// The side that made the code.
#[derive(Debug, Clone)]
pub(crate) struct Initiator {
    side: Side0,
    state: InitiatorState,
}

impl Initiator {
    pub(crate) fn new(side: Side0) -> Self {
        Self { side, state: InitiatorState::AwaitM1 }
    }

    /// Whether the attempt ended.
    pub(crate) fn ended(&self) -> bool {
        self.state == InitiatorState::Ended
    }

    pub(crate) fn step(mut self, input: Input) -> (Self, Vec<Action>) {
        use InitiatorState as S;
        let state = std::mem::replace(&mut self.state, S::Ended);
        let actions = match (state, input) {
            (S::Ended, _) => Vec::new(),
            (S::AwaitM1, Input::Message(Message::M1(m1))) if m1.version != VERSION => {
                vec![Action::Send(Message::Fail(Failure::Version(VERSION))), Action::End(End::Version(m1.version))]
            }
            (S::AwaitM1, Input::Message(Message::M1(m1))) => match self.check_m1(&m1) {
                Some(info) => {
                    self.state = S::Claiming(m1, info.clone());
                    vec![Action::Claim(info)]
                }
                None => unproven(),
            },
            (S::AwaitM1, Input::Gone) => vec![Action::End(End::Unproven)],
            (S::AwaitM1, _) => unproven(),
            (S::Claiming(m1, info), Input::Claimed) => {
                let side = &self.side;
                let sealed = side.keys.seal(Side::Initiator, &side.channel, &side.me, side.seal_nonce);
                let m2 = M2 { version: VERSION, nonce: side.nonce, info: sealed };
                self.state = S::AwaitM3(m1, m2.clone(), info);
                vec![Action::Send(Message::M2(m2))]
            }
            (S::Claiming(..), Input::Taken(by)) => {
                vec![Action::Send(Message::Fail(Failure::AlreadyUsed(by.clone()))), Action::End(End::AlreadyUsed(by))]
            }
            (S::AwaitM3(m1, m2, info), Input::Message(Message::M3(m3))) => {
                let transcript = self.transcript(&m1, &m2, &m3);
                if self.check_m3(&m1, &m3, &transcript) {
                    let check = self.side.keys.check_number(&transcript);
                    self.state = S::Deciding(transcript, info.clone());
                    vec![Action::Ask(info, check)]
                } else {
                    fail(Failure::Generic, End::BadProof)
                }
            }
            (S::Deciding(transcript, info), Input::Decision(true)) => {
                self.state = S::Storing(transcript, info.clone());
                vec![Action::Store(info)]
            }
            (S::Deciding(..), Input::Decision(false)) => fail(Failure::Rejected, End::Rejected),
            (S::Deciding(..), Input::NoDecision) => fail(Failure::NoDecision, End::NoDecision),
            (S::Storing(transcript, info), Input::Stored) => {
                let mac = transcript.mac(&self.side.keys, Side::Initiator, b"accept");
                let signature = transcript.sign(Side::Initiator, &self.side.key);
                self.state = S::AwaitM5(transcript, info);
                vec![Action::Send(Message::M4(M4 { mac, signature }))]
            }
            (S::AwaitM5(transcript, info), Input::Message(Message::M5(mac)))
                if crypto::same(&mac, &transcript.mac(&self.side.keys, Side::Joiner, b"stored")) =>
            {
                let id = info.id;
                self.state = S::Confirming(transcript, info);
                vec![Action::Confirm(id)]
            }
            // From M4 on the joiner may have stored this side, so the device stays pending until the next contact.
            (S::AwaitM5(_, info) | S::Confirming(_, info), Input::Gone | Input::NotStored) => vec![Action::End(End::Half(info))],
            (S::AwaitM5(_, info), _) => {
                vec![Action::Send(Message::Fail(Failure::Generic)), Action::End(End::Half(info))]
            }
            (S::Confirming(transcript, info), Input::Stored) => {
                let mac = transcript.mac(&self.side.keys, Side::Initiator, b"done");
                vec![Action::Send(Message::M6(mac)), Action::End(End::Paired(info))]
            }
            (S::Claiming(..) | S::AwaitM3(..) | S::Deciding(..) | S::Storing(..), Input::Gone) => {
                vec![Action::End(End::NotCompleted)]
            }
            (S::Storing(..), Input::NotStored) => fail(Failure::Generic, End::NotStored),
            (S::AwaitM3(..), _) => fail(Failure::Generic, End::BadProof),
            // A message while this side works: the joiner does not keep to the order.
            (S::Claiming(..) | S::Deciding(..) | S::Storing(..), _) => fail(Failure::Generic, End::NotCompleted),
            (S::Confirming(_, info), _) => {
                vec![Action::Send(Message::Fail(Failure::Generic)), Action::End(End::Half(info))]
            }
        };
        (self, actions)
    }

    fn check_m1(&self, m1: &M1) -> Option<Info> {
        let Side0 { keys, channel, .. } = &self.side;
        let expected = channel.m1_mac(keys, m1.version, &m1.commit, &m1.info);
        if !crypto::same(&m1.mac, &expected) {
            return None;
        }
        let info = keys.open(Side::Joiner, channel, &m1.info)?;
        (info.id == channel.joiner && info.id != self.side.me.id).then_some(info)
    }

    fn transcript(&self, m1: &M1, m2: &M2, m3: &M3) -> Transcript {
        Transcript::new(&self.side.channel, &self.side.me.id, m1, m2, &m3.nonce)
    }

    fn check_m3(&self, m1: &M1, m3: &M3, transcript: &Transcript) -> bool {
        crypto::same(&crypto::commit(&m3.nonce), &m1.commit)
            && crypto::same(&m3.mac, &transcript.mac(&self.side.keys, Side::Joiner, b"proof"))
            && transcript.verify(Side::Joiner, &self.side.channel.joiner, &m3.signature)
    }
}

/// A first message that proves nothing: counted, throttled, and answered as any other.
fn unproven() -> Vec<Action> {
    vec![Action::Throttle, Action::Send(Message::Fail(Failure::Generic)), Action::End(End::Unproven)]
}

fn fail(failure: Failure, end: End) -> Vec<Action> {
    vec![Action::Send(Message::Fail(failure)), Action::End(end)]
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum JoinerState {
    AwaitM2(M1),
    AwaitM4(Transcript, Info),
    Storing(Transcript, Info),
    AwaitM6(Transcript, Info),
    Ended,
}

/// The side that was given the code.
#[derive(Debug, Clone)]
pub(crate) struct Joiner {
    side: Side0,
    state: JoinerState,
}

impl Joiner {
    /// The joiner, and its first message.
    pub(crate) fn start(side: Side0) -> (Self, Vec<Action>) {
        let commit = crypto::commit(&side.nonce);
        let info = side.keys.seal(Side::Joiner, &side.channel, &side.me, side.seal_nonce);
        let mac = side.channel.m1_mac(&side.keys, VERSION, &commit, &info);
        let m1 = M1 { version: VERSION, commit, info, mac };
        let actions = vec![Action::Send(Message::M1(m1.clone()))];
        (Self { side, state: JoinerState::AwaitM2(m1) }, actions)
    }

    /// Whether the attempt ended.
    pub(crate) fn ended(&self) -> bool {
        self.state == JoinerState::Ended
    }

    pub(crate) fn step(mut self, input: Input) -> (Self, Vec<Action>) {
        use JoinerState as S;
        let state = std::mem::replace(&mut self.state, S::Ended);
        let end = |end| vec![Action::End(end)];
        let actions = match (state, input) {
            (S::Ended, _) => Vec::new(),
            (S::AwaitM2(_), Input::Message(Message::M2(m2))) if m2.version != VERSION => end(End::Version(m2.version)),
            (S::AwaitM2(m1), Input::Message(Message::M2(m2))) => self.answer(&m1, &m2),
            // Before M3 all failures look alike from outside: wrong, expired, or gone.
            (S::AwaitM2(_), Input::Gone | Input::Message(Message::Fail(Failure::Generic))) => end(End::Unproven),
            (S::AwaitM2(_) | S::AwaitM4(..), Input::Message(Message::Fail(failure))) => end(match failure {
                Failure::Generic => End::NotCompleted,
                Failure::AlreadyUsed(by) => End::AlreadyUsed(by),
                Failure::Rejected => End::Rejected,
                Failure::NoDecision => End::NoDecision,
                Failure::Version(theirs) => End::Version(theirs),
            }),
            (S::AwaitM4(transcript, info), Input::Message(Message::M4(m4))) => {
                let mac = transcript.mac(&self.side.keys, Side::Initiator, b"accept");
                if crypto::same(&m4.mac, &mac) && transcript.verify(Side::Initiator, &info.id, &m4.signature) {
                    self.state = S::Storing(transcript, info.clone());
                    vec![Action::Store(info)]
                } else {
                    fail(Failure::Generic, End::BadProof)
                }
            }
            (S::Storing(transcript, info), Input::Stored) => {
                let mac = transcript.mac(&self.side.keys, Side::Joiner, b"stored");
                self.state = S::AwaitM6(transcript, info);
                vec![Action::Send(Message::M5(mac))]
            }
            (S::Storing(..), Input::NotStored) => fail(Failure::Generic, End::NotStored),
            (S::AwaitM6(transcript, info), Input::Message(Message::M6(mac))) => {
                if crypto::same(&mac, &transcript.mac(&self.side.keys, Side::Initiator, b"done")) {
                    end(End::Paired(info))
                } else {
                    end(End::Half(info))
                }
            }
            // The initiator stored this side before M4, so the next contact tells whether it is paired.
            (S::AwaitM6(_, info), _) => end(End::Half(info)),
            (S::AwaitM4(..) | S::Storing(..), Input::Gone) => end(End::NotCompleted),
            (S::AwaitM2(_) | S::AwaitM4(..), _) => fail(Failure::Generic, End::BadProof),
            (S::Storing(..), _) => fail(Failure::Generic, End::NotCompleted),
        };
        (self, actions)
    }

    /// Answers M2 with the proof.
    fn answer(&mut self, m1: &M1, m2: &M2) -> Vec<Action> {
        let Side0 { keys, channel, nonce, key, me, .. } = &self.side;
        let info = keys.open(Side::Initiator, channel, &m2.info).filter(|info| info.id != me.id);
        let Some(info) = info else { return fail(Failure::Generic, End::BadProof) };
        let transcript = Transcript::new(channel, &info.id, m1, m2, nonce);
        let m3 = M3 {
            nonce: *nonce,
            mac: transcript.mac(keys, Side::Joiner, b"proof"),
            signature: transcript.sign(Side::Joiner, key),
        };
        let check = keys.check_number(&transcript);
        self.state = JoinerState::AwaitM4(transcript, info.clone());
        vec![Action::Send(Message::M3(m3)), Action::Show(info, check)]
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
