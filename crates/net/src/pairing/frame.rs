//! The messages of pairing as bytes. A frame is a length (two bytes, big-endian, at most 4096) and a body: one
//! byte that says which message it is, and the message's fields in a fixed order. Whatever is too long, too
//! short or left over makes the whole frame invalid.

use super::info::MAX_INFO;

/// The version of the pairing protocol.
pub(crate) const VERSION: u8 = 1;

/// The longest body, in bytes.
pub const MAX_BODY: usize = 4096;

pub(crate) type Mac32 = [u8; 32];

/// The joiner's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct M1 {
    /// The protocol version.
    pub version: u8,
    /// The commitment to the joiner's nonce.
    pub commit: [u8; 32],
    /// The joiner's sealed info.
    pub info: Vec<u8>,
    /// The proof that the joiner knows the code.
    pub mac: Mac32,
}

/// The initiator's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct M2 {
    /// The protocol version.
    pub version: u8,
    /// The initiator's nonce.
    pub nonce: [u8; 32],
    /// The initiator's sealed info.
    pub info: Vec<u8>,
}

/// The joiner's proof over the transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct M3 {
    /// The nonce that M1 committed to.
    pub nonce: [u8; 32],
    /// The proof.
    pub mac: Mac32,
    /// The signature of the joiner's long-lived key.
    pub signature: [u8; 64],
}

/// The initiator's proof over the transcript: it accepts and has stored the joiner as pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct M4 {
    /// The proof.
    pub mac: Mac32,
    /// The signature of the initiator's long-lived key.
    pub signature: [u8; 64],
}

/// Why a side gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Something did not fit. Deliberately says no more.
    Generic,
    /// The code was used by another joiner, whose name follows.
    AlreadyUsed(String),
    /// The person said no.
    Rejected,
    /// The person did not answer.
    NoDecision,
    /// The versions differ; the sender's follows.
    Version(u8),
}

/// A message of pairing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Joiner to initiator.
    M1(M1),
    /// Initiator to joiner.
    M2(M2),
    /// Joiner to initiator.
    M3(M3),
    /// Initiator to joiner.
    M4(M4),
    /// The joiner has stored the initiator: proof.
    M5(Mac32),
    /// The initiator has stored the joiner: proof.
    M6(Mac32),
    /// Either side gives up.
    Fail(Failure),
}

impl M1 {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![1, self.version];
        out.extend_from_slice(&self.commit);
        put_short(&mut out, &self.info);
        out.extend_from_slice(&self.mac);
        out
    }
}

impl M2 {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![2, self.version];
        out.extend_from_slice(&self.nonce);
        put_short(&mut out, &self.info);
        out
    }
}

impl Message {
    /// The body of the frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::M1(m) => m.encode(),
            Self::M2(m) => m.encode(),
            Self::M3(m) => [&[3], m.nonce.as_slice(), &m.mac, &m.signature].concat(),
            Self::M4(m) => [&[4], m.mac.as_slice(), &m.signature].concat(),
            Self::M5(mac) => [&[5], mac.as_slice()].concat(),
            Self::M6(mac) => [&[6], mac.as_slice()].concat(),
            Self::Fail(failure) => match failure {
                Failure::Generic => vec![7, 0],
                Failure::AlreadyUsed(name) => {
                    let mut out = vec![7, 1];
                    put_short(&mut out, name.as_bytes());
                    out
                }
                Failure::Rejected => vec![7, 2],
                Failure::NoDecision => vec![7, 3],
                Failure::Version(version) => vec![7, 4, *version],
            },
        }
    }

    /// The message in the body of a frame, or `None` when it is not exactly one.
    pub fn decode(body: &[u8]) -> Option<Self> {
        if body.len() > MAX_BODY {
            return None;
        }
        let mut reader = Reader(body);
        let [kind] = reader.take::<1>()?;
        let message = match kind {
            1 => {
                let [version] = reader.take()?;
                if version != VERSION {
                    // The rest of another version's M1 is not ours to read.
                    return Some(Self::M1(M1 { version, commit: [0; 32], info: Vec::new(), mac: [0; 32] }));
                }
                Self::M1(M1 { version, commit: reader.take()?, info: reader.short(MAX_INFO)?.to_vec(), mac: reader.take()? })
            }
            2 => {
                let [version] = reader.take()?;
                if version != VERSION {
                    return Some(Self::M2(M2 { version, nonce: [0; 32], info: Vec::new() }));
                }
                Self::M2(M2 { version, nonce: reader.take()?, info: reader.short(MAX_INFO)?.to_vec() })
            }
            3 => Self::M3(M3 { nonce: reader.take()?, mac: reader.take()?, signature: reader.take()? }),
            4 => Self::M4(M4 { mac: reader.take()?, signature: reader.take()? }),
            5 => Self::M5(reader.take()?),
            6 => Self::M6(reader.take()?),
            7 => Self::Fail(match reader.take()? {
                [0] => Failure::Generic,
                [1] => {
                    let name = reader.short(super::info::MAX_NAME)?;
                    Failure::AlreadyUsed(super::info::fit_name(std::str::from_utf8(name).ok()?))
                }
                [2] => Failure::Rejected,
                [3] => Failure::NoDecision,
                [4] => {
                    let [version] = reader.take()?;
                    Failure::Version(version)
                }
                _ => return None,
            }),
            _ => return None,
        };
        reader.0.is_empty().then_some(message)
    }
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn short(&mut self, max: usize) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_be_bytes(self.take()?));
        if length > max {
            return None;
        }
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        let info = prop::collection::vec(any::<u8>(), 0..=MAX_INFO);
        let signature = prop::collection::vec(any::<u8>(), 64).prop_map(|v| <[u8; 64]>::try_from(v).unwrap());
        prop_oneof![
            (any::<[u8; 32]>(), info.clone(), any::<[u8; 32]>()).prop_map(|(commit, info, mac)| Message::M1(M1 {
                version: VERSION,
                commit,
                info,
                mac
            })),
            (any::<[u8; 32]>(), info).prop_map(|(nonce, info)| Message::M2(M2 { version: VERSION, nonce, info })),
            (any::<[u8; 32]>(), any::<[u8; 32]>(), signature.clone()).prop_map(|(nonce, mac, signature)| Message::M3(M3 {
                nonce,
                mac,
                signature
            })),
            (any::<[u8; 32]>(), signature).prop_map(|(mac, signature)| Message::M4(M4 { mac, signature })),
            any::<[u8; 32]>().prop_map(Message::M5),
            any::<[u8; 32]>().prop_map(Message::M6),
            prop_oneof![
                Just(Failure::Generic),
                "[a-z]{1,64}".prop_map(Failure::AlreadyUsed),
                Just(Failure::Rejected),
                Just(Failure::NoDecision),
                any::<u8>().prop_map(Failure::Version)
            ]
            .prop_map(Message::Fail),
        ]
    }

    proptest! {
        #[test]
        fn messages_round_trip(message in message()) {
            prop_assert_eq!(Message::decode(&message.encode()), Some(message));
        }

        #[test]
        fn a_frame_that_is_cut_or_has_more_is_invalid(message in message(), cut in 0usize..2000, more in 1usize..20) {
            let whole = message.encode();
            let cut = cut % whole.len();
            prop_assert_eq!(Message::decode(&whole[..cut]), None);
            let mut longer = whole;
            longer.extend(vec![0; more]);
            prop_assert_eq!(Message::decode(&longer), None);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            let _ = Message::decode(&bytes);
        }

        #[test]
        fn no_bytes_make_the_info_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = super::super::info::Info::decode(&bytes);
        }
    }
}
