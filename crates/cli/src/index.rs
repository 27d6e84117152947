//! `index …` and `scan`: indexing again, and looking at folders without indexing them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use spacedrive_api::{Browse, Browsed, EntryInfo, EntryKind, IndexLocation, IndexScope, Result, Scan as ScanRequest};

use crate::connect::connect;
use crate::job;
use crate::library::Target;
use crate::location::{Mode, absolute, query};
use crate::output::{self, printable, size};
use crate::session::Session;

/// The folder itself, or all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// The folder's own entries
    Current,
    /// All that is below it
    Recursive,
}

impl From<Scope> for IndexScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Current => Self::Current,
            Scope::Recursive => Self::Recursive,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Count what is in a folder, without adding it; nothing is written
    QuickScan {
        /// The folder
        path: PathBuf,
        /// How far to look
        #[arg(long, default_value = "recursive")]
        scope: Scope,
        /// Write nothing (that is so anyway)
        #[arg(long)]
        ephemeral: bool,
    },
    /// List what is in a folder, without adding it; nothing is written
    Browse {
        /// The folder
        path: PathBuf,
        /// How far to look
        #[arg(long, default_value = "current")]
        scope: Scope,
        /// Hash the content too
        #[arg(long)]
        content: bool,
    },
    /// Index a location again
    Location {
        /// Its name, id (or a unique beginning of it), or path
        location: PathBuf,
        /// From now on read so much of its files
        #[arg(short, long)]
        mode: Option<Mode>,
        /// How far to look
        #[arg(long, default_value = "recursive")]
        scope: Scope,
        /// Stay until it is done
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// A folder or file of a location, or a folder that becomes one
    path: PathBuf,
    /// How much of a file is read
    #[arg(short, long)]
    mode: Option<Mode>,
    /// Show the progress, and stay until it is done
    #[arg(short, long)]
    watch: bool,
    /// Stay until it is done
    #[arg(long)]
    wait: bool,
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::QuickScan { path, scope, ephemeral: _ } => {
            let mut client = connect(session).await?;
            let request = Browse { path: absolute(session, &path).into(), scope: scope.into(), content: false, entries: false };
            let found = client.call(request).await?;
            session.output.result(&found, || counts(&found));
            Ok(())
        }
        Command::Browse { path, scope, content } => {
            let mut client = connect(session).await?;
            let request = Browse { path: absolute(session, &path).into(), scope: scope.into(), content, entries: true };
            let found = client.call(request).await?;
            session.output.result(&found, || {
                let table = output::table(["KIND", "SIZE", "MODIFIED", "PATH"], found.entries.iter().map(row));
                if found.entries.is_empty() { counts(&found) } else { format!("{table}\n{}", counts(&found)) }
            });
            Ok(())
        }
        Command::Location { location, mode, scope, wait } => {
            let (mut client, library) = Target::current(session).await?;
            let request = IndexLocation {
                library: library.clone(),
                location: query(session, &location),
                mode: mode.map(Into::into),
                scope: scope.into(),
                force: false,
            };
            let started = client.call(request).await?;
            job::started(session, &mut client, &library, &started, wait).await
        }
    }
}

pub(crate) async fn scan(session: &Session, args: Scan) -> Result<()> {
    let (mut client, library) = Target::current(session).await?;
    let request =
        ScanRequest { library: library.clone(), path: absolute(session, &args.path).into(), mode: args.mode.map(Into::into) };
    let started = client.call(request).await?;
    job::started(session, &mut client, &library, &started, args.wait || args.watch).await
}

fn row(entry: &EntryInfo) -> [String; 4] {
    [
        kind(entry.kind).to_owned(),
        if entry.kind == EntryKind::File { size(entry.size) } else { String::new() },
        entry.modified.map(|at| at.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default(),
        entry.path.clone(),
    ]
}

/// The name of a kind.
pub(crate) fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Dir => "dir",
        EntryKind::Symlink => "symlink",
        EntryKind::Other => "other",
    }
}

fn counts(found: &Browsed) -> String {
    let errors = if found.errors > 0 { format!(", {} could not be read", found.errors) } else { String::new() };
    let path = printable(&found.path.to_string_lossy());
    format!("{path}: {} files, {} folders, {}{errors}", found.files, found.dirs, size(found.bytes))
}
