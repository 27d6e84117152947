//! Calls about jobs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use spacedrive_api::{Event, JobControl, JobGet, JobInfo, JobList, JobStatus, JobWatch, Result};
use spacedrive_core::Error;
use spacedrive_core::jobs::Jobs;
use uuid::Uuid;

use crate::answer::Answer;
use crate::context::Context;

/// How long one look for changes may take before it is looked whether the client is still there.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn list(context: &Arc<Context>, request: &JobList) -> Result<Vec<JobInfo>> {
    let request = request.clone();
    context
        .blocking(move |c| {
            let mut all = Vec::new();
            for jobs in runners(c, request.library.as_deref())? {
                all.extend(jobs.list(request.status)?);
            }
            // An id says when the job was accepted.
            all.sort_by_key(|job: &JobInfo| std::cmp::Reverse(job.id));
            Ok(all)
        })
        .await
}

pub(crate) async fn get(context: &Arc<Context>, request: &JobGet) -> Result<JobInfo> {
    let request = request.clone();
    context
        .blocking(move |c| {
            let (jobs, id) = find(c, request.library.as_deref(), &request.job)?;
            jobs.get(id)
        })
        .await
}

pub(crate) async fn control(context: &Arc<Context>, request: &JobControl) -> Result<JobInfo> {
    let request = request.clone();
    context
        .blocking(move |c| {
            let (jobs, id) = find(c, request.library.as_deref(), &request.job)?;
            jobs.control(id, request.order)
        })
        .await
}

/// Those that run the jobs of the instance and of the library.
fn runners(context: &Context, library: Option<&str>) -> spacedrive_core::Result<Vec<Arc<Jobs>>> {
    let mut runners = vec![Arc::clone(context.files.jobs())];
    if let Some(library) = library {
        runners.push(context.libraries.get_open(library)?.jobs().clone());
    }
    Ok(runners)
}

/// The job that `query` names, and who runs it.
fn find(context: &Context, library: Option<&str>, query: &str) -> spacedrive_core::Result<(Arc<Jobs>, Uuid)> {
    let mut found = Vec::new();
    for jobs in runners(context, library)? {
        match jobs.find(query) {
            Ok(id) => found.push((jobs, id)),
            Err(Error::JobNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if found.len() > 1 {
        let candidates = found.iter().map(|(_, id)| id.to_string()).collect();
        return Err(Error::JobAmbiguous { query: query.to_owned(), candidates });
    }
    found.pop().ok_or_else(|| Error::JobNotFound { query: query.to_owned() })
}

pub(crate) async fn watch(context: &Arc<Context>, request: &JobWatch, events: &mut Answer) -> Result<Vec<JobInfo>> {
    let query = request.clone();
    let (runners, one) = context
        .blocking(move |c| match &query.job {
            Some(job) => find(c, query.library.as_deref(), job).map(|(jobs, id)| (vec![jobs], Some(id))),
            None => runners(c, query.library.as_deref()).map(|runners| (runners, None)),
        })
        .await?;
    let mut versions = vec![0; runners.len()];
    let mut told: HashMap<Uuid, JobInfo> = HashMap::new();
    loop {
        let (watched, seen) = (runners.clone(), versions.clone());
        let look = context.blocking(move |_| look(&watched, seen, one));
        let (now, mut infos) = tokio::select! {
            () = context.stopping.cancelled() => return Err(spacedrive_api::ApiError::unreachable("the daemon is stopping; the job goes on when it is started again")),
            look = look => look?,
        };
        versions = now;
        if one.is_none() {
            // Those that ended since are told once more.
            for id in told.keys().filter(|id| !infos.iter().any(|info| info.id == **id)).copied().collect::<Vec<_>>() {
                let watched = runners.clone();
                let ended = context.blocking(move |_| Ok(watched.iter().find_map(|jobs| jobs.get(id).ok()))).await?;
                infos.extend(ended);
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

/// Waits for a change of one job, or of any.
fn look(runners: &[Arc<Jobs>], mut seen: Vec<u64>, one: Option<Uuid>) -> spacedrive_core::Result<(Vec<u64>, Vec<JobInfo>)> {
    let mut infos = Vec::new();
    for (jobs, version) in runners.iter().zip(&mut seen) {
        match one {
            Some(id) => {
                let (now, info) = jobs.wait(id, *version, LOOK)?;
                *version = now;
                infos.push(info);
            }
            None => {
                let (now, some) = jobs.wait_any(*version, if runners.len() > 1 { LOOK / 10 } else { LOOK })?;
                *version = now;
                infos.extend(some);
            }
        }
    }
    Ok((seen, infos))
}
