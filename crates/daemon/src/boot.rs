//! The daemon's life, from the locks to the last file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spacedrive_api::instance::{DataFiles, InstanceName, Places};
use spacedrive_api::record::{self, Record};
use spacedrive_api::{ApiError, DaemonInfo, Result, locate};
use spacedrive_core::config::Config;
use spacedrive_core::desktop_trash::Trash;
use spacedrive_core::index::IndexOptions;
use spacedrive_core::instance::InstanceStore;
use spacedrive_core::operation::Surroundings;
use spacedrive_core::{Files, Libraries, files};
use spacedrive_net::{Network, Settings};
use tokio::signal::unix::{SignalKind, signal};

use crate::context::{Context, Parts};
use crate::error::{from_core, from_net};
use crate::lock::{Locks, Starting};
use crate::publish::Published;
use crate::{log, serve, supervisor};

/// How long the shutdown may take before the process ends regardless.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(4);

/// How long of it the network may take to say goodbye.
const NETWORK_LIMIT: Duration = Duration::from_secs(2);

/// What a daemon is started with.
#[derive(Debug)]
pub struct Options {
    /// Its instance.
    pub name: InstanceName,
    /// Its data dir (absolute), chosen by [`locate::data_dir_for_start`].
    pub data_dir: PathBuf,
    /// The folders that the environment gives.
    pub places: Places,
    /// Switch networking on, and remember it.
    pub enable_networking: bool,
    /// Do not look for devices on the local network, and do not announce this one there.
    pub no_mdns: bool,
    /// Log to stderr as well as to the log file.
    pub log_to_stderr: bool,
    /// The tracing filter; the default is `info`.
    pub log_filter: Option<String>,
    /// A failpoint to arm, in builds that have them.
    pub failpoint: Option<String>,
}

/// Runs the daemon until it is told to stop. `ready` is called once, when calls are answered.
///
/// # Errors
/// Why it could not start; nothing is left behind then but what a later start can use.
pub fn run(options: Options, ready: impl FnOnce(&DaemonInfo)) -> Result<()> {
    if let Some(spec) = &options.failpoint {
        crate::instance::arm(spec)?;
    }
    raise_open_files();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .thread_keep_alive(Duration::from_secs(5))
        .enable_all()
        .build()
        .map_err(|e| ApiError::io("cannot start", &e))?;
    let result = runtime.block_on(live(options, ready));
    runtime.shutdown_background();
    result
}

/// Each open library holds a few files: as many may be open as the system allows at all.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

async fn live(options: Options, ready: impl FnOnce(&DaemonInfo)) -> Result<()> {
    let Options { name, data_dir, places, .. } = &options;
    let data = DataFiles::new(data_dir);
    locate::check_runtime_dir(places)?;
    let starting = Starting::acquire(places, name).await?;
    locate::check_case(places, name, data_dir)?;
    files::make_dir(data_dir).map_err(from_core)?;
    let locks = Locks::acquire(places, name, &data).await?;
    let config = prepare(&data, &options)?;
    log::start(&data.log(), options.log_filter.as_deref().or(config.log.as_deref()), options.log_to_stderr)?;
    tracing::info!(instance = %name, data_dir = %data_dir.display(), version = spacedrive_api::VERSION, "starting");

    let store = Arc::new(InstanceStore::open(&data.database).map_err(from_core)?);
    let indexing = IndexOptions { private: vec![data.dir.clone()], watch: true };
    let libraries = Libraries::discover(&data.libraries, &data.trash, store.clone(), indexing).map_err(from_core)?;
    let around = Surroundings { trash: Trash::new(places.trash.clone()), protected: vec![data.dir.clone()] };
    let files = Files::open(store.clone(), around).map_err(from_core)?;
    let network = network(&data, &options, &config, store.clone())?;
    let (published, listener) = Published::publish(places, name, locks)?;
    remember(places, name, &data, published.socket());
    drop(starting);

    let remembered = config.networking;
    let parts = Parts { config, store, libraries, files, network };
    let context = Arc::new(Context::new(name.clone(), data, published.socket().to_owned(), parts));
    // Networking that cannot start is no reason not to serve what is on this machine.
    if remembered && let Err(error) = context.network.start().await {
        tracing::error!(%error, "networking cannot start");
    }
    let (listeners, incoming) = tokio::sync::mpsc::channel(1);
    let server = tokio::spawn(serve::accept(context.clone(), listener, incoming));
    let keeper = tokio::spawn(published.keep(listeners, context.clone()));
    tokio::spawn(context.drops.clone().run());
    let checker = context.clone();
    tokio::task::spawn_blocking(move || {
        checker.files.jobs().start();
        checker.libraries.start();
        checker.libraries.check_all();
        checker.changed();
    });

    ready(&context.info());
    supervisor::ready(&context);
    tracing::info!(pid = std::process::id(), "ready");
    wait_for_end(&context).await?;

    context.stopping.cancel();
    supervisor::stopping();
    server.abort();
    if tokio::time::timeout(NETWORK_LIMIT, context.network.close()).await.is_err() {
        tracing::warn!("closing the network took too long; other devices notice by themselves");
    }
    let closing = context.clone();
    let closed = tokio::task::spawn_blocking(move || {
        closing.files.close();
        closing.libraries.shut_down()
    });
    match tokio::time::timeout(SHUTDOWN_LIMIT, closed).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::error!(%error, "a database could not be closed cleanly; it recovers at the next start"),
        Ok(Err(error)) => tracing::error!(%error, "closing the databases failed"),
        Err(_) => tracing::error!("closing the databases took too long; they recover at the next start"),
    }
    match keeper.await {
        Ok(published) => published.withdraw(),
        Err(error) => tracing::error!(%error, "the socket's keeper failed"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// The network side of the instance, not started yet.
fn network(data: &DataFiles, options: &Options, config: &Config, store: Arc<InstanceStore>) -> Result<Network> {
    let settings = Settings {
        identity: data.identity.clone(),
        runtime: options.places.runtime.clone(),
        instance: config.id,
        name: if options.name.is_default() { host_name() } else { options.name.to_string() },
        version: spacedrive_api::VERSION.to_owned(),
        mdns: config.mdns && !options.no_mdns,
    };
    Network::new(settings, store).map_err(from_net)
}

/// The name of this machine.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "default".to_owned() } else { name.trim().to_owned() }
}

/// Makes what a data dir must have from the first second, and reads the configuration.
fn prepare(data: &DataFiles, options: &Options) -> Result<Config> {
    // A start that was killed may have left these; nobody else writes here without a daemon.
    let record = options.places.record(&options.name);
    let files = [data.config.clone(), spacedrive_core::config::backup(&data.config), data.cli_state.clone()];
    files.into_iter().chain(record).for_each(|path| record::clear_temporaries(&path));
    let mut config = match Config::read(&data.config) {
        Ok(Some(config)) => config,
        Ok(None) if data.database.exists() => {
            let copy = spacedrive_core::config::backup(&data.config);
            return Err(ApiError::storage(format!("{}: it is missing, but the instance has data", data.config.display()))
                .hint(format!("cp '{}' '{}'", copy.display(), data.config.display())));
        }
        Ok(None) => {
            let config = Config::new();
            config.write(&data.config).map_err(from_core)?;
            config
        }
        Err(error) => return Err(config_hint(from_core(error), data)),
    };
    if options.enable_networking && !config.networking {
        config.networking = true;
        config.write(&data.config).map_err(from_core)?;
    }
    Config::keep_copy(&data.config).map_err(from_core)?;
    files::make_dir(&data.libraries).map_err(from_core)?;
    if !data.cli_state.exists() {
        record::replace_file(&data.cli_state, b"{}\n").map_err(|e| ApiError::io(data.cli_state.display(), &e))?;
    }
    Ok(config)
}

fn config_hint(error: ApiError, data: &DataFiles) -> ApiError {
    let copy = spacedrive_core::config::backup(&data.config);
    if copy.exists() {
        error.hint(format!("the last good copy is kept: cp '{}' '{}'", copy.display(), data.config.display()))
    } else {
        error.hint("mend the file by hand, or move it away together with instance.db to begin anew")
    }
}

/// Writes the instance's record. Without it the instance works, but is not found from other folders.
pub(crate) fn remember(places: &Places, name: &InstanceName, data: &DataFiles, socket: &Path) {
    let record = Record { name: name.clone(), data_dir: data.dir.as_path().into(), socket: socket.into() };
    if Record::read(places, name).as_ref() == Some(&record) {
        return;
    }
    if let Err(error) = record.write(places) {
        tracing::warn!(%error, "the instance's record cannot be written: it is not found from other folders");
    }
}

async fn wait_for_end(context: &Context) -> Result<()> {
    let listen = |kind| signal(kind).map_err(|e| ApiError::io("cannot listen for signals", &e));
    let (mut term, mut int, mut hup) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?);
    let why = tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
        _ = hup.recv() => "SIGHUP",
        () = context.stopping.cancelled() => "asked to",
    };
    tracing::info!(why, "stopping");
    Ok(())
}
