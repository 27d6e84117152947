//! Finding entries by name.

use serde::{Deserialize, Serialize};

use crate::{EntryInfo, EntryKind, WirePath};

/// What kind of thing is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchKind {
    /// Regular files.
    File,
    /// Folders.
    Dir,
    /// Files whose extension is that of a picture.
    Image,
    /// Of a film.
    Video,
    /// Of sound.
    Audio,
    /// Of a text or table.
    Document,
    /// Of an archive.
    Archive,
    /// Of source code.
    Code,
}

/// The order of hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchSort {
    /// Whole names first, then beginnings of names, then beginnings of words; short names before long ones.
    #[default]
    Relevance,
    /// By name.
    Name,
    /// Biggest first.
    Size,
    /// Newest first.
    Modified,
}

/// Looks for entries. All conditions hold together; with none, everything is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Name, id or unique prefix of the library.
    pub library: String,
    /// Each is a part of the name; `*` and `?` make it a pattern for the whole name.
    #[serde(default)]
    pub words: Vec<String>,
    /// The words are regular expressions.
    #[serde(default)]
    pub regex: bool,
    /// Case and accents make no difference.
    #[serde(default)]
    pub loose: bool,
    /// Any of these extensions, without the dot.
    #[serde(default)]
    pub ext: Vec<String>,
    /// What it is.
    #[serde(default)]
    pub kind: Option<SearchKind>,
    /// At least so many bytes.
    #[serde(default)]
    pub min_size: Option<u64>,
    /// At most so many bytes.
    #[serde(default)]
    pub max_size: Option<u64>,
    /// Modified at this time or later.
    #[serde(default)]
    pub modified_after: Option<jiff::Timestamp>,
    /// Modified at this time or earlier.
    #[serde(default)]
    pub modified_before: Option<jiff::Timestamp>,
    /// Name or id of the location.
    #[serde(default)]
    pub location: Option<String>,
    /// A folder (absolute), whose contents are looked through; or a part of the path.
    #[serde(default)]
    pub path: Option<WirePath>,
    /// No more hits than this.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Their order.
    #[serde(default)]
    pub sort: SearchSort,
    /// Only the number of hits is wanted.
    #[serde(default)]
    pub count: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchFound {
    /// The hits.
    pub entries: Vec<EntryInfo>,
    /// How many there are, where that was asked for.
    #[serde(default)]
    pub count: Option<u64>,
    /// Whether there are more than `limit`.
    #[serde(default)]
    pub more: bool,
    /// Whether an index of names is still being read, or a location still being indexed, so that hits may be missing.
    #[serde(default)]
    pub incomplete: bool,
}

impl SearchKind {
    /// The kind of entry that it needs.
    pub fn entry_kind(self) -> EntryKind {
        if self == Self::Dir { EntryKind::Dir } else { EntryKind::File }
    }

    /// The extensions that belong to it; empty for `file` and `dir`, which any extension fits.
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::File | Self::Dir => &[],
            Self::Image => &[
                "jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff", "heic", "heif", "avif", "svg", "ico", "raw", "cr2",
                "cr3", "nef", "arw", "dng", "orf", "rw2", "psd", "xcf", "jxl",
            ],
            Self::Video => {
                &["mp4", "m4v", "mkv", "mov", "avi", "webm", "wmv", "flv", "mpg", "mpeg", "3gp", "mts", "m2ts", "ogv", "vob"]
            }
            Self::Audio => {
                &["mp3", "flac", "wav", "m4a", "aac", "ogg", "oga", "opus", "wma", "aiff", "aif", "alac", "mid", "ape"]
            }
            Self::Document => &[
                "pdf", "doc", "docx", "odt", "rtf", "txt", "md", "tex", "xls", "xlsx", "ods", "csv", "ppt", "pptx", "odp",
                "epub", "mobi", "pages", "numbers", "key", "org", "rst",
            ],
            Self::Archive => &[
                "zip", "tar", "gz", "tgz", "bz2", "tbz2", "xz", "txz", "zst", "7z", "rar", "lz4", "lzma", "iso", "jar", "deb",
                "rpm", "dmg", "cab",
            ],
            Self::Code => &[
                "rs", "c", "h", "cc", "cpp", "hpp", "cxx", "py", "js", "mjs", "ts", "tsx", "jsx", "go", "java", "kt", "swift",
                "rb", "php", "cs", "sh", "bash", "zsh", "fish", "lua", "pl", "r", "jl", "scala", "hs", "ml", "ex", "exs", "erl",
                "clj", "dart", "zig", "nim", "sql", "html", "css", "scss", "vue", "svelte", "json", "toml", "yaml", "yml", "xml",
            ],
        }
    }
}
