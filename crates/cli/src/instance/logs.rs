//! `instance logs`: what the daemon wrote, from its log file and the older parts of it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::{Span, Timestamp, civil, tz::TimeZone};
use serde::Serialize;
use spacedrive_api::instance::DataFiles;
use spacedrive_api::{ApiError, Result};

use super::{existing_or_current, life};
use crate::output::printable;
use crate::session::Session;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  spacedrive instance logs alice -n 50\n  spacedrive instance logs alice -f --level warn\n  spacedrive instance logs alice --since 2h --json"
)]
pub(crate) struct Arguments {
    /// Its name [default: the current instance]
    name: Option<String>,
    /// Go on with what is logged from now on, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only the last N entries [default: all; with --follow 10]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Only what is newer: a time (RFC 3339, or UTC) or how long ago (`30m`, `2h`, `1d`)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// Only entries of this level or a graver one
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    level: Option<Level>,
}

/// How grave an entry is, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(at) = text.parse::<civil::DateTime>() {
        return at.to_zoned_datetime(TimeZone::UTC).map(|at| at.timestamp()).map_err(|e| e.to_string());
    }
    let span: Span =
        text.parse().map_err(|_| "neither a time (2030-01-31T12:00:00Z) nor how long ago (30m, 2h, 1d)".to_owned())?;
    let ago = Timestamp::now().to_zoned_datetime(TimeZone::UTC).checked_sub(span.abs()).map_err(|e| e.to_string())?;
    Ok(ago.timestamp())
}

/// One entry: its first line, and the lines that follow it until the next entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Entry {
    time: Timestamp,
    level: Level,
    target: String,
    message: String,
}

impl Entry {
    /// Reads the first line of an entry: `TIME LEVEL TARGET: MESSAGE`.
    fn parse(line: &str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        let (level, rest) = rest.trim_start().split_once(' ')?;
        let (target, message) = rest.split_once(": ")?;
        let level = Level::from_str(level, true).ok()?;
        Some(Self { time: time.parse().ok()?, level, target: target.to_owned(), message: message.to_owned() })
    }

    fn text(&self) -> String {
        let level = format!("{:?}", self.level).to_uppercase();
        let lines = self.message.lines().map(printable).collect::<Vec<_>>().join("\n");
        format!("{} {level:>5} {}: {lines}", self.time, printable(&self.target))
    }
}

/// Puts lines together to entries, and lets through what was asked for.
struct Reader<'a> {
    args: &'a Arguments,
    pending: Option<Entry>,
}

impl Reader<'_> {
    /// Takes a line; gives the entry before it when that is complete.
    fn line(&mut self, line: &str) -> Option<Entry> {
        match (Entry::parse(line), &mut self.pending) {
            (Some(entry), pending) => pending.replace(entry).filter(|entry| self.wanted(entry)),
            (None, Some(pending)) => {
                pending.message.push('\n');
                pending.message.push_str(line);
                None
            }
            // The rest of an entry whose beginning was rotated away.
            (None, None) => None,
        }
    }

    fn finish(&mut self) -> Option<Entry> {
        self.pending.take().filter(|entry| self.wanted(entry))
    }

    fn wanted(&self, entry: &Entry) -> bool {
        self.args.level.is_none_or(|level| entry.level <= level) && self.args.since.is_none_or(|since| entry.time >= since)
    }
}

pub(crate) async fn logs(session: &Session, args: &Arguments) -> Result<()> {
    let session = existing_or_current(session, args.name.as_deref(), "logs")?;
    let data = DataFiles::new(&life::data_dir(&session).await?);
    let limit = args.lines.or(args.follow.then_some(10)).unwrap_or(usize::MAX);
    let mut reader = Reader { args, pending: None };
    let mut last: VecDeque<Entry> = VecDeque::new();
    let keep = |entry: Option<Entry>, last: &mut VecDeque<Entry>| {
        last.extend(entry);
        if last.len() > limit {
            last.pop_front();
        }
    };
    // The watch begins before the reading, so that nothing falls in between.
    let watch = if args.follow { Some(Watch::new(&data.logs)?) } else { None };
    let mut tail = Tail::default();
    for path in older(&data).into_iter().chain([data.log()]) {
        tail.open(&path)?;
        tail.read(|line| keep(reader.line(line), &mut last))?;
    }
    keep(reader.finish(), &mut last);
    last.iter().for_each(|entry| print(&session, entry));
    let Some(mut watch) = watch else { return Ok(()) };
    loop {
        watch.changed()?;
        let mut show = |line: &str| {
            if let Some(entry) = reader.line(line) {
                print(&session, &entry);
            }
        };
        tail.read(&mut show)?;
        if tail.is_replaced(&data.log()) {
            tail.open(&data.log())?;
            tail.read(&mut show)?;
        }
        // Whole lines are written at once, so what has come is whole.
        if let Some(entry) = reader.finish() {
            print(&session, &entry);
        }
    }
}

fn print(session: &Session, entry: &Entry) {
    session.output.result(entry, || entry.text());
}

/// The older parts of the log, the oldest first: `daemon.log.3`, `daemon.log.2`, `daemon.log.1`.
fn older(data: &DataFiles) -> Vec<PathBuf> {
    let log = data.log();
    let mut parts: Vec<(u32, PathBuf)> = fs::read_dir(&data.logs)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.extension()?.to_str()?.parse().ok()?;
            (path.file_stem() == log.file_name()).then_some((number, path))
        })
        .collect();
    parts.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    parts.into_iter().map(|(_, path)| path).collect()
}

/// A log file that is read to its end again and again.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    file: Option<BufReader<File>>,
    line: Vec<u8>,
}

impl Tail {
    pub(crate) fn open(&mut self, path: &Path) -> Result<()> {
        self.line.clear();
        self.file = match File::open(path) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(ApiError::io(path.display(), &error)),
        };
        Ok(())
    }

    /// Hands on every whole line that is new.
    pub(crate) fn read(&mut self, mut each: impl FnMut(&str)) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        loop {
            let read = file.read_until(b'\n', &mut self.line).map_err(|e| ApiError::io("the log", &e))?;
            if read == 0 || self.line.last() != Some(&b'\n') {
                return Ok(());
            }
            each(String::from_utf8_lossy(&self.line).trim_end_matches('\n'));
            self.line.clear();
        }
    }

    /// Whether another file is at the path now: the log was rotated, or made.
    pub(crate) fn is_replaced(&self, path: &Path) -> bool {
        let inode = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let ours = self.file.as_ref().and_then(|file| file.get_ref().metadata().ok()).map(inode);
        fs::metadata(path).ok().map(inode).is_some_and(|there| ours != Some(there))
    }
}

/// Wakes when something in a folder changes.
#[cfg(target_os = "linux")]
pub(crate) struct Watch(rustix::fd::OwnedFd);

#[cfg(target_os = "linux")]
impl Watch {
    /// Wakes when something is written to a file in `dir`, or a file comes.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        use rustix::fs::inotify::WatchFlags as On;
        Self::on(dir, On::MODIFY | On::CREATE | On::MOVED_TO)
    }

    /// Wakes when a file in `dir` comes or goes.
    pub(crate) fn on_names(dir: &Path) -> Result<Self> {
        use rustix::fs::inotify::WatchFlags as On;
        Self::on(dir, On::CREATE | On::DELETE | On::MOVED_FROM | On::MOVED_TO)
    }

    fn on(dir: &Path, events: rustix::fs::inotify::WatchFlags) -> Result<Self> {
        use rustix::fs::inotify::{CreateFlags, add_watch, init};
        let failed = |e: rustix::io::Errno| ApiError::io(format!("cannot watch {}", dir.display()), &e.into());
        let fd = init(CreateFlags::CLOEXEC).map_err(failed)?;
        add_watch(&fd, dir, events).map_err(failed)?;
        Ok(Self(fd))
    }

    /// Waits; nothing else goes on in this process.
    pub(crate) fn changed(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.0, &mut buffer) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(ApiError::io("the watch of the log", &error.into())),
        }
    }
}

/// Elsewhere the file is looked at four times a second.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Watch;

#[cfg(not(target_os = "linux"))]
impl Watch {
    pub(crate) fn new(_dir: &Path) -> Result<Self> {
        Ok(Self)
    }

    pub(crate) fn on_names(_dir: &Path) -> Result<Self> {
        Ok(Self)
    }

    pub(crate) fn changed(&mut self) -> Result<()> {
        std::thread::sleep(std::time::Duration::from_millis(250));
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_its_line_and_what_follows_it() {
        let args = Arguments { name: None, follow: false, lines: None, since: None, level: Some(Level::Warn) };
        let mut reader = Reader { args: &args, pending: None };
        assert_eq!(reader.line("the end of something rotated away"), None);
        assert_eq!(reader.line("2030-01-31T12:00:00.5Z  INFO spacedrive_daemon::boot: ready pid=1"), None);
        assert_eq!(reader.line("2030-01-31T12:00:01Z ERROR spacedrive_daemon::log: panicked: at a"), None);
        assert_eq!(reader.line("second line"), None);
        let entry = reader.finish().unwrap();
        assert_eq!((entry.level, entry.message.as_str()), (Level::Error, "panicked: at a\nsecond line"));
        assert_eq!(entry.text(), "2030-01-31T12:00:01Z ERROR spacedrive_daemon::log: panicked: at a\nsecond line");
    }

    #[test]
    fn since_takes_times_and_spans() {
        assert_eq!(since("2030-01-31T12:00:00Z").unwrap().to_string(), "2030-01-31T12:00:00Z");
        assert_eq!(since("2030-01-31").unwrap().to_string(), "2030-01-31T00:00:00Z");
        assert_eq!(since("2030-01-31 12:30").unwrap().to_string(), "2030-01-31T12:30:00Z");
        let ago = Timestamp::now().as_second() - since("2h").unwrap().as_second();
        assert!((7_199..=7_201).contains(&ago), "{ago}");
        assert!(since("yesterday").is_err());
    }
}
