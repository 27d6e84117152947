//! Calls about drops.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spacedrive_api::{
    ApiError, DeviceTrust, DropDecide, DropDirection, DropInfo, DropOrder, DropSend, DropState, DropTrust, DropWatch, ErrorKind,
    Event, PairedDevice, Progress, Result, TrustInfo, WirePath,
};
use spacedrive_core::drops::{DropKey, DropRecord};
use spacedrive_net::EndpointId;
use spacedrive_net::transfer::Source;
use uuid::Uuid;

use crate::answer::Answer;
use crate::context::Context;
use crate::error::{from_net, from_transfer};

/// How often a watcher hears how far a drop is.
const TELL: Duration = Duration::from_millis(200);

pub(crate) async fn send(context: &Arc<Context>, request: &DropSend) -> Result<DropInfo> {
    let device = context.network.find(&request.device).map_err(from_net)?;
    if request.paths.is_empty() {
        return Err(ApiError::invalid("there is nothing to send"));
    }
    if let Some(path) = request.paths.iter().find(|path| !path.0.is_absolute()) {
        return Err(ApiError::invalid(format!("{}: the path is not absolute", path.0.display())));
    }
    let paths: Vec<_> = request.paths.iter().map(|path| path.0.clone()).collect();
    let checked = tokio::task::spawn_blocking(move || Source::paths(&paths).map(drop)).await;
    checked.map_err(|_| ApiError::failed("looking at what to send failed"))?.map_err(from_transfer)?;
    let network = context.network.status().await.map_err(from_net)?;
    let record = DropRecord {
        key: DropKey { outgoing: true, device: *device.id.as_bytes(), id: Uuid::now_v7() },
        state: DropState::Waiting,
        sender: request.sender.clone().unwrap_or(network.name),
        message: request.message.clone(),
        names: request.paths.iter().filter_map(|path| path.0.file_name()).map(|name| WirePath::from(Path::new(name))).collect(),
        paths: request.paths.clone(),
        into: None,
        files: 0,
        bytes: 0,
        moved: 0,
        errors: 0,
        problem: None,
        kind: None,
        created_at: jiff::Timestamp::now(),
    };
    context.drops.add(record.clone()).await?;
    Ok(info(context, record))
}

pub(crate) async fn list(context: &Arc<Context>) -> Result<Vec<DropInfo>> {
    Ok(context.drops.all().await?.into_iter().map(|record| info(context, record)).collect())
}

pub(crate) async fn decide(context: &Arc<Context>, request: &DropDecide) -> Result<DropInfo> {
    let record = find(context, &request.drop).await?;
    let id = record.key.id;
    match request.order {
        DropOrder::Cancel => {}
        _ if record.key.outgoing => {
            return Err(ApiError::conflict(format!("drop {id} is one that this device sends"))
                .hint(format!("spacedrive network drops cancel {id}")));
        }
        DropOrder::Accept | DropOrder::Reject => {}
    }
    if record.state.is_over() {
        return Err(ApiError::conflict(format!("drop {id} is over")).hint("spacedrive network drops list"));
    }
    let into = match &request.into {
        Some(into) if !into.0.is_absolute() => {
            return Err(ApiError::invalid(format!("{}: the path is not absolute", into.0.display())));
        }
        Some(into) if !into.0.is_dir() => {
            return Err(ApiError::not_found(format!("{}: there is no such folder", into.0.display())));
        }
        Some(into) => Some(into.0.clone()),
        None => None,
    };
    let record = match request.order {
        DropOrder::Accept => context.drops.accept(record, into).await?,
        DropOrder::Reject => context.drops.stop(record, DropState::Declined).await?,
        DropOrder::Cancel => context.drops.stop(record, DropState::Cancelled).await?,
    };
    Ok(info(context, record))
}

pub(crate) async fn watch(context: &Arc<Context>, request: &DropWatch, events: &mut Answer) -> Result<DropInfo> {
    let key = find(context, &request.drop).await?.key;
    let mut changes = context.drops.changes();
    let mut last = None;
    loop {
        let found = info(context, context.drops.get(key).await?);
        if found.state.is_over() {
            return Ok(found);
        }
        if last.as_ref() != Some(&found) {
            let message = format!("{} {}", state(found.state), found.device.name);
            let total = (found.bytes > 0).then_some(found.bytes);
            let progress = Progress { done: found.bytes_done, total, unit: "bytes".to_owned(), message };
            // Nobody is left to tell: the drop goes on without a watcher.
            if !events.event(Event::Progress(progress)).await {
                return Ok(found);
            }
        }
        let running = found.state == DropState::Running;
        last = Some(found);
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(TELL), if running => {}
            () = context.stopping.cancelled() => return Err(ApiError::not_running("the daemon is stopping; the drop goes on when it starts")),
        }
    }
}

pub(crate) async fn trust(context: &Arc<Context>, request: &DeviceTrust) -> Result<TrustInfo> {
    let device = context.network.find(&request.device).map_err(from_net)?;
    let key = *device.id.as_bytes();
    let drops: DropTrust = match request.drops {
        Some(drops) => {
            context.drops.set_trust(key, drops).await?;
            drops
        }
        None => context.drops.trust(key).await?,
    };
    Ok(TrustInfo { device: PairedDevice { id: device.id.to_string(), name: device.name }, drops })
}

fn state(state: DropState) -> &'static str {
    match state {
        DropState::Waiting => "waiting for",
        DropState::Asked => "waiting for the answer of",
        DropState::Running => "with",
        _ => "over with",
    }
}

/// The drop with this id or unique prefix of it.
async fn find(context: &Arc<Context>, query: &str) -> Result<DropRecord> {
    let wanted = query.to_lowercase();
    let mut found: Vec<_> = context.drops.all().await?;
    found.retain(|record| {
        let id = record.key.id.to_string();
        id == wanted || (wanted.len() >= 4 && id.starts_with(&wanted))
    });
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(ApiError::not_found(format!("no drop `{}`", query.escape_debug())).hint("spacedrive network drops list")),
        _ => Err(ApiError::not_found(format!("`{}` is the beginning of more than one drop's id", query.escape_debug()))
            .hint("spacedrive network drops list")),
    }
}

/// A drop as it is told.
fn info(context: &Context, record: DropRecord) -> DropInfo {
    let id = EndpointId::from_bytes(&record.key.device).map(|id| id.to_string()).unwrap_or_default();
    let name = context.network.devices().into_iter().find(|device| device.id.to_string() == id).map(|device| device.name);
    let (state, files_done, bytes_done, moved) = context.drops.progress(&record);
    DropInfo {
        id: record.key.id,
        direction: if record.key.outgoing { DropDirection::Out } else { DropDirection::In },
        state,
        device: PairedDevice { name: name.unwrap_or_else(|| id.chars().take(16).collect()), id },
        sender: record.sender,
        message: record.message,
        names: record.names,
        into: record.into.map(WirePath),
        files: record.files,
        bytes: record.bytes,
        files_done,
        bytes_done,
        moved,
        errors: record.errors,
        problem: record.problem,
        kind: record.kind.filter(|kind| *kind != ErrorKind::Unknown),
        created_at: record.created_at,
    }
}
