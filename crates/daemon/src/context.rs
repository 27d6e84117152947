//! What the handlers work with: finished parts, each of which guards its own state.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use spacedrive_api::instance::{DataFiles, InstanceName};
use spacedrive_api::{ApiError, DaemonInfo, Result, VERSION};
use spacedrive_core::config::Config;
use spacedrive_core::instance::InstanceStore;
use spacedrive_core::{Files, Libraries};
use spacedrive_net::Network;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::drops::Drops;
use crate::error::from_core;

/// The parts of a running daemon.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) name: InstanceName,
    pub(crate) data: DataFiles,
    pub(crate) socket: PathBuf,
    pub(crate) config: Mutex<Config>,
    pub(crate) libraries: Arc<Libraries>,
    pub(crate) files: Files,
    pub(crate) network: Network,
    pub(crate) drops: Arc<Drops>,
    /// Cancelled when the daemon begins to stop.
    pub(crate) stopping: CancellationToken,
    /// Marked whenever something that `monitor` shows may have changed.
    pub(crate) changes: watch::Sender<()>,
    started: Instant,
}

/// The finished parts that a daemon is assembled from.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) store: Arc<InstanceStore>,
    pub(crate) libraries: Libraries,
    pub(crate) files: Files,
    pub(crate) network: Network,
}

impl Context {
    pub(crate) fn new(name: InstanceName, data: DataFiles, socket: PathBuf, parts: Parts) -> Self {
        let Parts { config, store, libraries, files, network } = parts;
        let stopping = CancellationToken::new();
        let (inbox, scratch) = (data.dir.join("inbox"), data.dir.clone());
        let drops = Drops::new(store, network.clone(), inbox, scratch, stopping.clone());
        Self {
            name,
            data,
            socket,
            config: Mutex::new(config),
            libraries: Arc::new(libraries),
            files,
            network,
            drops,
            stopping,
            changes: watch::Sender::new(()),
            started: Instant::now(),
        }
    }

    /// Says that something may have changed; whoever watches looks.
    pub(crate) fn changed(&self) {
        self.changes.send_replace(());
    }

    /// What the frozen status call tells.
    pub(crate) fn info(&self) -> DaemonInfo {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        DaemonInfo {
            name: self.name.to_string(),
            id: config.id,
            pid: std::process::id(),
            version: VERSION.to_owned(),
            protocol: spacedrive_api::protocol(),
            uptime_s: self.started.elapsed().as_secs(),
            data_dir: self.data.dir.as_path().into(),
            socket: self.socket.as_path().into(),
            networking: self.network.networking(),
            libraries: self.libraries.count() as u64,
        }
    }

    /// Writes down whether networking is switched on, for the next start.
    pub(crate) async fn remember_networking(self: &Arc<Self>, on: bool) -> Result<()> {
        self.blocking(move |context| {
            let mut config = context.config.lock().unwrap_or_else(PoisonError::into_inner);
            if config.networking == on {
                return Ok(());
            }
            let changed = Config { networking: on, ..config.clone() };
            changed.write(&context.data.config)?;
            *config = changed;
            Ok(())
        })
        .await
    }

    /// Runs `work`, which reads or writes files, off the threads that serve sockets.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Context) -> spacedrive_core::Result<T> + Send + 'static,
    ) -> Result<T> {
        let context = self.clone();
        match tokio::task::spawn_blocking(move || work(&context)).await {
            Ok(result) => result.map_err(from_core),
            Err(error) => {
                tracing::error!(%error, "a handler failed");
                Err(ApiError::failed("the daemon failed while it worked on this; its log says more"))
            }
        }
    }
}
