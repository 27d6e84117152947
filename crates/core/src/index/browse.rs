//! Looking at a folder that is not indexed. Nothing is written anywhere.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use spacedrive_api::{Browse, Browsed, EntryInfo, EntryKind, IndexScope, Rules};

use super::hash::{Depth, FileHasher, HashError};
use super::row::Scanned;
use super::rules::leaves_out;
use super::scan::{self, Reader};
use super::walk::join;
use crate::jobs::Task;
use crate::{Error, Result};

/// No more entries than this are answered.
const MAX_ENTRIES: usize = 100_000;

/// Looks at the folder that `query` names.
pub(crate) fn browse(query: &Browse, task: &Task) -> Result<Browsed> {
    let path: &Path = query.path.as_ref();
    let path = std::fs::canonicalize(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::NoSuchFolder { path: path.to_owned() },
        _ => Error::io(path)(error),
    })?;
    let root = scan::open_root(&path).map_err(|error| match error {
        rustix::io::Errno::NOTDIR => Error::NotAFolder { path: path.clone() },
        error => Error::io(&path)(error.into()),
    })?;
    let mut found = Browsed { path: path.clone().into(), files: 0, dirs: 0, bytes: 0, errors: 0, entries: Vec::new() };
    let mut reader = Reader::new();
    let mut hasher = FileHasher::new(task, 1);
    let mut listing: Vec<Scanned> = Vec::new();
    let mut folders: Vec<Vec<u8>> = vec![Vec::new()];
    task.begin("reading folders", "entries", None);
    while let Some(below) = folders.pop() {
        task.check()?;
        let listed = scan::open_folder(&root, &below).and_then(|folder| {
            let (id, _) = scan::identify(&folder)?;
            reader.list(&folder, id.0, &mut listing, |_, _| found.errors += 1)?;
            Ok(folder)
        });
        let folder = match listed {
            Ok(folder) => folder,
            Err(error) if below.is_empty() => return Err(Error::io(&path)(error.into())),
            Err(_) => {
                found.errors += 1;
                continue;
            }
        };
        task.add_done(listing.len() as u64);
        let mut inner = Vec::new();
        for entry in &listing {
            let Some(facts) = entry.facts else { continue };
            if leaves_out(Rules::default(), &entry.name, facts.kind) {
                continue;
            }
            let name = join(&below, &entry.name);
            if facts.kind == EntryKind::Dir {
                found.dirs += 1;
            } else {
                found.files += 1;
                found.bytes += facts.size;
            }
            let mut content_id = None;
            if query.content && facts.kind == EntryKind::File {
                match hasher.hash_at(&folder, &entry.name, Depth::Sampled) {
                    Ok(hashed) => {
                        let mark = if hashed.sampled { "~" } else { "" };
                        content_id = hashed.cas.map(|cas| format!("{mark}{}", blake3::Hash::from_bytes(cas).to_hex()));
                    }
                    Err(HashError::Interrupted) => return Err(Error::Interrupted),
                    Err(HashError::Gone) => {}
                    Err(HashError::Io(_)) => found.errors += 1,
                }
            }
            if query.entries && found.entries.len() < MAX_ENTRIES {
                let (shown, path_base64, shown_name) = EntryInfo::path_fields(&path.join(std::ffi::OsStr::from_bytes(&name)));
                found.entries.push(EntryInfo {
                    path: shown,
                    path_base64,
                    name: shown_name,
                    kind: facts.kind,
                    size: facts.size,
                    modified: jiff::Timestamp::from_nanosecond(facts.mtime.into()).ok(),
                    location: None,
                    device: None,
                    content_id,
                });
            }
            if facts.kind == EntryKind::Dir && query.scope == IndexScope::Recursive {
                inner.push(name);
            }
        }
        folders.extend(inner.into_iter().rev());
    }
    Ok(found)
}
