//! The state machine against itself and against everything that is not itself.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use uuid::Uuid;

use super::super::frame::Mac32;
use super::*;
use crate::code::Code;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32])
}

fn info(key: &SecretKey, name: &str) -> Info {
    Info {
        id: key.public(),
        device: Uuid::from_bytes([1; 16]),
        name: name.to_owned(),
        os: "linux".to_owned(),
        version: "1".to_owned(),
        addresses: Vec::new(),
    }
}

/// One side of an attempt between device `me` and the joiner, on the channel with this exporter value.
fn side(code: u8, me: u8, joiner: u8, ekm: u8) -> Side0 {
    let keys = Keys::derive(&Code::from_entropy([code; 16]));
    let channel = Channel { ekm: [ekm; 32], rendezvous: keys.rendezvous(), joiner: key(joiner).public() };
    Side0 {
        keys,
        channel,
        key: key(me),
        me: info(&key(me), &format!("device {me}")),
        nonce: [me + 100; 32],
        seal_nonce: [me; 12],
    }
}

const I: u8 = 1;
const J: u8 = 2;

fn initiator() -> Initiator {
    Initiator::new(side(0, I, J, 0))
}

fn sent(actions: &[Action]) -> Vec<Message> {
    actions.iter().filter_map(|a| if let Action::Send(m) = a { Some(m.clone()) } else { None }).collect()
}

fn end(actions: &[Action]) -> Option<End> {
    actions.iter().find_map(|a| if let Action::End(end) = a { Some(end.clone()) } else { None })
}

/// What a driver answers to an action when all goes well.
fn answer(action: &Action) -> Option<Input> {
    match action {
        Action::Claim(_) => Some(Input::Claimed),
        Action::Ask(..) => Some(Input::Decision(true)),
        Action::Store(_) | Action::Confirm(_) => Some(Input::Stored),
        _ => None,
    }
}

/// Gives `input`, then answers each action as a driver would, until there is nothing left to answer.
fn drive<M>(mut machine: M, step: impl Fn(M, Input) -> (M, Vec<Action>), input: Input) -> (M, Vec<Action>) {
    let mut all = Vec::new();
    let mut inputs = std::collections::VecDeque::from([input]);
    while let Some(input) = inputs.pop_front() {
        let (next, actions) = step(machine, input);
        machine = next;
        inputs.extend(actions.iter().filter_map(answer));
        all.extend(actions);
    }
    (machine, all)
}

/// A whole run; `tamper` may change each message on its way (the number of the message is given).
fn run(mut i: Initiator, joiner: Side0, mut tamper: impl FnMut(usize, Message) -> Message) -> (Vec<Action>, Vec<Action>) {
    let (mut j, first) = Joiner::start(joiner);
    let (mut i_all, mut j_all) = (Vec::new(), first.clone());
    let mut to_i = sent(&first);
    let mut number = 0;
    while !to_i.is_empty() {
        let mut to_j = Vec::new();
        for message in std::mem::take(&mut to_i) {
            number += 1;
            let (next, actions) = drive(i, Initiator::step, Input::Message(tamper(number, message)));
            i = next;
            to_j.extend(sent(&actions));
            i_all.extend(actions);
        }
        for message in to_j {
            number += 1;
            let (next, actions) = drive(j, Joiner::step, Input::Message(tamper(number, message)));
            j = next;
            to_i.extend(sent(&actions));
            j_all.extend(actions);
        }
    }
    (i_all, j_all)
}

fn stores(actions: &[Action]) -> Vec<&Info> {
    actions.iter().filter_map(|a| if let Action::Store(info) = a { Some(info) } else { None }).collect()
}

fn check_number(actions: &[Action]) -> Option<String> {
    actions.iter().find_map(|a| match a {
        Action::Ask(_, check) | Action::Show(_, check) => Some(check.clone()),
        _ => None,
    })
}

#[test]
fn two_honest_sides_pair_and_see_the_same_check_number() {
    let (i, j) = run(initiator(), side(0, J, J, 0), |_, m| m);
    assert_eq!(end(&i), Some(End::Paired(info(&key(J), "device 2"))));
    assert_eq!(end(&j), Some(End::Paired(info(&key(I), "device 1"))));
    assert_eq!(check_number(&i), check_number(&j));
    assert_eq!(check_number(&i).unwrap().len(), 6);
    assert_eq!((stores(&i).len(), stores(&j).len()), (1, 1));
}

#[test]
fn a_wrong_code_a_wrong_channel_and_a_wrong_id_prove_nothing() {
    for joiner in [side(1, J, J, 0), side(0, J, J, 1), side(0, 3, J, 0)] {
        let (i, j) = run(initiator(), joiner, |_, m| m);
        assert_eq!(end(&i), Some(End::Unproven));
        assert!(i.contains(&Action::Throttle));
        assert_eq!(end(&j), Some(End::Unproven));
        assert!(stores(&i).is_empty() && stores(&j).is_empty());
    }
}

#[test]
fn the_second_joiner_learns_who_was_first() {
    let (_, first) = Joiner::start(side(0, J, J, 0));
    let (i, _) = initiator().step(Input::Message(sent(&first)[0].clone()));
    let (i, actions) = i.step(Input::Taken("bob".to_owned()));
    assert_eq!(sent(&actions), [Message::Fail(Failure::AlreadyUsed("bob".to_owned()))]);
    assert!(i.ended());
}

#[test]
fn a_person_who_says_no_or_nothing_stores_nothing() {
    for (input, failure, expected) in [
        (Input::Decision(false), Failure::Rejected, End::Rejected),
        (Input::NoDecision, Failure::NoDecision, End::NoDecision),
        (Input::Gone, Failure::Generic, End::NotCompleted),
    ] {
        let (j, first) = Joiner::start(side(0, J, J, 0));
        let (i, _) = initiator().step(Input::Message(sent(&first)[0].clone()));
        let (i, m2) = i.step(Input::Claimed);
        let (j, m3) = j.step(Input::Message(sent(&m2)[0].clone()));
        let (i, ask) = i.step(Input::Message(sent(&m3)[0].clone()));
        assert!(matches!(ask[..], [Action::Ask(..)]));
        let (i, actions) = i.step(input);
        assert_eq!(end(&actions), Some(expected.clone()));
        assert!(i.ended());
        if let [message] = &sent(&actions)[..] {
            assert_eq!(*message, Message::Fail(failure));
            let (j, actions) = j.step(Input::Message(message.clone()));
            assert_eq!(end(&actions), Some(expected));
            assert!(j.ended() && stores(&actions).is_empty());
        }
    }
}

/// Every bit of every message, one at a time: whoever receives it stores nothing on the strength of it.
#[test]
fn any_flipped_bit_is_noticed() {
    let mut lengths = [0; 7];
    run(initiator(), side(0, J, J, 0), |n, m| {
        lengths[n] = m.encode().len();
        m
    });
    assert!(lengths[1..].iter().all(|&l| l > 0), "six messages: {lengths:?}");
    for (number, length) in lengths.into_iter().enumerate().skip(1) {
        for bit in 0..length * 8 {
            let (i, j) = run(initiator(), side(0, J, J, 0), |n, m| {
                if n != number {
                    return m;
                }
                let mut bytes = m.encode();
                bytes[bit / 8] ^= 1 << (bit % 8);
                // What does not decode reaches the machine as garbage; a failure message stands in for it here.
                Message::decode(&bytes).unwrap_or(Message::Fail(Failure::Generic))
            });
            // The first side that could be deceived: M1 and M3 and M5 reach the initiator, M2, M4 and M6 the joiner.
            match number {
                1..=3 => assert!(stores(&i).is_empty() && stores(&j).is_empty(), "M{number} bit {bit}"),
                4 => assert!(stores(&j).is_empty(), "M4 bit {bit}"),
                5 => assert!(!i.iter().any(|a| matches!(a, Action::Confirm(_))), "M5 bit {bit}"),
                _ => assert!(matches!(end(&j), Some(End::Half(_))), "M6 bit {bit}"),
            }
        }
    }
}

/// A man in the middle who has the code pairs with each side as itself, and the check numbers differ.
#[test]
fn a_man_in_the_middle_with_the_code_shows_another_check_number() {
    const M: u8 = 9;
    let (left, _) = run(initiator(), side(0, M, M, 0).clone(), |_, m| m);
    assert_eq!(end(&left), Some(End::Unproven), "he cannot speak as the joiner: TLS shows his own id");
    let mut to_i = side(0, I, M, 5);
    to_i.me = info(&key(I), "device 1");
    let (i, _) = run(Initiator::new(to_i), side(0, M, M, 5), |_, m| m);
    let (_, j) = run(Initiator::new(side(0, M, J, 6)), side(0, J, J, 6), |_, m| m);
    assert_ne!(check_number(&i).unwrap(), check_number(&j).unwrap());
}

/// Who relays the messages of an honest joiner over a connection of his own proves nothing.
#[test]
fn relayed_messages_are_of_another_channel() {
    let mut relay = side(0, J, J, 7);
    relay.channel.joiner = key(J).public();
    let (i, _) = run(initiator(), relay, |_, m| m);
    assert_eq!(end(&i), Some(End::Unproven));
}

#[test]
fn reflected_messages_prove_nothing() {
    let (j, first) = Joiner::start(side(0, J, J, 0));
    let (j2, actions) = j.clone().step(Input::Message(sent(&first)[0].clone()));
    assert!(j2.ended() && stores(&actions).is_empty());
    let (i, _) = initiator().step(Input::Message(sent(&first)[0].clone()));
    let (i, m2) = i.step(Input::Claimed);
    let (j, m3) = j.step(Input::Message(sent(&m2)[0].clone()));
    // M3's proof sent back as M4: other key, other label.
    let Message::M3(proof) = &sent(&m3)[0] else { panic!("no M3") };
    let reflected = Message::M4(M4 { mac: proof.mac, signature: proof.signature });
    let (j, actions) = j.step(Input::Message(reflected));
    assert!(j.ended() && stores(&actions).is_empty());
    // M2 sent back to the initiator.
    let (i, actions) = i.step(Input::Message(sent(&m2)[0].clone()));
    assert!(i.ended() && stores(&actions).is_empty());
}

#[test]
fn an_info_that_names_another_device_is_refused() {
    let mut liar = side(0, J, J, 0);
    liar.me.id = key(5).public();
    let (i, _) = run(initiator(), liar, |_, m| m);
    assert_eq!(end(&i), Some(End::Unproven));
    // An initiator that claims an id whose key it does not hold.
    let mut liar = side(0, I, J, 0);
    liar.me.id = key(5).public();
    let (_, j) = run(Initiator::new(liar), side(0, J, J, 0), |_, m| m);
    assert_eq!(end(&j), Some(End::BadProof));
    assert!(stores(&j).is_empty());
}

#[test]
fn another_version_is_named() {
    let (_, first) = Joiner::start(side(0, J, J, 0));
    let Message::M1(mut m1) = sent(&first)[0].clone() else { panic!("no M1") };
    m1.version = 2;
    let (_, actions) = initiator().step(Input::Message(Message::M1(m1)));
    assert_eq!(sent(&actions), [Message::Fail(Failure::Version(VERSION))]);
    assert_eq!(end(&actions), Some(End::Version(2)));
}

/// Inputs to try in any order: the honest messages of this run and of another one, edited ones, and events.
fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let mut honest = Vec::new();
    for (code, ekm) in [(0, 0), (0, 1), (1, 0)] {
        run(Initiator::new(side(code, I, J, ekm)), side(code, J, J, ekm), |_, m| {
            honest.push(m.clone());
            m
        });
    }
    let any_mac = any::<Mac32>();
    let one = prop_oneof![
        6 => prop::sample::select(honest).prop_map(Input::Message),
        1 => any_mac.prop_map(|mac| Input::Message(Message::M5(mac))),
        3 => prop::sample::select(vec![
            Input::Garbage,
            Input::Claimed,
            Input::Taken("x".to_owned()),
            Input::Decision(true),
            Input::Decision(false),
            Input::NoDecision,
            Input::Stored,
            Input::NotStored,
            Input::Gone,
        ]),
    ];
    prop::collection::vec(one, 0..12)
}

/// The honest messages of the run between the two sides under test.
fn honest() -> Vec<Message> {
    let mut all = Vec::new();
    run(initiator(), side(0, J, J, 0), |_, m| {
        all.push(m.clone());
        m
    });
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_initiator_stores_only_after_the_proof(inputs in inputs()) {
        let honest = honest();
        let (mut i, mut seen) = (initiator(), Vec::new());
        for input in inputs {
            seen.push(input.clone());
            let (next, actions) = i.step(input);
            i = next;
            if let [stored] = stores(&actions)[..] {
                prop_assert_eq!(stored.id, key(J).public());
                prop_assert!(seen.contains(&Input::Message(honest[2].clone())), "stored without M3");
                prop_assert!(seen.contains(&Input::Claimed) && seen.contains(&Input::Decision(true)));
            }
            if actions.iter().any(|a| matches!(a, Action::Confirm(_))) {
                prop_assert!(seen.contains(&Input::Message(honest[4].clone())), "confirmed without M5");
            }
        }
    }

    #[test]
    fn the_joiner_stores_only_after_the_proof(inputs in inputs()) {
        let honest = honest();
        let (mut j, _) = Joiner::start(side(0, J, J, 0));
        let mut seen = Vec::new();
        for input in inputs {
            seen.push(input.clone());
            let (next, actions) = j.step(input);
            j = next;
            if let [stored] = stores(&actions)[..] {
                prop_assert_eq!(stored.id, key(I).public());
                prop_assert!(seen.contains(&Input::Message(honest[3].clone())), "stored without M4");
            }
        }
    }
}
