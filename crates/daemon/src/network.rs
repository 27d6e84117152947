//! Calls about networking: the identity, on and off.

use std::sync::Arc;

use spacedrive_api::{
    KdfCost, NetworkInfo, NetworkInit, NetworkInitialised, NetworkPasswd, NetworkWasReset, Result, Secret, WirePath,
};
use spacedrive_net::identity::{Kdf, Password};

use crate::context::Context;
use crate::error::from_net;

pub(crate) async fn status(context: &Arc<Context>) -> Result<NetworkInfo> {
    let status = context.network.status().await.map_err(from_net)?;
    Ok(NetworkInfo {
        networking: status.networking,
        id: status.id.map(|id| id.to_string()),
        name: status.name,
        addresses: status.addresses.iter().map(ToString::to_string).collect(),
        discovery: if status.discovery.is_empty() { "none".to_owned() } else { status.discovery.join(", ") },
    })
}

pub(crate) async fn init(context: &Arc<Context>, request: &NetworkInit) -> Result<NetworkInitialised> {
    let cost = request.cost.map_or_else(Kdf::default, |KdfCost { m_kib, t, p }| Kdf { m_kib, t, p });
    let initialised = context.network.init(password(&request.password), cost).await.map_err(from_net)?;
    if initialised.created {
        context.remember_networking(true).await?;
    }
    Ok(NetworkInitialised { created: initialised.created, network: status(context).await? })
}

pub(crate) async fn start(context: &Arc<Context>) -> Result<NetworkInfo> {
    context.remember_networking(true).await?;
    context.network.start().await.map_err(from_net)?;
    status(context).await
}

pub(crate) async fn stop(context: &Arc<Context>) -> Result<NetworkInfo> {
    context.remember_networking(false).await?;
    context.network.stop().await;
    status(context).await
}

pub(crate) async fn passwd(context: &Arc<Context>, request: &NetworkPasswd) -> Result<NetworkInfo> {
    context.network.passwd(password(&request.old), password(&request.new)).await.map_err(from_net)?;
    status(context).await
}

pub(crate) async fn reset(context: &Arc<Context>) -> Result<NetworkWasReset> {
    let backup = context.network.reset().await.map_err(from_net)?;
    Ok(NetworkWasReset { backup: backup.map(WirePath) })
}

fn password(secret: &Option<Secret>) -> Option<Password> {
    secret.clone().map(Secret::into_inner)
}
