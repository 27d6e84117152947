//! Calls about paired devices.

use std::sync::Arc;

use spacedrive_api::{DeviceInfo, DeviceRevoke, DeviceState, Result};
use spacedrive_net::DeviceStatus;

use crate::context::Context;
use crate::error::from_net;

pub(crate) fn list(context: &Context) -> Vec<DeviceInfo> {
    context.network.devices().into_iter().map(info).collect()
}

pub(crate) async fn revoke(context: &Arc<Context>, request: &DeviceRevoke) -> Result<DeviceInfo> {
    let mut device = context.network.revoke(&request.device).await.map_err(from_net)?;
    context.drops.forget(*device.id.as_bytes()).await?;
    device.connected = false;
    Ok(info(device))
}

fn info(device: DeviceStatus) -> DeviceInfo {
    DeviceInfo {
        id: device.id.to_string(),
        name: device.name,
        status: if device.connected { DeviceState::Connected } else { DeviceState::Offline },
        paired_at: device.paired_at,
        last_seen: device.last_seen,
        os: device.os,
        version: device.version,
    }
}
