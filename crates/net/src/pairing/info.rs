//! What a device tells about itself while it pairs, sealed on the wire.

use std::net::SocketAddr;

use iroh::EndpointId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 64;

/// How many addresses are told at most.
pub const MAX_ADDRESSES: usize = 16;

/// The longest sealed info that is read, in bytes.
pub(crate) const MAX_INFO: usize = 2048;

/// What a device tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Its long-lived id. It counts for nothing until a signature of its key was seen.
    pub id: EndpointId,
    /// The UUID of its instance.
    pub device: Uuid,
    /// Its name: at most 64 bytes of printable text.
    pub name: String,
    /// Its operating system.
    pub os: String,
    /// The version of its software.
    pub version: String,
    /// Where its long-lived endpoint can be reached.
    pub addresses: Vec<SocketAddr>,
}

impl Info {
    /// The bytes that are sealed.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // A struct of strings and numbers always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The info in these bytes, or `None` when a field is not what it must be.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let info: Self = serde_json::from_slice(bytes).ok()?;
        let short = |text: &str| text.len() <= MAX_NAME && printable(text);
        (short(&info.name)
            && !info.name.is_empty()
            && short(&info.os)
            && short(&info.version)
            && info.addresses.len() <= MAX_ADDRESSES)
            .then_some(info)
    }
}

/// Whether the text has no control or direction-changing characters.
fn printable(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
}

/// `name` made fit for [`Info::name`]: printable, at most 64 bytes, never empty.
pub fn fit_name(name: &str) -> String {
    let mut fit = String::new();
    for c in name.chars().filter(|c| printable(c.encode_utf8(&mut [0; 4]))) {
        if fit.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        fit.push(c);
    }
    let fit = fit.trim();
    if fit.is_empty() { "unnamed".to_owned() } else { fit.to_owned() }
}
