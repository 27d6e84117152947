//! The life of instances: made, started, copied, renamed, removed, restored, tidied up.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use spacedrive_api::instance::{self, DataFiles, InstanceName};
use spacedrive_api::locate::{self, DataDir, Origin};
use spacedrive_api::{
    ApiError, ErrorKind, InstanceCopied, InstanceCopy, InstanceInfo, InstanceStatus, LibraryInfo, LibraryList, Result, Skipped,
    Trashed, WirePath,
};
use spacedrive_daemon::instance as stopped;

use super::{existing, existing_or_current, named, probe, word};
use crate::cli_state::CliState;
use crate::connect::{attempt, connect_now, other_data_dir, same_dir};
use crate::library::View;
use crate::output::{self, printable};
use crate::session::Session;
use crate::{library, start, stop};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  spacedrive instance create alice\n  spacedrive --data-dir /srv/spacedrive instance create alice"
)]
pub(crate) struct Create {
    /// Its name: 1 to 64 letters, digits, `-` and `_`
    name: String,
}

pub(crate) async fn create(session: &Session, args: &Create) -> Result<()> {
    let session = named(session, &args.name, "create")?;
    let target = locate::data_dir_for_start(&session.places, &session.name, session.data_dir.as_deref())?;
    let new = stopped::NewInstance::begin(&session.places, &session.name, &target.path).await?;
    let dir = new.finish()?;
    show(&session, dir, "Created").await
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spacedrive instance start alice bob\n  spacedrive instance start --all")]
pub(crate) struct Start {
    /// Their names; one that does not exist yet is made
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// Every instance of this user
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Switch networking on
    #[arg(long)]
    enable_networking: bool,
}

pub(crate) async fn start(session: &Session, args: &Start) -> Result<()> {
    let arguments = start::Arguments { enable_networking: args.enable_networking, ..start::Arguments::default() };
    let mut outcomes = Vec::new();
    for (session, data_dir) in sessions(session, &args.names, args.all, "start")? {
        if !args.all && !locate::was_started(&session.places, &session.name) {
            let names: Vec<String> = locate::known(&session.places).into_keys().map(|name| name.to_string()).collect();
            let near = spacedrive_api::nearest(session.name.as_str(), &names);
            if !near.is_empty() {
                session.output.note(format!("instance `{}` is new; there is also {}", session.name, near.join(", ")));
            }
        }
        let outcome = start::launch(&session, &arguments, data_dir).await;
        outcomes.push((session, outcome));
    }
    finish(session, outcomes, |session, (started, data_dir)| started.text(session, data_dir.as_ref()), |(started, _)| started)
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spacedrive instance restart alice\n  spacedrive instance restart --all")]
pub(crate) struct Restart {
    /// Their names
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// Every instance of this user
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

pub(crate) async fn restart(session: &Session, args: &Restart) -> Result<()> {
    let sessions = sessions(session, &args.names, args.all, "restart")?;
    for (session, _) in &sessions {
        if !locate::was_started(&session.places, &session.name) {
            return Err(locate::no_such_instance(&session.places, &session.name));
        }
    }
    let mut outcomes = Vec::new();
    for (session, data_dir) in sessions {
        let outcome = restart_one(&session, data_dir).await;
        outcomes.push((session, outcome));
    }
    finish(session, outcomes, |session, (started, data_dir)| started.text(session, data_dir.as_ref()), |(started, _)| started)
}

/// The same data dir again, whichever folder this is called in.
async fn restart_one(session: &Session, data_dir: Option<DataDir>) -> Result<(start::Started, Option<DataDir>)> {
    let data_dir = match attempt(session).await? {
        Ok(_) => {
            let path = connect_now(session).await?.info().await?.data_dir.0;
            Some(DataDir { path, origin: Origin::Record })
        }
        Err(_) if data_dir.is_some() => data_dir,
        Err(_) => {
            let path = locate::data_dir_of(&session.places, &session.name, session.data_dir.as_deref())?;
            Some(DataDir { path, origin: Origin::Record })
        }
    };
    stop::end(session).await?;
    start::launch(session, &start::Arguments::default(), data_dir).await
}

/// The instances that a command for several names, each with its data dir where that is certain.
pub(super) fn sessions(session: &Session, names: &[String], all: bool, verb: &str) -> Result<Vec<(Session, Option<DataDir>)>> {
    if all {
        let known = locate::known(&session.places).into_iter();
        return Ok(known
            .filter_map(|(name, dir)| dir.map(|path| (name, path)))
            .map(|(name, path)| {
                let mut session = session.for_instance(name);
                session.data_dir = None;
                session.places.data_root = None;
                (session, Some(DataDir { path, origin: Origin::Record }))
            })
            .collect());
    }
    names.iter().map(|name| named(session, name, verb).map(|session| (session, None))).collect()
}

/// Prints what was done, and what failed; when only some failed, that is exit 10.
fn finish<T, J: Serialize>(
    session: &Session,
    outcomes: Vec<(Session, Result<T>)>,
    text: impl Fn(&Session, &T) -> String,
    json: impl Fn(T) -> J,
) -> Result<()> {
    let total = outcomes.len();
    let mut failures = Vec::new();
    let mut texts = Vec::new();
    let mut values = Vec::new();
    for (session, outcome) in outcomes {
        match outcome {
            Ok(value) => {
                texts.push(text(&session, &value));
                values.push(json(value));
            }
            Err(error) => failures.push((session.name.clone(), error)),
        }
    }
    if failures.len() == 1 && total == 1 {
        return failures.pop().map_or(Ok(()), |(_, error)| Err(error));
    }
    session.output.result(&values, || if texts.is_empty() { "No instances".to_owned() } else { texts.join("\n") });
    if failures.is_empty() {
        return Ok(());
    }
    let list = failures.iter().map(|(name, error)| format!("{name}: {}", error.message)).collect::<Vec<_>>().join("; ");
    let kind = if values.is_empty() { failures[0].1.kind } else { ErrorKind::Partial };
    Err(ApiError::new(kind, format!("{} of {total} instances failed: {list}", failures.len())))
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spacedrive instance status alice\n  spacedrive instance status alice --json")]
pub(crate) struct Status {
    /// Its name [default: the current instance]
    name: Option<String>,
}

#[derive(Serialize)]
struct StatusView<'a> {
    instance: &'a InstanceInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    libraries: Option<Vec<View<'a>>>,
}

pub(crate) async fn status(session: &Session, args: &Status) -> Result<()> {
    let session = existing_or_current(session, args.name.as_deref(), "status")?;
    let data_dir = locate::data_dir_of(&session.places, &session.name, session.data_dir.as_deref()).ok();
    let info = probe(&session, data_dir.map(WirePath)).await?;
    if info.status != InstanceStatus::Running {
        session.output.result(&StatusView { instance: &info, libraries: None }, || {
            let dir = info.data_dir.as_ref().map_or_else(|| "unknown".into(), |dir| printable(&dir.to_string_lossy()));
            format!("Instance `{}` is {}\nData: {dir}", info.name, word(info.status))
        });
        return Err(match info.status {
            InstanceStatus::Foreign => {
                let socket = info.socket.to_string_lossy();
                ApiError::refused(format!("{socket} is not ours")).hint("spacedrive instance doctor")
            }
            InstanceStatus::Starting | InstanceStatus::Unresponsive => {
                let pid = info.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
                ApiError::unreachable(format!("the daemon of instance `{}`{pid} does not answer", info.name))
            }
            _ => session.not_running(),
        });
    }
    let mut client = connect_now(&session).await?;
    let daemon = client.info().await?;
    let current = CliState::read(&session, &daemon.data_dir.0).current_library;
    // Another version's daemon tells no more than the frozen call does.
    let libraries: Option<Vec<LibraryInfo>> =
        if daemon.protocol == spacedrive_api::protocol() { Some(client.call(LibraryList {}).await?) } else { None };
    let views = libraries.as_ref().map(|all| all.iter().map(|info| View::new(info, current)).collect());
    session.output.result(&StatusView { instance: &info, libraries: views }, || {
        let table = match libraries.as_deref() {
            None => return crate::daemon::text(&daemon),
            Some([]) => "No libraries".to_owned(),
            Some(libraries) => library::table(libraries, current),
        };
        format!("{}\n\n{table}", crate::daemon::text(&daemon))
    });
    Ok(())
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spacedrive instance stop alice && spacedrive instance rename alice carol")]
pub(crate) struct Rename {
    /// Its name
    old: String,
    /// Its new name
    new: String,
}

pub(crate) async fn rename(session: &Session, args: &Rename) -> Result<()> {
    let session = existing(session, &args.old, "rename")?;
    let new: InstanceName = args.new.parse()?;
    let dir = stopped_data_dir(&session)?;
    let dir = stopped::rename(&session.places, &session.name, &new, &dir).await?;
    let renamed = session.for_instance(new);
    show(&renamed, dir, &format!("Renamed `{}` to", session.name)).await
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spacedrive instance clone default trial\n  spacedrive instance clone alice alice-backup")]
pub(crate) struct Clone {
    /// The instance to copy
    source: String,
    /// The name of the copy
    target: String,
}

#[derive(Serialize)]
struct Cloned<'a> {
    #[serde(flatten)]
    instance: &'a InstanceInfo,
    libraries: &'a [String],
    skipped: &'a [Skipped],
}

pub(crate) async fn clone(session: &Session, args: &Clone) -> Result<()> {
    let target: InstanceName = args.target.parse()?;
    if target.is_default() {
        return Err(ApiError::invalid("a copy cannot be the default instance: its folder holds the other instances")
            .hint("choose another name for the copy"));
    }
    // A `--data-dir` says where the copy goes; the source is where it is.
    let mut source = existing(&without_data_dir(session), &args.source, "clone")?;
    source.places.data_root = None;
    let mut client = match attempt(&source).await? {
        Ok(client) => Some(client),
        Err(_) if locate::is_alive(&source.places, &source.name) => Some(connect_now(&source).await?),
        Err(_) => None,
    };
    let from = match &mut client {
        Some(client) => client.info().await?.data_dir.0,
        None => locate::data_dir_of(&source.places, &source.name, None)?,
    };
    let chosen = locate::requested_data_dir(&session.places, &target, session.data_dir.as_deref());
    let beside = || instance::data_dir(&instance::data_root(&from, &source.name), &target);
    let dir = chosen.map_or_else(beside, |chosen| chosen.path);
    let new = stopped::NewInstance::begin(&session.places, &target, &dir).await?;
    let copied: InstanceCopied = match &mut client {
        Some(client) => client.call(InstanceCopy { to: new.dir().into() }).await?,
        None => stopped::copy_stopped(&source.places, &source.name, &from, new.dir()).await?,
    };
    let dir = new.finish()?;
    let info = probe(&session.for_instance(target), Some(WirePath(dir))).await?;
    let view = Cloned { instance: &info, libraries: &copied.libraries, skipped: &copied.skipped };
    session.output.result(&view, || {
        let dir = info.data_dir.as_ref().map_or_else(String::new, |dir| printable(&dir.to_string_lossy()));
        format!("Cloned instance `{}` to `{}` ({} libraries), data in {dir}", source.name, info.name, copied.libraries.len())
    });
    match copied.skipped.as_slice() {
        [] => Ok(()),
        skipped => {
            let list = skipped.iter().map(|s| printable(&s.why)).collect::<Vec<_>>().join("; ");
            Err(ApiError::new(ErrorKind::Partial, format!("{} libraries were not copied: {list}", skipped.len())))
        }
    }
}

fn without_data_dir(session: &Session) -> Session {
    let mut plain = session.for_instance(session.name.clone());
    plain.name_origin = session.name_origin;
    plain.data_dir = None;
    plain
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spacedrive instance remove alice\n  spacedrive instance remove alice --purge --yes")]
pub(crate) struct Remove {
    /// Its name; never taken from the environment
    name: String,
    /// Delete it for good instead of moving it to the trash
    #[arg(long)]
    purge: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct Removed<'a> {
    name: &'a str,
    data_dir: &'a WirePath,
    /// Where it lies now, unless it was purged.
    trash: Option<&'a WirePath>,
}

pub(crate) async fn remove(session: &Session, args: &Remove) -> Result<()> {
    let session = existing(session, &args.name, "remove")?;
    let name = session.name.to_string();
    let dir = stopped_data_dir(&session)?;
    let how = if args.purge { "for good" } else { "to the trash" };
    if !args.yes && !session.output.confirm(&format!("Remove instance `{name}` in {} {how}?", printable(&dir.to_string_lossy())))
    {
        return Err(ApiError::invalid(format!("instance `{name}` was not removed: nobody confirmed it")).hint("say --yes"));
    }
    let trashed = stopped::remove(&session.places, &session.name, &dir, args.purge).await?;
    let trash = (!args.purge).then_some(&trashed.path);
    session.output.result(&Removed { name: &name, data_dir: &WirePath(dir), trash }, || match trash {
        None => format!("Removed instance `{name}` for good"),
        Some(path) => format!(
            "Removed instance `{name}`, now in {}\nTo have it back: spacedrive instance restore {name}",
            printable(&path.to_string_lossy())
        ),
    });
    Ok(())
}

/// The data dir of an instance that must not run.
fn stopped_data_dir(session: &Session) -> Result<PathBuf> {
    let dir = locate::data_dir_of(&session.places, &session.name, session.data_dir.as_deref())?;
    if locate::is_alive(&session.places, &session.name) || locate::is_locked(&DataFiles::new(&dir).lock) {
        return Err(ApiError::conflict(format!("instance `{}` is running", session.name))
            .hint(format!("spacedrive instance stop {}", session.name)));
    }
    Ok(dir)
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spacedrive instance restore\n  spacedrive instance restore alice")]
pub(crate) struct Restore {
    /// Its name
    name: Option<String>,
}

pub(crate) async fn restore(session: &Session, args: &Restore) -> Result<()> {
    let Some(name) = &args.name else {
        let mut removed = Vec::new();
        for root in roots(session) {
            removed.extend(stopped::removed(&root)?);
        }
        removed.sort_by_key(|removed| std::cmp::Reverse(removed.removed_at));
        session.output.result(&removed, || trashed_table(&removed, "INSTANCE"));
        return Ok(());
    };
    let session = named(session, name, "restore")?;
    for root in roots(&session) {
        if stopped::removed(&root)?.iter().any(|removed| removed.name == session.name.as_str()) {
            let dir = stopped::restore(&session.places, &session.name, &root).await?;
            return show(&session, dir, "Restored").await;
        }
    }
    let names = removed_names(&session);
    let error = ApiError::not_found(format!("no removed instance `{}`", session.name));
    match spacedrive_api::nearest(session.name.as_str(), &names).as_slice() {
        [] => Err(error.hint("spacedrive instance restore")),
        near => Err(error.hint(format!("did you mean {}?", near.join(" or ")))),
    }
}

/// The names of the removed instances that can be restored.
pub(crate) fn removed_names(session: &Session) -> Vec<String> {
    let removed = roots(session).into_iter().filter_map(|root| stopped::removed(&root).ok()).flatten();
    let mut names: Vec<String> = removed.map(|removed| removed.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What lies in a trash, for a person.
pub(crate) fn trashed_table(trashed: &[Trashed], noun: &str) -> String {
    if trashed.is_empty() {
        return "Nothing in the trash".to_owned();
    }
    let rows = trashed.iter().map(|t| {
        let at = t.removed_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        [t.name.clone(), at, t.from.to_string_lossy().into_owned()]
    });
    output::table([noun, "REMOVED", "FROM"], rows)
}

/// The data roots in which removed instances may lie, the likeliest first.
fn roots(session: &Session) -> Vec<PathBuf> {
    let records = spacedrive_api::record::Record::all(&session.places);
    let of_records = |own: bool| {
        let records = records.iter().filter(move |record| (record.name == session.name) == own);
        records.map(|record| instance::data_root(&record.data_dir.0, &record.name)).collect::<Vec<_>>()
    };
    let flag = session.data_dir.as_ref().map(|root| session.places.current.join(root));
    let mut roots: Vec<PathBuf> = Vec::new();
    for root in flag.into_iter().chain(session.places.data_root.clone()).chain([session.places.local_root()]) {
        roots.push(root);
    }
    roots.splice(roots.len() - 1..roots.len() - 1, of_records(true));
    roots.extend(of_records(false));
    let mut seen = std::collections::BTreeSet::new();
    roots.retain(|root| seen.insert(root.canonicalize().unwrap_or_else(|_| root.clone())));
    roots
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spacedrive instance clean --dry-run\n  spacedrive instance clean")]
pub(crate) struct Clean {
    /// Only tell what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(crate) fn clean(session: &Session, args: &Clean) -> Result<()> {
    let cleaned = stopped::clean(&session.places, args.dry_run)?;
    session.output.result(&cleaned, || {
        if cleaned.is_empty() {
            return "Nothing to clean".to_owned();
        }
        let what = if args.dry_run { "Would remove" } else { "Removed" };
        let lines = cleaned.iter().map(|c| {
            let what = if args.dry_run || c.removed { what } else { "Could not remove" };
            format!("{what} {} {}: {}", c.kind, printable(&c.path.to_string_lossy()), printable(&c.why))
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    match cleaned.iter().filter(|c| !c.removed && !args.dry_run).count() {
        0 => Ok(()),
        some => Err(ApiError::new(ErrorKind::Partial, format!("{some} of {} could not be removed", cleaned.len()))),
    }
}

/// Shows an instance that was changed.
async fn show(session: &Session, dir: PathBuf, what: &str) -> Result<()> {
    let info = probe(session, Some(WirePath(dir))).await?;
    session.output.result(&info, || {
        let dir = info.data_dir.as_ref().map_or_else(String::new, |dir| printable(&dir.to_string_lossy()));
        format!("{what} instance `{}`, data in {dir}", info.name)
    });
    Ok(())
}

/// The data dir of an instance, from its daemon if it answers.
pub(super) async fn data_dir(session: &Session) -> Result<PathBuf> {
    let asked = locate::requested_data_dir(&session.places, &session.name, session.data_dir.as_deref());
    let running = match attempt(session).await? {
        Ok(mut client) => client.info().await.ok().map(|info| info.data_dir.0),
        Err(_) => None,
    };
    match (running, asked) {
        (Some(running), Some(asked)) if !same_dir(&running, &asked.path) => Err(other_data_dir(session, &running, &asked.path)),
        (Some(running), _) => Ok(running),
        (None, _) => locate::data_dir_of(&session.places, &session.name, session.data_dir.as_deref()),
    }
}
