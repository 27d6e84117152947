//! Reading files for their identity: BLAKE3 of all bytes, or of samples of a large file.
//!
//! A file is read with plain reads (a map would fault when the file shrinks) and looked at before and after: what changed
//! meanwhile is read again, and gets no identity when it goes on changing.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode as TreeMode, merge_subtrees_non_root, merge_subtrees_root};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;

use super::scan::{mtime_of, open_below};
use crate::jobs::Task;

/// Up to this size all of a file is read in the mode `content`; of a larger one only samples.
/// docs/decisions/0007-content-identity.md has the measurement behind it.
pub(crate) const WHOLE: u64 = 64 << 20;

/// How much is read at once. A wish to stop is looked for as often.
const CHUNK: usize = 1 << 20;

/// How many samples of a large file are hashed, and how long each is.
const SAMPLES: u64 = 16;
const SAMPLE: u64 = 64 << 10;

/// From this size on one file is hashed by two threads, in pieces of `PIECE`.
const PARALLEL: u64 = 16 << 20;
const PIECE: u64 = 1 << 20;

/// How often a file that changes meanwhile is read before it is given up.
const TRIES: usize = 3;

/// A file that was written so shortly before it is read could be written again without its time telling.
const SETTLE: Duration = Duration::from_millis(20);

/// Opening a file for reading: never through a link, never waiting for a fifo, never taking a terminal.
pub(crate) const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// What reading a file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hashed {
    /// The size and the time that the file had while it was read.
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    /// `None`: it changed each time.
    pub(crate) cas: Option<[u8; 32]>,
    pub(crate) sampled: bool,
}

/// Whether all of a large file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Samples of files beyond [`WHOLE`].
    Sampled,
    /// Everything.
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
    pub(crate) id: super::scan::FileId,
}

/// Hashes files, with a buffer that is used again for each.
pub(crate) struct FileHasher<'t> {
    buffer: Vec<u8>,
    task: &'t Task,
    /// How many threads one big file may take.
    threads: usize,
}

/// Why there is no hash.
#[derive(Debug)]
pub(crate) enum HashError {
    /// The work was stopped.
    Interrupted,
    /// The file is gone, or no file any more.
    Gone,
    /// It cannot be read.
    Io(Errno),
}

impl From<Errno> for HashError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO => Self::Gone,
            other => Self::Io(other),
        }
    }
}

/// Size, times and identity of an open file; fails with `Gone` when it is not a regular one.
pub(crate) fn stamp(file: &OwnedFd) -> Result<Stamp, HashError> {
    let mask = StatxFlags::BASIC_STATS;
    let stat = statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, mask).map_err(HashError::from)?;
    if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile {
        return Err(HashError::Gone);
    }
    let ctime = stat.stx_ctime.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(stat.stx_ctime.tv_nsec));
    Ok(Stamp { size: stat.stx_size, mtime: mtime_of(&stat), ctime, id: (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino) })
}

impl<'t> FileHasher<'t> {
    /// A hasher that stops when `task` says so.
    pub(crate) fn new(task: &'t Task, threads: usize) -> Self {
        Self { buffer: vec![0; 128 << 10], task, threads }
    }

    /// Opens `name` in `folder` and hashes it.
    pub(crate) fn hash_at(&mut self, folder: &OwnedFd, name: &[u8], depth: Depth) -> Result<Hashed, HashError> {
        let name = std::ffi::CString::new(name).map_err(|_| HashError::Gone)?;
        let file = openat(folder, name, FILE, Mode::empty())?;
        self.hash(&file, depth)
    }

    /// Hashes an open file.
    pub(crate) fn hash(&mut self, file: &OwnedFd, depth: Depth) -> Result<Hashed, HashError> {
        let mut before = stamp(file)?;
        settle(&before);
        for _ in 0..TRIES {
            let sampled = depth == Depth::Sampled && before.size > WHOLE;
            let read = if sampled {
                self.samples(file, before.size)
            } else if before.size >= PARALLEL && self.threads > 1 {
                self.pieces(file, before.size)
            } else {
                self.whole(file, before.size)
            };
            let after = stamp(file)?;
            match read? {
                Some(cas) if after == before => {
                    return Ok(Hashed { size: before.size, mtime: before.mtime, cas: Some(cas), sampled });
                }
                _ => before = after,
            }
            self.stopped()?;
        }
        Ok(Hashed { size: before.size, mtime: before.mtime, cas: None, sampled: false })
    }

    fn stopped(&self) -> Result<(), HashError> {
        self.task.check().map_err(|_| HashError::Interrupted)
    }

    /// All bytes; `None` when there are more or fewer than `size`.
    fn whole(&mut self, file: &OwnedFd, size: u64) -> Result<Option<[u8; 32]>, HashError> {
        if size > self.buffer.len() as u64 && self.buffer.len() < CHUNK {
            self.buffer.resize(CHUNK, 0);
        }
        let mut offset = 0;
        let mut hasher: Option<Hasher> = None;
        loop {
            let n = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut self.buffer[..], offset))?;
            offset += n as u64;
            if offset > size {
                return Ok(None);
            }
            if offset == size && hasher.is_none() {
                // The usual small file: read at once, and that it ended is seen by its size afterwards.
                return Ok(Some(*blake3::hash(&self.buffer[..n]).as_bytes()));
            }
            if n == 0 {
                return Ok(None);
            }
            let hasher = hasher.get_or_insert_with(Hasher::new);
            hasher.update(&self.buffer[..n]);
            if offset == size {
                return Ok(Some(*hasher.finalize().as_bytes()));
            }
            self.stopped()?;
        }
    }

    /// All bytes, in pieces that threads take in turn; the same hash as [`Self::whole`].
    fn pieces(&self, file: &OwnedFd, size: u64) -> Result<Option<[u8; 32]>, HashError> {
        let count = usize::try_from(size.div_ceil(PIECE)).map_err(|_| Errno::FBIG)?;
        let next = AtomicUsize::new(0);
        let short = AtomicBool::new(false);
        let threads: Vec<Result<Vec<(usize, ChainingValue)>, HashError>> = std::thread::scope(|scope| {
            let work = || {
                let mut values = Vec::with_capacity(count / self.threads + 1);
                let mut buffer = vec![0; PIECE as usize];
                loop {
                    let piece = next.fetch_add(1, Ordering::Relaxed);
                    if piece >= count || short.load(Ordering::Relaxed) {
                        return Ok(values);
                    }
                    self.stopped()?;
                    let offset = piece as u64 * PIECE;
                    let length = (size - offset).min(PIECE) as usize;
                    if !read_exactly(file, &mut buffer[..length], offset)? {
                        short.store(true, Ordering::Relaxed);
                        return Ok(values);
                    }
                    let mut hasher = Hasher::new();
                    hasher.set_input_offset(offset).update(&buffer[..length]);
                    values.push((piece, hasher.finalize_non_root()));
                }
            };
            let handles: Vec<_> = (0..self.threads).map(|_| scope.spawn(work)).collect();
            handles.into_iter().map(|handle| handle.join().unwrap_or(Err(HashError::Io(Errno::IO)))).collect()
        });
        let mut values = Vec::with_capacity(count);
        for thread in threads {
            values.extend(thread?);
        }
        if short.load(Ordering::Relaxed) {
            return Ok(None);
        }
        values.sort_unstable_by_key(|(piece, _)| *piece);
        let values: Vec<ChainingValue> = values.into_iter().map(|(_, value)| value).collect();
        let (left, right) = values.split_at(left_length(values.len()));
        Ok(Some(*merge_subtrees_root(&merge(left), &merge(right), TreeMode::Hash).as_bytes()))
    }

    /// The size and pieces from all over the file, under a key of its own, so that it is never equal to a whole hash.
    fn samples(&mut self, file: &OwnedFd, size: u64) -> Result<Option<[u8; 32]>, HashError> {
        let mut hasher = Hasher::new_derive_key("spacedrive 2026 content identity by samples v1");
        hasher.update(&size.to_le_bytes());
        let last = size - SAMPLE;
        for n in 0..SAMPLES {
            let offset = last / (SAMPLES - 1) * n;
            let offset = if n == SAMPLES - 1 { last } else { offset };
            let buffer = &mut self.buffer[..SAMPLE as usize];
            if !read_exactly(file, buffer, offset)? {
                return Ok(None);
            }
            hasher.update(buffer);
            self.stopped()?;
        }
        Ok(Some(*hasher.finalize().as_bytes()))
    }
}

/// How many of `count` pieces are on the left side of the tree: the greatest power of two below it.
fn left_length(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn merge(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [one] => *one,
        several => {
            let (left, right) = several.split_at(left_length(several.len()));
            merge_subtrees_non_root(&merge(left), &merge(right), TreeMode::Hash)
        }
    }
}

/// Fills `buffer` from `offset`; false when the file ends before.
pub(crate) fn read_exactly(file: &OwnedFd, buffer: &mut [u8], mut offset: u64) -> Result<bool, HashError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let n = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut buffer[filled..], offset))?;
        if n == 0 {
            return Ok(false);
        }
        filled += n;
        offset += n as u64;
    }
    Ok(true)
}

/// Waits until the file's time would tell of another write.
fn settle(stamp: &Stamp) {
    let newest = Duration::from_nanos(u64::try_from(stamp.mtime.max(stamp.ctime)).unwrap_or(0));
    if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH)
        && let Some(age) = now.checked_sub(newest)
        && let Some(left) = SETTLE.checked_sub(age)
    {
        std::thread::sleep(left);
    }
}

/// The content of a small file below `root`, or `None` when there is none that can be read.
pub(crate) fn read_small(root: &OwnedFd, path: &[u8], limit: u64) -> Option<Vec<u8>> {
    let file = open_below(root, path, FILE).ok()?;
    let size = stamp(&file).ok()?.size;
    if size > limit {
        return None;
    }
    let mut buffer = vec![0; usize::try_from(size).ok()?];
    read_exactly(&file, &mut buffer, 0).ok()?.then_some(buffer)
}

/// How many bytes were read, added up by several threads.
pub(crate) type Bytes = AtomicU64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::io::Write;

    use super::*;

    fn open(path: &std::path::Path) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    #[test]
    fn pieces_and_whole_are_plain_blake3() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let task = Task::default();
        for size in [0, 1, 1024, 1 << 20, (1 << 20) + 1, 5 << 20, (17 << 20) + 12345, 32 << 20] {
            let bytes: Vec<u8> = (0..size).map(|n: usize| (n * 31 + n / 7919) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let expected = Some(*blake3::hash(&bytes).as_bytes());
            for threads in [1, 2] {
                let hashed = FileHasher::new(&task, threads).hash(&open(&path), Depth::Sampled).unwrap();
                assert_eq!((hashed.cas, hashed.sampled, hashed.size), (expected, false, size as u64));
            }
        }
    }

    #[test]
    fn a_large_file_is_sampled_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(WHOLE + 1).unwrap();
        let task = Task::default();
        let mut hasher = FileHasher::new(&task, 2);
        let sampled = hasher.hash(&open(&path), Depth::Sampled).unwrap();
        let whole = hasher.hash(&open(&path), Depth::Whole).unwrap();
        assert!(sampled.sampled && !whole.sampled);
        assert_ne!(sampled.cas, whole.cas);
    }

    #[test]
    fn a_file_that_goes_on_changing_has_no_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![1; 3 << 20]).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    file.write_all(b"more").unwrap();
                }
            });
            // Either it was read between two writes, and then it is right, or it has none.
            let hashed = FileHasher::new(&Task::default(), 1).hash(&open(&path), Depth::Whole).unwrap();
            stop.store(true, Ordering::Relaxed);
            if let Some(cas) = hashed.cas {
                let bytes = std::fs::read(&path).unwrap();
                assert_eq!(cas, *blake3::hash(&bytes[..hashed.size as usize]).as_bytes());
            }
        });
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let folder: OwnedFd = std::fs::File::open(dir.path()).unwrap().into();
        let found = FileHasher::new(&Task::default(), 1).hash_at(&folder, b"fifo", Depth::Whole);
        assert!(matches!(found, Err(HashError::Gone)));
    }
}
