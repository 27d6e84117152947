//! The one check of names and relative paths that come from elsewhere: a peer, a manifest, an archive.
//!
//! A name that passes names exactly one entry of the folder that it is used in, on Linux, macOS and Windows.
//! Names that are merely odd (`-rf`, a newline, marks that turn the direction of writing) pass and are stored
//! as they are; whoever shows them escapes them. Names of files on this machine are not checked here: what the
//! kernel lists is a name by definition.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The longest component, in bytes.
pub const MAX_COMPONENT: usize = 255;

/// The longest path, in bytes.
pub const MAX_PATH: usize = 4096;

/// The most components of a path.
pub const MAX_DEPTH: usize = 256;

/// A relative path that was checked: it has at least one component and leads nowhere but down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SafePath(PathBuf);

impl SafePath {
    /// Checks a path from elsewhere. Components are separated by `/`.
    ///
    /// # Errors
    /// [`Error::UnsafeName`] with what is wrong.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = bytes.into();
        match problem_of_path(&bytes) {
            None => Ok(Self(PathBuf::from(OsString::from_vec(bytes)))),
            Some(why) => Err(Error::UnsafeName { name: String::from_utf8_lossy(&bytes).into_owned(), why }),
        }
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The last component.
    pub fn name(&self) -> &OsStr {
        self.0.file_name().unwrap_or_default()
    }

    /// The path above, unless this has one component only.
    pub fn parent(&self) -> Option<Self> {
        self.0.parent().filter(|parent| !parent.as_os_str().is_empty()).map(|parent| Self(parent.to_owned()))
    }
}

impl AsRef<Path> for SafePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// Checks one name from elsewhere that is to become one component.
///
/// # Errors
/// [`Error::UnsafeName`] with what is wrong.
pub fn check_name(name: &[u8]) -> Result<()> {
    match problem_of_name(name).or_else(|| problem_of_start(name)) {
        None => Ok(()),
        Some(why) => Err(Error::UnsafeName { name: String::from_utf8_lossy(name).into_owned(), why }),
    }
}

fn problem_of_path(path: &[u8]) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > MAX_PATH {
        return Some("it is longer than 4096 bytes");
    }
    if path.starts_with(b"/") {
        return Some("it is an absolute path");
    }
    let mut depth = 0;
    for name in path.split(|byte| *byte == b'/') {
        depth += 1;
        if let Some(why) = problem_of_name(name) {
            return Some(why);
        }
    }
    if depth > MAX_DEPTH {
        return Some("it has more than 256 components");
    }
    problem_of_start(path)
}

fn problem_of_name(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("it has an empty component"),
        b"." | b".." => Some("it has a component `.` or `..`"),
        _ if name.len() > MAX_COMPONENT => Some("it has a component longer than 255 bytes"),
        _ if name.contains(&0) => Some("it contains a NUL"),
        _ if name.contains(&b'/') => Some("it contains a `/`"),
        // On Windows it separates components; a name that holds one is never what a person meant.
        _ if name.contains(&b'\\') => Some("it contains a `\\`"),
        _ => None,
    }
}

/// `C:x`, which Windows takes for a drive.
fn problem_of_start(path: &[u8]) -> Option<&'static str> {
    let drive = matches!(path, [letter, b':', ..] if letter.is_ascii_alphabetic());
    drive.then_some("it begins with a drive letter")
}

/// The entries of one manifest: finds out two entries of the same name, and a file that is also used as a folder.
#[derive(Debug, Default)]
pub struct NameSet {
    /// Whether the path is a folder.
    seen: HashMap<PathBuf, bool>,
}

impl NameSet {
    /// Adds an entry; folders above it need not be listed.
    ///
    /// # Errors
    /// [`Error::UnsafeName`] when it contradicts an earlier entry.
    pub fn insert(&mut self, path: &SafePath, folder: bool) -> Result<()> {
        let unsafe_name = |path: &Path, why| Err(Error::UnsafeName { name: path.to_string_lossy().into_owned(), why });
        let mut above = path.parent();
        while let Some(parent) = above {
            match self.seen.insert(parent.0.clone(), true) {
                Some(true) => break,
                Some(false) => return unsafe_name(&parent.0, "it is both a file and a folder"),
                None => above = parent.parent(),
            }
        }
        match self.seen.insert(path.0.clone(), folder) {
            None => Ok(()),
            Some(true) if folder => Ok(()),
            Some(before) if before != folder => unsafe_name(&path.0, "it is both a file and a folder"),
            Some(_) => unsafe_name(&path.0, "it is listed twice"),
        }
    }
}

/// The name to try when `name` is taken, for `n` = 2, 3, …: `name (2).ext`. It never grows over 255 bytes:
/// the stem is shortened, at a character's edge where the name is UTF-8.
pub fn numbered(name: &OsStr, n: u32) -> OsString {
    let bytes = name.as_bytes();
    // `.bashrc` has no ending, and what follows the last dot counts as one only when it is short and has no blank.
    let dot = bytes.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0);
    let ending = dot.map_or(&bytes[bytes.len()..], |dot| &bytes[dot..]);
    let ending = if ending.len() <= 16 && ending.len() > 1 && !ending.contains(&b' ') { ending } else { &[] };
    let stem = &bytes[..bytes.len() - ending.len()];
    let number = format!(" ({n})");
    let mut keep = stem.len().min(MAX_COMPONENT - number.len() - ending.len());
    while keep < stem.len() && keep > 0 && stem[keep] & 0xC0 == 0x80 {
        keep -= 1;
    }
    OsString::from_vec([&stem[..keep], number.as_bytes(), ending].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let long = [b'a'; 256];
        let deep = "a/".repeat(256) + "a";
        let far = format!("{}/{}", "a/".repeat(100), "b".repeat(255)).repeat(12);
        let refused: &[&[u8]] = &[
            b"../x",
            b"a/../../x",
            b"/etc/x",
            b"//x",
            b"\\\\srv\\x",
            b"C:\\x",
            b"C:x",
            b"c:/x",
            b"..\\x",
            b".",
            b"..",
            b"",
            b"a//b",
            b"./a",
            b"a/.",
            b"a/..",
            b"a/",
            b"a\0b",
            b"\0",
            b"a\\b",
            b".spacedrive/..",
            &long,
            deep.as_bytes(),
            far.as_bytes(),
        ];
        for path in refused {
            let result = SafePath::new(*path);
            assert!(matches!(result, Err(Error::UnsafeName { .. })), "{}: {result:?}", path.escape_ascii());
        }
    }

    #[test]
    fn what_is_only_odd_passes_as_it_is() {
        let full = [b'a'; 255];
        let deepest = "a/".repeat(255) + "a";
        let odd: &[&[u8]] = &[
            b"-rf",
            b"~/x",
            b"$HOME",
            b"%2e%2e/x",
            b"a\nb",
            b" ",
            b"a ",
            b"a.",
            b"...",
            b"CON",
            b"aux.txt",
            b".ssh/authorized_keys",
            b".bashrc",
            b"\xff\xfe",
            b"\xc0\xae\xc0\xae",
            "\u{2215}etc".as_bytes(),
            "\u{ff0f}etc".as_bytes(),
            "exe\u{202e}gpj".as_bytes(),
            "e\u{301}".as_bytes(),
            b"\x1b[31m",
            b"ab:c",
            b"1:x",
            &full,
            deepest.as_bytes(),
        ];
        for path in odd {
            assert_eq!(SafePath::new(*path).unwrap().as_path().as_os_str().as_bytes(), *path);
        }
    }

    #[test]
    fn a_manifest_contradicts_itself_nowhere() {
        let set = |paths: &[(&str, bool)]| {
            let mut set = NameSet::default();
            paths.iter().try_for_each(|(path, folder)| set.insert(&SafePath::new(*path).unwrap(), *folder))
        };
        set(&[("a", true), ("a/b", false), ("a", true), ("c/d/e", false), ("c/d", true)]).unwrap();
        set(&[("a", false), ("a", false)]).unwrap_err();
        set(&[("a", false), ("a/b", false)]).unwrap_err();
        set(&[("a/b", false), ("a", false)]).unwrap_err();
        set(&[("a", true), ("a", false)]).unwrap_err();
    }

    #[test]
    fn the_next_free_name_keeps_the_ending() {
        let cases = [
            ("a.txt", "a (2).txt"),
            ("a", "a (2)"),
            (".bashrc", ".bashrc (2)"),
            ("a.tar.gz", "a.tar (2).gz"),
            ("a.", "a. (2)"),
            ("Mr. Smith", "Mr. Smith (2)"),
        ];
        for (name, expected) in cases {
            assert_eq!(numbered(OsStr::new(name), 2), expected);
        }
    }

    proptest! {
        #[test]
        fn a_path_that_passes_leads_down(bytes in prop::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), Just(b'a'), any::<u8>()], 0..40)) {
            if let Ok(path) = SafePath::new(bytes.clone()) {
                let components: Vec<_> = path.as_path().components().collect();
                prop_assert!(!components.is_empty());
                prop_assert!(components.iter().all(|c| matches!(c, std::path::Component::Normal(_))));
                prop_assert_eq!(components.len(), bytes.split(|b| *b == b'/').count());
                prop_assert_eq!(path.as_path().as_os_str().as_bytes(), &bytes[..]);
            }
        }

        #[test]
        fn a_numbered_name_is_another_name_that_fits(bytes in prop::collection::vec(any::<u8>(), 1..=255), n in 2u32..100_000) {
            if check_name(&bytes).is_ok() {
                let name = OsString::from_vec(bytes);
                let next = numbered(&name, n);
                check_name(next.as_bytes()).unwrap();
                prop_assert_ne!(&next, &name);
                prop_assert!(name.to_str().is_none() || next.to_str().is_some());
            }
        }
    }
}
