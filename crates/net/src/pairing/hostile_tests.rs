//! A hostile peer against real devices: real endpoints, real connections, messages that nobody honest sends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iroh::endpoint::{Connection, RecvStream, SendStream};
use iroh::{Endpoint, EndpointAddr, SecretKey};
use spacedrive_core::instance::InstanceStore;
use uuid::Uuid;

use super::crypto::{self, Channel, Keys};
use super::driver::{self, Offer};
use super::frame::{Failure, M1, M3, Message, VERSION};
use super::info::Info;
use super::machine::{Action, Input, Joiner, Side0};
use super::session::{PairingState, Role, Sessions};
use crate::code::Code;
use crate::discovery::SameHost;
use crate::endpoint::{self, PAIR, PRESENCE};
use crate::guests::Guests;
use crate::peers::Peers;
use crate::support::{Device, Host, PATIENCE, no_answer, within};
use crate::{EndpointId, Error};

/// Somebody on the same machine with an endpoint of his own and no scruples.
struct Mallory {
    endpoint: Endpoint,
    key: SecretKey,
}

/// One stream on which Mallory can say anything.
struct Talk {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
}

impl Mallory {
    async fn new() -> Self {
        let key = SecretKey::generate();
        let endpoint = endpoint::bind_code(key.clone()).await.unwrap();
        Self { endpoint, key }
    }

    fn me(&self) -> Info {
        Info {
            id: self.key.public(),
            device: Uuid::new_v4(),
            name: "mallory".to_owned(),
            os: "linux".to_owned(),
            version: "1".to_owned(),
            addresses: Vec::new(),
        }
    }

    async fn dial(&self, id: EndpointId, addresses: &[SocketAddr], alpn: &[u8]) -> Option<Connection> {
        let address = addresses.iter().fold(EndpointAddr::new(id), |all, one| all.with_ip_addr(*one));
        tokio::time::timeout(PATIENCE, self.endpoint.connect(address, alpn)).await.unwrap().ok()
    }

    /// Dials a code's endpoint, whose id he read from the records.
    async fn talk(&self, rendezvous: EndpointId, addresses: &[SocketAddr]) -> Talk {
        let connection = self.dial(rendezvous, addresses, PAIR).await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        Talk { connection, send, recv }
    }
}

impl Talk {
    async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.send.write_all(bytes).await;
    }

    async fn say(&mut self, message: &Message) {
        let body = message.encode();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        self.raw(&[length.as_slice(), &body].concat()).await;
    }

    /// The next message, or `None` when the other side hung up.
    async fn hear(&mut self) -> Option<Message> {
        let read = async {
            let mut length = [0; 2];
            self.recv.read_exact(&mut length).await.ok()?;
            let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
            self.recv.read_exact(&mut body).await.ok()?;
            Message::decode(&body)
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the other side neither answers nor hangs up")
    }

    fn channel(&self, keys: &Keys, joiner: EndpointId) -> Channel {
        let mut ekm = [0; 32];
        self.connection.export_keying_material(&mut ekm, crypto::EXPORTER, b"").unwrap();
        Channel { ekm, rendezvous: keys.rendezvous(), joiner }
    }

    fn side(&self, keys: &Keys, mallory: &Mallory) -> Side0 {
        Side0 {
            keys: keys.clone(),
            channel: self.channel(keys, mallory.key.public()),
            key: mallory.key.clone(),
            me: mallory.me(),
            nonce: [7; 32],
            seal_nonce: [8; 12],
        }
    }
}

fn first(actions: &[Action]) -> Message {
    actions.iter().find_map(|a| if let Action::Send(m) = a { Some(m.clone()) } else { None }).unwrap()
}

/// A code of this device, what it gives, and where it is offered.
async fn offered(host: &Host, device: &Device) -> (Code, Keys, Vec<SocketAddr>) {
    let code = device.offer().await;
    let keys = Keys::derive(&code);
    let addresses = SameHost::new(&host.runtime()).find(&keys.rendezvous()).unwrap();
    (code, keys, addresses)
}

fn wrong_proofs(device: &Device) -> u64 {
    device.network.pair_status()[0].wrong_proofs
}

/// The code still works for who has it.
async fn still_works(alice: &Device, bob: &Device, code: &Code) {
    let joined = within("the honest join", bob.network.pair_join(code, None)).await.unwrap();
    assert!(joined.connected);
    assert_eq!(alice.names(), ["bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_only_the_rendezvous_gets_nowhere() {
    let host = Host::new();
    let (alice, bob) = (host.device("alice").await, host.device("bob").await);
    let (code, keys, addresses) = offered(&host, &alice).await;
    let mallory = Mallory::new().await;
    let guessed = Keys::derive(&Code::from_entropy([1; 16]));
    let no_proof = M1 { version: VERSION, commit: [1; 32], info: vec![2; 100], mac: [0; 32] };
    let mut talk = mallory.talk(keys.rendezvous(), &addresses).await;
    let mut side = talk.side(&guessed, &mallory);
    side.channel.rendezvous = keys.rendezvous();
    let (_, actions) = Joiner::start(side);
    let mut expected = 0;
    for message in [Message::M1(no_proof), first(&actions), Message::M5([0; 32]), Message::M6([0; 32])] {
        talk.say(&message).await;
        assert_eq!(talk.hear().await, Some(Message::Fail(Failure::Generic)), "all failures look alike");
        expected += 1;
        assert_eq!(wrong_proofs(&alice), expected);
        talk = mallory.talk(keys.rendezvous(), &addresses).await;
    }
    assert!(alice.names().is_empty());
    still_works(&alice, &bob, &code).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_is_refused_and_hurts_nobody() {
    let host = Host::new();
    let (alice, bob) = (host.device("alice").await, host.device("bob").await);
    let (code, keys, addresses) = offered(&host, &alice).await;
    let mallory = Mallory::new().await;
    let rubbish: [&[u8]; 6] =
        [&[0, 0], &[0, 1, 9], &[0xff, 0xff, 1], &[0x10, 0x01], &[0, 5, 1, 1, 0, 0, 0], b"GET / HTTP/1.1\r\n\r\n"];
    for bytes in rubbish {
        let mut talk = mallory.talk(keys.rendezvous(), &addresses).await;
        talk.raw(bytes).await;
        talk.send.finish().unwrap();
        let heard = talk.hear().await;
        assert!(matches!(heard, None | Some(Message::Fail(Failure::Generic))), "{bytes:?}: {heard:?}");
    }
    // A message that is cut off in the middle.
    let mut talk = mallory.talk(keys.rendezvous(), &addresses).await;
    let (_, actions) = Joiner::start(talk.side(&keys, &mallory));
    let body = first(&actions).encode();
    talk.raw(&[0, 200]).await;
    talk.raw(&body[..100]).await;
    talk.send.finish().unwrap();
    talk.hear().await;
    assert!(alice.names().is_empty());
    still_works(&alice, &bob, &code).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_messages_are_worth_nothing_on_another_connection() {
    let host = Host::new();
    let alice = host.device("alice").await;
    let (_, keys, addresses) = offered(&host, &alice).await;
    let mallory = Mallory::new().await;
    // Even with the code: what was made for one connection is refused on another.
    let recorded_on = mallory.talk(keys.rendezvous(), &addresses).await;
    let (_, actions) = Joiner::start(recorded_on.side(&keys, &mallory));
    let mut talk = mallory.talk(keys.rendezvous(), &addresses).await;
    talk.say(&first(&actions)).await;
    assert_eq!(talk.hear().await, Some(Message::Fail(Failure::Generic)));
    // On its own connection it would have been good.
    let mut talk = recorded_on;
    talk.say(&first(&actions)).await;
    assert!(matches!(talk.hear().await, Some(Message::M2(_))));
    // What comes next is not what must come: the code is burned.
    talk.say(&first(&actions)).await;
    assert_eq!(talk.hear().await, Some(Message::Fail(Failure::Generic)));
    alice.until("burned", |n| n.pair_status()[0].state == PairingState::Failed).await;
    assert!(alice.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn reflected_and_edited_proofs_burn_the_code() {
    let host = Host::new();
    let (alice, bob) = (host.device("alice").await, host.device("bob").await);
    let mallory = Mallory::new().await;
    for edit in 0..4 {
        let (code, keys, addresses) = offered(&host, &alice).await;
        let mut talk = mallory.talk(keys.rendezvous(), &addresses).await;
        let (joiner, actions) = Joiner::start(talk.side(&keys, &mallory));
        talk.say(&first(&actions)).await;
        let m2 = talk.hear().await.unwrap();
        let (_, actions) = joiner.step(Input::Message(m2.clone()));
        let Message::M3(m3) = first(&actions) else { panic!("no M3") };
        let answer = match edit {
            0 => m2,
            1 => Message::M3(M3 { nonce: [9; 32], ..m3 }),
            2 => Message::M3(M3 { mac: [9; 32], ..m3 }),
            _ => Message::M3(M3 { signature: [9; 64], ..m3 }),
        };
        talk.say(&answer).await;
        assert_eq!(talk.hear().await, Some(Message::Fail(Failure::Generic)));
        alice.until("burned", |n| n.pair_status()[0].state == PairingState::Failed).await;
        let used = bob.network.pair_join(&code, None).await;
        assert!(matches!(&used, Err(Error::AlreadyUsed { by }) if by == "mallory"), "{used:?}");
    }
    assert!(alice.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_record_leads_to_nobody() {
    let (here, there) = (Host::new(), Host::new());
    let (alice, bob) = (here.device("alice").await, there.device("bob").await);
    let (code, keys, _) = offered(&here, &alice).await;
    // Mallory claims to be the rendezvous, but does not have the code, and so not the key.
    let mallory = Mallory::new().await;
    let published = SameHost::new(&there.runtime()).publish(&mallory.endpoint).unwrap();
    let from = there.runtime().join(format!("spacedrive-net-{}.json", mallory.key.public()));
    let text = std::fs::read_to_string(&from).unwrap().replace(&mallory.key.public().to_string(), &keys.rendezvous().to_string());
    std::fs::write(there.runtime().join(format!("spacedrive-net-{}.json", keys.rendezvous())), text).unwrap();
    assert!(no_answer(bob.network.pair_join(&code, None).await));
    drop(published);
}

/// Mallory has the code and stands between the two. Each sees Mallory's name and id, and the check numbers differ.
#[tokio::test(flavor = "multi_thread")]
async fn a_man_in_the_middle_with_the_code_shows_two_check_numbers() {
    let (here, there) = (Host::new(), Host::new());
    let (alice, bob) = (here.device("alice").await, there.device("bob").await);
    let mallory = here.device("mallory").await;
    let generated = alice.network.pair_generate(false, Duration::from_secs(60)).await.unwrap();
    let code = Code::parse(&generated.code).unwrap();
    let keys = Keys::derive(&code);

    // Towards bob he offers the stolen code with the machinery of an honest device.
    let (events, _) = tokio::sync::broadcast::channel(16);
    let sessions = Sessions::new(events.clone());
    let (status, deadline, stop) = sessions.open(Role::Initiator, keys.rendezvous(), false, Duration::from_secs(60)).unwrap();
    let store = Arc::new(InstanceStore::open(&mallory.dir.join("stolen.db")).unwrap());
    let peers = Peers::load(store, events).unwrap();
    let bound = endpoint::bind_code(keys.endpoint()).await.unwrap();
    let published = SameHost::new(&there.runtime()).publish(&bound).unwrap();
    let outside = Mallory::new().await;
    let offer = Offer {
        session: status.id,
        deadline,
        stop: stop.clone(),
        auto_accept: false,
        keys,
        key: outside.key.clone(),
        me: outside.me(),
        sessions: sessions.clone(),
        peers,
        guests: Guests::default(),
    };
    let offering = tokio::spawn(driver::offer(bound, offer));
    let (to_alice, to_bob) = (mallory.network.clone(), bob.network.clone());
    let (first, second) = (code.clone(), code.clone());
    let left = tokio::spawn(async move { to_alice.pair_join(&first, None).await });
    let right = tokio::spawn(async move { to_bob.pair_join(&second, None).await });

    alice.until("a request", |n| !n.pair_pending().is_empty()).await;
    bob.until("bob's number", |n| n.pair_status().first().is_some_and(|s| s.check.is_some())).await;
    let (at_alice, at_bob) = (alice.network.pair_pending().remove(0), bob.network.pair_status().remove(0));
    assert_eq!(at_alice.peer.unwrap().id, mallory.id().await, "alice is shown who really dials");
    assert_eq!(at_bob.peer.unwrap().id, outside.key.public(), "bob is shown who really answers");
    assert_ne!(at_alice.check, at_bob.check);
    alice.network.pair_reject(&at_alice.id.to_string()).unwrap();
    assert!(matches!(left.await.unwrap(), Err(Error::Rejected)));
    sessions.stop_all();
    within("mallory gives up", offering).await.unwrap();
    assert!(right.await.unwrap().is_err());
    assert!(alice.names().is_empty() && bob.names().is_empty());
    drop(published);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_silent_connections_keeps_nobody_out() {
    let host = Host::new();
    let (alice, bob) = (host.device("alice").await, host.device("bob").await);
    let (code, keys, addresses) = offered(&host, &alice).await;
    let mallory = Mallory::new().await;
    let mut crowd = Vec::new();
    for _ in 0..150 {
        if let Some(connection) = mallory.dial(keys.rendezvous(), &addresses, PAIR).await {
            crowd.push(connection);
        }
    }
    assert!(crowd.len() > 64, "only {} got in at all", crowd.len());
    let start = Instant::now();
    still_works(&alice, &bob, &code).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let live = crowd.iter().filter(|c| c.close_reason().is_none()).count();
    assert!(live <= 64, "{live} strangers are still seated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_proofs_holds_nobody_up() {
    let host = Host::new();
    let (alice, bob) = (host.device("alice").await, host.device("bob").await);
    let (code, keys, addresses) = offered(&host, &alice).await;
    let mallory = Arc::new(Mallory::new().await);
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let (mallory, addresses, id) = (mallory.clone(), addresses.clone(), keys.rendezvous());
            tokio::spawn(async move {
                let m1 = Message::M1(M1 { version: VERSION, commit: [1; 32], info: Vec::new(), mac: [0; 32] });
                loop {
                    let Some(connection) = mallory.dial(id, &addresses, PAIR).await else { continue };
                    let Ok((send, recv)) = connection.open_bi().await else { continue };
                    let mut talk = Talk { connection, send, recv };
                    talk.say(&m1).await;
                    // He does not wait for the answer.
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    alice.until("the flood is on", |_| wrong_proofs(&alice) >= 5).await;
    still_works(&alice, &bob, &code).await;
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_paired_gets_no_stream() {
    let host = Host::new();
    let alice = host.device("alice").await;
    let id = alice.id().await;
    let addresses = SameHost::new(&host.runtime()).find(&id).unwrap();
    let mallory = Mallory::new().await;
    let connection = mallory.dial(id, &addresses, PRESENCE).await;
    // The handshake may be over for the dialling side before the gate has spoken.
    if let Some(connection) = connection {
        let reason = within("the gate", connection.closed()).await;
        assert!(endpoint::said_not_paired(&reason), "{reason:?}");
    }
    assert!(mallory.dial(id, &addresses, PAIR).await.is_none(), "the long-lived endpoint does not pair");
    assert!(mallory.dial(id, &addresses, b"something/else").await.is_none());
    assert!(alice.names().is_empty());
    mallory.endpoint.close().await;
}
