//! The instance's configuration: what `spacedrive.json` says.

use serde::{Deserialize, Serialize};

/// A setting that can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigKey {
    /// Whether networking is switched on at the start: `true` or `false`.
    Networking,
    /// Whether devices are looked for on the local network: `true` or `false`.
    Mdns,
    /// What is logged: a tracing filter such as `info,spacedrive_core=debug`.
    Log,
}

impl ConfigKey {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Networking, Self::Mdns, Self::Log];

    /// Its name, in `spacedrive.json` too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Networking => "networking",
            Self::Mdns => "mdns",
            Self::Log => "log",
        }
    }
}

/// Changes one setting, for the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigSet {
    /// The setting.
    pub key: ConfigKey,
    /// Its new value; `None` for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A setting that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChanged {
    /// The setting.
    pub key: ConfigKey,
    /// Its value now, as text; `None` for the default.
    pub value: Option<String>,
}
