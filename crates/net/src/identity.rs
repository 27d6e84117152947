//! The identity of a device: one Ed25519 key, sealed with a password in `network_identity.json`.
//!
//! The key is encrypted with XChaCha20-Poly1305 under a key that Argon2id makes from the password. The
//! header, with the public key and the instance's UUID, is authenticated with it, so that a swapped or
//! edited file does not open. Nothing in here ever makes a new identity over an old one.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::prelude::{BASE64_STANDARD, Engine};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use iroh::{EndpointId, SecretKey};
use serde::{Deserialize, Serialize};
use spacedrive_core::failpoint;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{Error, Result};

/// The version of the file that this build writes.
const VERSION: u32 = 1;

/// The largest file that is read, in bytes; the real one has some hundred.
const MAX_BYTES: u64 = 16 * 1024;

/// The bounds of what a file may ask of Argon2: a planted file must not exhaust the machine, nor be weak.
const M_KIB: std::ops::RangeInclusive<u32> = 8 * 1024..=1024 * 1024;
const PASSES: std::ops::RangeInclusive<u32> = 1..=10;
const LANES: std::ops::RangeInclusive<u32> = 1..=16;

/// A password. Wiped when dropped.
pub type Password = Zeroizing<String>;

/// How hard it is to try a password: the cost of Argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kdf {
    /// Memory, in KiB: 8 MiB to 1 GiB.
    pub m_kib: u32,
    /// Passes: 1 to 10.
    pub t: u32,
    /// Lanes: 1 to 16.
    pub p: u32,
}

impl Default for Kdf {
    /// The second recommended setting of RFC 9106.
    fn default() -> Self {
        Self { m_kib: 64 * 1024, t: 3, p: 4 }
    }
}

impl Kdf {
    /// The cheapest setting that is accepted, for tests.
    pub const FLOOR: Self = Self { m_kib: 8 * 1024, t: 1, p: 1 };

    /// Fails unless the setting is within bounds.
    fn check(self) -> Result<Self, String> {
        let within = M_KIB.contains(&self.m_kib) && PASSES.contains(&self.t) && LANES.contains(&self.p);
        if within { Ok(self) } else { Err(format!("its Argon2 setting is out of bounds: {self:?}")) }
    }
}

/// The file. Binary values are base64.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    v: u32,
    endpoint_id: EndpointId,
    kdf: KdfName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    m_kib: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<u32>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    salt: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    nonce: String,
    /// The sealed key; with `kdf: none` the key itself.
    ct: String,
}

impl Sealed {
    /// The setting of Argon2, if it is whole.
    fn cost(&self) -> Option<Kdf> {
        Some(Kdf { m_kib: self.m_kib?, t: self.t?, p: self.p? })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KdfName {
    /// Sealed with a password.
    Argon2id,
    /// Not sealed: the file's mode is its only guard.
    None,
}

/// The identity file of an instance.
#[derive(Debug, Clone)]
pub struct IdentityFile {
    path: PathBuf,
    instance: Uuid,
}

impl IdentityFile {
    /// The file at `path`, of the instance with this UUID.
    pub fn new(path: &Path, instance: Uuid) -> Self {
        Self { path: path.to_owned(), instance }
    }

    /// The public key, or `None` when there is no identity yet. Needs no password.
    pub fn id(&self) -> Result<Option<EndpointId>> {
        Ok(self.read()?.map(|sealed| sealed.endpoint_id))
    }

    /// Whether the key lies in the file without a password. `None` when there is no identity yet.
    pub fn is_open(&self) -> Result<Option<bool>> {
        Ok(self.read()?.map(|sealed| sealed.kdf == KdfName::None))
    }

    /// Makes a new identity. Fails if there is a file already, whatever is in it.
    pub fn create(&self, password: Option<&Password>, cost: Kdf) -> Result<SecretKey> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&self.path)(error)),
            Ok(_) => return Err(self.damaged("it exists already")),
        }
        let mut seed = Zeroizing::new([0; 32]);
        crate::random(seed.as_mut())?;
        let key = SecretKey::from_bytes(&seed);
        self.seal(&key, password, cost)?;
        Ok(key)
    }

    /// Opens the identity. `Ok(None)` when there is none.
    pub fn unlock(&self, password: Option<&Password>) -> Result<Option<SecretKey>> {
        let Some(sealed) = self.read()? else { return Ok(None) };
        let seed = match (sealed.kdf, sealed.cost(), password) {
            (KdfName::None, _, _) => self.bytes::<32>("ct", &sealed.ct)?,
            (KdfName::Argon2id, None, _) => return Err(self.damaged("it has no Argon2 setting")),
            (KdfName::Argon2id, Some(_), None) => return Err(Error::PasswordNeeded),
            (KdfName::Argon2id, Some(cost), Some(password)) => {
                let salt = self.bytes::<16>("salt", &sealed.salt)?;
                let nonce = self.bytes::<24>("nonce", &sealed.nonce)?;
                let text = BASE64_STANDARD.decode(&sealed.ct).map_err(|_| self.damaged("`ct` is not base64"))?;
                let kek = derive(password, &salt, cost)?;
                let aad = self.header(&sealed.endpoint_id, cost, &salt, &nonce);
                let cipher = XChaCha20Poly1305::new((&*kek).into());
                let opened = cipher
                    .decrypt(&XNonce::from(*nonce), Payload { msg: &text, aad: &aad })
                    .map(Zeroizing::new)
                    .map_err(|_| Error::WrongPassword)?;
                Zeroizing::new(<[u8; 32]>::try_from(opened.as_slice()).map_err(|_| Error::WrongPassword)?)
            }
        };
        let key = SecretKey::from_bytes(&seed);
        if key.public() != sealed.endpoint_id {
            return Err(self.damaged("its key does not belong to its id"));
        }
        Ok(Some(key))
    }

    /// Seals the same key with another password, or with none, at the same cost as before.
    pub fn change_password(&self, old: Option<&Password>, new: Option<&Password>) -> Result<()> {
        let key = self.unlock(old)?.ok_or(Error::Uninitialised)?;
        let cost = self.read()?.and_then(|sealed| sealed.cost()).unwrap_or_default();
        self.seal(&key, new, cost)
    }

    /// Takes the identity away: the file stays beside as `.bak`. Answers where, or `None` when there was none.
    pub fn reset(&self) -> Result<Option<PathBuf>> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".bak");
        let backup = PathBuf::from(name);
        match fs::rename(&self.path, &backup) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::io(&self.path))?,
        }
        if let Some(parent) = self.path.parent() {
            spacedrive_core::files::sync_dir(parent)?;
        }
        Ok(Some(backup))
    }

    /// Writes `key` with a fresh salt and nonce in place of the older file.
    fn seal(&self, key: &SecretKey, password: Option<&Password>, cost: Kdf) -> Result<()> {
        let seed = Zeroizing::new(key.to_bytes());
        let id = key.public();
        let sealed = match password {
            None => Sealed {
                v: VERSION,
                endpoint_id: id,
                kdf: KdfName::None,
                m_kib: None,
                t: None,
                p: None,
                salt: String::new(),
                nonce: String::new(),
                ct: BASE64_STANDARD.encode(*seed),
            },
            Some(password) if password.is_empty() => return Err(Error::EmptyPassword),
            Some(password) => {
                let cost = cost.check().map_err(|why| self.damaged(&why))?;
                let (mut salt, mut nonce) = ([0; 16], [0; 24]);
                crate::random(&mut salt)?;
                crate::random(&mut nonce)?;
                let kek = derive(password, &salt, cost)?;
                let aad = self.header(&id, cost, &salt, &nonce);
                let text = XChaCha20Poly1305::new((&*kek).into())
                    .encrypt(&XNonce::from(nonce), Payload { msg: seed.as_ref(), aad: &aad })
                    .map_err(|_| Error::System { what: "encryption" })?;
                Sealed {
                    v: VERSION,
                    endpoint_id: id,
                    kdf: KdfName::Argon2id,
                    m_kib: Some(cost.m_kib),
                    t: Some(cost.t),
                    p: Some(cost.p),
                    salt: BASE64_STANDARD.encode(salt),
                    nonce: BASE64_STANDARD.encode(nonce),
                    ct: BASE64_STANDARD.encode(text),
                }
            }
        };
        let bytes = Zeroizing::new(spacedrive_api::record::json(&sealed).map_err(Error::io(&self.path))?);
        failpoint::hit("identity.write.before").map_err(Error::io(&self.path))?;
        spacedrive_api::record::replace_file(&self.path, &bytes).map_err(Error::io(&self.path))?;
        failpoint::hit("identity.write.after").map_err(Error::io(&self.path))
    }

    /// What the seal authenticates besides the key: each field with its fixed length, in this order.
    fn header(&self, id: &EndpointId, cost: Kdf, salt: &[u8; 16], nonce: &[u8; 24]) -> Vec<u8> {
        let mut header = b"spacedrive identity".to_vec();
        for number in [VERSION, cost.m_kib, cost.t, cost.p] {
            header.extend_from_slice(&number.to_be_bytes());
        }
        header.extend_from_slice(id.as_bytes());
        header.extend_from_slice(self.instance.as_bytes());
        header.extend_from_slice(salt);
        header.extend_from_slice(nonce);
        header
    }

    /// Reads the file and checks all that can be checked without the password. Mends a mode that lets others read it.
    fn read(&self) -> Result<Option<Sealed>> {
        let meta = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::io(&self.path))?,
        };
        if !meta.is_file() {
            return Err(self.damaged("it is not a file"));
        }
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(self.damaged("it belongs to another user"));
        }
        if meta.len() > MAX_BYTES {
            return Err(self.damaged("it is too large"));
        }
        if meta.mode() & 0o077 != 0 {
            tracing::warn!(path = %self.path.display(), "the identity file was readable by others: its mode is 0600 now");
            fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600)).map_err(Error::io(&self.path))?;
        }
        let bytes = Zeroizing::new(fs::read(&self.path).map_err(Error::io(&self.path))?);
        let sealed: Sealed = serde_json::from_slice(&bytes)
            .map_err(|error| self.damaged(&format!("line {}: it is not an identity", error.line())))?;
        if sealed.v != VERSION {
            return Err(self.damaged(&format!("its version is {}, this build knows {VERSION}", sealed.v)));
        }
        if let Some(cost) = sealed.cost() {
            cost.check().map_err(|why| self.damaged(&why))?;
        }
        Ok(Some(sealed))
    }

    fn bytes<const N: usize>(&self, field: &str, text: &str) -> Result<Zeroizing<[u8; N]>> {
        let bytes = BASE64_STANDARD.decode(text).map(Zeroizing::new);
        bytes
            .ok()
            .and_then(|bytes| <[u8; N]>::try_from(bytes.as_slice()).ok())
            .map(Zeroizing::new)
            .ok_or_else(|| self.damaged(&format!("`{field}` is not {N} bytes in base64")))
    }

    fn damaged(&self, why: &str) -> Error {
        Error::IdentityDamaged { path: self.path.clone(), why: why.to_owned() }
    }
}

/// The key that a password opens with.
fn derive(password: &Password, salt: &[u8; 16], cost: Kdf) -> Result<Zeroizing<[u8; 32]>> {
    let failed = |_| Error::System { what: "Argon2" };
    let params = Params::new(cost.m_kib, cost.t, cost.p, Some(32)).map_err(failed)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, key.as_mut())
        .map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Zeroizing::new(text.to_owned())
    }

    fn file() -> (tempfile::TempDir, IdentityFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = IdentityFile::new(&dir.path().join("network_identity.json"), Uuid::from_bytes([7; 16]));
        (dir, file)
    }

    #[test]
    fn an_identity_opens_with_its_password_only() {
        let (_dir, file) = file();
        assert!(file.id().unwrap().is_none());
        assert!(file.unlock(Some(&password("x"))).unwrap().is_none());
        let key = file.create(Some(&password("test123")), Kdf::FLOOR).unwrap();
        assert_eq!(file.id().unwrap(), Some(key.public()));
        assert_eq!(file.is_open().unwrap(), Some(false));
        assert_eq!(file.unlock(Some(&password("test123"))).unwrap().unwrap().to_bytes(), key.to_bytes());
        assert!(matches!(file.unlock(Some(&password("test124"))), Err(Error::WrongPassword)));
        assert!(matches!(file.unlock(None), Err(Error::PasswordNeeded)));
        assert_eq!(fs::metadata(&file.path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_new_identity_is_never_made_over_an_old_one() {
        let (_dir, file) = file();
        let key = file.create(Some(&password("a")), Kdf::FLOOR).unwrap();
        assert!(matches!(file.create(Some(&password("a")), Kdf::FLOOR), Err(Error::IdentityDamaged { .. })));
        fs::write(&file.path, b"rubbish").unwrap();
        assert!(matches!(file.create(Some(&password("a")), Kdf::FLOOR), Err(Error::IdentityDamaged { .. })));
        assert!(matches!(file.unlock(Some(&password("a"))), Err(Error::IdentityDamaged { .. })));
        assert_eq!(fs::read(&file.path).unwrap(), b"rubbish");
        drop(key);
    }

    #[test]
    fn an_empty_password_is_refused_and_none_is_explicit() {
        let (_dir, file) = file();
        assert!(matches!(file.create(Some(&password("")), Kdf::FLOOR), Err(Error::EmptyPassword)));
        assert!(file.id().unwrap().is_none());
        let key = file.create(None, Kdf::FLOOR).unwrap();
        assert_eq!(file.is_open().unwrap(), Some(true));
        assert_eq!(file.unlock(None).unwrap().unwrap().public(), key.public());
    }

    #[test]
    fn the_password_changes_and_the_key_stays() {
        let (_dir, file) = file();
        let key = file.create(Some(&password("old")), Kdf::FLOOR).unwrap();
        let before = fs::read(&file.path).unwrap();
        assert!(matches!(file.change_password(Some(&password("wrong")), Some(&password("new"))), Err(Error::WrongPassword)));
        assert_eq!(fs::read(&file.path).unwrap(), before);
        file.change_password(Some(&password("old")), Some(&password("new"))).unwrap();
        assert!(matches!(file.unlock(Some(&password("old"))), Err(Error::WrongPassword)));
        assert_eq!(file.unlock(Some(&password("new"))).unwrap().unwrap().public(), key.public());
        let after = fs::read_to_string(&file.path).unwrap();
        for field in ["salt", "nonce"] {
            let of = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()[field].clone();
            assert_ne!(of(&after), of(std::str::from_utf8(&before).unwrap()), "{field} is fresh");
        }
    }

    #[test]
    fn every_field_is_authenticated() {
        let (_dir, file) = file();
        file.create(Some(&password("p")), Kdf::FLOOR).unwrap();
        let good: serde_json::Value = serde_json::from_slice(&fs::read(&file.path).unwrap()).unwrap();
        let other = SecretKey::from_bytes(&[9; 32]).public();
        let edits: [(&str, serde_json::Value); 8] = [
            ("v", 2.into()),
            ("endpoint_id", other.to_string().into()),
            ("kdf", "none".into()),
            ("m_kib", 8193.into()),
            ("t", 2.into()),
            ("salt", BASE64_STANDARD.encode([1; 16]).into()),
            ("nonce", BASE64_STANDARD.encode([1; 24]).into()),
            ("ct", BASE64_STANDARD.encode([1; 48]).into()),
        ];
        for (field, value) in edits {
            let mut edited = good.clone();
            edited[field] = value;
            fs::write(&file.path, serde_json::to_vec(&edited).unwrap()).unwrap();
            let result = file.unlock(Some(&password("p")));
            assert!(matches!(result, Err(Error::WrongPassword | Error::IdentityDamaged { .. })), "{field}: {result:?}");
        }
        fs::write(&file.path, serde_json::to_vec(&good).unwrap()).unwrap();
        assert!(file.unlock(Some(&password("p"))).is_ok());
    }

    #[test]
    fn the_file_of_another_instance_does_not_open() {
        let (_dir, file) = file();
        file.create(Some(&password("p")), Kdf::FLOOR).unwrap();
        let other = IdentityFile::new(&file.path, Uuid::from_bytes([8; 16]));
        assert!(matches!(other.unlock(Some(&password("p"))), Err(Error::WrongPassword)));
    }

    #[test]
    fn a_planted_argon2_setting_is_refused_before_it_costs_anything() {
        let (_dir, file) = file();
        file.create(Some(&password("p")), Kdf::FLOOR).unwrap();
        let good: serde_json::Value = serde_json::from_slice(&fs::read(&file.path).unwrap()).unwrap();
        for (field, value) in [("m_kib", 1024 * 1024 + 1), ("m_kib", 1024), ("t", 11), ("t", 0), ("p", 17), ("p", 0)] {
            let mut edited = good.clone();
            edited[field] = value.into();
            fs::write(&file.path, serde_json::to_vec(&edited).unwrap()).unwrap();
            assert!(matches!(file.unlock(Some(&password("p"))), Err(Error::IdentityDamaged { .. })), "{field} {value}");
        }
    }

    #[test]
    fn a_readable_file_is_mended() {
        let (_dir, file) = file();
        file.create(Some(&password("p")), Kdf::FLOOR).unwrap();
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o644)).unwrap();
        file.unlock(Some(&password("p"))).unwrap();
        assert_eq!(fs::metadata(&file.path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn reset_keeps_a_copy() {
        let (_dir, file) = file();
        assert_eq!(file.reset().unwrap(), None);
        file.create(Some(&password("p")), Kdf::FLOOR).unwrap();
        let old = fs::read(&file.path).unwrap();
        let backup = file.reset().unwrap().unwrap();
        assert_eq!(fs::read(backup).unwrap(), old);
        assert!(file.id().unwrap().is_none());
    }
}
