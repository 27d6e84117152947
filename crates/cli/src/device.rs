//! `network devices` and `network revoke`: the paired devices.

use spacedrive_api::{DeviceInfo, DeviceList, DeviceRevoke, DeviceState, Result};

use crate::connect::connect;
use crate::output::{self, duration, printable};
use crate::session::Session;

pub(crate) async fn list(session: &Session) -> Result<()> {
    let devices = connect(session).await?.call(DeviceList {}).await?;
    session.output.result(&devices, || if devices.is_empty() { "No paired devices".to_owned() } else { table(&devices) });
    Ok(())
}

pub(crate) async fn revoke(session: &Session, device: String) -> Result<()> {
    let device = connect(session).await?.call(DeviceRevoke { device }).await?;
    session.output.result(&device, || {
        format!("Revoked `{}` ({}): what it has copied already stays there", printable(&device.name), device.id)
    });
    Ok(())
}

/// Devices for a person.
pub(crate) fn table(devices: &[DeviceInfo]) -> String {
    let now = jiff::Timestamp::now();
    let rows = devices.iter().map(|device| {
        let seen = match (device.status, device.last_seen) {
            (DeviceState::Connected, _) => "now".to_owned(),
            (DeviceState::Offline, Some(at)) => {
                let seconds = u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0);
                format!("{} ago", duration(seconds))
            }
            (DeviceState::Offline, None) => "never".to_owned(),
        };
        let status = match device.status {
            DeviceState::Connected => "connected",
            DeviceState::Offline => "offline",
        };
        [device.name.clone(), status.to_owned(), seen, device.id.clone()]
    });
    output::table(["DEVICE", "STATUS", "LAST SEEN", "ID"], rows)
}
