//! Drops and how devices are trusted, in `instance.db`. Each commit survives a power cut.

use std::path::PathBuf;

use spacedrive_api::{DropState, DropTrust, ErrorKind, WirePath};
use uuid::Uuid;

use crate::Result;
use crate::db::{Durability, instance::drops};
use crate::devices::EndpointBytes;
use crate::instance::InstanceStore;

/// How many drops that are over are remembered.
const KEEP: u32 = 500;

/// What a drop is known by. The id alone is not enough: the sender chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DropKey {
    /// Whether this device sends.
    pub outgoing: bool,
    /// The public key of the other device.
    pub device: EndpointBytes,
    /// The sender's id for it.
    pub id: Uuid,
}

/// A drop as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRecord {
    /// What it is known by.
    pub key: DropKey,
    /// How far it is; one that runs is stored as waiting.
    pub state: DropState,
    /// Who sends, as it was told.
    pub sender: String,
    /// What the sender says.
    pub message: Option<String>,
    /// What is sent; empty on the receiving side.
    pub paths: Vec<WirePath>,
    /// The top-level names.
    pub names: Vec<WirePath>,
    /// Where it goes; `None` on the sending side, and before it was accepted.
    pub into: Option<PathBuf>,
    /// How many files.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How many bytes crossed the network in the last try.
    pub moved: u64,
    /// How many files could not be sent.
    pub errors: u64,
    /// Why it failed, or what was left out.
    pub problem: Option<String>,
    /// Which kind of failure that is.
    pub kind: Option<ErrorKind>,
    /// When it was made.
    pub created_at: jiff::Timestamp,
}

impl InstanceStore {
    /// All drops, newest first.
    pub fn drops(&self) -> Result<Vec<DropRecord>> {
        self.db.read(drops::all)
    }

    /// One drop.
    pub fn drop_record(&self, key: &DropKey) -> Result<Option<DropRecord>> {
        self.db.read(|c| drops::get(c, key))
    }

    /// Stores a drop, over what was stored of it before.
    pub fn store_drop(&self, record: &DropRecord) -> Result<()> {
        self.db.write(Durability::Full, |t| {
            drops::put(t, record)?;
            if record.state.is_over() { drops::prune(t, KEEP) } else { Ok(()) }
        })
    }

    /// How many drops of a device wait for a person.
    pub fn drops_asked(&self, device: &EndpointBytes) -> Result<u64> {
        self.db.read(|c| drops::asked(c, device))
    }

    /// What happens to the drops of a device.
    pub fn drop_trust(&self, device: &EndpointBytes) -> Result<DropTrust> {
        self.db.read(|c| drops::trust(c, device))
    }

    /// Says what happens to the drops of a device.
    pub fn set_drop_trust(&self, device: &EndpointBytes, trust: DropTrust) -> Result<()> {
        self.db.write(Durability::Full, |t| drops::set_trust(t, device, trust))
    }

    /// Forgets how a revoked device was trusted, and what it offered and nobody decided.
    pub fn forget_drops_of(&self, device: &EndpointBytes) -> Result<()> {
        self.db.write(Durability::Full, |t| drops::forget_device(t, device))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn record(byte: u8, state: DropState) -> DropRecord {
        DropRecord {
            key: DropKey { outgoing: byte.is_multiple_of(2), device: [byte; 32], id: Uuid::from_bytes([byte; 16]) },
            state,
            sender: "alice".to_owned(),
            message: Some("hello\n".to_owned()),
            paths: vec![WirePath::from_bytes(b"/tmp/\xff".to_vec())],
            names: vec![WirePath::from_bytes(b"\xff".to_vec())],
            into: Some(PathBuf::from("/inbox")),
            files: u64::MAX >> 1,
            bytes: 2,
            moved: 3,
            errors: 4,
            problem: None,
            kind: Some(ErrorKind::Storage),
            created_at: jiff::Timestamp::from_second(i64::from(byte)).unwrap(),
        }
    }

    #[test]
    fn drops_come_back_as_they_were_and_are_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let store = InstanceStore::open(&dir.path().join("instance.db")).unwrap();
        let (one, two) = (record(1, DropState::Asked), record(2, DropState::Completed));
        store.store_drop(&one).unwrap();
        store.store_drop(&two).unwrap();
        assert_eq!(store.drops().unwrap(), [two.clone(), one.clone()]);
        assert_eq!(store.drop_record(&one.key).unwrap(), Some(one.clone()));
        assert_eq!(store.drop_record(&DropKey { outgoing: true, ..one.key }).unwrap(), None);
        assert_eq!((store.drops_asked(&[1; 32]).unwrap(), store.drops_asked(&[2; 32]).unwrap()), (1, 0));
        for second in 0..600_u32 {
            let mut more = record(4, DropState::Failed);
            more.key.id = Uuid::from_u128(second.into());
            more.created_at = jiff::Timestamp::from_second(1000 + i64::from(second)).unwrap();
            store.store_drop(&more).unwrap();
        }
        assert_eq!(store.drops().unwrap().len(), 501, "500 that are over, and the one that is not");
        assert_eq!(store.drop_record(&one.key).unwrap(), Some(one));
    }

    #[test]
    fn a_device_is_asked_about_until_it_is_said_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let store = InstanceStore::open(&dir.path().join("instance.db")).unwrap();
        assert_eq!(store.drop_trust(&[1; 32]).unwrap(), DropTrust::Ask);
        store.set_drop_trust(&[1; 32], DropTrust::Accept).unwrap();
        store.set_drop_trust(&[2; 32], DropTrust::Refuse).unwrap();
        assert_eq!(store.drop_trust(&[1; 32]).unwrap(), DropTrust::Accept);
        store
            .store_drop(&DropRecord {
                key: DropKey { outgoing: false, ..record(1, DropState::Asked).key },
                ..record(1, DropState::Asked)
            })
            .unwrap();
        store.forget_drops_of(&[1; 32]).unwrap();
        assert_eq!(store.drop_trust(&[1; 32]).unwrap(), DropTrust::Ask);
        assert_eq!(store.drop_trust(&[2; 32]).unwrap(), DropTrust::Refuse);
        assert_eq!(store.drops().unwrap(), []);
    }

    #[test]
    fn whoever_ends_a_pairing_ends_its_trust() {
        let dir = tempfile::tempdir().unwrap();
        let store = InstanceStore::open(&dir.path().join("instance.db")).unwrap();
        store.set_drop_trust(&[1; 32], DropTrust::Accept).unwrap();
        store.set_drop_trust(&[2; 32], DropTrust::Accept).unwrap();
        store.forget_device(&[1; 32]).unwrap();
        store.revoke_device(&[2; 32], jiff::Timestamp::now()).unwrap();
        assert_eq!(store.drop_trust(&[1; 32]).unwrap(), DropTrust::Ask);
        assert_eq!(store.drop_trust(&[2; 32]).unwrap(), DropTrust::Ask);
    }
}
