//! Libraries on this machine: databases, the registry of libraries, the instance's configuration.
//!
//! This crate never prints, never reads the environment and never sees a socket: what it needs is handed to it.

mod check;
pub mod clone;
pub mod config;
mod copy;
mod db;
pub mod desktop_trash;
pub mod devices;
pub mod drops;
mod duplicates;
mod error;
pub mod failpoint;
mod file;
pub mod files;
pub mod health;
pub mod index;
pub mod instance;
pub mod jobs;
mod libraries;
pub mod library;
mod location;
pub mod names;
pub mod operation;
mod remove;
pub mod rooted;
mod search;
pub mod trash;
pub mod undo;
mod watch;

pub use error::{DatabaseError, DatabaseFault, Error, Result, database_fault};
pub use file::Files;
pub use libraries::{Libraries, LibraryEntry};
pub use library::Library;
