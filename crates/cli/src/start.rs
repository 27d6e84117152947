//! `start`: the daemon in the background or the foreground.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use clap::Args;
use serde::Serialize;
use spacedrive_api::client::ConnectError;
use spacedrive_api::locate::{self, DataDir, Origin};
use spacedrive_api::{ApiError, DaemonInfo, ErrorKind, Frame, Result};
use spacedrive_daemon::Options;
use tokio::time::{Instant, sleep};

use crate::connect::{AGAIN, STARTING, attempt, other_data_dir, same_dir, wait_until_it_answers};
use crate::output::printable;
use crate::session::{Session, block_on};

#[derive(Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  spacedrive start\n  spacedrive start --instance alice --enable-networking\n  spacedrive start --foreground"
)]
pub(crate) struct Arguments {
    /// Stay in the foreground and log to stderr
    #[arg(short, long)]
    pub(crate) foreground: bool,
    /// Switch networking on
    #[arg(long)]
    pub(crate) enable_networking: bool,
    /// Neither look for devices on the local network nor announce this one there
    #[arg(long)]
    pub(crate) no_mdns: bool,
}

/// The variables that a daemon inherits; everything else stays behind, secrets of other programs among it.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "RUST_BACKTRACE",
    "SPACEDRIVE_LOG",
    "SPACEDRIVE_FAIL",
    "SPACEDRIVE_PROTOCOL",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "FAKETIME",
];

/// The variables that hold secrets of ours: no daemon ever has them in its environment.
const SECRETS: &[&str] = &["SPACEDRIVE_PASSWORD", "SPACEDRIVE_PAIR_CODE"];

/// What `start` prints as JSON.
#[derive(Serialize)]
pub(crate) struct Started {
    #[serde(flatten)]
    pub(crate) daemon: DaemonInfo,
    already_running: bool,
}

/// How often `start` tries again when a daemon that was in its way has ended meanwhile.
const ATTEMPTS: usize = 4;

impl Started {
    /// What a person is told. `data_dir` is what was chosen, when this start did the starting.
    pub(crate) fn text(&self, session: &Session, data_dir: Option<&DataDir>) -> String {
        match data_dir {
            Some(data_dir) => started_text(session, &self.daemon, data_dir),
            None => already_text(&self.daemon),
        }
    }
}

/// Starts the daemon in the background; returns once it answers, or with the reason why it could not start.
pub(crate) async fn background(session: &Session, args: &Arguments) -> Result<()> {
    let (started, data_dir) = launch(session, args, None).await?;
    session.output.result(&started, || started.text(session, data_dir.as_ref()));
    Ok(())
}

/// Starts the daemon, in `chosen` or where it belongs. The data dir is `None` when it was running already.
pub(crate) async fn launch(session: &Session, args: &Arguments, chosen: Option<DataDir>) -> Result<(Started, Option<DataDir>)> {
    let running = |daemon| (Started { daemon, already_running: true }, None);
    let mut attempts = 1..=ATTEMPTS;
    loop {
        let data_dir = match &chosen {
            Some(chosen) => chosen.clone(),
            None => match look(session).await? {
                (_, Some(info)) => return Ok(running(info)),
                (data_dir, None) => data_dir,
            },
        };
        match readiness(spawn(session, args, &data_dir)?) {
            Ok(daemon) => return Ok((Started { daemon, already_running: false }, Some(data_dir))),
            Err(error) => match rival(session, &data_dir, error, attempts.next().is_some()).await? {
                Some(info) => return Ok(running(info)),
                None => continue,
            },
        }
    }
}

/// After a start that failed: when another one was faster, this one is done as soon as that one answers. `None` when
/// what was in the way has ended, so that starting again may help.
async fn rival(session: &Session, data_dir: &DataDir, error: ApiError, again: bool) -> Result<Option<DaemonInfo>> {
    if error.kind != ErrorKind::Conflict {
        return Err(error);
    }
    match wait_until_it_answers(session).await? {
        Some(info) if same_dir(&info.data_dir.0, &data_dir.path) => Ok(Some(info)),
        None if again => Ok(None),
        _ => Err(error),
    }
}

/// Runs the daemon in this process.
pub(crate) fn foreground(session: &Session, args: &Arguments) -> Result<()> {
    if SECRETS.iter().any(|name| std::env::var_os(name).is_some()) {
        // The kernel shows a process's first environment for its whole life: begin anew without the secrets.
        let mut again = Command::new(std::env::current_exe().map_err(|e| ApiError::io("this program", &e))?);
        again.args(std::env::args_os().skip(1));
        for name in SECRETS {
            again.env_remove(name);
        }
        return Err(ApiError::io("this program", &again.exec()));
    }
    let mut attempts = 1..=ATTEMPTS;
    loop {
        let (data_dir, running) = block_on(look(session))??;
        if let Some(info) = running {
            return already(session, &info);
        }
        let options = Options {
            enable_networking: args.enable_networking,
            no_mdns: args.no_mdns,
            ..options(session, data_dir.path.clone(), true)
        };
        let run = spacedrive_daemon::run(options, |info| {
            let started = Started { daemon: info.clone(), already_running: false };
            session.output.result(&started, || started_text(session, info, &data_dir));
        });
        match run {
            Ok(()) => return Ok(()),
            Err(error) => match block_on(rival(session, &data_dir, error, attempts.next().is_some()))?? {
                Some(info) => return already(session, &info),
                None => continue,
            },
        }
    }
}

/// What the daemon is run with.
pub(crate) fn options(session: &Session, data_dir: std::path::PathBuf, log_to_stderr: bool) -> Options {
    let verbose = match session.verbose {
        0 => None,
        1 => Some("debug,iroh=info,hyper=info".to_owned()),
        _ => Some("trace".to_owned()),
    };
    Options {
        name: session.name.clone(),
        data_dir,
        places: session.places.clone(),
        enable_networking: false,
        no_mdns: false,
        log_to_stderr,
        log_filter: verbose.or_else(|| std::env::var("SPACEDRIVE_LOG").ok().filter(|filter| !filter.is_empty())),
        failpoint: session.failpoint(),
    }
}

/// The data dir to use, and the daemon that runs with it already.
async fn look(session: &Session) -> Result<(DataDir, Option<DaemonInfo>)> {
    session.places.runtime_files(&session.name)?;
    let chosen = locate::data_dir_for_start(&session.places, &session.name, session.data_dir.as_deref());
    let deadline = Instant::now() + STARTING;
    let answer = loop {
        let answer = match attempt(session).await? {
            Ok(mut client) => Ok((client.info().await, client)),
            Err(failure) => Err(failure),
        };
        // A daemon that is ending breaks the connection: what comes after it is what counts.
        if !matches!(&answer, Ok((Err(_), client)) if client.is_closed()) || Instant::now() > deadline {
            break answer;
        }
        sleep(AGAIN).await;
    };
    let (info, client) = match answer {
        Ok(answer) => answer,
        Err((_, ConnectError::Other(error))) if error.kind() == std::io::ErrorKind::WouldBlock => {
            return Err(unresponsive(session, None));
        }
        // What is in the socket's place is looked at, and judged, by the daemon under its locks.
        Err(_) => {
            let chosen = chosen?;
            locate::check_case(&session.places, &session.name, &chosen.path)?;
            return Ok((chosen, None));
        }
    };
    let info = match info {
        Ok(info) => info,
        Err(error) if error.kind == ErrorKind::Unreachable => return Err(unresponsive(session, client.pid())),
        Err(error) => return Err(error),
    };
    let chosen = chosen?;
    let is_new = chosen.origin == Origin::New;
    if is_new || same_dir(&chosen.path, &info.data_dir.0) {
        Ok((chosen, Some(info)))
    } else {
        Err(other_data_dir(session, &info.data_dir.0, &chosen.path))
    }
}

fn unresponsive(session: &Session, pid: Option<u32>) -> ApiError {
    let pid = pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
    ApiError::conflict(format!("instance `{}` is running{pid} but not responding", session.name))
}

fn already(session: &Session, info: &DaemonInfo) -> Result<()> {
    session.output.result(&Started { daemon: info.clone(), already_running: true }, || already_text(info));
    Ok(())
}

fn already_text(info: &DaemonInfo) -> String {
    format!(
        "Instance `{}` is already running (pid {}), data in {}",
        info.name,
        info.pid,
        printable(&info.data_dir.to_string_lossy())
    )
}

fn started_text(session: &Session, info: &DaemonInfo, data_dir: &DataDir) -> String {
    let mut text =
        format!("Started instance `{}` (pid {}), data in {}", info.name, info.pid, printable(&info.data_dir.to_string_lossy()));
    let local = spacedrive_api::instance::data_dir(&session.places.local_root(), &session.name);
    if !same_dir(&local, &data_dir.path) {
        let why = match data_dir.origin {
            Origin::Flag => "--data-dir",
            Origin::Environment => "SPACEDRIVE_DATA_DIR",
            _ => "it was last started there",
        };
        text.push_str(&format!("\nThis is not the data dir of the current folder: {why}"));
    }
    text
}

/// Starts this program as the daemon, with nothing of ours open but the pipe on which it reports.
fn spawn(session: &Session, args: &Arguments, data_dir: &DataDir) -> Result<Child> {
    let program = std::env::current_exe().map_err(|e| ApiError::io("this program", &e))?;
    close_fds::set_fds_cloexec(3, &[]);
    let mut command = Command::new(program);
    command.arg("serve").arg(format!("--instance={}", session.name)).arg("--dir").arg(&data_dir.path);
    if args.enable_networking {
        command.arg("--enable-networking");
    }
    if args.no_mdns {
        command.arg("--no-mdns");
    }
    for _ in 0..session.verbose {
        command.arg("-v");
    }
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| inherited(name)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir("/");
    command.spawn().map_err(|e| ApiError::io("the daemon cannot be started", &e))
}

fn inherited(name: &OsStr) -> bool {
    INHERITED.iter().any(|known| name == *known) || name.to_str().is_some_and(|name| name.starts_with("LC_"))
}

/// Waits for the one line that the daemon writes on its stdout: its status when it answers calls, or why it could not start.
fn readiness(mut child: Child) -> Result<DaemonInfo> {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut line);
    }
    match serde_json::from_str::<Frame<DaemonInfo>>(&line) {
        Ok(Frame::Reply(info)) => Ok(info),
        Ok(Frame::Error(error)) => {
            let _ = child.wait();
            Err(error)
        }
        _ => {
            let mut text = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                let _ = stderr.read_to_string(&mut text);
            }
            let status = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
            let last = text.lines().last().map_or(String::new(), |line| format!(": {}", printable(line)));
            Err(ApiError::failed(format!("the daemon ended before it was ready ({status}){last}")))
        }
    }
}
