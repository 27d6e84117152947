//! The cryptography of pairing: keys from the code, proofs over the transcript, the check number.
//!
//! There is no password-authenticated exchange, because the code has 128 random bits: an HMAC under a key
//! derived from it is safe against offline search. `docs/pairing.md` has the reasons and the threat table.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use iroh::{EndpointId, SecretKey, Signature};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::frame::{M1, M2, Mac32, VERSION};
use super::info::Info;
use crate::code::Code;

/// The label of the TLS exporter.
pub(crate) const EXPORTER: &[u8] = b"EXPORTER-spacedrive-pair-v1";

const SALT: &[u8] = b"spacedrive pair v1";

/// Which side a proof or a sealed info belongs to. The two never share a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Joiner,
    Initiator,
}

/// What both sides derive from the code. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Keys {
    endpoint: [u8; 32],
    mac_joiner: [u8; 32],
    mac_initiator: [u8; 32],
    info_joiner: [u8; 32],
    info_initiator: [u8; 32],
    sas: [u8; 32],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    pub(crate) fn derive(code: &Code) -> Self {
        let hkdf = Hkdf::<Sha256>::new(Some(SALT), code.entropy());
        let expand = |label: &[u8]| {
            let mut key = [0; 32];
            // 32 bytes are within the 8160 that HKDF-SHA256 gives, so this cannot fail.
            let _ = hkdf.expand(label, &mut key);
            key
        };
        Self {
            endpoint: expand(b"endpoint"),
            mac_joiner: expand(b"joiner mac"),
            mac_initiator: expand(b"initiator mac"),
            info_joiner: expand(b"info j"),
            info_initiator: expand(b"info i"),
            sas: expand(b"sas"),
        }
    }

    /// The key of the temporary endpoint; its public half is the rendezvous id.
    pub(crate) fn endpoint(&self) -> SecretKey {
        SecretKey::from_bytes(&self.endpoint)
    }

    /// The id where the joiner finds the initiator. Knowing it gives nothing.
    pub(crate) fn rendezvous(&self) -> EndpointId {
        self.endpoint().public()
    }

    /// An HMAC under the key of `side` over `parts`, each with its length before it.
    pub(crate) fn mac(&self, side: Side, parts: &[&[u8]]) -> Mac32 {
        let key = match side {
            Side::Joiner => &self.mac_joiner,
            Side::Initiator => &self.mac_initiator,
        };
        hmac(key, parts)
    }

    /// The 6-digit number that both people compare.
    pub(crate) fn check_number(&self, transcript: &Transcript) -> String {
        let mac = hmac(&self.sas, &[&transcript.0]);
        let number = u64::from_be_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], mac[6], mac[7]]) % 1_000_000;
        format!("{number:06}")
    }

    /// Seals the info of `side` for this channel. The nonce may be fixed: a code is claimed once, `ekm` is in
    /// the associated data, and each side seals under a key of its own with a fresh random nonce prefix.
    pub(crate) fn seal(&self, side: Side, channel: &Channel, info: &Info, nonce: [u8; 12]) -> Vec<u8> {
        let plain = Zeroizing::new(info.encode());
        let aad = channel.aad();
        let mut sealed = nonce.to_vec();
        // Encryption of some hundred bytes into memory cannot fail.
        sealed
            .extend(self.info_cipher(side).encrypt(&Nonce::from(nonce), Payload { msg: &plain, aad: &aad }).unwrap_or_default());
        sealed
    }

    /// Opens what [`Keys::seal`] sealed. `None` when it was not sealed by `side` for this channel.
    pub(crate) fn open(&self, side: Side, channel: &Channel, sealed: &[u8]) -> Option<Info> {
        let (nonce, text) = sealed.split_first_chunk::<12>()?;
        let aad = channel.aad();
        let plain = self.info_cipher(side).decrypt(&Nonce::from(*nonce), Payload { msg: text, aad: &aad }).ok()?;
        Info::decode(&Zeroizing::new(plain))
    }

    fn info_cipher(&self, side: Side) -> ChaCha20Poly1305 {
        let key = match side {
            Side::Joiner => &self.info_joiner,
            Side::Initiator => &self.info_initiator,
        };
        ChaCha20Poly1305::new(key.into())
    }
}

/// What the connection itself proves: TLS gives all three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel {
    /// The exporter: the same on both ends of one TLS connection, and on no other.
    pub(crate) ekm: [u8; 32],
    /// The id of the temporary endpoint.
    pub(crate) rendezvous: EndpointId,
    /// The long-lived id of the joiner.
    pub(crate) joiner: EndpointId,
}

impl Channel {
    fn aad(&self) -> Vec<u8> {
        [self.ekm.as_slice(), self.rendezvous.as_bytes(), self.joiner.as_bytes()].concat()
    }

    /// The proof in M1.
    pub(crate) fn m1_mac(&self, keys: &Keys, version: u8, commit: &[u8; 32], info: &[u8]) -> Mac32 {
        keys.mac(Side::Joiner, &[b"m1", &[version], &self.ekm, self.rendezvous.as_bytes(), self.joiner.as_bytes(), commit, info])
    }
}

/// The commitment to the joiner's nonce.
pub(crate) fn commit(nonce: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(nonce).into()
}

/// The hash of all that both sides said and of the channel that they said it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transcript([u8; 32]);

impl Transcript {
    pub(crate) fn new(channel: &Channel, initiator: &EndpointId, m1: &M1, m2: &M2, nonce_joiner: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        let (m1, m2) = (m1.encode(), m2.encode());
        let parts: [&[u8]; 9] = [
            SALT,
            &[VERSION],
            channel.rendezvous.as_bytes(),
            initiator.as_bytes(),
            channel.joiner.as_bytes(),
            &channel.ekm,
            &m1,
            &m2,
            nonce_joiner,
        ];
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The proof that `side` knows the code, for the step `label`.
    pub(crate) fn mac(&self, keys: &Keys, side: Side, label: &[u8]) -> Mac32 {
        keys.mac(side, &[&self.0, label])
    }

    /// The signature of `side`'s long-lived key.
    pub(crate) fn sign(&self, side: Side, key: &SecretKey) -> [u8; 64] {
        key.sign(&self.signed(side)).to_bytes()
    }

    /// Whether `signature` is that of `signer` as `side`.
    pub(crate) fn verify(&self, side: Side, signer: &EndpointId, signature: &[u8; 64]) -> bool {
        signer.verify(&self.signed(side), &Signature::from_bytes(signature)).is_ok()
    }

    fn signed(&self, side: Side) -> Vec<u8> {
        let label: &[u8] = match side {
            Side::Joiner => b"spacedrive pair v1 j",
            Side::Initiator => b"spacedrive pair v1 i",
        };
        [label, self.0.as_slice()].concat()
    }
}

/// Compares two proofs in constant time.
pub(crate) fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Mac32 {
    // HMAC takes a key of any length, so `None` cannot come; a proof of zeros verifies nowhere.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
