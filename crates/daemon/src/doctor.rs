//! `instance doctor`: what is wrong with an instance, running or not, and what mends it.
//!
//! A check is one function from a [`Patient`] to what it found; adding one is adding it to `CHECKS`.

mod disk;
mod files;
mod network;
mod process;

use std::fmt::Write;

use serde::Serialize;
use spacedrive_api::instance::{DataFiles, InstanceName, Places};
use spacedrive_api::{DaemonInfo, NetworkInfo, Result, locate};

use crate::instance::{Cleaned, clean, hold};
use crate::lock::Locks;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and may stop to.
    Warning,
    /// It does not work.
    Failure,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// How grave it is.
    pub verdict: Verdict,
    /// What was found, in one line.
    pub message: String,
    /// The command or change that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
    /// Whether `--fix` mended it.
    pub fixed: bool,
}

/// What a check says; its name is added by whoever runs it.
type Said = Vec<Finding>;

fn say(verdict: Verdict, message: impl Into<String>) -> Finding {
    Finding { check: "", verdict, message: message.into(), mend: None, fixed: false }
}

fn ok(message: impl Into<String>) -> Said {
    vec![say(Verdict::Ok, message)]
}

fn warning(message: impl Into<String>, mend: impl Into<String>) -> Said {
    vec![Finding { mend: Some(mend.into()), ..say(Verdict::Warning, message) }]
}

fn failure(message: impl Into<String>, mend: impl Into<String>) -> Said {
    vec![Finding { mend: Some(mend.into()), ..say(Verdict::Failure, message) }]
}

/// Adds that it was mended.
fn fixed(mut said: Said) -> Said {
    for finding in &mut said {
        finding.fixed = true;
        let _ = write!(finding.message, ": mended");
    }
    said
}

/// What a daemon of this version tells about itself.
#[derive(Debug, Default)]
pub struct Told {
    /// Networking.
    pub network: Option<NetworkInfo>,
    /// How many folders it has to watch.
    pub folders: Option<u64>,
}

/// The instance that is looked at.
#[derive(Debug)]
pub struct Patient {
    places: Places,
    name: InstanceName,
    data: Option<DataFiles>,
    daemon: Option<DaemonInfo>,
    told: Told,
    alive: bool,
    fix: bool,
    /// What dead daemons left behind, looked for before this process takes any lock.
    leftovers: Result<Vec<Cleaned>>,
    /// Held while an instance that no daemon runs is looked at.
    held: Option<Locks>,
}

impl Patient {
    /// Prepares to look at an instance: `daemon` and `told` are what its daemon tells, when it answers. Nothing is changed
    /// unless `fix`.
    pub async fn new(places: &Places, name: &InstanceName, daemon: Option<DaemonInfo>, told: Told, fix: bool) -> Self {
        let recorded = || locate::known(places).remove(name).flatten();
        let dir = daemon.as_ref().map(|daemon| daemon.data_dir.0.clone()).or_else(recorded);
        let data = dir.map(|dir| DataFiles::new(&dir)).filter(|data| data.dir.is_dir());
        let alive =
            daemon.is_some() || locate::is_alive(places, name) || data.as_ref().is_some_and(|data| locate::is_locked(&data.lock));
        let leftovers = clean(places, !fix);
        let held = match &data {
            Some(data) if !alive => hold(places, name, data).await.ok(),
            _ => None,
        };
        Self { places: places.clone(), name: name.clone(), data, daemon, told, alive, fix, leftovers, held }
    }

    /// Whether the databases may be opened: they are this process's, or a daemon's that shares them.
    fn may_look(&self) -> bool {
        self.alive || self.held.is_some()
    }
}

/// One check.
type Check = fn(&Patient) -> Said;

/// The checks, in the order in which they are told.
const CHECKS: &[(&str, Check)] = &[
    ("runtime dir", process::runtime_dir),
    ("socket path", process::socket_path),
    ("process", process::process),
    ("socket", process::socket),
    ("pid file", process::pid_file),
    ("leftovers", process::leftovers),
    ("version", process::version),
    ("record", files::record),
    ("data dir", files::data_dir),
    ("permissions", files::permissions),
    ("configuration", files::configuration),
    ("identity", files::identity),
    ("databases", files::databases),
    ("log", files::log),
    ("disk space", disk::space),
    ("file watches", disk::watches),
    ("clock", disk::clock),
    ("udp", network::udp),
    ("networking", network::networking),
    ("discovery", network::discovery),
];

/// Runs every check.
pub fn examine(patient: &Patient) -> Vec<Finding> {
    CHECKS.iter().flat_map(|(name, check)| check(patient).into_iter().map(|finding| Finding { check: name, ..finding })).collect()
}
