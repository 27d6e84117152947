//! The whole view of the instance: only what is measured.

use std::sync::Arc;

use spacedrive_api::{Result, Status, StatusInfo};

use crate::context::Context;

pub(crate) async fn status(context: &Arc<Context>, _request: &Status) -> Result<StatusInfo> {
    let libraries = context.blocking(|c| Ok(c.libraries.list())).await?;
    Ok(StatusInfo { daemon: context.info(), libraries, devices: crate::device::list(context) })
}
