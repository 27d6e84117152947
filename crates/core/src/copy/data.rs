//! The bytes of one file: shared with the copy where the file system can, else copied in the kernel, holes kept.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::Result;
use crate::operation::Watch;
use crate::rooted::Meta;

/// How much is copied between two looks at the orders.
const CHUNK: u64 = 8 << 20;

/// Files up to this size are read and written: fewer calls than asking for their holes.
const SMALL: u64 = 64 << 10;

/// What became of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copied {
    /// All that were announced are there.
    Whole,
    /// The source ended early: it was cut meanwhile.
    Short,
}

/// Copies bytes, and remembers what the file systems cannot do.
#[derive(Debug)]
pub(crate) struct Copier {
    buffer: Vec<u8>,
    no_clone: HashSet<(u64, u64)>,
    no_range: HashSet<(u64, u64)>,
}

impl Copier {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; 256 << 10], no_clone: HashSet::new(), no_range: HashSet::new() }
    }

    /// Copies what `meta` says that `from` has into the empty file `to` on the file system `dev`.
    pub(crate) fn copy(
        &mut self,
        from: &File,
        meta: &Meta,
        to: &File,
        dev: u64,
        watch: &dyn Watch,
    ) -> Result<io::Result<Copied>> {
        let pair = (meta.dev, dev);
        if meta.size == 0 {
            return Ok(Ok(Copied::Whole));
        }
        if self.clone_whole(from, to, pair) {
            watch.done(0, meta.size);
            return Ok(Ok(Copied::Whole));
        }
        if meta.size > SMALL
            && let Err(error) = to.set_len(meta.size)
        {
            return Ok(Err(error));
        }
        let sparse = meta.size > SMALL && meta.stored < meta.size;
        let mut at = 0;
        while at < meta.size {
            let (start, end) = if sparse {
                match next_data(from, at, meta.size) {
                    Ok(extent) => extent,
                    Err(error) => return Ok(Err(error)),
                }
            } else {
                (at, meta.size)
            };
            watch.done(0, start - at);
            at = start;
            while at < end {
                watch.check()?;
                let wanted = CHUNK.min(end - at);
                match self.chunk(from, to, at, wanted, pair, meta.size <= SMALL) {
                    Ok(0) => return Ok(Ok(Copied::Short)),
                    Ok(n) => {
                        watch.done(0, n);
                        at += n;
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
        Ok(Ok(Copied::Whole))
    }

    /// Lets the copy share the blocks of the source (btrfs, XFS, bcachefs).
    #[cfg(target_os = "linux")]
    fn clone_whole(&mut self, from: &File, to: &File, pair: (u64, u64)) -> bool {
        if self.no_clone.contains(&pair) {
            return false;
        }
        if rustix::fs::ioctl_ficlone(to, from).is_ok() {
            return true;
        }
        self.no_clone.insert(pair);
        false
    }

    #[cfg(not(target_os = "linux"))]
    fn clone_whole(&mut self, _from: &File, _to: &File, pair: (u64, u64)) -> bool {
        self.no_clone.insert(pair);
        false
    }

    /// Copies up to `wanted` bytes at `at`; 0 only at the end of the source.
    fn chunk(&mut self, from: &File, to: &File, at: u64, wanted: u64, pair: (u64, u64), small: bool) -> io::Result<u64> {
        #[cfg(target_os = "linux")]
        if !small && !self.no_range.contains(&pair) {
            let (mut source, mut target) = (at, at);
            let length = usize::try_from(wanted).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), length) {
                // Some file systems answer 0 for what they cannot do: read decides.
                Ok(0) => {}
                Ok(n) => return Ok(n as u64),
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::TXTBSY | Errno::BADF) => {
                    self.no_range.insert(pair);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let length = self.buffer.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        let n = match from.read_at(&mut self.buffer[..length], at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => from.read_at(&mut self.buffer[..length], at)?,
            other => other?,
        };
        to.write_all_at(&self.buffer[..n], at)?;
        let _ = small;
        Ok(n as u64)
    }

    /// The BLAKE3 hash of a whole file.
    pub(crate) fn hash(&mut self, file: &File, watch: &dyn Watch) -> Result<io::Result<blake3::Hash>> {
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        loop {
            watch.check()?;
            match file.read_at(&mut self.buffer, at) {
                Ok(0) => return Ok(Ok(hasher.finalize())),
                Ok(n) => {
                    hasher.update(&self.buffer[..n]);
                    at += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}

/// The next bytes that are not a hole, at or after `at`.
fn next_data(file: &File, at: u64, size: u64) -> io::Result<(u64, u64)> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start.min(size),
        Err(Errno::NXIO) => return Ok((size, size)),
        Err(Errno::INVAL) => return Ok((at, size)),
        Err(error) => return Err(error.into()),
    };
    let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(end) => end.min(size),
        Err(_) => size,
    };
    Ok((start, end.max(start)))
}

/// Whether nothing more can be written there, so that it makes no sense to go on.
pub(crate) fn is_fatal(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

/// The text of an I/O error without `(os error 28)`.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
