//! The hidden command that `start` runs in the background: the daemon, reporting on its stdout.

use std::path::PathBuf;

use clap::Args;
use spacedrive_api::{ApiError, DaemonInfo, Frame, Result};

use spacedrive_daemon::Options;

use crate::session::Session;
use crate::start::options;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The data dir, as `start` chose it: nothing is joined to it
    #[arg(long)]
    dir: PathBuf,
    /// Switch networking on
    #[arg(long)]
    enable_networking: bool,
    /// No multicast DNS
    #[arg(long)]
    no_mdns: bool,
}

/// Runs the daemon in a session of its own. Whether it became ready or why not goes to stdout as one line;
/// from then on nothing of the starter's is open.
pub(crate) fn run(session: &Session, args: &Arguments) -> Result<()> {
    // Fails only when this process leads a group already, and is then as detached as it needs to be.
    let _ = rustix::process::setsid();
    let options = options(session, args.dir.clone(), false);
    let options = Options { enable_networking: args.enable_networking, no_mdns: args.no_mdns, ..options };
    let mut ready = false;
    let result = spacedrive_daemon::run(options, |info| {
        session.output.document(&Frame::Reply(info));
        ready = true;
        let _ = detach();
    });
    match result {
        Err(error) if !ready => {
            session.output.document(&Frame::<DaemonInfo>::Error(error.clone()));
            Err(error)
        }
        other => other,
    }
}

fn detach() -> Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null").map_err(|e| ApiError::io("/dev/null", &e))?;
    let failed = |e: rustix::io::Errno| ApiError::io("/dev/null", &e.into());
    rustix::stdio::dup2_stdout(&null).map_err(failed)?;
    rustix::stdio::dup2_stderr(&null).map_err(failed)
}
