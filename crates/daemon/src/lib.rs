//! One process that owns an instance: lock, serve, dispatch, shut down.
//!
//! [`run`] reads top to bottom as the daemon's life. Whoever holds the two locks (of the data dir and of
//! the name) is the daemon; files and sockets prove nothing.

mod answer;
mod boot;
mod config;
mod context;
mod device;
mod dispatch;
pub mod doctor;
mod drop;
mod drops;
mod duplicates;
mod error;
mod file;
mod index;
pub mod instance;
mod job;
mod library;
mod location;
mod lock;
mod log;
mod monitor;
mod network;
mod pairing;
mod publish;
mod search;
mod serve;
mod status;
mod supervisor;

pub use boot::{Options, run};
