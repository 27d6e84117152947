//! `stop`: returns when the daemon's process, socket, pid file and lock are gone.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use spacedrive_api::client::ConnectError;
use spacedrive_api::{ApiError, ErrorKind, Result, locate};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::connect::attempt;
use crate::session::Session;

/// How long a daemon may take to stop.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Stop every instance of this user
    #[arg(long)]
    all: bool,
}

/// What became of one instance.
#[derive(Debug, Serialize)]
pub(crate) struct Stopped {
    name: String,
    pub(crate) was_running: bool,
    pid: Option<u32>,
}

impl Stopped {
    fn text(&self) -> String {
        match self.pid {
            Some(pid) => format!("Stopped instance `{}` (pid {pid})", self.name),
            None => format!("Instance `{}` is not running", self.name),
        }
    }
}

pub(crate) async fn stop(session: &Session, args: &Arguments) -> Result<()> {
    if args.all { all(session).await } else { one(session).await }
}

/// Stops the session's instance; that it does not run is no failure, that it never did is one.
pub(crate) async fn one(session: &Session) -> Result<()> {
    let stopped = end(session).await?;
    session.output.result(&stopped, || stopped.text());
    Ok(())
}

async fn all(session: &Session) -> Result<()> {
    let mut tasks = JoinSet::new();
    for name in locate::known(&session.places).into_keys() {
        let mut session = session.for_instance(name);
        session.data_dir = None;
        session.places.data_root = None;
        if locate::is_alive(&session.places, &session.name) {
            tasks.spawn(async move { end(&session).await });
        }
    }
    let mut stopped = Vec::new();
    let mut failures: Vec<ApiError> = Vec::new();
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(Ok(one)) => stopped.push(one),
            Ok(Err(error)) => failures.push(error),
            Err(error) => failures.push(ApiError::failed(error.to_string())),
        }
    }
    stopped.sort_by(|a, b| a.name.cmp(&b.name));
    session.output.result(&stopped, || {
        if stopped.is_empty() {
            "No instance is running".to_owned()
        } else {
            stopped.iter().map(Stopped::text).collect::<Vec<_>>().join("\n")
        }
    });
    match failures.pop() {
        None => Ok(()),
        Some(error) if failures.is_empty() && stopped.is_empty() => Err(error),
        Some(error) => Err(ApiError { kind: ErrorKind::Partial, ..error }),
    }
}

pub(crate) async fn end(session: &Session) -> Result<Stopped> {
    let name = session.name.to_string();
    // A lock that is held and no socket: the daemon is just starting, just ending, or about to put its socket back.
    let deadline = Instant::now() + PATIENCE;
    let mut was_running = false;
    let client = loop {
        match attempt(session).await? {
            Ok(client) => break client,
            Err((socket, error @ (ConnectError::Foreign(_) | ConnectError::Other(_)))) => return Err(error.into_api(&socket)),
            Err(_) if locate::is_alive(&session.places, &session.name) => {
                was_running = true;
                if Instant::now() > deadline {
                    return Err(ApiError::unreachable(format!(
                        "instance `{name}` is running but cannot be reached: its socket is missing"
                    ))
                    .hint("try again in a few seconds: a running daemon puts its socket back"));
                }
                sleep(Duration::from_millis(15)).await;
            }
            Err(_) if was_running || locate::was_started(&session.places, &session.name) => {
                return Ok(Stopped { name, was_running, pid: None });
            }
            Err(_) => return Err(locate::no_such_instance(&session.places, &session.name)),
        }
    };
    let pid = client.pid();
    client.stop(PATIENCE).await?;
    // The end of the answer is the end of the process; the kernel releases its locks in the same moment. Whoever has
    // them afterwards was started meanwhile.
    let deadline = Instant::now() + PATIENCE;
    while locate::is_alive(&session.places, &session.name) {
        if let Ok(next) = attempt(session).await?
            && next.pid() != pid
        {
            break;
        }
        if Instant::now() > deadline {
            return Err(ApiError::unreachable(format!("instance `{name}` is still running")));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(Stopped { name, was_running: true, pid })
}
