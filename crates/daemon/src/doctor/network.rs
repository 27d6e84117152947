//! Checks of networking.

use std::net::UdpSocket;

use spacedrive_api::Networking;

use super::{Patient, Said, failure, ok, warning};

/// Other devices are reached by UDP only.
pub(super) fn udp(_patient: &Patient) -> Said {
    match (UdpSocket::bind("0.0.0.0:0"), UdpSocket::bind("[::]:0")) {
        (Ok(_), Ok(_)) => ok("IPv4 and IPv6"),
        (Ok(_), Err(_)) => ok("IPv4 only"),
        (Err(_), Ok(_)) => ok("IPv6 only"),
        (Err(error), Err(_)) => {
            failure(format!("no UDP socket can be opened: {error}"), "look at the limits of this user or container")
        }
    }
}

pub(super) fn networking(patient: &Patient) -> Said {
    let Some(network) = &patient.told.network else { return Said::new() };
    let command = |rest: &str| format!("spacedrive --instance {} {rest}", patient.name);
    match network.networking {
        Networking::Off => ok("off"),
        Networking::On if network.addresses.is_empty() => {
            warning("on, but there is no address at which others could reach it", "look at the network interfaces: ip address")
        }
        Networking::On => ok(format!("on, as `{}` at {}", network.name.escape_debug(), network.addresses.join(", "))),
        Networking::Locked => warning("on, but the identity is locked", command("network init")),
        Networking::Uninitialised => warning("on, but there is no identity", command("network init")),
    }
}

pub(super) fn discovery(patient: &Patient) -> Said {
    match &patient.told.network {
        Some(network) if network.networking == Networking::On && network.discovery == "none" => {
            warning("devices are not looked for", format!("spacedrive instance restart {}", patient.name))
        }
        Some(network) if network.networking == Networking::On => ok(network.discovery.clone()),
        _ => Said::new(),
    }
}
