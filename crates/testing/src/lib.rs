//! The bench for tests: a hermetic [`Home`] in which the real binary runs, real daemons in it, and the
//! [`Oracle`] that knows what must have survived a fault. See `docs/testing.md`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on panics, and says why")]

mod home;
mod lab;
mod mount;
mod oracle;
mod process;
mod raw;
mod root;

pub use home::{Home, Outcome};
pub use lab::Lab;
pub use mount::Mount;
pub use oracle::{Oracle, change_in_wal, tree_hash};
pub use process::{Guarded, Signal, freeze, is_running, open_files, resident_bytes, signal};
pub use raw::RawClient;
pub use root::{OTHER_USER, root_or_skip};
/// The places in which `SPACEDRIVE_FAIL` can kill a daemon or make it fail.
pub use spacedrive_core::failpoint::ALL as FAILPOINTS;

use std::time::{Duration, Instant};

/// Waits for something that happens by itself; fails when it has not happened in `limit`.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !happened() {
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
