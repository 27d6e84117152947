//! The trash: removing is one rename, and restoring is one rename back.
//!
//! A trash is a folder. Beside each thing in it (`STAMP-NAME`) lies its note (`STAMP-NAME.trash`), which is
//! written before the thing is moved: a crash in between leaves a note without a thing, which counts as nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spacedrive_api::instance::TRASH;
use spacedrive_api::{Trashed, WirePath};

use crate::{Error, Result, files};

/// The ending of a note.
const NOTE: &str = "trash";

/// The longest part of a thing's name that is kept in its name in the trash, in bytes: a note under a temporary name
/// must still fit 255.
const MAX_NAME: usize = 180;

/// What is written beside a thing.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    name: String,
    removed_at: jiff::Timestamp,
    from: WirePath,
    /// Where the thing lies, when not beside this note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parked: Option<WirePath>,
}

/// Moves the file or folder `what` into `trash`, and remembers that it was called `name` and lay at `from`
/// (which may be relative to whatever the caller restores to). When it lies on another file system, it is
/// moved to [`TRASH`] in its own folder instead, and found all the same.
pub fn put(trash: &Path, what: &Path, name: &str, from: &Path) -> Result<Trashed> {
    let (mut note, path) = reserve(trash, what.file_name().unwrap_or_default(), name, from)?;
    let moved = match files::rename_new(what, &path) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::CrossesDevices => {
            let near = what.with_file_name(TRASH);
            files::make_dir(&near)?;
            let parked = near.join(path.file_name().unwrap_or_default());
            note.parked = Some(parked.as_path().into());
            write(&note_of(&path), &note)?;
            files::rename_new(what, &parked).map(|()| parked)
        }
        other => other.map(|()| path.clone()),
    };
    let synced = moved.and_then(|parked| what.parent().map_or(Ok(()), files::sync_dir).map(|()| parked));
    match synced {
        Ok(parked) => Ok(note.into_trashed(parked)),
        Err(error) => {
            // Whatever failed, it stays where it was, or is found in the trash.
            let parked = note.parked.map_or_else(|| path.clone(), |parked| parked.0);
            if fs::symlink_metadata(&parked).is_err() || files::rename_new(&parked, what).is_ok() {
                let _ = fs::remove_file(note_of(&path));
            }
            Err(error)
        }
    }
}

/// Makes an empty folder in `trash` for a thing that is moved into it piece by piece.
pub fn put_pieces(trash: &Path, name: &str, from: &Path) -> Result<Trashed> {
    let (note, path) = reserve(trash, name.as_ref(), name, from)?;
    files::make_dir(&path)?;
    files::sync_dir(trash)?;
    Ok(note.into_trashed(path))
}

/// What lies in `trash`, the newest first.
pub fn list(trash: &Path) -> Result<Vec<Trashed>> {
    let mut all = Vec::new();
    let entries = match fs::read_dir(trash) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(all),
        other => other.map_err(Error::io(trash))?,
    };
    for entry in entries {
        let note = entry.map_err(Error::io(trash))?.path();
        if note.extension().is_none_or(|e| e != NOTE) {
            continue;
        }
        let Some(read) = fs::read(&note).ok().and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok()) else { continue };
        let path = read.parked.as_ref().map_or_else(|| note.with_extension(""), |parked| parked.0.clone());
        if fs::symlink_metadata(&path).is_ok() {
            all.push(read.into_trashed(path));
        }
    }
    all.sort_by(|a, b| b.removed_at.cmp(&a.removed_at).then_with(|| b.path.cmp(&a.path)));
    Ok(all)
}

/// Moves a thing of `trash` to `to`, where nothing may be.
pub fn restore(trash: &Path, trashed: &Trashed, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        files::make_dir(parent)?;
    }
    files::rename_new(&trashed.path.0, to)?;
    forget(trash, trashed)
}

/// Deletes a thing of `trash` for good.
pub fn purge(trash: &Path, trashed: &Trashed) -> Result<()> {
    let path = &trashed.path.0;
    let meta = fs::symlink_metadata(path).map_err(Error::io(path))?;
    if meta.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.map_err(Error::io(path))?;
    forget(trash, trashed)
}

/// Removes the note of a thing that is no longer there, and the trash when nothing else is in it.
pub fn forget(trash: &Path, trashed: &Trashed) -> Result<()> {
    let note = note_of(&trash.join(trashed.path.0.file_name().unwrap_or_default()));
    match fs::remove_file(&note) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io(&note)(error)),
        _ => {}
    }
    for folder in [Some(trash), trashed.path.0.parent()].into_iter().flatten() {
        // Fails when something is in it, as it should.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// Writes the note of a new thing, under a name that no other thing has.
fn reserve(trash: &Path, file: &std::ffi::OsStr, name: &str, from: &Path) -> Result<(Note, PathBuf)> {
    files::make_dir(trash)?;
    let note = Note { version: 1, name: name.to_owned(), removed_at: jiff::Timestamp::now(), from: from.into(), parked: None };
    let mut file = file.to_string_lossy().into_owned();
    file.truncate(file.floor_char_boundary(MAX_NAME));
    let stamp = note.removed_at.strftime("%Y%m%dT%H%M%S%3fZ");
    let mut path = trash.join(format!("{stamp}-{file}"));
    let mut again = 1;
    while fs::symlink_metadata(&path).is_ok() || fs::symlink_metadata(note_of(&path)).is_ok() {
        again += 1;
        path = trash.join(format!("{stamp}.{again}-{file}"));
    }
    write(&note_of(&path), &note)?;
    Ok((note, path))
}

fn write(path: &Path, note: &Note) -> Result<()> {
    let bytes = spacedrive_api::record::json(note).map_err(Error::io(path))?;
    spacedrive_api::record::replace_file(path, &bytes).map_err(Error::io(path))
}

fn note_of(path: &Path) -> PathBuf {
    let mut note = path.as_os_str().to_owned();
    note.push(".");
    note.push(NOTE);
    PathBuf::from(note)
}

impl Note {
    fn into_trashed(self, path: PathBuf) -> Trashed {
        Trashed { name: self.name, removed_at: self.removed_at, from: self.from, path: WirePath(path) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_twice_under_one_name_comes_back_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let (trash, thing) = (dir.path().join("trash"), dir.path().join("thing"));
        for text in ["first", "second"] {
            fs::write(&thing, text).unwrap();
            put(&trash, &thing, "thing", &thing).unwrap();
            assert!(!thing.exists());
        }
        let all = list(&trash).unwrap();
        assert_eq!(all.len(), 2);
        restore(&trash, &all[0], &thing).unwrap();
        assert_eq!(fs::read_to_string(&thing).unwrap(), "second");
        // Nothing is ever replaced.
        assert!(restore(&trash, &all[1], &thing).is_err());
        assert_eq!(fs::read_to_string(&thing).unwrap(), "second");
        purge(&trash, &list(&trash).unwrap()[0]).unwrap();
        assert!(!trash.exists(), "an empty trash is removed");
    }

    #[test]
    fn a_note_without_its_thing_counts_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let trash = dir.path().join("trash");
        reserve(&trash, "x".as_ref(), "x", Path::new("/x")).unwrap();
        fs::write(trash.join("torn.trash"), "{").unwrap();
        assert_eq!(list(&trash).unwrap(), []);
        assert_eq!(list(&dir.path().join("none")).unwrap(), []);
    }

    #[test]
    fn a_long_name_still_fits() {
        let dir = tempfile::tempdir().unwrap();
        let (trash, thing) = (dir.path().join("trash"), dir.path().join("é".repeat(127)));
        fs::write(&thing, "x").unwrap();
        let trashed = put(&trash, &thing, "long", &thing).unwrap();
        restore(&trash, &trashed, &thing).unwrap();
        assert!(thing.exists());
    }
}
