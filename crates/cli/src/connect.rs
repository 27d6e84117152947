//! Finding the daemon of an instance, with the patience that the situation deserves.

use std::path::PathBuf;
use std::time::Duration;

use spacedrive_api::client::{Client, ConnectError};
use spacedrive_api::{ApiError, DaemonInfo, Result, locate};
use tokio::time::{Instant, sleep};

use crate::session::Session;

/// How long to wait for a daemon that holds its lock and does not answer yet.
pub(crate) const STARTING: Duration = Duration::from_secs(10);

/// How long to wait when there is no trace of a daemon: scripts say `start … &` and go on at once.
const NOTHING: Duration = Duration::from_secs(2);

/// How often to look again.
pub(crate) const AGAIN: Duration = Duration::from_millis(15);

/// One attempt at the sockets where the daemon may answer. The error is that of the first socket, unless a later one is worse.
pub(crate) async fn attempt(session: &Session) -> Result<Result<Client, (PathBuf, ConnectError)>> {
    let mut failure = None;
    for socket in locate::sockets(&session.places, &session.name)? {
        match Client::connect(&socket).await {
            Ok(client) => return Ok(Ok(client)),
            Err(error) => {
                let worse = matches!(error, ConnectError::Foreign(_) | ConnectError::Other(_));
                if failure.is_none() || worse {
                    failure = Some((socket, error));
                }
            }
        }
    }
    Ok(Err(failure.unwrap_or((session.places.runtime.clone(), ConnectError::Absent))))
}

/// Connects, and waits for a daemon that is starting or may be about to.
pub(crate) async fn connect(session: &Session) -> Result<Client> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        let (socket, error) = match attempt(session).await? {
            Ok(client) => return check_data_dir(session, client).await,
            Err(failure) => failure,
        };
        if matches!(error, ConnectError::Foreign(_) | ConnectError::Other(_)) {
            return Err(error.into_api(&socket));
        }
        let alive = locate::is_alive(&session.places, &session.name);
        if begun.elapsed() > if alive { STARTING } else { NOTHING } {
            return Err(if alive { silent(session) } else { not_running(session) });
        }
        if !told && session.output.is_interactive() {
            told = true;
            session.output.note(format!("instance `{}` does not answer; waiting a moment for it to start", session.name));
        }
        sleep(AGAIN).await;
    }
}

/// Connects at once or says why not.
pub(crate) async fn connect_now(session: &Session) -> Result<Client> {
    match attempt(session).await? {
        Ok(client) => check_data_dir(session, client).await,
        Err((socket, error @ (ConnectError::Foreign(_) | ConnectError::Other(_)))) => Err(error.into_api(&socket)),
        Err(_) if locate::is_alive(&session.places, &session.name) => Err(silent(session)),
        Err(_) => Err(not_running(session)),
    }
}

/// Waits until the daemon that holds the lock answers. `None` when it ended instead.
pub(crate) async fn wait_until_it_answers(session: &Session) -> Result<Option<DaemonInfo>> {
    let deadline = Instant::now() + STARTING;
    loop {
        if let Some(info) = ask(session).await? {
            return Ok(Some(info));
        }
        if !locate::is_alive(&session.places, &session.name) {
            return Ok(None);
        }
        if Instant::now() > deadline {
            return Err(silent(session));
        }
        sleep(AGAIN).await;
    }
}

/// Asks the daemon who it is. `None` when there is none, or when it ended before it could answer.
async fn ask(session: &Session) -> Result<Option<DaemonInfo>> {
    let Ok(mut client) = attempt(session).await? else { return Ok(None) };
    match client.info().await {
        Ok(info) => Ok(Some(info)),
        Err(_) if client.is_closed() => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_running(session: &Session) -> ApiError {
    let error = session.not_running();
    if locate::was_started(&session.places, &session.name) {
        return error;
    }
    match locate::no_such_instance(&session.places, &session.name).hint {
        Some(hint) if hint.starts_with("did you mean") => error.hint(hint),
        _ => error,
    }
}

/// A daemon that lives and cannot be reached: still starting, or its socket was removed a moment ago.
fn silent(session: &Session) -> ApiError {
    ApiError::unreachable(format!("the daemon of instance `{}` is running but does not answer yet", session.name))
        .hint("try again in a few seconds: it is starting, or its socket was removed and comes back")
}

/// An instance is one thing on the machine: a command that names a data dir must mean the one that the daemon has.
async fn check_data_dir(session: &Session, mut client: Client) -> Result<Client> {
    let Some(asked) = locate::requested_data_dir(&session.places, &session.name, session.data_dir.as_deref()) else {
        return Ok(client);
    };
    let running = client.info().await?.data_dir;
    if same_dir(&asked.path, &running.0) { Ok(client) } else { Err(other_data_dir(session, &running.0, &asked.path)) }
}

/// Whether two paths lead to the same folder.
pub(crate) fn same_dir(a: &std::path::Path, b: &std::path::Path) -> bool {
    let real = |path: &std::path::Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(a) == real(b)
}

/// The error of a command that means another data dir than the one that the daemon has.
pub(crate) fn other_data_dir(session: &Session, running: &std::path::Path, asked: &std::path::Path) -> ApiError {
    let message = format!("instance `{}` is running with data dir {}, not {}", session.name, running.display(), asked.display());
    ApiError::conflict(message).hint(format!("stop it first ({}), or use another instance name", session.command("stop")))
}
