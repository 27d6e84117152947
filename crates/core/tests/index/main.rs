//! The index against real folders, through the library as the daemon uses it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod duplicates;
mod faults;
mod jobs;
mod kill;
mod places;
mod property;
mod search;
mod world;
