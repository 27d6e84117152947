//! How devices find each other without a server: a record in the runtime dir for those on the same machine,
//! multicast DNS on the local network. Addresses that a person gives, or that were used before, come on top.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use iroh::address_lookup::{AddrFilter, AddressLookup, EndpointData, EndpointInfo, Error as LookupError, Item};
use iroh::{Endpoint, EndpointId, TransportAddr};
use iroh_mdns_address_lookup::MdnsAddressLookup;
use n0_future::boxed::BoxStream;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const PREFIX: &str = "spacedrive-net-";
const SUFFIX: &str = ".json";

/// The largest record that is read, in bytes.
const MAX_RECORD: u64 = 4096;

/// The record of one endpoint: where it listens on the loopback interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    id: EndpointId,
    pid: i32,
    addresses: Vec<SocketAddr>,
}

/// The records of the endpoints of this user on this machine.
#[derive(Debug, Clone)]
pub(crate) struct SameHost {
    runtime: PathBuf,
}

/// The record of a running endpoint; removed when dropped.
#[derive(Debug)]
pub(crate) struct Published {
    path: PathBuf,
    last: Vec<SocketAddr>,
}

impl SameHost {
    pub(crate) fn new(runtime: &Path) -> Self {
        Self { runtime: runtime.to_owned() }
    }

    fn path(&self, id: &EndpointId) -> PathBuf {
        self.runtime.join(format!("{PREFIX}{id}{SUFFIX}"))
    }

    /// Announces `endpoint` to the other instances of this machine.
    pub(crate) fn publish(&self, endpoint: &Endpoint) -> Result<Published> {
        let mut published = Published { path: self.path(&endpoint.id()), last: Vec::new() };
        published.refresh(endpoint)?;
        Ok(published)
    }

    /// Where the endpoint listens on this machine. Believes only records that belong to this user, that nobody
    /// else can write, that name only loopback addresses, and whose process lives.
    pub(crate) fn find(&self, id: &EndpointId) -> Option<Vec<SocketAddr>> {
        let record = read(&self.path(id))?;
        (record.id == *id).then_some(record.addresses)
    }

    /// Removes the records that processes of this user left behind when they were killed.
    pub(crate) fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.runtime) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
            let path = entry.path();
            if ours && owned(&path) && read(&path).is_none() {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

impl Published {
    /// Brings the record up to date: the endpoint may have got other ports.
    pub(crate) fn refresh(&mut self, endpoint: &Endpoint) -> Result<()> {
        let addresses = loopback(endpoint);
        if addresses == self.last {
            return Ok(());
        }
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let record = Record { id: endpoint.id(), pid, addresses };
        let bytes = serde_json::to_vec(&record).map_err(|e| Error::io(&self.path)(e.into()))?;
        spacedrive_api::record::replace_file(&self.path, &bytes).map_err(Error::io(&self.path))?;
        self.last = record.addresses;
        Ok(())
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl AddressLookup for SameHost {
    fn resolve(&self, id: EndpointId) -> Option<BoxStream<Result<Item, LookupError>>> {
        let addresses = self.find(&id)?.into_iter().map(TransportAddr::Ip).collect();
        let item = Item::new(EndpointInfo::from_parts(id, EndpointData::new(addresses)), "same-host", None);
        Some(Box::pin(n0_future::stream::once(Ok(item))))
    }
}

/// The loopback addresses of an endpoint that listens on all interfaces.
pub(crate) fn loopback(endpoint: &Endpoint) -> Vec<SocketAddr> {
    let mut all = endpoint.bound_sockets();
    for address in &mut all {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn owned(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.uid() == rustix::process::geteuid().as_raw())
}

fn read(path: &Path) -> Option<Record> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path).ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut bytes).ok()?;
    let record: Record = serde_json::from_slice(&bytes).ok()?;
    let alive = rustix::process::Pid::from_raw(record.pid)
        .is_some_and(|pid| !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH)));
    (alive && record.addresses.iter().all(|address| address.ip().is_loopback())).then_some(record)
}

/// Who is announced by multicast DNS. The two kinds have names of their own: a service's members answer for each
/// other's rate, so a slow one would drown out a fast one of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    /// A device, all the time, and so seldom.
    Device,
    /// A pairing code, for some minutes: somebody waits.
    Code,
}

impl Announced {
    fn service(self) -> &'static str {
        match self {
            Self::Device => "spacedrive",
            Self::Code => "spacedrive-pair",
        }
    }

    /// How often to ask who is there; a joiner, who is not announced himself, looks for five seconds only.
    fn cadence(self, advertise: bool) -> Duration {
        match (self, advertise) {
            (Self::Device, _) => Duration::from_secs(5),
            (Self::Code, true) => Duration::from_millis(700),
            (Self::Code, false) => Duration::from_millis(250),
        }
    }
}

/// Multicast DNS for `endpoint`, which with `advertise` is announced too. `None`, with a line in the log, when this
/// machine has no network for it.
pub(crate) fn mdns(endpoint: &Endpoint, announced: Announced, advertise: bool) -> Option<MdnsAddressLookup> {
    let built = MdnsAddressLookup::builder()
        .service_name(announced.service())
        .addr_filter(AddrFilter::ip_only())
        .discovery_cadence(announced.cadence(advertise))
        .advertise(advertise)
        .build(endpoint.id());
    match built {
        Ok(mdns) => Some(mdns),
        Err(error) => {
            tracing::info!("no discovery on the local network: {error:#}");
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn id() -> EndpointId {
        iroh::SecretKey::from_bytes(&[3; 32]).public()
    }

    fn write(host: &SameHost, pid: i32, addresses: &[&str]) -> PathBuf {
        let record = Record { id: id(), pid, addresses: addresses.iter().map(|a| a.parse().unwrap()).collect() };
        spacedrive_api::record::replace_file(&host.path(&id()), &serde_json::to_vec(&record).unwrap()).unwrap();
        host.path(&id())
    }

    #[test]
    fn only_a_trustworthy_record_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let host = SameHost::new(dir.path());
        let me = rustix::process::getpid().as_raw_nonzero().get();
        assert_eq!(host.find(&id()), None);
        let path = write(&host, me, &["127.0.0.1:7", "[::1]:8"]);
        assert_eq!(host.find(&id()).unwrap().len(), 2);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
        assert_eq!(host.find(&id()), None, "others can write it");
        write(&host, me, &["10.0.0.1:7"]);
        assert_eq!(host.find(&id()), None, "not a loopback address");
        let path = write(&host, me, &["127.0.0.1:7"]);
        let target = dir.path().join("target");
        fs::rename(&path, &target).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert_eq!(host.find(&id()), None, "a symbolic link");
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"rubbish").unwrap();
        assert_eq!(host.find(&id()), None);
    }

    #[test]
    fn records_of_dead_processes_are_ignored_and_swept() {
        let dir = tempfile::tempdir().unwrap();
        let host = SameHost::new(dir.path());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let path = write(&host, child.id().try_into().unwrap(), &["127.0.0.1:7"]);
        assert_eq!(host.find(&id()), None);
        host.sweep();
        assert!(!path.exists());
        let path = write(&host, rustix::process::getpid().as_raw_nonzero().get(), &["127.0.0.1:7"]);
        host.sweep();
        assert!(path.exists());
    }
}
