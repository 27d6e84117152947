//! `copy`, `move`, `delete` and `undo`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use spacedrive_api::client::Client;
use spacedrive_api::{
    ApiError, Conflict, ErrorKind, FileAction, FileGet, FileProblem, FileReport, FileStart, FileUndo, FileWork, JobStatus,
    Result, WirePath,
};

use crate::connect::connect;
use crate::job;
use crate::output::printable;
use crate::session::Session;

/// What happens when the target has an entry of that name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnConflict {
    /// Leave the new one out
    Skip,
    /// Call the new one `name (2).ext`
    Rename,
    /// Move the old one to the trash; folders are merged
    Overwrite,
    /// As overwrite where the new one was modified later, else as skip
    Newer,
}

impl From<OnConflict> for Conflict {
    fn from(conflict: OnConflict) -> Self {
        match conflict {
            OnConflict::Skip => Self::Skip,
            OnConflict::Rename => Self::Rename,
            OnConflict::Overwrite => Self::Overwrite,
            OnConflict::Newer => Self::Newer,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct TransferArguments {
    /// Files and folders, and at last the folder to put them into or the new name of the only one
    #[arg(value_name = "SRC… DST", required = true, num_args = 2.., value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    /// What happens when a name is taken
    #[arg(long, value_name = "HOW", default_value = "rename")]
    conflict: OnConflict,
    /// Read both sides again and compare their hashes
    #[arg(long)]
    verify: bool,
    /// What is replaced does not go to the trash, it is gone
    #[arg(long)]
    permanent: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// Files and folders
    #[arg(value_name = "PATH", required = true, value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    /// Delete for good instead of moving it to the trash
    #[arg(long)]
    permanent: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// Tell what would be done, and change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Stay until it is done
    #[arg(long)]
    wait: bool,
}

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    Local(&'a OsStr),
    Remote { device: &'a OsStr, path: &'a OsStr },
}

impl<'a> Side<'a> {
    /// `DEVICE:PATH` has its colon before any slash: `./a:b` and `/a:b` are local files.
    fn parse(argument: &'a OsStr) -> Self {
        let bytes = argument.as_bytes();
        match bytes.iter().position(|byte| matches!(byte, b':' | b'/')) {
            Some(at) if at > 0 && bytes[at] == b':' => {
                Self::Remote { device: OsStr::from_bytes(&bytes[..at]), path: OsStr::from_bytes(&bytes[at + 1..]) }
            }
            _ => Self::Local(argument),
        }
    }
}

pub(crate) async fn copy(session: &Session, args: TransferArguments) -> Result<()> {
    transfer(session, FileAction::Copy, args).await
}

pub(crate) async fn moving(session: &Session, args: TransferArguments) -> Result<()> {
    transfer(session, FileAction::Move, args).await
}

async fn transfer(session: &Session, action: FileAction, args: TransferArguments) -> Result<()> {
    let mut paths = args.paths.iter().map(|path| local(session, path)).collect::<Result<Vec<_>>>()?;
    let target = paths.pop();
    let TransferArguments { conflict, verify, permanent, how, .. } = args;
    let work = FileWork { action, sources: paths, target, conflict: conflict.into(), verify, permanent };
    run(session, work, &how).await
}

pub(crate) async fn delete(session: &Session, args: DeleteArguments) -> Result<()> {
    let sources = args.paths.iter().map(|path| local(session, path)).collect::<Result<Vec<_>>>()?;
    if args.permanent && !args.yes && !args.how.dry_run {
        let what = match args.paths.as_slice() {
            [one] => format!("`{}`", printable(&one.to_string_lossy())),
            several => format!("{} files and folders", several.len()),
        };
        if !session.output.confirm(&format!("Delete {what} for good?")) {
            return Err(ApiError::invalid(format!("{what}: nothing was deleted: nobody confirmed it")).hint("say --yes"));
        }
    }
    let conflict = Conflict::default();
    let permanent = args.permanent;
    let work = FileWork { action: FileAction::Delete, sources, target: None, conflict, verify: false, permanent };
    run(session, work, &args.how).await
}

pub(crate) async fn undo(session: &Session) -> Result<()> {
    let mut client = connect(session).await?;
    let undone = client.call(FileUndo {}).await?;
    session.output.result(&undone, || format!("Undid the last {}: {}", undone.action.as_str(), count(undone.files, "item")));
    problems(session, "put back", &undone.errors)
}

/// The path of a file on this machine.
fn local(session: &Session, path: &std::path::Path) -> Result<WirePath> {
    match Side::parse(path.as_os_str()) {
        Side::Local(path) => Ok(WirePath(session.places.current.join(path))),
        Side::Remote { device, path } => {
            let (device, path) = (printable(&device.to_string_lossy()), printable(&path.to_string_lossy()));
            Err(ApiError::invalid(format!(
                "`{device}:{path}` names a file on the device `{device}`: only files on this machine can be given yet"
            ))
            .hint(format!("write ./{device}:{path} for a file here that has this name")))
        }
    }
}

async fn run(session: &Session, work: FileWork, how: &How) -> Result<()> {
    let mut client = connect(session).await?;
    let action = work.action;
    let started = client.call(FileStart { work, dry_run: how.dry_run }).await?;
    let Some(id) = started.job else {
        session.output.result(&started, || format!("Would {} {}", action.as_str(), amount(&started)));
        return problems(session, done(action), &started.errors);
    };
    if !how.wait {
        session.output.result(&serde_json::json!({ "job": id }), || format!("Started job {id}"));
        return Ok(());
    }
    let job = job::follow(session, &mut client, None, id).await?;
    let report = outcome(session, &mut client, &job).await?;
    session.output.result(&report, || {
        let verb = done(action);
        format!("{}{} {}", verb[..1].to_uppercase(), &verb[1..], amount(&report))
    });
    problems(session, done(action), &report.errors)
}

/// What a job that was followed has done, or why it did not.
async fn outcome(session: &Session, client: &mut Client, ended: &spacedrive_api::JobInfo) -> Result<FileReport> {
    if matches!(ended.status, JobStatus::Completed | JobStatus::Failed) {
        client.call(FileGet { job: ended.id }).await
    } else {
        job::outcome(session, ended).map(|()| FileReport { job: Some(ended.id), ..FileReport::default() })
    }
}

/// Tells what could not be done; the command fails then.
fn problems(session: &Session, done: &str, errors: &[FileProblem]) -> Result<()> {
    let Some(first) = errors.first() else { return Ok(()) };
    let line = |problem: &FileProblem| format!("{}: {}", printable(&problem.path.to_string_lossy()), printable(&problem.message));
    if errors.len() > 1 {
        errors.iter().for_each(|problem| session.output.warning(line(problem)));
    }
    let verification = errors.iter().any(|problem| problem.verification);
    let kind = if verification { ErrorKind::Verification } else { ErrorKind::Partial };
    let message = match errors.len() {
        1 => format!("not {done}: {}", line(first)),
        n => format!("{} not {done}", count(n as u64, "item")),
    };
    Err(ApiError::new(kind, message))
}

fn done(action: FileAction) -> &'static str {
    match action {
        FileAction::Copy => "copied",
        FileAction::Move => "moved",
        FileAction::Delete => "deleted",
    }
}

fn amount(report: &FileReport) -> String {
    let mut text = format!("{}, {}", count(report.files, "file"), count(report.bytes, "byte"));
    if report.verified > 0 {
        text.push_str(&format!(", {} verified", report.verified));
    }
    if report.skipped > 0 {
        text.push_str(&format!("; {} left out", report.skipped));
    }
    text
}

fn count(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_any_slash_names_a_device() {
        let remote = |device, path| Side::Remote { device: OsStr::new(device), path: OsStr::new(path) };
        assert_eq!(Side::parse(OsStr::new("bob:docs/a")), remote("bob", "docs/a"));
        assert_eq!(Side::parse(OsStr::new("bob:")), remote("bob", ""));
        assert_eq!(Side::parse(OsStr::new("bob:/a:b")), remote("bob", "/a:b"));
        for text in ["./a:b", "/a:b", "a/b:c", ":a", "a", "", "../x:y"] {
            assert_eq!(Side::parse(OsStr::new(text)), Side::Local(OsStr::new(text)), "{text}");
        }
    }
}
