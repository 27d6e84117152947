//! Measures the index in one process, without the daemon: `just bench-index` runs it beside its peers.
//!
//! `index corpus DIR FILES` makes a deterministic tree; `index first|rescan|arm|search|identify|duplicates|idle …` print one
//! line of JSON each. Times are in seconds, of the wall and of the processor.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use spacedrive_api::{Duplicates, IndexLocation, IndexMode, LocationAdd, LocationQuery, Rules, Search};
use spacedrive_core::Library;
use spacedrive_core::index::IndexOptions;
use spacedrive_core::jobs::Task;

const PATIENCE: Duration = Duration::from_secs(3600);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["corpus", dir, files] => corpus(Path::new(dir), files.parse().unwrap()),
        ["first", tree, data, mode] => first(Path::new(tree), Path::new(data), mode),
        ["rescan", data, times] => rescan(Path::new(data), times.parse().unwrap(), false),
        ["arm", data, times] => rescan(Path::new(data), times.parse().unwrap(), true),
        ["search", data, queries] => search(Path::new(data), Path::new(queries)),
        ["queries", data, count] => queries(Path::new(data), count.parse().unwrap()),
        ["identify", tree] => identify(Path::new(tree)),
        ["duplicates", data, times] => duplicates(Path::new(data), times.parse().unwrap()),
        ["idle", data, seconds] => idle(Path::new(data), seconds.parse().unwrap()),
        ["change", data, tree, times] => change(Path::new(data), Path::new(tree), times.parse().unwrap()),
        // Run by `cargo test --benches` without arguments.
        _ => println!("see the head of crates/core/benches/index.rs"),
    }
}

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

struct Clock(Instant, f64);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    fn read(&self) -> (f64, f64) {
        (self.0.elapsed().as_secs_f64(), cpu() - self.1)
    }
}

/// A field of /proc/self/status in MiB.
fn memory(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// The bytes of the database with its WAL.
fn size_of(library: &Library) -> u64 {
    let files = ["library.db", "library.db-wal"].map(|name| library.dir().join(name));
    files.iter().filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.len()).sum()
}

fn options(watch: bool) -> IndexOptions {
    IndexOptions { private: Vec::new(), watch }
}

fn open(data: &Path, watch: bool) -> Library {
    Library::open(&data.join("B.sdlibrary"), &options(watch)).unwrap()
}

fn everything() -> Search {
    serde_json::from_value(json!({ "library": "" })).unwrap()
}

fn first(tree: &Path, data: &Path, mode: &str) {
    let library = Library::create(data, "B", &options(false)).unwrap();
    library.start().unwrap();
    let clock = Clock::start();
    let request = LocationAdd {
        library: String::new(),
        path: tree.into(),
        name: Some("tree".to_owned()),
        mode: serde_json::from_value(json!(mode)).unwrap(),
        rules: Rules::default(),
    };
    let job = library.add_location(&request).unwrap().job;
    let info = library.jobs().wait_for_end(job, PATIENCE).unwrap();
    let (wall, cpu) = clock.read();
    let entries = library.index().search(&Search { count: true, ..everything() }).unwrap().count.unwrap();
    library.stop();
    library.checkpoint().unwrap();
    let bytes = size_of(&library);
    println!(
        "{}",
        json!({ "what": "first", "mode": mode, "wall": wall, "cpu": cpu, "entries": entries, "bytes": bytes,
                "bytes_per_entry": bytes as f64 / entries as f64, "peak_mib": memory("VmHWM"), "status": info.status })
    );
}

fn rescan(data: &Path, times: usize, watch: bool) {
    let library = open(data, watch);
    // Opened without its own look at everything: only what is measured runs.
    let names = Clock::start();
    library.index().search(&Search { count: true, ..everything() }).unwrap();
    let (load, _) = names.read();
    library.jobs().start();
    for n in 0..times {
        let before = size_of(&library);
        let clock = Clock::start();
        let location = LocationQuery { text: "tree".to_owned(), path: None };
        let request = IndexLocation {
            library: String::new(),
            location,
            mode: Some(IndexMode::Shallow),
            scope: Default::default(),
            force: false,
        };
        let job = library.index_location(&request).unwrap().job;
        library.jobs().wait_for_end(job, PATIENCE).unwrap();
        let (wall, cpu) = clock.read();
        println!(
            "{}",
            json!({ "what": if watch && n == 0 { "rescan and arm" } else { "rescan" }, "wall": wall, "cpu": cpu, "load": load,
                    "grown": size_of(&library) as i64 - before as i64, "rss_mib": memory("VmRSS"), "peak_mib": memory("VmHWM") })
        );
    }
}

/// Substrings of 3 to 8 bytes of real names, one in ten of them turned round so that it is a miss.
fn queries(data: &Path, count: usize) {
    let library = open(data, false);
    let mut random = Random(7);
    let all = library.index().search(&everything()).unwrap().entries;
    let mut made = 0;
    while made < count {
        let name = &all[random.below(all.len())].name;
        let length = 3 + random.below(6);
        if !name.is_ascii() || name.len() < length {
            continue;
        }
        let from = random.below(name.len() - length + 1);
        let part = &name[from..from + length];
        if part.contains(['*', '?', '[', '\\', '\n']) {
            continue;
        }
        made += 1;
        println!(
            "{}",
            if made % 10 == 0 {
                part.chars().rev().map(|c| if c == 'e' { 'q' } else { c }).collect()
            } else {
                part.to_lowercase()
            }
        );
    }
}

fn search(data: &Path, queries: &Path) {
    let library = open(data, false);
    library.index().search(&everything().clone_with("x", 1, false)).unwrap();
    let text = fs::read_to_string(queries).unwrap();
    let queries: Vec<&str> = text.lines().collect();
    let time = |words: &[&str], limit: u64, count: bool| {
        let mut times: Vec<f64> = Vec::new();
        let mut hits = 0;
        for word in words {
            let begun = Instant::now();
            let found = library.index().search(&everything().clone_with(word, limit, count)).unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            hits += found.count.unwrap_or(found.entries.len() as u64);
        }
        times.sort_by(f64::total_cmp);
        let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
        json!({ "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1.0), "hits": hits })
    };
    let short: Vec<&str> = vec!["e", "a", "1", "x", "_", ".", "re", "in", "zz", "00", "a.", "q"];
    time(&queries, 100, false);
    println!(
        "{}",
        json!({ "what": "search", "unit": "ms", "limit 100": time(&queries, 100, false), "count": time(&queries, 0, true),
        "short": time(&short, 100, false), "rss_mib": memory("VmRSS"), "peak_mib": memory("VmHWM") })
    );
}

trait CloneWith {
    fn clone_with(&self, word: &str, limit: u64, count: bool) -> Search;
}

impl CloneWith for Search {
    fn clone_with(&self, word: &str, limit: u64, count: bool) -> Search {
        Search { words: vec![word.to_owned()], limit: Some(limit), count, ..self.clone() }
    }
}

/// Hashing without the database: what `index browse --content` does, with one thread.
fn identify(tree: &Path) {
    let clock = Clock::start();
    let request = serde_json::from_value(json!({ "path": tree, "scope": "recursive", "content": true })).unwrap();
    let found = spacedrive_core::index::browse(&request, &Task::default()).unwrap();
    let (wall, cpu) = clock.read();
    println!(
        "{}",
        json!({ "what": "identify", "wall": wall, "cpu": cpu, "files": found.files, "bytes": found.bytes,
        "us_per_file": cpu * 1e6 / found.files.max(1) as f64 })
    );
}

fn duplicates(data: &Path, times: usize) {
    let library = open(data, false);
    library.index().search(&everything().clone_with("x", 1, false)).unwrap();
    for n in 0..times {
        let clock = Clock::start();
        let query = Duplicates { library: String::new(), min_size: Some(64), location: None, path: None };
        let found = library.index().duplicates(&query, &Task::default()).unwrap();
        let (wall, cpu) = clock.read();
        let redundant: usize = found.groups.iter().map(|group| group.files.len() - 1).sum();
        println!(
            "{}",
            json!({ "what": "duplicates", "run": n, "wall": wall, "cpu": cpu, "groups": found.groups.len(),
            "redundant": redundant, "reclaimable": found.reclaimable, "read": found.bytes_read })
        );
    }
}

/// What an open and watched library costs while nothing happens.
fn idle(data: &Path, seconds: u64) {
    let library = open(data, true);
    library.start().unwrap();
    let mut version = 0;
    loop {
        let (now, jobs) = library.jobs().wait_any(version, Duration::from_secs(1)).unwrap();
        if jobs.is_empty() {
            break;
        }
        version = now;
    }
    let after = memory("VmRSS");
    let clock = Clock::start();
    std::thread::park_timeout(Duration::from_secs(seconds));
    let (wall, cpu) = clock.read();
    println!(
        "{}",
        json!({ "what": "idle", "wall": wall, "cpu": cpu, "percent": cpu / wall * 100.0, "rss_mib": memory("VmRSS"),
        "rss_after_look_mib": after, "peak_mib": memory("VmHWM"), "problem": library.index().locations()[0].problem })
    );
}

/// How long until a new file is found, one at a time.
fn change(data: &Path, tree: &Path, times: usize) {
    let library = open(data, true);
    library.start().unwrap();
    while !library.jobs().wait_any(0, Duration::from_secs(1)).unwrap().1.is_empty() {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let found = |word: &str| library.index().search(&everything().clone_with(word, 0, true)).unwrap().count.unwrap();
    let mut waits = Vec::new();
    for n in 0..times {
        let path = tree.join(format!("bench-change-{}-{n}", std::process::id()));
        let begun = Instant::now();
        fs::write(&path, b"x").unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        while found(&name) == 0 {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        waits.push(begun.elapsed().as_secs_f64() * 1e3);
        fs::remove_file(&path).unwrap();
    }
    waits.sort_by(f64::total_cmp);
    let many = tree.join(format!("bench-many-{}", std::process::id()));
    fs::create_dir(&many).unwrap();
    let begun = Instant::now();
    for n in 0..1000 {
        fs::write(many.join(format!("bench-many-{n}")), b"x").unwrap();
    }
    while found("bench-many-") < 1001 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let thousand = begun.elapsed().as_secs_f64() * 1e3;
    fs::remove_dir_all(&many).unwrap();
    println!(
        "{}",
        json!({ "what": "change", "unit": "ms", "p50": waits[waits.len() / 2], "p99": waits[(waits.len() - 1) * 99 / 100],
        "thousand": thousand })
    );
}

/// xorshift: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

const WORDS: &str = "account album alpha annual archive asset backup banner beach billing board browser budget cache camera chart \
    client cluster column config contact copy core cover data debug delta design draft driver editor engine event export family \
    field filter final folder font frame garden graph guide handler harbor history holiday icon image import inbox invoice \
    journal kernel label layout letter library local logic mail manual market master matrix meeting menu model module month music \
    network notes object office order packet page panel paper patch photo plan player plugin point portal print project quarter \
    query random record report review route sample schema score screen script search season section server session shader \
    shared sketch source space spring stack stage store studio summer sunset support system table target team temp test theme \
    ticket timer token topic trace track travel tree trial update upload user utils vector video view vision wallet weather web \
    widget window winter worker zone";

const EXTENSIONS: [&str; 16] =
    ["txt", "md", "jpg", "png", "rs", "py", "js", "json", "html", "css", "pdf", "mp3", "mp4", "zip", "log", "c"];

/// A tree as people have it: some twelve files a folder, three to twelve levels, a few big folders, small files.
fn corpus(dir: &Path, files: usize) {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut random = Random(42);
    fs::create_dir_all(dir).unwrap();
    let mut folders: Vec<(PathBuf, usize)> = vec![(dir.to_owned(), 0)];
    let mut written = 0;
    while written < files {
        let (parent, depth) = if folders.len() < 10 || random.below(4) > 0 {
            folders[folders.len() - 1 - random.below(folders.len().min(40))].clone()
        } else {
            folders[random.below(folders.len())].clone()
        };
        let (at, depth) = if depth < 11 {
            let name = format!("{}-{}", words[random.below(words.len())], random.below(1000));
            let at = parent.join(name);
            if fs::create_dir(&at).is_err() {
                continue;
            }
            folders.push((at.clone(), depth + 1));
            (at, depth + 1)
        } else {
            (parent, depth)
        };
        let _ = depth;
        let count = match random.below(1000) {
            0 => 2000 + random.below(800),
            n if n < 600 => random.below(8),
            _ => random.below(32),
        };
        for n in 0..count.min(files - written) {
            let first = words[random.below(words.len())];
            let name = match random.below(6) {
                0 => format!("IMG_{:04}.jpg", random.below(10_000)),
                1 => format!("{first}_{n}.{}", EXTENSIONS[random.below(16)]),
                2 => format!("{first} {} {n}.{}", words[random.below(words.len())], EXTENSIONS[random.below(16)]),
                _ => format!("{first}-{}-{n}.{}", words[random.below(words.len())], EXTENSIONS[random.below(16)]),
            };
            let path = at.join(name);
            let size = match random.below(20) {
                0 => 0,
                19 => 4096 + random.below(16_384),
                _ => 16 + random.below(2048),
            };
            let seed = random.next();
            let bytes: Vec<u8> = (0..size).map(|i| (seed.rotate_left((i % 64) as u32) as u8) ^ (i as u8)).collect();
            if fs::metadata(&path).is_err() {
                fs::write(&path, bytes).unwrap();
                written += 1;
            }
        }
    }
    println!("{}", json!({ "what": "corpus", "files": written, "folders": folders.len() - 1 }));
}
