//! `daemon`: is it running, and what is it.

use serde::Serialize;
use spacedrive_api::{DaemonInfo, Result};

use crate::cli_state::CliState;
use crate::connect::connect_now;
use crate::output::{duration, printable};
use crate::session::Session;

#[derive(Serialize)]
struct Running<'a> {
    #[serde(flatten)]
    daemon: &'a DaemonInfo,
    current_library: Option<uuid::Uuid>,
}

pub(crate) async fn daemon(session: &Session) -> Result<()> {
    let info = connect_now(session).await?.info().await?;
    let current = CliState::read(session, &info.data_dir.0).current_library;
    session.output.result(&Running { daemon: &info, current_library: current }, || {
        let current = current.map_or("none".to_owned(), |id| id.to_string());
        format!("{}\nCurrent library: {current}", text(&info))
    });
    Ok(())
}

/// The daemon for a person.
pub(crate) fn text(info: &DaemonInfo) -> String {
    format!(
        "Instance `{}` is running\nVersion: {} (protocol {})\nPid: {}\nUptime: {}\nData: {}\nSocket: {}\nLibraries: {}\nNetworking: {}",
        info.name,
        printable(&info.version),
        info.protocol,
        info.pid,
        duration(info.uptime_s),
        printable(&info.data_dir.to_string_lossy()),
        printable(&info.socket.to_string_lossy()),
        info.libraries,
        networking(info.networking),
    )
}

/// Networking as a word.
pub(crate) fn networking(networking: spacedrive_api::Networking) -> &'static str {
    use spacedrive_api::Networking as N;
    match networking {
        N::Off => "off",
        N::Uninitialised => "uninitialised",
        N::Locked => "locked",
        N::On => "on",
    }
}
