//! Processes that a test looks at or signals; it only ever signals those that it started itself.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use crate::{Home, wait_until};

/// Sends a signal to a process of the test. Answers whether there is such a process.
pub fn signal(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Stops a process (SIGSTOP), and waits until each of its threads has stopped.
#[track_caller]
pub fn freeze(pid: u32) {
    assert!(signal(pid, Signal::STOP));
    wait_until(Duration::from_secs(20), "every thread has stopped", || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let state = |stat: String| stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        threads.into_iter().all(|thread| fs::read_to_string(thread.path().join("stat")).is_ok_and(|s| state(s) == Some('T')))
    });
}

/// Whether a process runs: it exists, and is no zombie whose last thread has ended.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    state.is_some_and(|state| !matches!(state, 'Z' | 'X') || threads() > 1)
}

/// How many descriptors a process has open. As root only, since a daemon hides itself from its own user.
pub fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The resident memory of a process in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

impl Home {
    /// The pids of the daemons in the background whose data dir is below this home.
    pub fn daemons(&self) -> Vec<u32> {
        let ours = |pid: &u32| {
            let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&bytes).into_owned();
            let mut arguments = line.split('\0');
            arguments.any(|a| a == "serve") && arguments.any(|a| Path::new(a).starts_with(self.path())) && is_running(*pid)
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
    }

    /// Waits until no daemon is left: `stop` returns when locks, socket and pid file are gone, the process goes a moment later.
    #[track_caller]
    pub fn wait_for_no_daemon(&self) {
        wait_until(Duration::from_secs(20), "every daemon has ended", || self.daemons().is_empty());
    }

    /// Kills the daemon of an instance as a power cut would, and waits until it is gone.
    #[track_caller]
    pub fn kill(&self, instance: &str) {
        let pid = self.pid(instance);
        assert!(signal(pid, Signal::KILL), "there is no daemon {pid}");
        wait_until(Duration::from_secs(20), "the killed daemon is gone", || !is_running(pid));
    }
}

/// A child that is killed when the test forgets it.
#[derive(Debug)]
pub struct Guarded(pub Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
