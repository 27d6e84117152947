//! `instance …`: every instance on the machine.

mod doctor;
mod life;
mod logs;
mod shell;

pub(crate) use life::{removed_names, trashed_table};
pub(crate) use logs::{Tail, Watch};

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use spacedrive_api::client::{Client, ConnectError};
use spacedrive_api::instance::{DataFiles, InstanceName};
use spacedrive_api::{ApiError, InstanceInfo, InstanceStatus, Networking, Result, WirePath, locate};
use tokio::task::JoinSet;

use crate::output::{self, duration};
use crate::session::{NameOrigin, Session};
use crate::stop;

/// How long one probe may take; all run at once, so that the whole list takes no longer.
const PROBE: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List every instance on this machine
    List,
    /// Stop an instance
    #[command(after_help = "Examples:\n  spacedrive instance stop alice\n  spacedrive stop --all")]
    Stop {
        /// Its name
        name: String,
    },
    /// Tell which instance a command here would talk to, and why
    Current,
    /// Run a command with throw-away instances around it
    Run(crate::lab::RunArgs),
    /// Make an instance without starting it
    Create(life::Create),
    /// Start instances in the background
    Start(life::Start),
    /// Stop instances and start them again with the same data
    Restart(life::Restart),
    /// Show one instance, running or not (exit 3 if it is not)
    Status(life::Status),
    /// Show an instance's log
    Logs(logs::Arguments),
    /// Rename a stopped instance
    Rename(life::Rename),
    /// Copy an instance, running or not: same libraries, another device
    Clone(life::Clone),
    /// Remove a stopped instance, to the trash or for good
    Remove(life::Remove),
    /// Restore a removed instance; without a name, list what can be restored
    Restore(life::Restore),
    /// Remove what dead daemons left behind, and nothing else
    Clean(life::Clean),
    /// Look for what is wrong with instances, and mend what can be mended
    Doctor(doctor::Arguments),
    /// Print the environment that makes an instance this shell's default
    Env(shell::Env),
    /// Run a command for each of several instances
    Exec(shell::Exec),
    /// Print the address of an instance's socket
    Url(shell::Url),
    /// Print the current instance for a shell prompt; prints nothing for the default one
    Prompt(shell::Prompt),
}

#[derive(Serialize)]
struct Current<'a> {
    name: &'a str,
    origin: NameOrigin,
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<ExitCode> {
    if let Some(spec) = session.failpoint() {
        spacedrive_daemon::instance::arm(&spec)?;
    }
    match command {
        Command::List => list(session).await,
        Command::Stop { name } => stop::one(&named(session, &name, "stop")?).await,
        Command::Current => current(session),
        Command::Run(args) => return crate::lab::run(session, args).await,
        Command::Create(args) => life::create(session, &args).await,
        Command::Start(args) => life::start(session, &args).await,
        Command::Restart(args) => life::restart(session, &args).await,
        Command::Status(args) => life::status(session, &args).await,
        Command::Logs(args) => logs::logs(session, &args).await,
        Command::Rename(args) => life::rename(session, &args).await,
        Command::Clone(args) => life::clone(session, &args).await,
        Command::Remove(args) => life::remove(session, &args).await,
        Command::Restore(args) => life::restore(session, &args).await,
        Command::Clean(args) => life::clean(session, &args),
        Command::Doctor(args) => doctor::doctor(session, &args).await,
        Command::Env(args) => shell::env(session, &args).await,
        Command::Exec(args) => return shell::exec(session, &args).await,
        Command::Url(args) => shell::url(session, &args),
        Command::Prompt(args) => shell::prompt(session, &args),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The session of the instance that `instance VERB NAME` names.
fn named(session: &Session, name: &str, verb: &str) -> Result<Session> {
    let name: InstanceName = name.parse()?;
    if session.name_origin == NameOrigin::Flag && session.name != name {
        return Err(ApiError::invalid(format!("`--instance {}` contradicts `instance {verb} {name}`", session.name)));
    }
    let mut session = session.for_instance(name);
    if let Some(root) = &session.data_dir {
        session.places.data_root = Some(session.places.current.join(root));
    }
    Ok(session)
}

/// The same for an instance that must exist.
fn existing(session: &Session, name: &str, verb: &str) -> Result<Session> {
    let session = named(session, name, verb)?;
    if locate::was_started(&session.places, &session.name) {
        Ok(session)
    } else {
        Err(locate::no_such_instance(&session.places, &session.name))
    }
}

/// The same for a command whose name may be left out, which then looks at the current instance.
fn existing_or_current(session: &Session, name: Option<&str>, verb: &str) -> Result<Session> {
    match name {
        Some(name) => existing(session, name, verb),
        None => existing(&session.for_instance(session.name.clone()), session.name.as_str(), verb),
    }
}

fn current(session: &Session) -> Result<()> {
    let why = match session.name_origin {
        NameOrigin::Flag => "by --instance",
        NameOrigin::Environment => "by SPACEDRIVE_INSTANCE",
        NameOrigin::Default => "neither --instance nor SPACEDRIVE_INSTANCE names one",
    };
    session
        .output
        .result(&Current { name: session.name.as_str(), origin: session.name_origin }, || format!("{} ({why})", session.name));
    Ok(())
}

async fn list(session: &Session) -> Result<()> {
    let instances = all(session).await?;
    session.output.result(&instances, || {
        if instances.is_empty() {
            return "No instances".to_owned();
        }
        let dash = || "-".to_owned();
        let rows = instances.iter().map(|i| {
            [
                i.name.clone(),
                word(i.status).to_owned(),
                i.pid.map_or_else(dash, |pid| pid.to_string()),
                i.uptime_s.map_or_else(dash, duration),
                i.version.clone().unwrap_or_else(dash),
                crate::daemon::networking(i.networking).to_owned(),
                i.data_dir.as_ref().map_or_else(dash, |dir| dir.to_string_lossy().into_owned()),
            ]
        });
        output::table(["INSTANCE", "STATUS", "PID", "UPTIME", "VERSION", "NETWORKING", "DATA"], rows)
    });
    Ok(())
}

/// Every instance that left a trace, probed at once.
pub(crate) async fn all(session: &Session) -> Result<Vec<InstanceInfo>> {
    let mut probes = JoinSet::new();
    for (name, data_dir) in locate::known(&session.places) {
        let mut session = session.for_instance(name);
        session.places.data_root = None;
        session.data_dir = None;
        probes.spawn(async move { probe(&session, data_dir.map(WirePath)).await });
    }
    let mut instances = Vec::new();
    while let Some(done) = probes.join_next().await {
        // A name that is too long for the socket's path cannot run.
        if let Ok(Ok(info)) = done {
            instances.push(info);
        }
    }
    let order = |i: &InstanceInfo| (i.name != spacedrive_api::instance::DEFAULT, i.name.clone());
    instances.sort_by_key(order);
    Ok(instances)
}

pub(crate) async fn probe(session: &Session, data_dir: Option<WirePath>) -> Result<InstanceInfo> {
    let sockets = locate::sockets(&session.places, &session.name)?;
    let mut info = InstanceInfo {
        name: session.name.to_string(),
        status: InstanceStatus::Stopped,
        pid: None,
        uptime_s: None,
        version: None,
        networking: Networking::Off,
        data_dir,
        socket: WirePath(sockets[0].clone()),
    };
    for socket in sockets {
        let status = match tokio::time::timeout(PROBE, Client::connect(&socket)).await {
            Ok(Ok(mut client)) => match tokio::time::timeout(PROBE, client.info()).await {
                Ok(Ok(daemon)) => {
                    return Ok(InstanceInfo {
                        status: InstanceStatus::Running,
                        pid: Some(daemon.pid),
                        uptime_s: Some(daemon.uptime_s),
                        version: Some(daemon.version),
                        networking: daemon.networking,
                        data_dir: Some(daemon.data_dir),
                        socket: daemon.socket,
                        ..info
                    });
                }
                _ => {
                    info.pid = client.pid();
                    InstanceStatus::Unresponsive
                }
            },
            Err(_) => InstanceStatus::Unresponsive,
            Ok(Err(ConnectError::Foreign(_))) => InstanceStatus::Foreign,
            Ok(Err(ConnectError::Other(error))) if error.kind() == std::io::ErrorKind::WouldBlock => InstanceStatus::Unresponsive,
            Ok(Err(ConnectError::Stale)) => InstanceStatus::Stale,
            Ok(Err(ConnectError::Absent | ConnectError::Other(_))) => InstanceStatus::Stopped,
        };
        if info.status == InstanceStatus::Stopped && status != InstanceStatus::Stopped {
            info.status = status;
            info.socket = WirePath(socket);
        }
    }
    if matches!(info.status, InstanceStatus::Stopped | InstanceStatus::Stale) {
        let locked = info.data_dir.as_ref().is_some_and(|dir| locate::is_locked(&DataFiles::new(&dir.0).lock));
        let pid_file = session.places.runtime_files(&session.name)?.pid;
        if locked || locate::is_alive(&session.places, &session.name) {
            info.status = InstanceStatus::Starting;
        } else if std::fs::symlink_metadata(pid_file).is_ok() {
            info.status = InstanceStatus::Stale;
        }
    }
    Ok(info)
}

pub(crate) fn word(status: InstanceStatus) -> &'static str {
    match status {
        InstanceStatus::Running => "running",
        InstanceStatus::Stopped => "stopped",
        InstanceStatus::Starting => "starting",
        InstanceStatus::Stale => "stale",
        InstanceStatus::Unresponsive => "unresponsive",
        InstanceStatus::Foreign => "foreign",
    }
}
