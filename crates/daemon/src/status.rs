//! The whole view of the instance: only what is measured.

use std::sync::Arc;

use spacedrive_api::{Result, Status, StatusInfo};

use crate::context::Context;

pub(crate) async fn status(context: &Arc<Context>, request: &Status) -> Result<StatusInfo> {
    let query = request.library.clone();
    let (libraries, locations, jobs) = context
        .blocking(move |c| {
            // A library that is closed, damaged or gone has neither, and that is said in its own line.
            let open = c.libraries.open_ones();
            let asked = open
                .iter()
                .find(|library| query.as_deref().is_some_and(|q| q == library.name() || q == library.id().to_string()));
            let locations = asked.map_or(Vec::new(), |library| library.index().locations());
            let mut jobs = asked.map_or(Ok(Vec::new()), |library| library.jobs().list(None))?;
            jobs.extend(c.files.jobs().list(None)?);
            Ok((c.libraries.list(), locations, jobs.into_iter().filter(|job| !job.status.ended()).collect()))
        })
        .await?;
    Ok(StatusInfo { daemon: context.info(), libraries, locations, jobs, devices: crate::device::list(context) })
}
