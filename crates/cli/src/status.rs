//! `status`: the whole view of the instance.

use spacedrive_api::{DeviceInfo, Result, Status};

use crate::cli_state::CliState;
use crate::connect::connect_now;
use crate::library::{self, View};
use crate::session::Session;

#[derive(serde::Serialize)]
struct Whole<'a> {
    daemon: &'a spacedrive_api::DaemonInfo,
    libraries: Vec<View<'a>>,
    locations: &'a [spacedrive_api::LocationInfo],
    jobs: &'a [spacedrive_api::JobInfo],
    devices: &'a [DeviceInfo],
}

pub(crate) async fn status(session: &Session) -> Result<()> {
    let mut client = connect_now(session).await?;
    let daemon = client.info().await?;
    let current = CliState::read(session, &daemon.data_dir.0).current_library;
    if daemon.protocol != spacedrive_api::protocol() {
        // Another version's daemon: what the frozen call tells is all that can be known.
        session.output.result(&serde_json::json!({ "daemon": daemon }), || crate::daemon::text(&daemon));
        session.output.warning(format!(
            "the daemon speaks protocol {}, this command {}: restart it to see more ({}, then start)",
            daemon.protocol,
            spacedrive_api::protocol(),
            session.command("stop")
        ));
        return Ok(());
    }
    let status = client.call(Status { library: current.map(|id| id.to_string()) }).await?;
    let libraries: Vec<View<'_>> = status.libraries.iter().map(|info| View::new(info, current)).collect();
    let whole =
        Whole { daemon: &status.daemon, libraries, locations: &status.locations, jobs: &status.jobs, devices: &status.devices };
    session.output.result(&whole, || {
        let libraries =
            if status.libraries.is_empty() { "No libraries".to_owned() } else { library::table(&status.libraries, current) };
        let mut parts = vec![crate::daemon::text(&status.daemon), libraries];
        if !status.locations.is_empty() {
            parts.push(crate::location::table(&status.locations));
        }
        if !status.jobs.is_empty() {
            parts.push(crate::job::table(&status.jobs));
        }
        parts.push(if status.devices.is_empty() {
            "No paired devices".to_owned()
        } else {
            crate::device::table(&status.devices)
        });
        parts.join("\n\n")
    });
    Ok(())
}
