//! The stream that `monitor` shows. Whatever may have changed something says so by [`Context::changed`]; what a
//! client gets is compared with what it got last.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use spacedrive_api::{Event, MonitorEnded, OfLibrary, Overview, PairList, Result};
use spacedrive_core::jobs::Jobs;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::answer::Answer;
use crate::context::Context;
use crate::{device, network, pairing};

/// How often the overview is sent when nothing changes: so a client that went away is noticed.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Changes that come one upon another are shown as one.
const TOGETHER: Duration = Duration::from_millis(100);

/// How many jobs of a library are shown.
const NEWEST: usize = 20;

/// How many libraries have their jobs followed as they change; those of others show with the next change.
const MOST_WATCHED: usize = 16;

/// How long one wait for a job's change lasts before it is looked whether the library is still open.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn monitor(context: &Arc<Context>, answer: &mut Answer) -> Result<MonitorEnded> {
    let mut changes = context.changes.subscribe();
    let mut network = context.network.events();
    let mut last: Option<Overview> = None;
    let mut beat = Instant::now();
    let mut watchers = Watchers::default();
    loop {
        changes.borrow_and_update();
        watchers.follow(context);
        let now = overview(context).await?;
        let is_due = beat.elapsed() >= HEARTBEAT;
        if is_due || last.as_ref().is_none_or(|last| now.differs_from(last)) {
            if !answer.event(Event::Overview(Box::new(now.clone()))).await {
                return Ok(MonitorEnded {});
            }
            last = Some(now);
            beat = Instant::now();
        }
        tokio::select! {
            () = context.stopping.cancelled() => {
                answer.event(Event::Stopping).await;
                return Ok(MonitorEnded {});
            }
            _ = changes.changed() => {}
            event = network.recv() => if matches!(event, Err(RecvError::Closed)) {
                return Ok(MonitorEnded {});
            },
            () = tokio::time::sleep_until(beat + HEARTBEAT) => continue,
        }
        tokio::time::sleep(TOGETHER).await;
    }
}

async fn overview(context: &Arc<Context>) -> Result<Overview> {
    let (locations, jobs) = context
        .blocking(|c| {
            let (mut locations, mut jobs) = (Vec::new(), Vec::new());
            for library in c.libraries.open_ones() {
                let (name, id) = (library.name().to_owned(), library.id());
                let of = |item| OfLibrary { library: name.clone(), library_id: id, item };
                locations.extend(library.index().locations().into_iter().map(of));
                let of = |item| OfLibrary { library: name.clone(), library_id: id, item };
                jobs.extend(library.jobs().list(None)?.into_iter().take(NEWEST).map(of));
            }
            Ok((locations, jobs))
        })
        .await?;
    Ok(Overview {
        daemon: context.info(),
        libraries: context.blocking(|c| Ok(c.libraries.list())).await?,
        locations,
        jobs,
        network: network::status(context).await?,
        devices: device::list(context),
        pairings: pairing::list(context, &PairList { pending: true }),
    })
}

/// The tasks that wait for changes of jobs, one a library, as long as somebody watches.
#[derive(Default)]
struct Watchers {
    tasks: JoinSet<Uuid>,
    watched: HashSet<Uuid>,
}

impl Watchers {
    /// Sees to it that every open library has one.
    fn follow(&mut self, context: &Arc<Context>) {
        while let Some(ended) = self.tasks.try_join_next() {
            self.watched.retain(|id| ended.as_ref().is_ok_and(|ended| ended != id));
        }
        for library in context.libraries.open_ones() {
            if self.tasks.len() < MOST_WATCHED && self.watched.insert(library.id()) {
                self.tasks.spawn(watch_jobs(context.clone(), library.id(), library.jobs().clone()));
            }
        }
    }
}

/// Says of every change of a library's jobs that there was one, until the library is closed.
async fn watch_jobs(context: Arc<Context>, library: Uuid, jobs: Arc<Jobs>) -> Uuid {
    let mut version = 0;
    loop {
        let waiting = jobs.clone();
        match context.blocking(move |_| waiting.wait_any(version, LOOK)).await {
            Ok((now, _)) if now != version => {
                version = now;
                context.changed();
            }
            Ok(_) => {}
            Err(_) => return library,
        }
        let is_open = context.libraries.open_ones().iter().any(|open| open.id() == library);
        if !is_open || context.stopping.is_cancelled() {
            return library;
        }
    }
}
