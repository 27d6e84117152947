//! Finding entries. Names are matched in memory ([`names`]), what else a query asks for is read from the database.
//!
//! docs/decisions/0005-search-engine.md says why there is no full-text index.

pub(crate) mod block;
pub(crate) mod fold;
pub(crate) mod matcher;
pub(crate) mod names;
mod rank;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use spacedrive_api::{EntryInfo, EntryKind, Search, SearchFound, SearchKind, SearchSort};

use self::block::Block;
use self::matcher::Matcher;
use self::names::Snapshot;
use self::rank::{Best, Rank};
use crate::db::entry::{self, EntryRow};
use crate::db::location::LocationRow;
use crate::index::row::{Eid, flags};
use crate::{Error, Result};

/// Up to so many hits are looked up one by one; for more the whole table is read once.
const ONE_BY_ONE: usize = 30_000;

/// What a search works on.
pub(crate) struct Corpus<'a> {
    pub(crate) names: &'a Snapshot,
    pub(crate) locations: &'a [LocationRow],
    pub(crate) connection: &'a Connection,
    /// The database, for errors.
    pub(crate) path: &'a Path,
}

/// Runs a query. Hits beyond a `page` are handed to `sink` page by page; the last page is in the answer.
pub(crate) fn search(
    corpus: &Corpus<'_>,
    query: &Search,
    page: usize,
    mut sink: impl FnMut(Vec<EntryInfo>) -> Result<()>,
) -> Result<SearchFound> {
    let matcher = Matcher::new(&query.words, query.regex, query.loose)?;
    let filter = Filter::new(corpus, query)?;
    let limit = query.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let from_names = !filter.needs_rows() && matches!(query.sort, SearchSort::Relevance | SearchSort::Name);
    if from_names && query.count {
        let mut count = 0;
        let _ = walk(corpus, &matcher, &filter, |_, _, _| {
            count += 1;
            ControlFlow::Continue(())
        });
        return Ok(SearchFound { entries: Vec::new(), count: Some(count), more: false, incomplete: false });
    }
    let (eids, more) = if from_names {
        let mut best = Best::new(limit, query.sort);
        let word = matcher.anchor_len();
        let _ = walk(corpus, &matcher, &filter, |block, slot, position| {
            best.offer(block, slot, Rank::of(block, slot, position, word));
            ControlFlow::Continue(())
        });
        best.finish()
    } else {
        let mut hits = Vec::new();
        let _ = walk(corpus, &matcher, &filter, |block, slot, position| {
            hits.push((block.eid(slot), position));
            ControlFlow::Continue(())
        });
        let rows = filter.rows(corpus, &hits)?;
        if query.count {
            return Ok(SearchFound { entries: Vec::new(), count: Some(rows.len() as u64), more: false, incomplete: false });
        }
        sorted(corpus, rows, query.sort, matcher.anchor_len(), limit)
    };
    let mut entries = Vec::with_capacity(eids.len().min(page));
    let mut folders = Folders::default();
    for eid in eids {
        if let Some(row) = entry::get(corpus.connection, eid).map_err(Error::db(corpus.path))?
            && let Some(info) = folders.info(corpus, &row)
        {
            if entries.len() >= page {
                sink(std::mem::take(&mut entries))?;
            }
            entries.push(info);
        }
    }
    Ok(SearchFound { entries, count: None, more, incomplete: false })
}

/// Visits the names that fit the words and those filters that need no row.
fn walk(
    corpus: &Corpus<'_>,
    matcher: &Matcher,
    filter: &Filter<'_>,
    mut hit: impl FnMut(&Block, usize, usize) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for block in corpus.names.blocks() {
        matcher.search(block, |slot, position| {
            if filter.fits_name(corpus, block, slot) { hit(block, slot, position) } else { ControlFlow::Continue(()) }
        })?;
    }
    ControlFlow::Continue(())
}

/// Sorts whole rows and cuts them to `limit`.
fn sorted(corpus: &Corpus<'_>, mut rows: Vec<(Facts, usize)>, sort: SearchSort, word: usize, limit: usize) -> (Vec<Eid>, bool) {
    match sort {
        SearchSort::Size => rows.sort_unstable_by_key(|(facts, _)| (std::cmp::Reverse(facts.size), facts.eid)),
        SearchSort::Modified => rows.sort_unstable_by_key(|(facts, _)| (std::cmp::Reverse(facts.mtime), facts.eid)),
        SearchSort::Relevance | SearchSort::Name => {
            let mut best = Best::new(limit, sort);
            for (facts, position) in rows {
                if let Some((block, slot)) = corpus.names.find(facts.eid) {
                    best.offer(block, slot, Rank::of(block, slot, position, word));
                }
            }
            return best.finish();
        }
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    (rows.into_iter().map(|(facts, _)| facts.eid).collect(), more)
}

/// What filters and orders need of a row.
#[derive(Debug, Clone, Copy)]
struct Facts {
    eid: Eid,
    size: u64,
    mtime: i64,
}

/// The conditions besides the words.
struct Filter<'q> {
    query: &'q Search,
    extensions: Vec<Vec<u8>>,
    kind: Option<EntryKind>,
    kind_extensions: &'static [&'static str],
    /// The root of the location.
    root: Option<Eid>,
    /// The folder below which to look.
    folder: Option<Eid>,
    /// What the path must contain, when it is no folder of the index.
    part: Option<Vec<u8>>,
    after: Option<i64>,
    before: Option<i64>,
}

impl<'q> Filter<'q> {
    fn new(corpus: &Corpus<'_>, query: &'q Search) -> Result<Self> {
        let root = match &query.location {
            Some(text) => Some(crate::location::find(corpus.locations, text, None)?.root),
            None => None,
        };
        let path = query.path.as_ref().map(AsRef::<Path>::as_ref);
        let folder = path.and_then(|path| folder_at(corpus, path).ok().flatten());
        let part = path.filter(|_| folder.is_none()).map(|path| path.as_os_str().as_bytes().to_vec());
        let nanos = |at: jiff::Timestamp| i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
        Ok(Self {
            query,
            extensions: query.ext.iter().map(|ext| fold::folded(ext.trim_start_matches('.').as_bytes())).collect(),
            kind: query.kind.map(SearchKind::entry_kind),
            kind_extensions: query.kind.map_or(&[], SearchKind::extensions),
            root,
            folder,
            part,
            after: query.modified_after.map(nanos),
            before: query.modified_before.map(nanos),
        })
    }

    /// Whether size or time are asked for.
    fn needs_rows(&self) -> bool {
        self.query.min_size.is_some() || self.query.max_size.is_some() || self.after.is_some() || self.before.is_some()
    }

    fn fits_name(&self, corpus: &Corpus<'_>, block: &Block, slot: usize) -> bool {
        let Some(kind) = block.kind(slot) else { return false };
        if self.kind.is_some_and(|wanted| wanted != kind) {
            return false;
        }
        if !self.extensions.is_empty() || !self.kind_extensions.is_empty() {
            let name = block.folded(slot);
            let extension = match name.iter().rposition(|&b| b == b'.') {
                Some(at) if at > 0 => &name[at + 1..],
                _ => return false,
            };
            let listed = |wanted: &[u8]| extension == wanted;
            if !self.extensions.is_empty() && !self.extensions.iter().any(|wanted| listed(wanted)) {
                return false;
            }
            if !self.kind_extensions.is_empty() && !self.kind_extensions.iter().any(|wanted| listed(wanted.as_bytes())) {
                return false;
            }
        }
        let eid = block.eid(slot);
        if self.folder.is_some_and(|folder| folder == eid || !corpus.names.is_below(eid, folder)) {
            return false;
        }
        if self.root.is_some_and(|root| !corpus.names.is_below(eid, root)) {
            return false;
        }
        match &self.part {
            Some(part) => path_of(corpus, eid).is_some_and(|(path, _)| {
                memchr::memmem::find(&fold::folded(path.as_os_str().as_bytes()), &fold::folded(part)).is_some()
            }),
            None => true,
        }
    }

    fn fits_row(&self, facts: &Facts) -> bool {
        self.query.min_size.is_none_or(|min| facts.size >= min)
            && self.query.max_size.is_none_or(|max| facts.size <= max)
            && self.after.is_none_or(|after| facts.mtime >= after)
            && self.before.is_none_or(|before| facts.mtime <= before)
    }

    /// The rows of those hits that fit, in the order of eids.
    fn rows(&self, corpus: &Corpus<'_>, hits: &[(Eid, usize)]) -> Result<Vec<(Facts, usize)>> {
        let db = |e| Error::db(corpus.path)(e);
        let mut rows = Vec::new();
        if hits.len() <= ONE_BY_ONE {
            for (eid, position) in hits {
                if let Some(row) = entry::get(corpus.connection, *eid).map_err(db)? {
                    let facts = Facts { eid: *eid, size: row.stored.size, mtime: row.stored.mtime };
                    if self.fits_row(&facts) {
                        rows.push((facts, *position));
                    }
                }
            }
            return Ok(rows);
        }
        let mut hits: Vec<(Eid, usize)> = hits.to_vec();
        hits.sort_unstable();
        let mut hits = hits.into_iter().peekable();
        entry::facts(corpus.connection, |eid, size, mtime| {
            while hits.next_if(|(hit, _)| *hit < eid).is_some() {}
            if let Some((_, position)) = hits.next_if(|(hit, _)| *hit == eid) {
                let facts = Facts { eid, size, mtime };
                if self.fits_row(&facts) {
                    rows.push((facts, position));
                }
            }
        })
        .map_err(db)?;
        Ok(rows)
    }
}

/// The absolute path of an entry and its location.
pub(crate) fn path_of<'a>(corpus: &Corpus<'a>, eid: Eid) -> Option<(PathBuf, &'a LocationRow)> {
    let (root, below) = corpus.names.path(eid)?;
    let location = corpus.locations.iter().find(|location| location.root == root)?;
    let mut path = location.path.clone();
    if !below.is_empty() {
        path.push(std::ffi::OsStr::from_bytes(&below));
    }
    Some((path, location))
}

/// The entry of a folder of the index by its absolute path; `None` when no location has it.
pub(crate) fn folder_at(corpus: &Corpus<'_>, path: &Path) -> Result<Option<Eid>> {
    let Some(location) = crate::location::containing(corpus.locations, path) else { return Ok(None) };
    let below = path.strip_prefix(&location.path).unwrap_or(Path::new(""));
    let mut at = location.root;
    for part in below.components() {
        match entry::child(corpus.connection, at, part.as_os_str().as_bytes()).map_err(Error::db(corpus.path))? {
            Some(child) => at = child.eid,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// Paths of folders, so that hits in the same folder share the work.
#[derive(Default)]
struct Folders {
    known: HashMap<Eid, Option<(PathBuf, String)>>,
}

impl Folders {
    fn info(&mut self, corpus: &Corpus<'_>, row: &EntryRow) -> Option<EntryInfo> {
        let folder = self
            .known
            .entry(row.parent)
            .or_insert_with(|| path_of(corpus, row.parent).map(|(path, location)| (path, location.name.clone())));
        let (folder, location) = folder.as_ref()?;
        let path = folder.join(std::ffi::OsStr::from_bytes(&row.stored.name));
        Some(info_of(&path, row, location.clone()))
    }
}

/// An entry as it is shown.
pub(crate) fn info_of(path: &Path, row: &EntryRow, location: String) -> EntryInfo {
    let (path, path_base64, name) = EntryInfo::path_fields(path);
    let sampled = if row.stored.flags & flags::SAMPLED != 0 { "~" } else { "" };
    EntryInfo {
        path,
        path_base64,
        name,
        kind: row.stored.kind,
        size: row.stored.size,
        modified: jiff::Timestamp::from_nanosecond(row.stored.mtime.into()).ok(),
        location: Some(location),
        device: None,
        content_id: row.cas.map(|cas| format!("{sampled}{}", blake3::Hash::from_bytes(cas).to_hex())),
    }
}
