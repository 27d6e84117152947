//! `search`: finding files and folders by name and other facts.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use spacedrive_api::{ApiError, EntryInfo, Event, Result, Search, SearchKind, SearchSort};

use crate::library::Target;
use crate::location::absolute;
use crate::output::printable;
use crate::session::Session;

/// How many hits a terminal shows when nobody says how many.
const ON_TERMINAL: u64 = 100;

/// What to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    File,
    Dir,
    Image,
    Video,
    Audio,
    Document,
    Archive,
    Code,
}

/// The order of hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// A to Z
    Name,
    /// Biggest first
    Size,
    /// Newest first
    Modified,
    /// Whole names, then beginnings of names and words; short names first
    Relevance,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Parts of the name, all of which it has; `*` and `?` make a pattern of the whole name.
    /// A word with a capital letter respects case
    words: Vec<String>,
    /// The words are regular expressions
    #[arg(long)]
    regex: bool,
    /// Case and accents make no difference
    #[arg(long)]
    loose: bool,
    /// Only this extension (again for others)
    #[arg(long, value_name = "EXT", value_delimiter = ',')]
    ext: Vec<String>,
    /// Only this kind
    #[arg(long)]
    kind: Option<Kind>,
    /// At least (+10M), at most (-10M) or exactly (10M) so big; again for a range
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    size: Vec<String>,
    /// Modified within (7d) or before (+7d) this time: s, m, h, d, w; or since a date (2026-01-31, UTC)
    #[arg(long, value_name = "AGE", allow_hyphen_values = true)]
    modified: Vec<String>,
    /// Only in this location
    #[arg(long, value_name = "NAME|ID")]
    location: Option<String>,
    /// Only below this folder, or with this in the path
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// No more hits than this [default: all, on a terminal 100]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Their order
    #[arg(long, default_value = "relevance")]
    sort: Sort,
    /// Print only how many there are
    #[arg(long)]
    count: bool,
    /// End each path with NUL instead of a line end, for `xargs -0`
    #[arg(short = '0', long)]
    null: bool,
}

pub(crate) async fn search(session: &Session, args: Arguments) -> Result<()> {
    let (mut client, library) = Target::current(session).await?;
    let default = (session.output.is_terminal() && !args.null).then_some(ON_TERMINAL);
    let (count, null) = (args.count, args.null);
    let request = request(session, library, args, default)?;
    let output = &session.output;
    let show = |entries: &[EntryInfo]| {
        for entry in entries {
            if output.is_json() {
                output.document(entry);
            } else if null {
                output.raw(entry.real_path().as_os_str(), b'\0');
            } else {
                output.line(printable(&entry.path));
            }
        }
    };
    let found = client
        .watch(request, |event| {
            if let Event::Entries { entries } = event {
                show(&entries);
            }
        })
        .await?;
    if count {
        let n = found.count.unwrap_or_default();
        output.result(&serde_json::json!({ "count": n }), || n.to_string());
    } else {
        show(&found.entries);
        if found.more {
            output.note("There are more: --limit N shows more, --count tells how many.");
        }
    }
    if found.incomplete {
        output.note("A location is being indexed: there may be more soon.");
    }
    Ok(())
}

fn request(session: &Session, library: String, args: Arguments, default: Option<u64>) -> Result<Search> {
    let mut search = Search {
        library,
        words: args.words,
        regex: args.regex,
        loose: args.loose,
        ext: args.ext,
        kind: args.kind.map(|kind| match kind {
            Kind::File => SearchKind::File,
            Kind::Dir => SearchKind::Dir,
            Kind::Image => SearchKind::Image,
            Kind::Video => SearchKind::Video,
            Kind::Audio => SearchKind::Audio,
            Kind::Document => SearchKind::Document,
            Kind::Archive => SearchKind::Archive,
            Kind::Code => SearchKind::Code,
        }),
        min_size: None,
        max_size: None,
        modified_after: None,
        modified_before: None,
        location: args.location,
        // A folder that is there is meant as such, from wherever the command is run; else it is a part of the path.
        path: args.path.map(|path| {
            let folder = absolute(session, &path);
            folder.canonicalize().unwrap_or(path).into()
        }),
        limit: args.limit.or(default),
        sort: match args.sort {
            Sort::Name => SearchSort::Name,
            Sort::Size => SearchSort::Size,
            Sort::Modified => SearchSort::Modified,
            Sort::Relevance => SearchSort::Relevance,
        },
        count: args.count,
    };
    for text in &args.size {
        let (sign, number) = split_sign(text);
        let bytes = parse_size(number)
            .ok_or_else(|| ApiError::invalid(format!("invalid size `{}`: such as +10M, -2G or 512", text.escape_debug())))?;
        if sign != Some('-') {
            search.min_size = Some(bytes);
        }
        if sign != Some('+') {
            search.max_size = Some(bytes);
        }
    }
    for text in &args.modified {
        let (sign, age) = split_sign(text);
        let at = parse_time(age)
            .ok_or_else(|| ApiError::invalid(format!("invalid time `{}`: such as 7d, +4w or 2026-01-31", text.escape_debug())))?;
        if sign == Some('+') {
            search.modified_before = Some(at);
        } else {
            search.modified_after = Some(at);
        }
    }
    Ok(search)
}

fn split_sign(text: &str) -> (Option<char>, &str) {
    match text.chars().next() {
        Some(sign @ ('+' | '-')) => (Some(sign), &text[1..]),
        _ => (None, text),
    }
}

/// Bytes, with K, M, G or T (times 1024 each) behind the number.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let upper = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
    let (number, factor) = match upper.char_indices().next_back()? {
        (at, 'K') => (&upper[..at], 1 << 10),
        (at, 'M') => (&upper[..at], 1 << 20),
        (at, 'G') => (&upper[..at], 1 << 30),
        (at, 'T') => (&upper[..at], 1 << 40),
        _ => (upper, 1u64),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A date, or so long ago.
fn parse_time(text: &str) -> Option<jiff::Timestamp> {
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        return jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok();
    }
    let (at, unit) = text.char_indices().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let ago = text[..at].parse::<i64>().ok().filter(|n| *n >= 0)?.checked_mul(seconds)?;
    jiff::Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(ago)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size("10M"), Some(10 << 20));
        assert_eq!(parse_size("2gib"), Some(2 << 30));
        assert_eq!(parse_size("M"), None);
        assert_eq!(parse_size("99999999999T"), None);
        assert!(parse_time("7d").is_some() && parse_time("2026-01-31").is_some());
        assert!(
            parse_time("d").is_none() && parse_time("7x").is_none() && parse_time("-7d").is_none() && parse_time("").is_none()
        );
    }
}
