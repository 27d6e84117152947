//! The daemon's log: a file in the data dir with a cap on its size, and in the foreground stderr as well.

use std::path::Path;
use std::sync::Mutex;

use file_rotate::suffix::AppendCount;
use file_rotate::{ContentLimit, FileRotate, compression::Compression};
use spacedrive_api::{ApiError, Result};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// The size at which a new file begins, and how many older ones are kept: 20 MB in all.
const FILE_BYTES: usize = 5_000_000;
const OLDER_FILES: usize = 3;

/// What is logged when nothing else is asked for.
const DEFAULT_FILTER: &str =
    "info,iroh=warn,iroh_mdns_address_lookup=warn,swarm_discovery=warn,noq=warn,noq_proto=warn,noq_udp=error";

/// Starts logging; a panic in any thread is logged too.
pub(crate) fn start(path: &Path, filter: Option<&str>, to_stderr: bool) -> Result<()> {
    let filter = filter.unwrap_or(DEFAULT_FILTER);
    let parse = || parse(filter);
    if let Some(dir) = path.parent() {
        spacedrive_core::files::make_dir(dir).map_err(crate::error::from_core)?;
    }
    let file =
        FileRotate::new(path, AppendCount::new(OLDER_FILES), ContentLimit::BytesSurpassed(FILE_BYTES), Compression::None, None);
    let to_file = fmt::layer().with_ansi(false).with_writer(Mutex::new(file)).with_filter(parse()?);
    let to_stderr =
        if to_stderr { Some(fmt::layer().with_ansi(false).with_writer(std::io::stderr).with_filter(parse()?)) } else { None };
    // A second daemon in one process (a test) keeps the first one's log.
    let _ = tracing_subscriber::registry().with(to_file).with(to_stderr).try_init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("panicked: {panic}")));
    Ok(())
}

/// Reads a tracing filter such as `info,spacedrive_core=debug`.
pub(crate) fn parse(filter: &str) -> Result<EnvFilter> {
    EnvFilter::try_new(filter).map_err(|e| ApiError::invalid(format!("`{}` is not a tracing filter: {e}", filter.escape_debug())))
}
