//! The server: connections within limits, each checked to be this user's before a byte is read.

use std::convert::Infallible;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use spacedrive_api::{ApiError, Call, Envelope, Event, Frame, MAX_REQUEST_BYTES, Result, VERSION, protocol};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use zeroize::Zeroize;

use crate::answer::{self, Answer};
use crate::context::Context;
use crate::dispatch::{dispatch, failure};

/// How many connections are served at once; more are told to come back.
const CONNECTIONS: usize = 256;

/// How many connections are told so at once; more are closed without a word.
const TURNED_AWAY: usize = 64;

/// How long a client may take to send the head of a request, and then its body.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// How long a client may leave an answer unread.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// How long to wait after an error of accept, such as too many open files.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts connections until the daemon ends. `replacements` brings a new listener when the socket had to be made again.
pub(crate) async fn accept(context: Arc<Context>, mut listener: UnixListener, mut replacements: Receiver<UnixListener>) {
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/stop", post(stop))
        .route("/v1/call", post(call))
        .fallback(nothing_here)
        .with_state(context.clone());
    let served = Arc::new(Semaphore::new(CONNECTIONS));
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let mut foreign = Foreign::default();
    let mut reserve = Reserve::new();
    loop {
        let stream = tokio::select! {
            Some(new) = replacements.recv() => {
                listener = new;
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    reserve.shed(&listener).await;
                    continue;
                }
            },
        };
        if let Err(error) = check_user(&stream) {
            foreign.log(&error);
            refuse(stream, &turned_away, StatusCode::FORBIDDEN, error);
            continue;
        }
        match served.clone().try_acquire_owned() {
            Ok(permit) => drop(tokio::spawn(serve(stream, router.clone(), permit))),
            Err(_) => {
                let busy =
                    ApiError::unreachable(format!("the daemon is busy: it has {CONNECTIONS} connections")).hint("try again");
                refuse(stream, &turned_away, StatusCode::SERVICE_UNAVAILABLE, busy);
            }
        }
    }
}

async fn serve(stream: UnixStream, router: Router, _permit: OwnedSemaphorePermit) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_LIMIT));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_LIMIT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Tells a client why it is not served, once it has asked.
fn refuse(stream: UnixStream, turned_away: &Arc<Semaphore>, status: StatusCode, error: ApiError) {
    let Ok(permit) = turned_away.clone().try_acquire_owned() else { return };
    tokio::spawn(async move {
        let _permit = permit;
        let service = service_fn(move |_: hyper::Request<hyper::body::Incoming>| {
            let mut response = answer::error(status, error.clone());
            response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
            async { Ok::<_, Infallible>(response) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let _ = tokio::time::timeout(Duration::from_secs(2), connection).await;
    });
}

/// The socket is 0600, but somebody may have opened it up by hand; root can connect to anything.
fn check_user(stream: &UnixStream) -> Result<()> {
    let me = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == me => Ok(()),
        Ok(peer) => {
            let error =
                ApiError::refused(format!("this daemon belongs to the user with uid {me}, and you are uid {}", peer.uid()));
            Err(if peer.uid() == 0 { error.hint("sudo -u USER spacedrive …") } else { error })
        }
        Err(error) => Err(ApiError::io("cannot tell who connects", &error)),
    }
}

/// The frozen call: who is there.
async fn status(State(context): State<Arc<Context>>) -> Response {
    answer::whole(answer::line(&Frame::Reply(context.info())))
}

/// The frozen call: stop. The answer stays open until the process ends, so that its end is the daemon's end.
async fn stop(State(context): State<Arc<Context>>) -> Response {
    let (mut answer, response) = Answer::new();
    tokio::spawn(async move {
        answer.event(Event::Stopping).await;
        context.stopping.cancel();
        std::future::pending::<()>().await;
    });
    response
}

async fn call(State(context): State<Arc<Context>>, request: Request) -> Response {
    let call = match tokio::time::timeout(READ_LIMIT, read_call(&context, request.into_body())).await {
        Ok(Ok(call)) => call,
        Ok(Err(error)) => return answer::error(StatusCode::BAD_REQUEST, error),
        Err(_) => {
            return answer::error(StatusCode::REQUEST_TIMEOUT, ApiError::unreachable("the request took too long to arrive"));
        }
    };
    if context.stopping.is_cancelled() {
        return answer::whole(failure(ApiError::not_running("the daemon is stopping")));
    }
    let (mut answer, response) = Answer::new();
    // A task of its own: a client that hangs up stops the watching, never the work.
    tokio::spawn(async move {
        let last = dispatch(&context, call, &mut answer).await;
        context.changed();
        answer.finish(last).await;
    });
    response
}

async fn read_call(context: &Context, body: Body) -> Result<Call> {
    let bytes = axum::body::to_bytes(body, MAX_REQUEST_BYTES)
        .await
        .map_err(|e| ApiError::invalid(format!("the request cannot be read (at most {MAX_REQUEST_BYTES} bytes): {e}")))?;
    let invalid = |e: serde_json::Error| ApiError::invalid(format!("the request is not a call: {e}"));
    // The version comes first: another version's calls may have another shape.
    #[derive(Deserialize)]
    struct Versioned {
        protocol: u32,
    }
    let theirs = serde_json::from_slice::<Versioned>(&bytes).map_err(invalid)?.protocol;
    let ours = protocol();
    if theirs != ours {
        return Err(ApiError::version(format!(
            "the daemon (version {VERSION}) speaks protocol {ours}, and this command speaks protocol {theirs}"
        ))
        .hint(format!(
            "restart that instance: spacedrive --instance {0} stop && spacedrive --instance {0} start",
            context.name
        )));
    }
    let call = serde_json::from_slice::<Envelope>(&bytes).map(|envelope| envelope.call).map_err(invalid);
    // It may have held a password.
    if let Ok(mut bytes) = bytes.try_into_mut() {
        bytes.as_mut().zeroize();
    }
    call
}

async fn nothing_here() -> Response {
    answer::error(StatusCode::NOT_FOUND, ApiError::not_found("no such call: see docs/ipc.md"))
}

/// Connections of other users are logged once a minute.
#[derive(Default)]
struct Foreign {
    logged: Option<Instant>,
}

impl Foreign {
    fn log(&mut self, error: &ApiError) {
        if self.logged.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
            tracing::warn!(error = error.message, "a connection was refused");
            self.logged = Some(Instant::now());
        }
    }
}

/// An open file that is given up when there are too many: the waiting connection can then be accepted and closed.
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    async fn shed(&mut self, listener: &UnixListener) {
        self.0 = None;
        let _ = tokio::time::timeout(BACK_OFF, listener.accept()).await;
        self.0 = File::open("/dev/null").ok();
        tokio::time::sleep(BACK_OFF).await;
    }
}
