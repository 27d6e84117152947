//! Files with equal content: by size first, then by their beginning and end, then by the whole hash. Nothing but a hash of all
//! bytes says that two files are equal; one that is known from indexing counts as long as the file is what it was.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, Mode, openat};
use spacedrive_api::{DuplicateGroup, Duplicates, DuplicatesFound, EntryKind, WirePath};

use crate::db::entry::{self, Identity};
use crate::index::hash::{Bytes, Depth, FILE, FileHasher, HashError, read_exactly, stamp};
use crate::index::row::{Eid, flags};
use crate::index::{Index, scan};
use crate::jobs::Task;
use crate::search::{self, Corpus};
use crate::{Error, Result};

/// How much of the beginning and of the end of a file is compared before all of it is read.
const EDGE: usize = 4096;

/// Files up to this size are read as a whole at once.
const SMALL: u64 = 4 * EDGE as u64;

/// A file that may have equals.
#[derive(Debug, Clone)]
struct Candidate {
    eid: Eid,
    size: u64,
    mtime: i64,
    inode: u64,
    /// The hash of all bytes, when it is known.
    known: Option<[u8; 32]>,
    path: PathBuf,
}

/// Hard links of one file have one place.
type Place = scan::FileId;

/// One of the files with some content.
type Copy<'c> = (Place, &'c Candidate);

/// What was found out about one file.
struct Checked {
    candidate: usize,
    place: Place,
    /// A hash of its edges, or of all of it.
    edges: [u8; 32],
    /// The hash of all bytes, when that was cheap.
    full: Option<[u8; 32]>,
}

/// Finds the groups that `query` asks for.
pub(crate) fn find(index: &Index, query: &Duplicates, task: &Task) -> Result<DuplicatesFound> {
    let candidates = candidates(index, query)?;
    task.begin("comparing files", "files", Some(candidates.len() as u64));
    let read = Bytes::new(0);
    let skipped = Bytes::new(0);

    // Step 1: what is at hand of each: its known hash, or its edges.
    let order: Vec<usize> = (0..candidates.len()).collect();
    let checked = in_parallel(&order, task, |hasher, &n| edges(hasher, &candidates[n], n, &read, &skipped))?;

    // Step 2: those of one size whose edges are equal, and that are not one file, need their whole hash. A known hash says
    // nothing about edges, so it is compared with the edges of none: its equals must have a whole hash too.
    let mut by_size: HashMap<u64, Vec<&Checked>> = HashMap::new();
    for one in &checked {
        by_size.entry(candidates[one.candidate].size).or_default().push(one);
    }
    let mut full: HashMap<Place, [u8; 32]> = checked.iter().filter_map(|one| Some((one.place, one.full?))).collect();
    let mut wanted: Vec<(usize, Place)> = Vec::new();
    for group in by_size.values() {
        let any_known = group.iter().any(|one| one.full.is_some());
        let mut by_edges: HashMap<[u8; 32], Vec<&Checked>> = HashMap::new();
        for one in group.iter().filter(|one| !full.contains_key(&one.place)) {
            by_edges.entry(one.edges).or_default().push(one);
        }
        for same in by_edges.values() {
            let mut places: Vec<(Place, usize)> = same.iter().map(|one| (one.place, one.candidate)).collect();
            places.sort_unstable();
            places.dedup_by_key(|(place, _)| *place);
            if any_known || places.len() > 1 {
                wanted.extend(places.into_iter().map(|(place, n)| (n, place)));
            }
        }
    }
    // Big ones first, so that no thread is left with one at the end.
    wanted.sort_unstable_by_key(|(n, _)| std::cmp::Reverse(candidates[*n].size));
    let hashed = in_parallel(&wanted, task, |hasher, (n, place)| whole(hasher, &candidates[*n], *n, *place, &read, &skipped))?;
    remember(index, &candidates, &hashed)?;
    full.extend(hashed.iter().filter_map(|one| Some((one.place, one.full?))));

    // Step 3: equal hashes.
    let mut groups: HashMap<(u64, [u8; 32]), Vec<Copy<'_>>> = HashMap::new();
    for one in &checked {
        if let Some(hash) = full.get(&one.place) {
            let candidate = &candidates[one.candidate];
            groups.entry((candidate.size, *hash)).or_default().push((one.place, candidate));
        }
    }
    let mut groups: Vec<DuplicateGroup> =
        groups.into_iter().filter_map(|((size, hash), files)| shown(size, hash, files)).collect();
    groups.sort_unstable_by(|a, b| b.reclaimable.cmp(&a.reclaimable).then_with(|| a.files.cmp(&b.files)));
    Ok(DuplicatesFound {
        reclaimable: groups.iter().map(|group| group.reclaimable).sum(),
        groups,
        bytes_read: read.load(Ordering::Relaxed),
        skipped: skipped.load(Ordering::Relaxed),
    })
}

/// The files that share their size with another one.
fn candidates(index: &Index, query: &Duplicates) -> Result<Vec<Candidate>> {
    let names = index.names.snapshot();
    let rows = index.rows();
    let least = query.min_size.unwrap_or(1).max(1);
    index.db.read_with(|connection| {
        let corpus = Corpus { names: &names, locations: &rows, connection, path: index.db.path() };
        let root = match &query.location {
            Some(text) => Some(crate::location::find(&rows, text, None)?.root),
            None => None,
        };
        let below = match &query.path {
            Some(path) => {
                let path: &Path = path.as_ref();
                Some(search::folder_at(&corpus, path)?.ok_or_else(|| Error::NoSuchFolder { path: path.to_owned() })?)
            }
            None => None,
        };
        let db = index.db_error();
        let mut sizes: HashMap<u64, u32> = HashMap::new();
        let wanted =
            |eid: Eid| root.is_none_or(|root| names.is_below(eid, root)) && below.is_none_or(|below| names.is_below(eid, below));
        entry::sizes(connection, least, |eid, size| {
            if wanted(eid) {
                *sizes.entry(size).or_default() += 1;
            }
        })
        .map_err(&db)?;
        sizes.retain(|_, count| *count > 1);
        let mut folders: HashMap<Eid, Option<PathBuf>> = HashMap::new();
        let mut found = Vec::new();
        entry::scan(connection, 0, |row| {
            let stored = row.stored;
            if stored.kind == EntryKind::File && sizes.contains_key(&stored.size) && wanted(stored.eid) {
                let folder =
                    folders.entry(row.parent).or_insert_with(|| search::path_of(&corpus, row.parent).map(|(path, _)| path));
                if let Some(folder) = folder {
                    found.push(Candidate {
                        eid: stored.eid,
                        size: stored.size,
                        mtime: stored.mtime,
                        inode: stored.inode,
                        known: row.cas.filter(|_| stored.flags & flags::SAMPLED == 0),
                        path: folder.join(std::ffi::OsStr::from_bytes(&stored.name)),
                    });
                }
            }
            true
        })
        .map_err(&db)?;
        Ok(found)
    })
}

/// Runs `work` on two threads; those without an answer are left out.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    task: &Task,
    work: impl Fn(&mut FileHasher<'_>, &T) -> Result<Option<R>, HashError> + Sync,
) -> Result<Vec<R>> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        let run = || {
            let mut hasher = FileHasher::new(task, 1);
            let mut mine = Vec::new();
            loop {
                let from = next.fetch_add(16, Ordering::Relaxed);
                if from >= items.len() {
                    break;
                }
                task.check()?;
                for item in &items[from..items.len().min(from + 16)] {
                    match work(&mut hasher, item) {
                        Ok(answer) => mine.extend(answer),
                        Err(HashError::Interrupted) => return Err(Error::Interrupted),
                        // Counted as skipped by `work`.
                        Err(HashError::Gone | HashError::Io(_)) => {}
                    }
                    task.add_done(1);
                }
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
            Ok(())
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(run)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(Error::Interrupted)))
    })?;
    Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Opens a candidate, if it still is what the index says.
fn open(candidate: &Candidate, skipped: &Bytes) -> Result<(OwnedFd, Place), HashError> {
    let opened = openat(CWD, &candidate.path, FILE, Mode::empty()).map_err(HashError::from).and_then(|file| {
        let stamp = stamp(&file)?;
        let same = (stamp.size, stamp.mtime, stamp.id.2) == (candidate.size, candidate.mtime, candidate.inode);
        if same { Ok((file, stamp.id)) } else { Err(HashError::Gone) }
    });
    if opened.is_err() {
        skipped.fetch_add(1, Ordering::Relaxed);
    }
    opened
}

fn edges(
    hasher: &mut FileHasher<'_>,
    candidate: &Candidate,
    n: usize,
    read: &Bytes,
    skipped: &Bytes,
) -> Result<Option<Checked>, HashError> {
    let checked = |place, edges, full| Ok(Some(Checked { candidate: n, place, edges, full }));
    if let Some(known) = candidate.known {
        // It counts only while the file is what was hashed: looked at, not read.
        return match scan::look_up(&candidate.path) {
            Ok((size, mtime, id)) if (size, mtime, id.2) == (candidate.size, candidate.mtime, candidate.inode) => {
                checked(id, known, Some(known))
            }
            _ => {
                skipped.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
        };
    }
    let (file, place) = open(candidate, skipped)?;
    if candidate.size <= SMALL {
        read.fetch_add(candidate.size, Ordering::Relaxed);
        let hashed = hasher.hash(&file, Depth::Whole)?;
        let full = hashed.cas.filter(|_| (hashed.size, hashed.mtime) == (candidate.size, candidate.mtime));
        return match full {
            Some(full) => checked(place, full, Some(full)),
            None => {
                skipped.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
        };
    }
    let mut buffer = [0; 2 * EDGE];
    let whole =
        read_exactly(&file, &mut buffer[..EDGE], 0)? && read_exactly(&file, &mut buffer[EDGE..], candidate.size - EDGE as u64)?;
    if !whole {
        skipped.fetch_add(1, Ordering::Relaxed);
        return Ok(None);
    }
    read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
    checked(place, *blake3::hash(&buffer).as_bytes(), None)
}

fn whole(
    hasher: &mut FileHasher<'_>,
    candidate: &Candidate,
    n: usize,
    place: Place,
    read: &Bytes,
    skipped: &Bytes,
) -> Result<Option<Checked>, HashError> {
    let (file, now) = open(candidate, skipped)?;
    let hashed = hasher.hash(&file, Depth::Whole)?;
    read.fetch_add(candidate.size, Ordering::Relaxed);
    let same = now == place && (hashed.size, hashed.mtime) == (candidate.size, candidate.mtime);
    match hashed.cas.filter(|_| same) {
        Some(full) => Ok(Some(Checked { candidate: n, place, edges: full, full: Some(full) })),
        None => {
            skipped.fetch_add(1, Ordering::Relaxed);
            Ok(None)
        }
    }
}

/// Stores the hashes that were made, so that the next search for duplicates, and everything else, has them.
fn remember(index: &Index, candidates: &[Candidate], hashed: &[Checked]) -> Result<()> {
    let identities: Vec<Identity> = hashed
        .iter()
        .map(|one| {
            let candidate = &candidates[one.candidate];
            Identity { eid: candidate.eid, size: candidate.size, mtime: candidate.mtime, cas: one.full, sampled: false }
        })
        .collect();
    for chunk in identities.chunks(10_000) {
        index.write(|transaction, seq| entry::identify(transaction, chunk, seq))?;
    }
    Ok(())
}

/// A group as it is shown, unless it is one file only.
fn shown(size: u64, hash: [u8; 32], mut files: Vec<Copy<'_>>) -> Option<DuplicateGroup> {
    files.sort_unstable_by(|a, b| a.1.path.cmp(&b.1.path));
    files.dedup_by(|a, b| a.1.path == b.1.path);
    let mut places: Vec<Place> = files.iter().map(|(place, _)| *place).collect();
    places.sort_unstable();
    places.dedup();
    if places.len() < 2 {
        return None;
    }
    let wire: Vec<WirePath> = files.iter().map(|(_, candidate)| WirePath::from(candidate.path.as_path())).collect();
    Some(DuplicateGroup {
        hash: blake3::Hash::from_bytes(hash).to_hex().to_string(),
        size,
        files: wire.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
        files_base64: wire.iter().enumerate().filter_map(|(n, path)| Some((n, path.base64()?))).collect(),
        reclaimable: size * (places.len() as u64 - 1),
    })
}
