//! Devices for the tests: real endpoints on the loopback interface, real databases in temporary folders.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::result_large_err,
    reason = "each test uses some of it, and fails by panicking"
)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spacedrive_core::instance::InstanceStore;
use spacedrive_net::code::Code;
use spacedrive_net::identity::{Kdf, Password};
use spacedrive_net::{EndpointId, Error, Event, Network, Settings};
use uuid::Uuid;

/// Ten times what anything in here takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The machine that the devices of one test share: its runtime dir.
pub struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        Self { dir }
    }

    pub fn runtime(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// A device that is on, with an identity.
    pub async fn device(&self, name: &str) -> Device {
        let device = self.device_off(name);
        device.network.init(Some(password("test123")), Kdf::FLOOR).await.unwrap();
        device
    }

    /// A device without an identity.
    pub fn device_off(&self, name: &str) -> Device {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let instance = Uuid::new_v4();
        Device {
            network: open(&dir, &self.runtime(), instance, name),
            dir,
            instance,
            name: name.to_owned(),
            runtime: self.runtime(),
        }
    }
}

fn open(dir: &Path, runtime: &Path, instance: Uuid, name: &str) -> Network {
    let settings = Settings {
        identity: dir.join("network_identity.json"),
        runtime: runtime.to_owned(),
        instance,
        name: name.to_owned(),
        version: "0.0.0".to_owned(),
        mdns: false,
    };
    Network::new(settings, Arc::new(InstanceStore::open(&dir.join("instance.db")).unwrap())).unwrap()
}

pub struct Device {
    pub network: Network,
    pub dir: PathBuf,
    pub instance: Uuid,
    pub name: String,
    runtime: PathBuf,
}

impl Device {
    pub async fn id(&self) -> EndpointId {
        self.network.status().await.unwrap().id.unwrap()
    }

    /// Ends the device and starts it again on the same files, as a restart of its daemon does.
    pub async fn restart(&mut self) {
        self.network.close().await;
        self.network = open(&self.dir, &self.runtime, self.instance, &self.name);
        self.network.start().await.unwrap();
    }

    pub async fn unlock(&self) {
        self.network.init(Some(password("test123")), Kdf::FLOOR).await.unwrap();
    }

    /// Makes a code that accepts the first joiner.
    pub async fn offer(&self) -> Code {
        let generated = self.network.pair_generate(true, Duration::from_secs(300)).await.unwrap();
        Code::parse(&generated.code).unwrap()
    }

    /// The names of the paired devices.
    pub fn names(&self) -> Vec<String> {
        self.network.devices().into_iter().map(|device| device.name).collect()
    }

    pub fn sees(&self, id: &EndpointId) -> Option<bool> {
        self.network.devices().into_iter().find(|device| device.id == *id).map(|device| device.connected)
    }

    /// Waits until `condition` holds; it is asked again after every event.
    pub async fn until(&self, what: &str, mut condition: impl FnMut(&Network) -> bool) {
        let mut events = self.network.events();
        within(what, async {
            while !condition(&self.network) {
                // An event can be lost to a slow reader, so look again now and then.
                let _ = tokio::time::timeout(Duration::from_millis(200), events.recv()).await;
            }
        })
        .await;
    }

    pub async fn until_connected(&self, other: &Device) {
        let id = other.id().await;
        self.until(&format!("{} sees {} connected", self.name, other.name), |n| connected(n, &id) == Some(true)).await;
    }

    pub async fn until_offline(&self, id: &EndpointId) {
        self.until(&format!("{} sees it offline", self.name), |n| connected(n, id) == Some(false)).await;
    }
}

pub fn connected(network: &Network, id: &EndpointId) -> Option<bool> {
    network.devices().into_iter().find(|device| device.id == *id).map(|device| device.connected)
}

pub fn password(text: &str) -> Password {
    Password::new(text.to_owned())
}

/// Fails when `future` takes longer than anything in here may.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("took too long: {what}"))
}

/// Two devices of one machine that are paired and connected.
pub async fn pair(host: &Host) -> (Device, Device) {
    let (alice, bob) = (host.device("alice").await, host.device("bob").await);
    let code = alice.offer().await;
    let joined = bob.network.pair_join(&code, None).await.unwrap();
    assert!(joined.connected && !joined.already);
    (alice, bob)
}

pub fn no_answer(result: Result<spacedrive_net::Joined, Error>) -> bool {
    matches!(result, Err(Error::NoAnswer))
}

/// The next event about the devices.
pub async fn next_event(events: &mut tokio::sync::broadcast::Receiver<Event>) -> Event {
    within("an event", async { events.recv().await.unwrap() }).await
}
