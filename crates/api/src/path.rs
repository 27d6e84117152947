//! Paths on the wire. File names are bytes on Unix and not always UTF-8, so a path travels either as a
//! JSON string or, when it is not UTF-8, as `{"base64": "…"}`; both forms come back byte for byte.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A path, or a file name, that survives the trip through JSON byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct WirePath(pub PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Bytes { base64: String },
}

impl WirePath {
    /// The path from raw bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(PathBuf::from(OsString::from_vec(bytes)))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_os_str().as_bytes()
    }

    /// The base64 form, for a path that is not UTF-8.
    pub fn base64(&self) -> Option<String> {
        self.0.to_str().is_none().then(|| BASE64_STANDARD.encode(self.as_bytes()))
    }

    /// The path as text, with U+FFFD for what is not UTF-8.
    pub fn to_string_lossy(&self) -> std::borrow::Cow<'_, str> {
        self.0.to_string_lossy()
    }
}

impl Serialize for WirePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => Form::Bytes { base64: BASE64_STANDARD.encode(self.as_bytes()) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for WirePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self(PathBuf::from(text))),
            Form::Bytes { base64 } => BASE64_STANDARD.decode(base64).map(Self::from_bytes).map_err(D::Error::custom),
        }
    }
}

impl From<PathBuf> for WirePath {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

impl From<&Path> for WirePath {
    fn from(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl AsRef<Path> for WirePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}
