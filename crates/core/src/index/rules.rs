//! What is left out of a location.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use spacedrive_api::{EntryKind, Rules};

use crate::library::EXTENSION;

/// Files that systems leave behind.
const SYSTEM_FILES: &[&[u8]] = &[
    b".DS_Store",
    b".localized",
    b"Icon\r",
    b"Thumbs.db",
    b"ehthumbs.db",
    b"desktop.ini",
    b"hiberfil.sys",
    b"pagefile.sys",
    b"swapfile.sys",
    b".directory",
];

/// Folders that systems leave behind.
const SYSTEM_FOLDERS: &[&[u8]] = &[
    b".Trashes",
    b".Trash",
    b".Spotlight-V100",
    b".fseventsd",
    b".TemporaryItems",
    b".DocumentRevisions-V100",
    b"$RECYCLE.BIN",
    b"$Recycle.Bin",
    b"System Volume Information",
    b"lost+found",
];

/// Folders of version control.
const VCS_FOLDERS: &[&[u8]] = &[b".git", b".hg", b".svn", b".bzr", b".jj", b"_darcs", b".pijul", b"CVS", b".sl"];

/// Whether the name alone is reason enough to leave an entry out. Our own libraries always are.
pub(crate) fn leaves_out(rules: Rules, name: &[u8], kind: EntryKind) -> bool {
    let folder = kind == EntryKind::Dir;
    if folder && name.strip_suffix(EXTENSION.as_bytes()).is_some_and(|stem| stem.ends_with(b".")) {
        return true;
    }
    rules.system
        && (if folder { SYSTEM_FOLDERS.contains(&name) || name.starts_with(b".Trash-") } else { SYSTEM_FILES.contains(&name) })
        || rules.hidden && name.starts_with(b".")
        || rules.vcs && folder && VCS_FOLDERS.contains(&name)
}

/// The `.gitignore` files from the root of the location down to a folder; the innermost decides first.
#[derive(Debug)]
pub(crate) struct Ignores {
    outer: Option<Arc<Ignores>>,
    own: Gitignore,
    /// The folder that it lies in, below the location.
    folder: PathBuf,
}

/// The name of the file.
pub(crate) const GITIGNORE: &[u8] = b".gitignore";

impl Ignores {
    /// Adds what the text of the `.gitignore` in `folder` (below the location) says.
    pub(crate) fn with(outer: Option<Arc<Self>>, folder: &[u8], text: &[u8]) -> Arc<Self> {
        let mut builder = GitignoreBuilder::new("");
        for line in String::from_utf8_lossy(text).lines() {
            // A line that is no pattern is skipped, as git does.
            let _ = builder.add_line(None, line);
        }
        let own = builder.build().unwrap_or_else(|_| Gitignore::empty());
        Arc::new(Self { outer, own, folder: Path::new(std::ffi::OsStr::from_bytes(folder)).to_owned() })
    }

    /// Whether the entry at `path` (below the location) is left out.
    pub(crate) fn leaves_out(&self, path: &[u8], kind: EntryKind) -> bool {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let mut level = Some(self);
        while let Some(ignores) = level {
            if let Ok(below) = path.strip_prefix(&ignores.folder) {
                match ignores.own.matched(below, kind == EntryKind::Dir) {
                    Match::Ignore(_) => return true,
                    Match::Whitelist(_) => return false,
                    Match::None => {}
                }
            }
            level = ignores.outer.as_deref();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_system_junk_by_default() {
        let rules = Rules::default();
        assert!(leaves_out(rules, b".DS_Store", EntryKind::File));
        assert!(leaves_out(rules, b"lost+found", EntryKind::Dir));
        assert!(!leaves_out(rules, b"lost+found", EntryKind::File));
        assert!(leaves_out(rules, b"Mine.sdlibrary", EntryKind::Dir));
        for name in [b".git".as_slice(), b".bashrc", b"target", b"Icon"] {
            assert!(!leaves_out(rules, name, EntryKind::Dir), "{name:?}");
        }
        let none = Rules { system: false, ..rules };
        assert!(!leaves_out(none, b".DS_Store", EntryKind::File));
        assert!(leaves_out(Rules { hidden: true, ..none }, b".x", EntryKind::File));
        assert!(leaves_out(Rules { vcs: true, ..none }, b".git", EntryKind::Dir));
    }

    #[test]
    fn the_innermost_gitignore_decides() {
        let outer = Ignores::with(None, b"", b"*.log\n/build\n");
        let inner = Ignores::with(Some(outer.clone()), b"a/b", b"!keep.log\n");
        assert!(outer.leaves_out(b"x/y.log", EntryKind::File));
        assert!(outer.leaves_out(b"build", EntryKind::Dir));
        assert!(!outer.leaves_out(b"x/build", EntryKind::Dir));
        assert!(!inner.leaves_out(b"a/b/keep.log", EntryKind::File));
        assert!(inner.leaves_out(b"a/b/other.log", EntryKind::File));
    }
}
