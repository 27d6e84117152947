//! Pairing and presence between real endpoints on one machine.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/devices.rs"]
mod support;

use std::time::{Duration, Instant};

use spacedrive_api::Networking;
use spacedrive_net::Error;
use spacedrive_net::code::Code;
use spacedrive_net::identity::Kdf;
use spacedrive_net::pairing::session::{MAX_CODES, PairingState, Role};
use support::*;

#[tokio::test(flavor = "multi_thread")]
async fn twelve_words_and_two_devices_know_each_other() {
    let host = Host::new();
    let (alice, bob) = pair(&host).await;
    let (a, b) = (alice.id().await, bob.id().await);
    assert_eq!((alice.sees(&b), bob.sees(&a)), (Some(true), Some(true)));
    assert_eq!((alice.names(), bob.names()), (vec!["bob".to_owned()], vec!["alice".to_owned()]));
    let session = &alice.network.pair_status()[0];
    assert_eq!((session.state, session.role), (PairingState::Paired, Role::Initiator));
    assert_eq!(bob.network.pair_status()[0].state, PairingState::Paired);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_once_and_names_who_used_it() {
    let host = Host::new();
    let (alice, bob) = (host.device("alice").await, host.device("bob").await);
    let carol = host.device("carol").await;
    let code = alice.offer().await;
    bob.network.pair_join(&code, None).await.unwrap();
    let again = carol.network.pair_join(&code, None).await;
    assert!(matches!(&again, Err(Error::AlreadyUsed { by }) if by == "bob"), "{again:?}");
    assert!(carol.names().is_empty());
    assert_eq!(alice.names(), ["bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_twenty_racing_joiners_wins() {
    let host = Host::new();
    let alice = host.device("alice").await;
    let mut joiners = Vec::new();
    for n in 0..20 {
        joiners.push(host.device(&format!("joiner{n}")).await);
    }
    let code = alice.offer().await;
    let mut joins = tokio::task::JoinSet::new();
    for joiner in &joiners {
        let (network, code) = (joiner.network.clone(), code.clone());
        joins.spawn(async move { network.pair_join(&code, None).await });
    }
    let results = within("twenty joins", joins.join_all()).await;
    let won: Vec<_> = results.iter().filter(|r| r.is_ok()).collect();
    assert_eq!(won.len(), 1, "{results:?}");
    let winner = alice.names();
    assert_eq!(winner.len(), 1);
    for result in &results {
        match result {
            Ok(joined) => assert_eq!(joined.name, "alice"),
            Err(Error::AlreadyUsed { by }) => assert_eq!(*by, winner[0]),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_pairing_and_locks_the_network() {
    let host = Host::new();
    let (alice, mut bob) = pair(&host).await;
    let b = bob.id().await;
    let code = bob.offer().await;
    bob.network.close().await;
    alice.until_offline(&b).await;
    bob.restart().await;
    assert_eq!(bob.network.networking(), Networking::Locked);
    assert!(matches!(bob.network.pair_generate(true, Duration::from_secs(9)).await, Err(Error::Locked)));
    assert_eq!(bob.names(), ["alice"], "the list is there while it is locked");
    let wrong = bob.network.init(Some(password("wrong")), Kdf::FLOOR).await;
    assert!(matches!(wrong, Err(Error::WrongPassword)));
    let initialised = bob.network.init(Some(password("test123")), Kdf::FLOOR).await.unwrap();
    assert!(!initialised.created && initialised.id == b);
    alice.until_connected(&bob).await;
    bob.until_connected(&alice).await;
    let carol = host.device("carol").await;
    assert!(no_answer(carol.network.pair_join(&code, None).await), "a restart voids the codes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stops_is_offline_at_once_and_comes_back() {
    let host = Host::new();
    let (alice, bob) = pair(&host).await;
    let b = bob.id().await;
    let start = Instant::now();
    bob.network.stop().await;
    let stopped = start.elapsed();
    alice.until_offline(&b).await;
    assert!(start.elapsed() < Duration::from_secs(3), "stopped after {stopped:?}, seen after {:?}", start.elapsed());
    assert!(alice.network.devices()[0].last_seen.is_some());
    assert_eq!(bob.network.networking(), Networking::Off);
    bob.network.start().await.unwrap();
    alice.until_connected(&bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_is_out_at_once_and_learns_it() {
    let host = Host::new();
    let (alice, mut bob) = pair(&host).await;
    let (a, b) = (alice.id().await, bob.id().await);
    let start = Instant::now();
    let revoked = alice.network.revoke(&b.to_string()[..8]).await.unwrap();
    assert_eq!(revoked.name, "bob");
    assert!(alice.names().is_empty());
    bob.until("bob is not connected", |n| connected(n, &a) != Some(true)).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    bob.until("bob forgot alice", |n| n.devices().is_empty()).await;
    bob.restart().await;
    bob.unlock().await;
    assert!(bob.names().is_empty());
    // A new code pairs them again.
    let code = alice.offer().await;
    assert!(bob.network.pair_join(&code, None).await.unwrap().connected);
    alice.until_connected(&bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_revoked_while_it_was_away_learns_it_when_it_comes() {
    let host = Host::new();
    let (mut alice, mut bob) = pair(&host).await;
    let b = bob.id().await;
    bob.network.close().await;
    alice.until_offline(&b).await;
    alice.network.revoke("bob").await.unwrap();
    alice.restart().await;
    alice.unlock().await;
    bob.restart().await;
    assert_eq!(bob.names(), ["alice"]);
    bob.unlock().await;
    bob.until("bob forgot alice", |n| n.devices().is_empty()).await;
    assert!(alice.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_auto_accept_a_person_decides() {
    let host = Host::new();
    let (alice, bob) = (host.device("alice").await, host.device("bob").await);
    for accept in [false, true] {
        let generated = alice.network.pair_generate(false, Duration::from_secs(60)).await.unwrap();
        let code = Code::parse(&generated.code).unwrap();
        let network = bob.network.clone();
        let join = tokio::spawn(async move { network.pair_join(&code, None).await });
        alice.until("a request", |n| n.pair_pending().len() == 1).await;
        let request = alice.network.pair_pending().remove(0);
        let peer = request.peer.clone().unwrap();
        assert_eq!((peer.name.as_str(), peer.id), ("bob", bob.id().await));
        bob.until("bob sees the number", |n| n.pair_status()[0].check.is_some()).await;
        assert_eq!(bob.network.pair_status()[0].check, request.check, "both see the same check number");
        assert!(alice.names().is_empty() && bob.names().is_empty(), "nothing is stored before a person said yes");
        let id = request.id.to_string();
        if accept {
            alice.network.pair_accept(&id[..6]).unwrap();
            assert!(within("join", join).await.unwrap().unwrap().connected);
            assert!(matches!(alice.network.pair_accept(&id), Err(Error::NotPending { .. })));
        } else {
            alice.network.pair_reject(&id).unwrap();
            assert!(matches!(within("join", join).await.unwrap(), Err(Error::Rejected)));
            alice.until("rejected", |n| n.pair_status()[0].state == PairingState::Rejected).await;
            assert!(alice.names().is_empty() && bob.names().is_empty());
        }
    }
    assert!(matches!(alice.network.pair_accept("nothing"), Err(Error::SessionNotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_ends_with_its_time() {
    let host = Host::new();
    let (alice, bob) = (host.device("alice").await, host.device("bob").await);
    let generated = alice.network.pair_generate(true, Duration::from_secs(1)).await.unwrap();
    alice.until("expired", |n| n.pair_status()[0].state == PairingState::Expired).await;
    assert!(no_answer(bob.network.pair_join(&Code::parse(&generated.code).unwrap(), None).await));
    assert!(alice.names().is_empty() && bob.names().is_empty());
    for seconds in [0, 3601] {
        let result = alice.network.pair_generate(true, Duration::from_secs(seconds)).await;
        assert!(matches!(result, Err(Error::BadLifetime { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_codes_paired_devices_and_too_many_codes() {
    let host = Host::new();
    let (alice, bob) = pair(&host).await;
    let code = alice.offer().await;
    assert!(matches!(alice.network.pair_join(&code, None).await, Err(Error::OwnCode)));
    let again = bob.network.pair_join(&code, None).await.unwrap();
    assert!(again.already && again.connected);
    assert_eq!((alice.names().len(), bob.names().len()), (1, 1));
    for _ in 0..MAX_CODES {
        alice.offer().await;
    }
    let result = alice.network.pair_generate(true, Duration::from_secs(9)).await;
    assert!(matches!(result, Err(Error::TooManyCodes { max: MAX_CODES })));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_works_before_init_and_while_off() {
    let host = Host::new();
    let alice = host.device_off("alice");
    let lifetime = Duration::from_secs(9);
    assert_eq!(alice.network.networking(), Networking::Off);
    assert!(matches!(alice.network.pair_generate(true, lifetime).await, Err(Error::Off)));
    alice.network.start().await.unwrap();
    assert_eq!(alice.network.networking(), Networking::Uninitialised);
    assert!(matches!(alice.network.pair_generate(true, lifetime).await, Err(Error::Uninitialised)));
    assert!(alice.network.init(Some(password("x")), Kdf::FLOOR).await.unwrap().created);
    assert_eq!(alice.network.networking(), Networking::On);
    alice.network.stop().await;
    assert!(!alice.network.init(Some(password("x")), Kdf::FLOOR).await.unwrap().created);
    assert_eq!(alice.network.networking(), Networking::Off, "unlocking does not switch it on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_can_be_joined_by_address() {
    let (here, there) = (Host::new(), Host::new());
    let (alice, bob) = (here.device("alice").await, there.device("bob").await);
    let generated = alice.network.pair_generate(true, Duration::from_secs(60)).await.unwrap();
    let address = generated.session.addresses.iter().copied().find(|a| a.is_ipv4() && a.ip().is_loopback()).unwrap();
    let code = Code::parse(&generated.code).unwrap();
    assert!(no_answer(bob.network.pair_join(&code, None).await), "another machine: no record, no multicast");
    let joined = bob.network.pair_join(&code, Some(address)).await.unwrap();
    assert!(joined.connected);
    alice.until_connected(&bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_destroys_the_identity_and_the_pairings() {
    let host = Host::new();
    let (alice, bob) = pair(&host).await;
    let old = bob.id().await;
    let backup = bob.network.reset().await.unwrap().unwrap();
    assert!(backup.exists());
    assert!(bob.names().is_empty());
    assert_eq!(bob.network.networking(), Networking::Uninitialised);
    alice.until_offline(&old).await;
    assert_ne!(bob.network.init(Some(password("new")), Kdf::FLOOR).await.unwrap().id, old);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_can_be_changed() {
    let host = Host::new();
    let mut alice = host.device("alice").await;
    let id = alice.id().await;
    alice.network.passwd(Some(password("test123")), Some(password("other"))).await.unwrap();
    alice.restart().await;
    assert!(matches!(alice.network.init(Some(password("test123")), Kdf::FLOOR).await, Err(Error::WrongPassword)));
    assert_eq!(alice.network.init(Some(password("other")), Kdf::FLOOR).await.unwrap().id, id);
    alice.network.passwd(Some(password("other")), None).await.unwrap();
    alice.restart().await;
    assert_eq!(alice.network.networking(), Networking::On, "an open identity needs no unlocking");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_inits_at_once_make_one_identity() {
    let host = Host::new();
    let alice = host.device_off("alice");
    let mut inits = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let network = alice.network.clone();
        inits.spawn(async move { network.init(Some(password("p")), Kdf::FLOOR).await.unwrap() });
    }
    let all = within("ten inits", inits.join_all()).await;
    assert_eq!(all.iter().filter(|i| i.created).count(), 1);
    assert!(all.iter().all(|i| i.id == all[0].id));
}
