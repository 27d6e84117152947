//! Copy, move, delete and undo: against a model, under kills, on full, read-only and other file systems, with odd files.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

#[path = "operations/bench.rs"]
mod bench;
#[path = "operations/faults.rs"]
mod faults;
#[path = "operations/kills.rs"]
mod kills;
#[path = "operations/model.rs"]
mod model;
#[path = "operations/odd.rs"]
mod odd;
