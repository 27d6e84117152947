//! `library …`: the libraries of the instance, and which of them is current.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use spacedrive_api::client::Client;
use spacedrive_api::{
    ApiError, ErrorKind, LibraryBackup, LibraryCheck, LibraryClose, LibraryCreate, LibraryDelete, LibraryGet, LibraryInfo,
    LibraryList, LibraryOpen, LibraryRestore, LibraryState, LibraryTrash, Result, WirePath,
};
use uuid::Uuid;

use crate::cli_state::CliState;
use crate::connect::connect;
use crate::output::{self, printable};
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a library and switch to it
    Create {
        /// Its name
        name: String,
        /// The folder to make it in, instead of the instance's own
        #[arg(short, long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
    /// List the libraries of the instance
    List,
    /// Open the library in a folder and switch to it
    Open {
        /// The NAME.sdlibrary folder
        path: PathBuf,
    },
    /// Make another library the current one
    Switch {
        /// Its name, id, or a unique beginning of the id
        library: String,
    },
    /// Show the current library
    Current,
    /// Close the current library; it stays known
    Close {
        /// Another one than the current library
        library: Option<String>,
    },
    /// Show one library
    Info {
        /// Its name, id, or a unique beginning of the id [default: the current one]
        library: Option<String>,
    },
    /// Check a library's database
    Check {
        /// Its name, id, or a unique beginning of the id [default: the current one]
        library: Option<String>,
        /// Read every page, and every file whose content is known, too
        #[arg(long)]
        deep: bool,
    },
    /// Copy a library's database as it is now
    Backup {
        /// Its name, id, or a unique beginning of the id [default: the current one]
        library: Option<String>,
        /// The file to write [default: one in the library's `backups` folder]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Delete a library (its index, never the files that it indexes)
    Delete {
        /// Its name, id, or a unique beginning of the id
        library: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// Delete for good instead of moving it to the trash
        #[arg(long)]
        purge: bool,
    },
    /// Restore a deleted library and switch to it; without a name, list what can be restored
    Restore {
        /// Its name
        name: Option<String>,
    },
}

/// A library as the command line shows it.
#[derive(Serialize)]
pub(crate) struct View<'a> {
    #[serde(flatten)]
    info: &'a LibraryInfo,
    current: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(info: &'a LibraryInfo, current: Option<Uuid>) -> Self {
        Self { info, current: current == Some(info.id) }
    }
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<()> {
    let mut client = connect(session).await?;
    let data_dir = client.info().await?.data_dir;
    let state = CliState::read(session, &data_dir.0);
    let switch = |library: Option<Uuid>| CliState::set_current(session, &data_dir.0, library);
    match command {
        Command::Create { name, path } => {
            let path = path.map(|path| WirePath(session.places.current.join(path)));
            let library = client.call(LibraryCreate { name, path }).await?;
            switch(Some(library.id))?;
            show(session, &library, true, "Created library");
        }
        Command::List => {
            let libraries = client.call(LibraryList {}).await?;
            let views: Vec<View<'_>> = libraries.iter().map(|info| View::new(info, state.current_library)).collect();
            session.output.result(&views, || {
                if libraries.is_empty() { "No libraries".to_owned() } else { table(&libraries, state.current_library) }
            });
        }
        Command::Open { path } => {
            let library = client.call(LibraryOpen { path: WirePath(session.places.current.join(path)) }).await?;
            switch(Some(library.id))?;
            show(session, &library, true, "Opened library");
        }
        Command::Switch { library } => {
            let library = client.call(LibraryGet { library, open: true }).await?;
            switch(Some(library.id))?;
            show(session, &library, true, "Switched to library");
        }
        Command::Current => {
            let library = current(session, &mut client, &state).await?;
            show(session, &library, true, "Current library:");
        }
        Command::Close { library } => {
            let library = match library {
                Some(library) => library,
                None => current(session, &mut client, &state).await?.id.to_string(),
            };
            let library = client.call(LibraryClose { library }).await?;
            if state.current_library == Some(library.id) {
                switch(None)?;
            }
            show(session, &library, false, "Closed library");
        }
        Command::Info { library } => {
            let library = match library {
                Some(library) => client.call(LibraryGet { library, open: false }).await?,
                None => current(session, &mut client, &state).await?,
            };
            session.output.result(&View::new(&library, state.current_library), || details(&library));
        }
        Command::Check { library, deep } => {
            let library = or_current(session, library, &state)?;
            let checked = client.call(LibraryCheck { library, deep }).await?;
            session.output.result(&checked, || {
                let mut lines: Vec<String> = checked.problems.iter().map(|problem| printable(problem)).collect();
                lines.extend(checked.rotten.iter().map(|path| {
                    format!(
                        "{}: its content is not what was indexed, though its size and time are",
                        printable(&path.to_string_lossy())
                    )
                }));
                lines.push(format!("{} entries and {} files checked", checked.entries, checked.files_read));
                lines.join("\n")
            });
            if !checked.problems.is_empty() {
                return Err(ApiError::storage(format!("the library has {} problems", checked.problems.len()))
                    .hint("restore it from a backup (its `backups` folder), or make it anew"));
            }
            if !checked.rotten.is_empty() {
                return Err(ApiError::new(
                    ErrorKind::Verification,
                    format!("the content of {} files is not what was indexed", checked.rotten.len()),
                ));
            }
        }
        Command::Backup { library, to } => {
            let library = or_current(session, library, &state)?;
            let to = to.map(|to| WirePath(session.places.current.join(to)));
            let backup = client.call(LibraryBackup { library, to }).await?;
            session.output.result(&backup, || {
                format!("Wrote {} ({})", printable(&backup.path.to_string_lossy()), output::size(backup.bytes))
            });
        }
        Command::Delete { library, yes, purge } => {
            let library = client.call(LibraryGet { library, open: false }).await?;
            let how = if purge { "for good" } else { "to the trash" };
            if !yes && !session.output.confirm(&format!("Delete library `{}` {how}?", printable(&library.name))) {
                return Err(ApiError::invalid(format!(
                    "library `{}` was not deleted: nobody confirmed it",
                    printable(&library.name)
                ))
                .hint("say --yes"));
            }
            let deleted = client.call(LibraryDelete { library: library.id.to_string(), purge }).await?;
            if state.current_library == Some(library.id) {
                switch(None)?;
            }
            session.output.result(&deleted, || {
                let place = deleted
                    .trash
                    .as_ref()
                    .map_or(String::new(), |trash| format!(", now in {}", printable(&trash.to_string_lossy())));
                format!("Deleted library `{}`{place}", printable(&library.name))
            });
        }
        Command::Restore { name: None } => {
            let deleted = client.call(LibraryTrash {}).await?;
            session.output.result(&deleted, || crate::instance::trashed_table(&deleted, "LIBRARY"));
        }
        Command::Restore { name: Some(name) } => {
            let library = client.call(LibraryRestore { name }).await?;
            switch(Some(library.id))?;
            show(session, &library, true, "Restored library");
        }
    }
    Ok(())
}

/// The id of the current library, or the error that says how to get one.
pub(crate) fn current_id(session: &Session, state: &CliState) -> Result<Uuid> {
    state.current_library.ok_or_else(|| {
        ApiError::not_found(format!("instance `{}` has no current library", session.name)).hint(format!(
            "{}, or {}",
            session.command("library create NAME"),
            session.command("library switch NAME")
        ))
    })
}

/// The library that was named, or the current one.
fn or_current(session: &Session, library: Option<String>, state: &CliState) -> Result<String> {
    library.map_or_else(|| Ok(current_id(session, state)?.to_string()), Ok)
}

/// What commands about the content of a library begin with.
pub(crate) struct Target;

impl Target {
    /// A connection, and the current library.
    pub(crate) async fn current(session: &Session) -> Result<(Client, String)> {
        let mut client = connect(session).await?;
        let data_dir = client.info().await?.data_dir;
        let library = current_id(session, &CliState::read(session, &data_dir.0))?;
        Ok((client, library.to_string()))
    }

    /// A connection, and the current library if there is one.
    pub(crate) async fn current_or_none(session: &Session) -> Result<(Client, Option<String>)> {
        let mut client = connect(session).await?;
        let data_dir = client.info().await?.data_dir;
        let library = CliState::read(session, &data_dir.0).current_library;
        Ok((client, library.map(|library| library.to_string())))
    }
}

async fn current(session: &Session, client: &mut Client, state: &CliState) -> Result<LibraryInfo> {
    let id = current_id(session, state)?;
    client.call(LibraryGet { library: id.to_string(), open: false }).await
}

fn show(session: &Session, library: &LibraryInfo, is_current: bool, what: &str) {
    let view = View { info: library, current: is_current };
    session.output.result(&view, || {
        format!("{what} `{}` ({}) in {}", printable(&library.name), library.id, printable(&library.path.to_string_lossy()))
    });
    if let Some(problem) = &library.problem {
        session.output.warning(printable(problem));
    }
}

fn details(library: &LibraryInfo) -> String {
    let mut lines = vec![
        format!("Name: {}", printable(&library.name)),
        format!("Id: {}", library.id),
        format!("Path: {}", printable(&library.path.to_string_lossy())),
        format!("State: {}", state(library)),
    ];
    lines.extend(library.created_at.map(|at| format!("Created: {at}")));
    lines.push(format!("Database: {} bytes", library.bytes));
    lines.extend(library.problem.as_ref().map(|problem| format!("Problem: {}", printable(problem))));
    lines.join("\n")
}

/// Libraries for a person; `*` marks the current one.
pub(crate) fn table(libraries: &[LibraryInfo], current: Option<Uuid>) -> String {
    let rows = libraries.iter().map(|library| {
        [
            if current == Some(library.id) { "*" } else { "" }.to_owned(),
            library.name.clone(),
            library.id.to_string(),
            library
                .problem
                .as_ref()
                .map_or_else(|| state(library).to_owned(), |problem| format!("{}: {problem}", state(library))),
            library.path.to_string_lossy().into_owned(),
        ]
    });
    output::table(["", "LIBRARY", "ID", "STATE", "PATH"], rows)
}

fn state(library: &LibraryInfo) -> &'static str {
    match library.state {
        LibraryState::Open => "open",
        LibraryState::Closed => "closed",
        LibraryState::Damaged => "damaged",
        LibraryState::Missing => "missing",
        LibraryState::Locked => "locked",
    }
}
