//! A folder on disk, a library that indexes it, and what must be equal between the two.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spacedrive_api::{
    EntryKind, IndexLocation, IndexMode, JobInfo, JobStatus, LocationAdd, LocationAdded, LocationQuery, Rules, Search,
};
use spacedrive_core::Library;
use spacedrive_core::index::IndexOptions;
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What is compared of one entry; folders have neither size, time nor hash here.
pub(crate) type Seen = (EntryKind, u64, i128, Option<String>);

/// A folder `disk` and a library beside it.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) options: IndexOptions,
    pub(crate) library: Option<Library>,
}

impl World {
    /// An empty folder and an empty library.
    pub(crate) fn new(watch: bool) -> Self {
        let dir = TempDir::with_prefix("sd-index-").unwrap();
        fs::create_dir(dir.path().join("disk")).unwrap();
        let options = IndexOptions { private: Vec::new(), watch };
        let library = Library::create(&dir.path().join("data"), "L", &options).unwrap();
        library.start().unwrap();
        Self { dir, options, library: Some(library) }
    }

    /// The folder.
    pub(crate) fn disk(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// The library's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().join("data/L.sdlibrary")
    }

    pub(crate) fn library(&self) -> &Library {
        self.library.as_ref().unwrap()
    }

    /// Closes and opens the library.
    pub(crate) fn restart(&mut self) {
        self.close();
        self.reopen();
    }

    pub(crate) fn close(&mut self) {
        drop(self.library.take());
    }

    pub(crate) fn reopen(&mut self) {
        // A child that another test forks holds the lock until it is replaced by its program.
        let until = Instant::now() + PATIENCE;
        let library = loop {
            match Library::open(&self.folder(), &self.options) {
                Err(spacedrive_core::Error::LibraryLocked { .. }) if Instant::now() < until => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        library.start().unwrap();
        self.library = Some(library);
    }

    pub(crate) fn add(&self, mode: IndexMode) -> LocationAdded {
        self.add_with(mode, Rules::default())
    }

    pub(crate) fn add_with(&self, mode: IndexMode, rules: Rules) -> LocationAdded {
        let added = self
            .library()
            .add_location(&LocationAdd { library: String::new(), path: self.disk().into(), name: None, mode, rules })
            .unwrap();
        self.wait(added.job);
        added
    }

    /// Waits for a job that must complete.
    pub(crate) fn wait(&self, job: uuid::Uuid) -> JobInfo {
        let info = self.library().jobs().wait_for_end(job, PATIENCE).unwrap();
        assert_eq!(info.status, JobStatus::Completed, "{}", info.message);
        info
    }

    /// Walks the location again and waits for it.
    pub(crate) fn rescan(&self) -> JobInfo {
        let started = self.library().index_location(&again("disk")).unwrap();
        self.wait(started.job)
    }

    /// What the index says is below the folder.
    pub(crate) fn indexed(&self) -> BTreeMap<PathBuf, Seen> {
        let found = self.library().index().search(&everything()).unwrap();
        let seen = found.entries.iter().map(|entry| {
            let path = entry.real_path().strip_prefix(self.disk()).unwrap().to_owned();
            let modified = entry.modified.map_or(0, |time| time.as_nanosecond());
            let seen = match entry.kind {
                EntryKind::Dir => (entry.kind, 0, 0, None),
                kind => (kind, entry.size, modified, entry.content_id.clone()),
            };
            (path, seen)
        });
        let all: BTreeMap<PathBuf, Seen> = seen.collect();
        assert_eq!(all.len(), found.entries.len(), "a path was found twice");
        all
    }

    /// What is below the folder, by a walk of its own.
    pub(crate) fn walked(&self) -> BTreeMap<PathBuf, Seen> {
        walked(&self.disk())
    }

    /// The index must be what is on disk, now; also in its numbers.
    #[track_caller]
    pub(crate) fn assert_equal(&self) {
        let (indexed, walked) = (self.indexed(), self.walked());
        assert!(indexed == walked, "{}", difference(&indexed, &walked));
        self.assert_numbers(&walked);
        assert_eq!(self.library().check(false).unwrap().problems, Vec::<String>::new());
    }

    #[track_caller]
    fn assert_numbers(&self, walked: &BTreeMap<PathBuf, Seen>) {
        let location = self.library().index().locations().remove(0);
        let dirs = walked.values().filter(|seen| seen.0 == EntryKind::Dir).count();
        let bytes: u64 = walked.values().map(|seen| seen.1).sum();
        assert_eq!((location.dirs, location.files, location.bytes), (dirs as u64, (walked.len() - dirs) as u64, bytes));
    }

    /// The index must become what is on disk by itself.
    #[track_caller]
    pub(crate) fn await_equal(&self) {
        let until = Instant::now() + PATIENCE;
        let walked = self.walked();
        loop {
            let indexed = self.indexed();
            if indexed == walked {
                break self.assert_numbers(&walked);
            }
            assert!(Instant::now() < until, "{}", difference(&indexed, &walked));
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// A search that finds everything.
pub(crate) fn everything() -> Search {
    Search {
        library: String::new(),
        words: Vec::new(),
        regex: false,
        loose: false,
        ext: Vec::new(),
        kind: None,
        min_size: None,
        max_size: None,
        modified_after: None,
        modified_before: None,
        location: None,
        path: None,
        limit: None,
        sort: Default::default(),
        count: false,
    }
}

/// A search for words.
pub(crate) fn words(words: &[&str]) -> Search {
    Search { words: words.iter().map(|word| (*word).to_owned()).collect(), ..everything() }
}

/// A request to walk a location again.
pub(crate) fn again(text: &str) -> IndexLocation {
    IndexLocation { library: String::new(), location: query(text), mode: None, scope: Default::default(), force: false }
}

pub(crate) fn query(text: &str) -> LocationQuery {
    LocationQuery { text: text.to_owned(), path: None }
}

/// What a plain walk says of a folder.
pub(crate) fn walked(disk: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut all = BTreeMap::new();
    for entry in walkdir::WalkDir::new(disk).min_depth(1) {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        let time = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        let seen = if meta.is_dir() {
            (EntryKind::Dir, 0, 0, None)
        } else if meta.is_file() {
            let hash = blake3::hash(&fs::read(entry.path()).unwrap()).to_hex().to_string();
            (EntryKind::File, meta.len(), time, Some(hash))
        } else if meta.is_symlink() {
            (EntryKind::Symlink, 0, time, None)
        } else {
            (EntryKind::Other, 0, time, None)
        };
        all.insert(entry.path().strip_prefix(disk).unwrap().to_owned(), seen);
    }
    all
}

fn difference(indexed: &BTreeMap<PathBuf, Seen>, walked: &BTreeMap<PathBuf, Seen>) -> String {
    let mut text = String::from("the index differs from the disk:\n");
    for (path, seen) in indexed.iter().filter(|(path, seen)| walked.get(*path) != Some(seen)).take(20) {
        text += &format!("  indexed {path:?} {seen:?}\n  on disk {:?}\n", walked.get(path));
    }
    for (path, seen) in walked.iter().filter(|(path, _)| !indexed.contains_key(*path)).take(20) {
        text += &format!("  only on disk {path:?} {seen:?}\n");
    }
    text
}

/// Writes a file, with its folders.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The name of a path, in bytes.
pub(crate) fn name_of(path: &Path) -> &[u8] {
    path.file_name().unwrap().as_bytes()
}

/// Says that a test was left out; where everything must be tested that is a failure.
#[expect(clippy::print_stderr, reason = "whoever runs the tests has to see it")]
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("SD_REQUIRE_ROOT").is_none(), "{why}");
    eprintln!("skipped: {why}");
}
