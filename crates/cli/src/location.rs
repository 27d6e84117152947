//! `location …`: the folders that a library indexes.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use spacedrive_api::{
    IndexLocation, IndexMode, LocationAdd, LocationGet, LocationInfo, LocationList, LocationQuery, LocationRemove, LocationState,
    Result, Rules,
};

use crate::job;
use crate::library::Target;
use crate::output::{self, printable, size};
use crate::session::Session;

/// How much of a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Names, sizes and times
    Shallow,
    /// And a hash of the content (samples of large files)
    Content,
    /// And all of large files
    Deep,
}

impl From<Mode> for IndexMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Shallow => Self::Shallow,
            Mode::Content => Self::Content,
            Mode::Deep => Self::Deep,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a folder: it is indexed, and from then on its changes are followed
    Add(Add),
    /// List the locations of the current library
    List,
    /// Show one location
    Info {
        /// Its name, id (or a unique beginning of it), or path
        location: PathBuf,
    },
    /// Take a location out of the library (its files on disk are not touched)
    Remove {
        /// Its name, id (or a unique beginning of it), or path
        location: PathBuf,
    },
    /// Look at all of a location again
    Rescan {
        /// Its name, id (or a unique beginning of it), or path
        location: PathBuf,
        /// Read all content again, and take the folder that is there now even if it is another one than before
        #[arg(short, long)]
        force: bool,
        /// Stay until it is done
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The folder
    path: PathBuf,
    /// Its name [default: that of the folder]
    #[arg(short, long)]
    name: Option<String>,
    /// How much of a file is read
    #[arg(short, long, default_value = "content")]
    mode: Mode,
    /// Stay until it is indexed
    #[arg(long)]
    wait: bool,
    /// Leave out names that begin with a dot
    #[arg(long)]
    skip_hidden: bool,
    /// Leave out the folders of version control (.git, .hg, …)
    #[arg(long)]
    skip_vcs: bool,
    /// Leave out what .gitignore files name
    #[arg(long)]
    gitignore: bool,
    /// Keep what systems leave behind (.DS_Store, Thumbs.db, lost+found, …), which is left out otherwise
    #[arg(long)]
    keep_junk: bool,
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<()> {
    let (mut client, library) = Target::current(session).await?;
    match command {
        Command::Add(add) => {
            let request = LocationAdd {
                library: library.clone(),
                path: absolute(session, &add.path).into(),
                name: add.name,
                mode: add.mode.into(),
                rules: Rules { system: !add.keep_junk, hidden: add.skip_hidden, vcs: add.skip_vcs, gitignore: add.gitignore },
            };
            let mut added = client.call(request).await?;
            let id = added.location.id.to_string();
            let ended = if add.wait { Some(job::follow(session, &mut client, Some(&library), added.job).await?) } else { None };
            if ended.is_some() {
                let location = LocationQuery { text: id, path: None };
                added.location = client.call(LocationGet { library, location }).await?;
            }
            session.output.result(&added, || {
                let path = printable(&added.location.path.to_string_lossy());
                let what = format!("Added location `{}` ({}) at {path}", printable(&added.location.name), added.location.id);
                match ended {
                    Some(_) => format!("{what}: {}", counts(&added.location)),
                    None => format!("{what}; job {}", added.job),
                }
            });
            tell_problem(session, &added.location);
            ended.map_or(Ok(()), |ended| job::outcome(session, &ended))
        }
        Command::List => {
            let locations = client.call(LocationList { library }).await?;
            session.output.result(
                &locations,
                || {
                    if locations.is_empty() { "No locations".to_owned() } else { table(&locations) }
                },
            );
            Ok(())
        }
        Command::Info { location } => {
            let location = client.call(LocationGet { library, location: query(session, &location) }).await?;
            session.output.result(&location, || details(&location));
            Ok(())
        }
        Command::Remove { location } => {
            let location = client.call(LocationRemove { library, location: query(session, &location) }).await?;
            session.output.result(&location, || {
                format!("Removed location `{}`; the files in it were not touched", printable(&location.name))
            });
            Ok(())
        }
        Command::Rescan { location, force, wait } => {
            let request = IndexLocation {
                library: library.clone(),
                location: query(session, &location),
                mode: None,
                scope: Default::default(),
                force,
            };
            let started = client.call(request).await?;
            job::started(session, &mut client, &library, &started, wait).await
        }
    }
}

/// A path as an absolute one.
pub(crate) fn absolute(session: &Session, path: &Path) -> PathBuf {
    session.places.current.join(path)
}

/// What a person typed for a location.
pub(crate) fn query(session: &Session, typed: &Path) -> LocationQuery {
    LocationQuery { text: typed.to_string_lossy().into_owned(), path: Some(absolute(session, typed).into()) }
}

fn tell_problem(session: &Session, location: &LocationInfo) {
    if let Some(problem) = &location.problem {
        session.output.warning(printable(problem));
    }
}

fn counts(location: &LocationInfo) -> String {
    format!("{} files, {} folders, {}", location.files, location.dirs, size(location.bytes))
}

fn details(location: &LocationInfo) -> String {
    let mut lines = vec![
        format!("Name: {}", printable(&location.name)),
        format!("Id: {}", location.id),
        format!("Path: {}", printable(&location.path.to_string_lossy())),
        format!("State: {}", state(location)),
        format!("Mode: {}", mode(location.mode)),
        format!("Content: {}", counts(location)),
        format!("Unreadable: {}", location.errors),
    ];
    lines.extend(location.problem.as_ref().map(|problem| format!("Problem: {}", printable(problem))));
    lines.join("\n")
}

/// Locations for a person.
pub(crate) fn table(locations: &[LocationInfo]) -> String {
    let rows = locations.iter().map(|location| {
        [
            location.name.clone(),
            location.id.to_string(),
            location
                .problem
                .as_ref()
                .map_or_else(|| state(location).to_owned(), |problem| format!("{}: {problem}", state(location))),
            location.files.to_string(),
            location.dirs.to_string(),
            size(location.bytes),
            mode(location.mode).to_owned(),
            location.path.to_string_lossy().into_owned(),
        ]
    });
    output::table(["LOCATION", "ID", "STATE", "FILES", "FOLDERS", "SIZE", "MODE", "PATH"], rows)
}

fn mode(mode: IndexMode) -> &'static str {
    match mode {
        IndexMode::Shallow => "shallow",
        IndexMode::Content => "content",
        IndexMode::Deep => "deep",
    }
}

fn state(location: &LocationInfo) -> &'static str {
    match location.state {
        LocationState::Watching => "watching",
        LocationState::Indexing => "indexing",
        LocationState::Offline => "offline",
    }
}
