//! Paired devices and tombstones, in `instance.db`. Each commit survives a power cut.

use uuid::Uuid;

use crate::db::{
    Durability,
    instance::{devices, drops},
};
use crate::instance::InstanceStore;
use crate::{Error, Result, failpoint};

/// The public key that a device is known by.
pub type EndpointBytes = [u8; 32];

/// How far the pairing with a device got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// It proved that it has the code, but not yet that it stored this device. Authorises nothing.
    Pending,
    /// Both sides stored each other.
    Paired,
}

/// A device that this instance was paired with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its public key.
    pub endpoint: EndpointBytes,
    /// The UUID of its instance.
    pub device: Uuid,
    /// Its name, as it told it: escape it before it reaches a terminal.
    pub name: String,
    /// Its operating system.
    pub os: String,
    /// The version of its software.
    pub version: String,
    /// Where it was reached last: `IP:PORT` each.
    pub addresses: Vec<String>,
    /// How far the pairing got.
    pub state: DeviceState,
    /// When it was stored first.
    pub paired_at: jiff::Timestamp,
    /// When it was connected last.
    pub last_seen: Option<jiff::Timestamp>,
}

impl InstanceStore {
    /// All devices, by name.
    pub fn devices(&self) -> Result<Vec<Device>> {
        self.db.read(devices::all)
    }

    /// The device with this public key.
    pub fn device(&self, endpoint: &EndpointBytes) -> Result<Option<Device>> {
        self.db.read(|c| devices::get(c, endpoint))
    }

    /// Stores a device after it proved itself. One that is paired already stays so.
    pub fn store_device(&self, device: &Device) -> Result<()> {
        let (before, after) = match device.state {
            DeviceState::Pending => ("device.pending.before", "device.pending.after"),
            DeviceState::Paired => ("device.paired.before", "device.paired.after"),
        };
        self.hit(before)?;
        self.db.write(Durability::Full, |t| devices::put(t, device))?;
        self.hit(after)
    }

    /// Makes a pending device a paired one. Answers whether there is such a device, paired now.
    pub fn confirm_device(&self, endpoint: &EndpointBytes) -> Result<bool> {
        self.hit("device.confirm.before")?;
        let known = self.db.write(Durability::Full, |t| devices::confirm(t, endpoint))?;
        self.hit("device.confirm.after")?;
        Ok(known)
    }

    /// Notes that the device was connected at `at`.
    pub fn device_seen(&self, endpoint: &EndpointBytes, at: jiff::Timestamp) -> Result<()> {
        self.db.write(Durability::Full, |t| devices::seen(t, endpoint, at))
    }

    /// Notes where the device was reached.
    pub fn device_addresses(&self, endpoint: &EndpointBytes, addresses: &[String]) -> Result<()> {
        self.db.write(Durability::Full, |t| devices::set_addresses(t, endpoint, addresses))
    }

    /// Removes a device and leaves a tombstone. Answers whether there was one.
    pub fn revoke_device(&self, endpoint: &EndpointBytes, at: jiff::Timestamp) -> Result<bool> {
        self.hit("device.revoke.before")?;
        let known = self.db.write(Durability::Full, |t| {
            devices::add_tombstone(t, endpoint, at)?;
            drops::forget_device(t, endpoint)?;
            devices::remove(t, endpoint)
        })?;
        self.hit("device.revoke.after")?;
        Ok(known)
    }

    /// Removes a device that does not know this one any more, and how it was trusted. Leaves no tombstone.
    pub fn forget_device(&self, endpoint: &EndpointBytes) -> Result<bool> {
        self.db.write(Durability::Full, |t| {
            drops::forget_device(t, endpoint)?;
            devices::remove(t, endpoint)
        })
    }

    /// Removes the pending devices that were stored before `before`. Answers how many.
    pub fn forget_pending_devices(&self, before: jiff::Timestamp) -> Result<usize> {
        self.db.write(Durability::Full, |t| devices::remove_pending(t, before))
    }

    /// The devices that were revoked, and when.
    pub fn tombstones(&self) -> Result<Vec<(EndpointBytes, jiff::Timestamp)>> {
        self.db.read(devices::tombstones)
    }

    fn hit(&self, place: &str) -> Result<()> {
        failpoint::hit(place).map_err(Error::io(self.db.path()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn device(byte: u8, state: DeviceState) -> Device {
        Device {
            endpoint: [byte; 32],
            device: Uuid::from_bytes([byte; 16]),
            name: format!("device {byte}"),
            os: "linux".to_owned(),
            version: "0.1.0".to_owned(),
            addresses: vec!["127.0.0.1:1".to_owned(), "[::1]:2".to_owned()],
            state,
            paired_at: jiff::Timestamp::from_second(1_700_000_000).unwrap(),
            last_seen: None,
        }
    }

    fn store() -> (tempfile::TempDir, InstanceStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = InstanceStore::open(&dir.path().join("instance.db")).unwrap();
        (dir, store)
    }

    #[test]
    fn a_device_comes_back_as_it_was_stored() {
        let (dir, store) = store();
        store.store_device(&device(1, DeviceState::Paired)).unwrap();
        drop(store);
        let store = InstanceStore::open(&dir.path().join("instance.db")).unwrap();
        assert_eq!(store.devices().unwrap(), [device(1, DeviceState::Paired)]);
        assert_eq!(store.device(&[1; 32]).unwrap(), Some(device(1, DeviceState::Paired)));
        assert_eq!(store.device(&[2; 32]).unwrap(), None);
    }

    #[test]
    fn a_paired_device_is_never_made_pending_again() {
        let (_dir, store) = store();
        store.store_device(&device(1, DeviceState::Pending)).unwrap();
        assert_eq!(store.devices().unwrap()[0].state, DeviceState::Pending);
        assert!(store.confirm_device(&[1; 32]).unwrap());
        let again = Device { name: "renamed".to_owned(), ..device(1, DeviceState::Pending) };
        store.store_device(&again).unwrap();
        let found = store.devices().unwrap();
        assert_eq!((found[0].state, found[0].name.as_str()), (DeviceState::Paired, "renamed"));
        assert!(!store.confirm_device(&[2; 32]).unwrap());
    }

    #[test]
    fn a_revoked_device_leaves_a_tombstone_until_it_is_paired_again() {
        let (_dir, store) = store();
        let at = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        store.store_device(&device(1, DeviceState::Paired)).unwrap();
        assert!(store.revoke_device(&[1; 32], at).unwrap());
        assert!(store.devices().unwrap().is_empty());
        assert_eq!(store.tombstones().unwrap(), [([1; 32], at)]);
        store.store_device(&device(1, DeviceState::Pending)).unwrap();
        assert_eq!(store.tombstones().unwrap().len(), 1, "a pending device is still a revoked one");
        store.confirm_device(&[1; 32]).unwrap();
        assert!(store.tombstones().unwrap().is_empty());
    }

    #[test]
    fn pending_devices_are_forgotten_and_paired_ones_are_kept() {
        let (_dir, store) = store();
        store.store_device(&device(1, DeviceState::Pending)).unwrap();
        store.store_device(&device(2, DeviceState::Paired)).unwrap();
        assert_eq!(store.forget_pending_devices(jiff::Timestamp::from_second(1_600_000_000).unwrap()).unwrap(), 0);
        assert_eq!(store.forget_pending_devices(jiff::Timestamp::now()).unwrap(), 1);
        assert_eq!(store.devices().unwrap(), [device(2, DeviceState::Paired)]);
    }

    #[test]
    fn last_seen_never_goes_back() {
        let (_dir, store) = store();
        store.store_device(&device(1, DeviceState::Paired)).unwrap();
        let (early, late) = (jiff::Timestamp::from_second(10).unwrap(), jiff::Timestamp::from_second(20).unwrap());
        store.device_seen(&[1; 32], late).unwrap();
        store.device_seen(&[1; 32], early).unwrap();
        assert_eq!(store.devices().unwrap()[0].last_seen, Some(late));
    }
}
