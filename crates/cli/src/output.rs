//! The only module that prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "everything else prints through here")]

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use spacedrive_api::ApiError;

use crate::args::{Color, Global};
use crate::error::exit_code;

/// The first result that could not be written.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Where results and notes go.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    /// Output as the flags ask for it.
    pub(crate) fn new(global: &Global) -> Self {
        match global.color {
            Color::Auto => {}
            Color::Always => anstream::ColorChoice::Always.write_global(),
            Color::Never => anstream::ColorChoice::Never.write_global(),
        }
        Self { json: global.json, quiet: global.quiet }
    }

    /// Prints a result: `value` as one JSON document, or `text` for a person.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json {
            self.document(value);
        } else {
            let text = text();
            if !text.is_empty() {
                self.line(text);
            }
        }
    }

    /// Prints one JSON document on one line.
    pub(crate) fn document(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(text),
            Err(error) => drop(self.error(&ApiError::failed(format!("the result cannot be written as JSON: {error}")))),
        }
    }

    /// Whether results are printed as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the bytes of a path as they are, and `end` behind them.
    pub(crate) fn raw(&self, path: &std::ffi::OsStr, end: u8) {
        use std::os::unix::ffi::OsStrExt;
        let mut stdout = std::io::stdout().lock();
        keep(stdout.write_all(path.as_bytes()).and_then(|()| stdout.write_all(&[end])));
    }

    /// Prints a line on stdout. A reader that has gone away is no failure; a full disk is one, see [`Self::lost`].
    pub(crate) fn line(&self, text: impl Display) {
        keep(writeln!(anstream::stdout(), "{text}"));
    }

    /// Why a result could not be written to stdout, if there was one.
    pub(crate) fn lost(&self) -> Option<ApiError> {
        LOST.get().map(|error| ApiError::io("stdout", error))
    }

    /// Prints a note for a person on stderr, unless they asked for quiet or for JSON.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet && !self.json {
            let _ = writeln!(anstream::stderr(), "{text}");
        }
    }

    /// Prints a warning on stderr.
    pub(crate) fn warning(&self, text: impl Display) {
        if !self.json {
            let _ = writeln!(anstream::stderr(), "warning: {text}");
        }
    }

    /// Prints an error on stderr and gives its exit code.
    pub(crate) fn error(&self, error: &ApiError) -> ExitCode {
        let code = exit_code(error.kind);
        let mut stderr = anstream::stderr();
        let _ = if self.json {
            let mut value = serde_json::json!({ "error": error });
            value["error"]["exit"] = code.into();
            writeln!(stderr, "{value}")
        } else {
            let hint = error.hint.as_ref().map_or(String::new(), |hint| format!("\nhint: {hint}"));
            writeln!(stderr, "error: {}{hint}", error.message)
        };
        ExitCode::from(code)
    }

    /// Prints what clap has to say, on the stream and with the exit code that belong to it.
    pub(crate) fn clap(error: &clap::Error) -> ExitCode {
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    }

    /// Whether a person looks at stdout.
    pub(crate) fn is_terminal(&self) -> bool {
        !self.json && std::io::stdout().is_terminal()
    }

    /// Whether a person looks at stderr.
    pub(crate) fn is_interactive(&self) -> bool {
        !self.quiet && !self.json && std::io::stderr().is_terminal()
    }

    /// Whether the terminal can do more than print lines.
    pub(crate) fn can_draw(&self) -> bool {
        std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
    }

    /// Asks a person a question that is answered by y or n.
    pub(crate) fn confirm(&self, question: &str) -> bool {
        if !std::io::stdin().is_terminal() {
            return false;
        }
        let mut stderr = anstream::stderr();
        let _ = write!(stderr, "{question} [y/N] ");
        let _ = stderr.flush();
        let mut answer = String::new();
        let _ = std::io::stdin().read_line(&mut answer);
        matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }
}

/// Keeps why stdout could not be written, unless its reader has gone away.
fn keep(written: std::io::Result<()>) {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => drop(LOST.set(error)),
        _ => {}
    }
}

/// A table for a person: aligned columns, no lines. On a terminal it is as wide as the terminal.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(head);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Text that came from a file name or a peer, with everything escaped that could act on a terminal:
/// control characters, and the marks that turn the direction of writing.
pub(crate) fn printable(text: &str) -> String {
    let acts = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(acts) {
        return text.to_owned();
    }
    text.chars().map(|c| if acts(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Whole seconds as a person says them: `45s`, `12m 3s`, `5h 10m`, `3d 4h`.
pub(crate) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m {}s", seconds % 60),
        (0, h, m) => format!("{h}h {m}m"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

/// Bytes as a person says them: `512 B`, `1.5 KiB`, `12 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 || unit == "TiB" {
            let digits = usize::from(unit != "B" && value < 10.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        assert_eq!(printable("naïve ☕.md"), "naïve ☕.md");
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\\n");
        assert_eq!(printable("exe\u{202e}gpj"), "exe\\u{202e}gpj");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([0, 512, 1536, 12 << 20, 3 << 30].map(size), ["0 B", "512 B", "1.5 KiB", "12 MiB", "3.0 GiB"]);
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([3, 61, 3_661, 90_061].map(duration), ["3s", "1m 1s", "1h 1m", "1d 1h"]);
    }
}
