//! Calls about pairing.

use std::sync::Arc;
use std::time::Duration;

use spacedrive_api::{
    ApiError, Event, PairDecide, PairGenerate, PairGenerated, PairJoin, PairJoined, PairList, PairWatch, PairedDevice,
    PairingInfo, PairingRole, PairingState, Result, Secret,
};
use spacedrive_net::code::Code;
use spacedrive_net::pairing::session;
use spacedrive_net::{Event as NetEvent, Network};
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use crate::answer::Answer;
use crate::context::Context;
use crate::error::from_net;

/// A decision that comes sooner than this is no person's: the check number is of no use then.
const AUTOMATIC: Duration = Duration::from_millis(400);

pub(crate) async fn generate(context: &Arc<Context>, request: &PairGenerate) -> Result<PairGenerated> {
    let lifetime = Duration::from_secs(request.ttl_s);
    let generated = context.network.pair_generate(request.auto_accept, lifetime).await.map_err(from_net)?;
    Ok(PairGenerated {
        code: Secret::from(generated.code),
        session: generated.session.id,
        expires_at: generated.session.expires_at.unwrap_or(generated.session.created_at),
        addresses: generated.session.addresses,
    })
}

pub(crate) async fn join(context: &Arc<Context>, request: &PairJoin, events: &mut Answer) -> Result<PairJoined> {
    let code = Code::parse(request.code.expose()).map_err(from_net)?;
    let mut changes = context.network.events();
    let network = context.network.clone();
    let address = request.address;
    let mut join = tokio::spawn(async move { network.pair_join(&code, address).await });
    let joined = loop {
        let id = tokio::select! {
            joined = &mut join => break joined,
            change = changes.recv() => match change {
                Ok(NetEvent::Pairing(id)) => id,
                _ => continue,
            },
        };
        let Some(info) = find(&context.network, id) else { continue };
        if info.role == PairingRole::Joiner && info.state == PairingState::Deciding && info.check.is_some() {
            // Shown only if a person has to compare it.
            match tokio::time::timeout(AUTOMATIC, &mut join).await {
                Ok(joined) => break joined,
                Err(_) => drop(events.event(Event::Pairing(Box::new(info))).await),
            }
        }
    };
    let joined = joined.map_err(|_| ApiError::failed("the pairing task ended"))?.map_err(from_net)?;
    let device = PairedDevice { id: joined.id.to_string(), name: joined.name };
    if !joined.connected {
        let name = device.name.escape_debug();
        return Err(ApiError::unreachable(format!("paired with `{name}`, but the two are not connected yet"))
            .hint("they connect by themselves as soon as they reach each other: spacedrive network devices"));
    }
    Ok(PairJoined { device, already: joined.already })
}

pub(crate) fn list(context: &Context, request: &PairList) -> Vec<PairingInfo> {
    let sessions = if request.pending { context.network.pair_pending() } else { context.network.pair_status() };
    sessions.into_iter().map(info).collect()
}

pub(crate) fn decide(context: &Context, request: &PairDecide) -> Result<PairingInfo> {
    let decided = if request.accept {
        context.network.pair_accept(&request.session)
    } else {
        context.network.pair_reject(&request.session)
    };
    decided.map(info).map_err(from_net)
}

pub(crate) async fn watch(context: &Arc<Context>, request: &PairWatch, events: &mut Answer) -> Result<PairingInfo> {
    let mut changes = context.network.events();
    let mut last = None;
    loop {
        let found = find(&context.network, request.session)
            .ok_or_else(|| ApiError::not_found(format!("no pairing session `{}`", request.session)))?;
        let ended = !matches!(found.state, PairingState::Waiting | PairingState::Proving | PairingState::Deciding);
        if ended {
            return Ok(found);
        }
        if last.as_ref() != Some(&found) {
            // Nobody is left to tell: the session goes on without a watcher.
            if !events.event(Event::Pairing(Box::new(found.clone()))).await {
                return Ok(found);
            }
            last = Some(found);
        }
        loop {
            match changes.recv().await {
                Ok(NetEvent::Pairing(id)) if id == request.session => break,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return Err(ApiError::not_running("the daemon is stopping")),
            }
        }
    }
}

fn find(network: &Network, id: Uuid) -> Option<PairingInfo> {
    network.pair_status().into_iter().find(|session| session.id == id).map(info)
}

fn info(status: session::PairingStatus) -> PairingInfo {
    PairingInfo {
        id: status.id,
        role: match status.role {
            session::Role::Initiator => PairingRole::Initiator,
            session::Role::Joiner => PairingRole::Joiner,
        },
        state: match status.state {
            session::PairingState::Waiting => PairingState::Waiting,
            session::PairingState::Proving => PairingState::Proving,
            session::PairingState::Deciding => PairingState::Deciding,
            session::PairingState::Paired => PairingState::Paired,
            session::PairingState::Unconfirmed => PairingState::Unconfirmed,
            session::PairingState::Expired => PairingState::Expired,
            session::PairingState::Rejected => PairingState::Rejected,
            session::PairingState::NoDecision => PairingState::NoDecision,
            session::PairingState::Failed => PairingState::Failed,
        },
        auto_accept: status.auto_accept,
        created_at: status.created_at,
        expires_at: status.expires_at,
        wrong_proofs: status.wrong_proofs,
        device: status.peer.map(|peer| PairedDevice { id: peer.id.to_string(), name: peer.name }),
        check: status.check,
        addresses: status.addresses,
        reason: status.reason,
    }
}
