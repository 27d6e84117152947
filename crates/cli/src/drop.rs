//! `network spacedrop`, `network drops …` and `network trust`: files that are sent to another device.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use spacedrive_api::{
    ApiError, DeviceTrust, DropDecide, DropDirection, DropInfo, DropList, DropOrder, DropSend, DropState, DropTrust, DropWatch,
    ErrorKind, Event, Result,
};
use uuid::Uuid;

use crate::connect::connect;
use crate::output::{self, printable};
use crate::session::Session;

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The device: its name, id, or a unique beginning of the id
    device: String,
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What the receiver sees as the sender [default: this device's name]
    #[arg(short, long, value_name = "NAME")]
    sender: Option<String>,
    /// A message that the receiver sees with it
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Stay until it ends, and exit by how it ended
    #[arg(short, long)]
    wait: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what was sent and what was offered
    List,
    /// Take what a device offers
    Accept {
        /// The drop's id, or a unique beginning of it
        id: String,
        /// The folder that it goes to [default: the instance's inbox]
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Stay until it ends, and exit by how it ended
        #[arg(short, long)]
        wait: bool,
    },
    /// Refuse what a device offers, or stop taking it
    Reject {
        /// The drop's id, or a unique beginning of it
        id: String,
    },
    /// Stop a drop in either direction
    Cancel {
        /// The drop's id, or a unique beginning of it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// The device: its name, id, or a unique beginning of the id
    device: String,
    /// What happens to what it sends
    #[arg(long)]
    drops: Option<Trust>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Trust {
    /// Ask
    Ask,
    /// Take it into the inbox
    Accept,
    /// Refuse it
    Refuse,
}

/// What `--wait` prints as JSON.
#[derive(Serialize)]
struct Outcome<'a> {
    job: Uuid,
    files: u64,
    bytes: u64,
    /// Bytes that were compared by their hash on arrival: all of what is delivered.
    verified: bool,
    errors: u64,
    moved: u64,
    state: DropState,
    names: &'a [spacedrive_api::WirePath],
    into: Option<&'a spacedrive_api::WirePath>,
}

pub(crate) async fn send(session: &Session, args: SendArgs) -> Result<()> {
    let paths = args.paths.iter().map(|path| absolute(path).map(Into::into)).collect::<Result<Vec<_>>>()?;
    let request = DropSend { device: args.device, paths, sender: args.sender, message: args.message };
    let drop = connect(session).await?.call(request).await?;
    if args.wait {
        return wait(session, drop).await;
    }
    session.output.result(&drop, || format!("Sending {} to `{}`: drop {}", names(&drop), printable(&drop.device.name), drop.id));
    session.output.note(format!("see how far it is: {}", session.command("network drops list")));
    Ok(())
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<()> {
    match command {
        Command::List => {
            let drops = connect(session).await?.call(DropList {}).await?;
            session.output.result(&drops, || if drops.is_empty() { "No drops".to_owned() } else { table(&drops) });
            Ok(())
        }
        Command::Accept { id, into, wait: stay } => {
            let into = into.map(|into| absolute(&into).map(Into::into)).transpose()?;
            let drop = connect(session).await?.call(DropDecide { drop: id, order: DropOrder::Accept, into }).await?;
            if stay {
                return wait(session, drop).await;
            }
            session.output.result(&drop, || {
                let into = drop.into.as_ref().map_or_else(String::new, |into| printable(&into.to_string_lossy()));
                format!("Accepted {} from `{}` into {into}", names(&drop), printable(&drop.device.name))
            });
            Ok(())
        }
        Command::Reject { id } => decide(session, id, DropOrder::Reject, "Rejected").await,
        Command::Cancel { id } => decide(session, id, DropOrder::Cancel, "Stopped").await,
    }
}

async fn decide(session: &Session, drop: String, order: DropOrder, done: &str) -> Result<()> {
    let drop = connect(session).await?.call(DropDecide { drop, order, into: None }).await?;
    session.output.result(&drop, || format!("{done} {}", names(&drop)));
    Ok(())
}

pub(crate) async fn trust(session: &Session, args: TrustArgs) -> Result<()> {
    let drops = args.drops.map(|trust| match trust {
        Trust::Ask => DropTrust::Ask,
        Trust::Accept => DropTrust::Accept,
        Trust::Refuse => DropTrust::Refuse,
    });
    let trust = connect(session).await?.call(DeviceTrust { device: args.device, drops }).await?;
    session.output.result(&trust, || {
        let what = match trust.drops {
            DropTrust::Ask => "are asked about",
            DropTrust::Accept => "are taken into the inbox",
            DropTrust::Refuse => "are refused",
        };
        format!("Drops of `{}` {what}", printable(&trust.device.name))
    });
    Ok(())
}

/// Stays until the drop is over; the result is how it ended.
async fn wait(session: &Session, drop: DropInfo) -> Result<()> {
    let mut last = String::new();
    let ended = connect(session)
        .await?
        .watch(DropWatch { drop: drop.id.to_string() }, |event| {
            if let Event::Progress(progress) = event
                && session.output.is_interactive()
            {
                let far = progress.total.filter(|total| *total > 0).map_or_else(String::new, |total| {
                    let percent = (u128::from(progress.done) * 100 / u128::from(total)).min(100);
                    format!(": {percent} % of {total} bytes")
                });
                let line = format!("{}{far}", printable(&progress.message));
                if line != last {
                    session.output.note(&line);
                    last = line;
                }
            }
        })
        .await?;
    let outcome = Outcome {
        job: ended.id,
        files: ended.files_done,
        bytes: ended.bytes_done,
        verified: ended.state == DropState::Completed,
        errors: ended.errors,
        moved: ended.moved,
        state: ended.state,
        names: &ended.names,
        into: ended.into.as_ref(),
    };
    let name = printable(&ended.device.name);
    match ended.state {
        DropState::Completed => {
            session.output.result(&outcome, || {
                let (verb, to) = match ended.direction {
                    DropDirection::Out => ("Sent", format!("to `{name}`")),
                    DropDirection::In => ("Received", format!("from `{name}`")),
                };
                format!("{verb} {} {to}: {} files, {} bytes, verified", names(&ended), ended.files_done, ended.bytes_done)
            });
            if ended.errors == 0 {
                return Ok(());
            }
            let problem = ended.problem.as_deref().map_or_else(String::new, |problem| format!(": {}", printable(problem)));
            Err(ApiError::new(ErrorKind::Partial, format!("{} items were not sent{problem}", ended.errors)))
        }
        DropState::Declined => Err(ApiError::refused(format!("`{name}` declined {}", names(&ended)))),
        DropState::Cancelled => Err(ApiError::new(ErrorKind::Interrupted, format!("{}: it was stopped", names(&ended)))),
        DropState::Failed => {
            let problem = ended.problem.as_deref().map_or_else(|| "it failed".to_owned(), printable);
            Err(ApiError::new(ended.kind.unwrap_or(ErrorKind::Failed), format!("{}: {problem}", names(&ended))))
        }
        DropState::Waiting | DropState::Asked | DropState::Running => Err(ApiError::unreachable("the daemon stopped telling")),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| ApiError::io(path.display(), &error))
}

/// The first names for a person.
fn names(drop: &DropInfo) -> String {
    let mut shown: Vec<String> =
        drop.names.iter().take(3).map(|name| format!("`{}`", printable(&name.to_string_lossy()))).collect();
    if drop.names.len() > shown.len() {
        shown.push(format!("{} more", drop.names.len() - shown.len()));
    }
    shown.join(", ")
}

/// Drops for a person.
fn table(drops: &[DropInfo]) -> String {
    let rows = drops.iter().map(|drop| {
        let way = match drop.direction {
            DropDirection::In => format!("from {}", drop.device.name),
            DropDirection::Out => format!("to {}", drop.device.name),
        };
        let state = match drop.state {
            DropState::Waiting => "waiting".to_owned(),
            DropState::Asked if drop.direction == DropDirection::In => "asks: accept or reject".to_owned(),
            DropState::Asked => "waits for an answer".to_owned(),
            DropState::Running => format!("{} of {} bytes", drop.bytes_done, drop.bytes),
            DropState::Completed if drop.errors > 0 => format!("done, without {} items", drop.errors),
            DropState::Completed => "done".to_owned(),
            DropState::Declined => "declined".to_owned(),
            DropState::Failed => format!("failed: {}", drop.problem.as_deref().unwrap_or("")),
            DropState::Cancelled => "stopped".to_owned(),
        };
        let note = drop.message.clone().unwrap_or_default();
        let id = drop.id.to_string();
        [id, way, drop.sender.clone(), names(drop), drop.files.to_string(), drop.bytes.to_string(), state, note]
    });
    output::table(["ID", "DEVICE", "SENDER", "WHAT", "FILES", "BYTES", "STATE", "MESSAGE"], rows)
}
