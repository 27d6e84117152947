//! What can go wrong in here; each variant names the fact.

use std::path::{Path, PathBuf};

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, with the thing that it concerns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Networking is switched off.
    #[error("networking is off")]
    Off,
    /// There is no identity yet.
    #[error("this instance has no network identity yet")]
    Uninitialised,
    /// A paired device does not answer.
    #[error("the device {device} cannot be reached")]
    Unreachable {
        /// Its public key.
        device: iroh::EndpointId,
    },
    /// The identity is locked until the password is given.
    #[error("networking is locked")]
    Locked,
    /// The password does not open the identity.
    #[error("wrong password (or damaged identity file)")]
    WrongPassword,
    /// A password was not given, and one is needed.
    #[error("the identity is sealed with a password")]
    PasswordNeeded,
    /// An empty password.
    #[error("the password is empty")]
    EmptyPassword,
    /// The identity file cannot be read as what it is; it was not touched.
    #[error("identity file {}: {why}", path.display())]
    IdentityDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The pairing code has another number of words than 12.
    #[error("a pairing code has 12 words, this one has {found}")]
    CodeWordCount {
        /// How many it has.
        found: usize,
    },
    /// A word of the pairing code is in no code.
    #[error("word {position} of the pairing code is misspelt")]
    CodeWord {
        /// Its position, from 1.
        position: usize,
        /// The words that are nearest to it.
        nearest: Vec<String>,
    },
    /// The words are all right, but not this combination of them.
    #[error("the pairing code is mistyped: its check bits do not fit")]
    CodeChecksum,
    /// The code is one of this instance's own.
    #[error("this is a pairing code of this very instance: it is for the other device")]
    OwnCode,
    /// Nobody answered for the code.
    #[error("no device offers this code (wrong, expired, used, or unreachable)")]
    NoAnswer,
    /// Another device joined with the code before.
    #[error("the pairing code was already used{}", by_name(by))]
    AlreadyUsed {
        /// The name of the device that used it, as far as the other side tells.
        by: String,
    },
    /// The person at the other device said no.
    #[error("the other device refused the pairing")]
    Rejected,
    /// The person at the other device did not answer in time.
    #[error("nobody accepted the pairing on the other device in time")]
    NoDecision,
    /// The other side did not prove that it knows the code.
    #[error("the other side could not prove that it knows the code")]
    BadProof,
    /// The connection ended before both sides had stored each other.
    #[error("the pairing was not completed")]
    NotCompleted,
    /// The other device speaks another version of the protocol.
    #[error("the other device speaks version {theirs} of the pairing protocol, this one version {ours}")]
    Version {
        /// This side's version.
        ours: u8,
        /// The other side's version.
        theirs: u8,
    },
    /// Too many codes are waiting for a joiner.
    #[error("{max} pairing codes are waiting already")]
    TooManyCodes {
        /// How many there may be.
        max: usize,
    },
    /// No pairing session has this id.
    #[error("no pairing session `{}`", query.escape_debug())]
    SessionNotFound {
        /// What was asked for.
        query: String,
    },
    /// More than one pairing session has this prefix.
    #[error("`{}` is ambiguous: {count} pairing sessions begin with it", query.escape_debug())]
    SessionAmbiguous {
        /// What was asked for.
        query: String,
        /// How many there are.
        count: usize,
    },
    /// The pairing session does not wait for a decision.
    #[error("pairing session {id} does not wait for a decision: it is {state}")]
    NotPending {
        /// The session.
        id: String,
        /// How it stands.
        state: String,
    },
    /// No paired device goes by this name or id.
    #[error("no paired device `{}`", query.escape_debug())]
    DeviceNotFound {
        /// What was asked for.
        query: String,
        /// The names that are nearest to it.
        nearest: Vec<String>,
    },
    /// More than one paired device goes by this name or prefix.
    #[error("`{}` is ambiguous: it names {}", query.escape_debug(), candidates.join(", "))]
    DeviceAmbiguous {
        /// What was asked for.
        query: String,
        /// The ids that it could mean.
        candidates: Vec<String>,
    },
    /// The lifetime of a code is out of bounds.
    #[error("a pairing code can live 1 to 3600 seconds, not {seconds}")]
    BadLifetime {
        /// What was asked for.
        seconds: u64,
    },
    /// The network endpoint failed.
    #[error("network endpoint: {why}")]
    Endpoint {
        /// What it says.
        why: String,
    },
    /// The operating system gave no random bytes, or a background task ended.
    #[error("{what} failed")]
    System {
        /// What.
        what: &'static str,
    },
    /// The instance's database failed.
    #[error(transparent)]
    Core(#[from] spacedrive_core::Error),
    /// An operation on a file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Error {
    /// An I/O error at `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// An error of the network endpoint.
    pub(crate) fn endpoint(error: impl std::fmt::Display) -> Self {
        Self::Endpoint { why: format!("{error:#}") }
    }
}

fn by_name(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" by `{}`", name.escape_debug()) }
}
