//! Calls about the configuration. What is changed here is read at the next start.

use std::sync::{Arc, PoisonError};

use spacedrive_api::{ApiError, ConfigChanged, ConfigKey, ConfigSet, Result};
use spacedrive_core::config::Config;

use crate::context::Context;
use crate::log;

pub(crate) async fn set(context: &Arc<Context>, request: &ConfigSet) -> Result<ConfigChanged> {
    if request.key == ConfigKey::Networking {
        return Err(ApiError::conflict("networking is not changed by the configuration while the daemon runs")
            .hint("spacedrive network start, or: spacedrive network stop"));
    }
    let change = change(request)?;
    context
        .blocking(move |c| {
            let mut config = c.config.lock().unwrap_or_else(PoisonError::into_inner);
            let mut changed = config.clone();
            change(&mut changed);
            changed.write(&c.data.config)?;
            *config = changed;
            Ok(())
        })
        .await?;
    Ok(ConfigChanged { key: request.key, value: request.value.clone() })
}

/// Checks the value, and gives what puts it into a configuration.
pub(crate) fn change(request: &ConfigSet) -> Result<impl FnOnce(&mut Config) + Send + use<>> {
    let name = request.key.name();
    let value = request.value.as_deref();
    let switch = |default: bool| match value {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(ApiError::invalid(format!("`{name}` cannot be `{}`: it is true or false", other.escape_debug()))),
    };
    let new = Config::new();
    let (networking, mdns, filter) = match request.key {
        ConfigKey::Networking => (Some(switch(new.networking)?), None, None),
        ConfigKey::Mdns => (None, Some(switch(new.mdns)?), None),
        ConfigKey::Log => {
            value.map(log::parse).transpose()?;
            (None, None, Some(request.value.clone()))
        }
    };
    Ok(move |config: &mut Config| {
        config.networking = networking.unwrap_or(config.networking);
        config.mdns = mdns.unwrap_or(config.mdns);
        if let Some(filter) = filter {
            config.log = filter;
        }
    })
}
