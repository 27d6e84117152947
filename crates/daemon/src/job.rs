//! Calls about jobs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use spacedrive_api::{Event, JobControl, JobGet, JobInfo, JobList, JobStatus, JobWatch, Result};
use uuid::Uuid;

use crate::answer::Answer;
use crate::context::Context;

/// How long one look for changes may take before it is looked whether the client is still there.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn list(context: &Arc<Context>, request: &JobList) -> Result<Vec<JobInfo>> {
    let request = request.clone();
    context.blocking(move |c| c.libraries.get_open(&request.library)?.jobs().list(request.status)).await
}

pub(crate) async fn get(context: &Arc<Context>, request: &JobGet) -> Result<JobInfo> {
    let request = request.clone();
    context
        .blocking(move |c| {
            let library = c.libraries.get_open(&request.library)?;
            library.jobs().get(library.jobs().find(&request.job)?)
        })
        .await
}

pub(crate) async fn control(context: &Arc<Context>, request: &JobControl) -> Result<JobInfo> {
    let request = request.clone();
    context
        .blocking(move |c| {
            let library = c.libraries.get_open(&request.library)?;
            library.jobs().control(library.jobs().find(&request.job)?, request.order)
        })
        .await
}

pub(crate) async fn watch(context: &Arc<Context>, request: &JobWatch, events: &mut Answer) -> Result<Vec<JobInfo>> {
    let query = request.clone();
    let (jobs, one) = context
        .blocking(move |c| {
            let library = c.libraries.get_open(&query.library)?;
            let one = query.job.as_ref().map(|job| library.jobs().find(job)).transpose()?;
            Ok((library.jobs().clone(), one))
        })
        .await?;
    let mut version = 0;
    let mut told: HashMap<Uuid, JobInfo> = HashMap::new();
    loop {
        let watched = jobs.clone();
        let look = context.blocking(move |_| match one {
            Some(id) => watched.wait(id, version, LOOK).map(|(version, info)| (version, vec![info])),
            None => watched.wait_any(version, LOOK),
        });
        let (now, mut infos) = tokio::select! {
            () = context.stopping.cancelled() => return Err(spacedrive_api::ApiError::unreachable("the daemon is stopping; the job goes on when it is started again")),
            look = look => look?,
        };
        version = now;
        if one.is_none() {
            // Those that ended since are told once more.
            for id in told.keys().filter(|id| !infos.iter().any(|info| info.id == **id)).copied().collect::<Vec<_>>() {
                let ended = jobs.clone();
                infos.push(context.blocking(move |_| ended.wait(id, 0, LOOK)).await?.1);
            }
        }
        for info in &infos {
            if told.get(&info.id) != Some(info) && !events.event(Event::Job(info.clone())).await {
                // The client has gone away; the job has not.
                return Ok(infos);
            }
            told.insert(info.id, info.clone());
        }
        if infos.iter().all(|info| info.status.ended() || info.status == JobStatus::Paused) {
            return Ok(told.into_values().collect());
        }
    }
}
