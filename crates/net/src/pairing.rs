//! Pairing: two devices that share a code prove it to each other and store each other's long-lived keys.
//!
//! `machine` is the protocol as a pure state machine, `crypto` its keys and proofs, [`frame`] its messages
//! as bytes, [`session`] what is known of each code, and `driver` ties them to connections.
//! `docs/pairing.md` has the flow and the threats.

pub(crate) mod crypto;
pub(crate) mod driver;
pub mod frame;
pub mod info;
pub(crate) mod machine;
pub mod session;
mod throttle;

#[cfg(test)]
#[path = "pairing/hostile_tests.rs"]
mod hostile_tests;
