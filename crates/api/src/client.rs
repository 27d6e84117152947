//! The client: one conversation a request over the instance's Unix socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::{ApiError, DaemonInfo, Envelope, ErrorKind, Event, Frame, Request, Result, protocol};

/// How long a daemon may take to answer one of the frozen calls before it counts as unresponsive.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to a daemon whose other end was checked to be this user's.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    sender: SendRequest<Full<Bytes>>,
    pid: Option<u32>,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// There is nothing at the path.
    Absent,
    /// There is a socket, and nobody listens on it.
    Stale,
    /// Something is at the path that is not a socket of this user; nothing was sent to it.
    Foreign(String),
    /// Another error.
    Other(io::Error),
}

impl ConnectError {
    /// The error for a person.
    pub fn into_api(self, socket: &Path) -> ApiError {
        let at = socket.display();
        match self {
            Self::Absent | Self::Stale => ApiError::not_running(format!("no daemon answers at {at}")),
            Self::Foreign(why) => ApiError::refused(format!("{at} is not ours: {why}")),
            Self::Other(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ApiError::unreachable(format!("{at}: the daemon is busy and takes no more connections"))
            }
            Self::Other(error) => ApiError::io(at, &error),
        }
    }
}

impl Client {
    /// Connects to `socket`. Follows no link, and sends nothing before the other end's user is known to be this one.
    pub async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        let me = rustix::process::geteuid().as_raw();
        if std::fs::symlink_metadata(socket).is_ok_and(|meta| meta.is_symlink()) {
            return Err(ConnectError::Foreign("it is a symbolic link".to_owned()));
        }
        let stream = match UnixStream::connect(socket).await {
            Ok(stream) => stream,
            Err(error) => return Err(sort_connect_error(socket, error)),
        };
        let peer = stream.peer_cred().map_err(ConnectError::Other)?;
        if peer.uid() != me {
            return Err(ConnectError::Foreign(format!("it belongs to the user with uid {}", peer.uid())));
        }
        let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| ConnectError::Other(io::Error::other(e)))?;
        tokio::spawn(connection);
        Ok(Self { socket: socket.to_owned(), sender, pid })
    }

    /// The pid of the process that listens on the socket, as the kernel tells it.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Whether the daemon has ended the connection, as it does when it ends itself.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// The frozen call that works between all versions: who is there.
    pub async fn info(&mut self) -> Result<DaemonInfo> {
        let waited = timeout(PROBE_TIMEOUT, async {
            let body = self.send("GET", "/v1/status", Bytes::new()).await?;
            let bytes = body.collect().await.map_err(|e| self.broken(e))?.to_bytes();
            match parse::<DaemonInfo>(&bytes)? {
                Frame::Reply(info) => Ok(info),
                Frame::Error(error) => Err(error),
                Frame::Event(_) => Err(ApiError::failed("the daemon's answer to `status` is not a reply")),
            }
        })
        .await;
        waited.unwrap_or_else(|_| Err(self.unresponsive()))
    }

    /// The frozen call that stops a daemon of any version. Returns when the daemon's process has ended.
    pub async fn stop(mut self, patience: Duration) -> Result<()> {
        let waited = timeout(patience, async {
            // The daemon keeps this answer open until its process ends, so its end is the daemon's end. One that
            // was ending already breaks the connection before it answers.
            let mut body = match self.send("POST", "/v1/stop", Bytes::new()).await {
                Ok(body) => body,
                Err(_) if self.is_closed() => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut answer = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                answer.extend(frame.into_data().unwrap_or_default());
            }
            match answer.split(|&b| b == b'\n').next().map(serde_json::from_slice::<Frame<serde_json::Value>>) {
                Some(Ok(Frame::Error(error))) => Err(error),
                _ => Ok(()),
            }
        })
        .await;
        waited.unwrap_or_else(|_| Err(self.unresponsive()))
    }

    /// Makes a call that answers without events.
    pub async fn call<R: Request>(&mut self, request: R) -> Result<R::Reply> {
        self.watch(request, |_| {}).await
    }

    /// Makes a call; `on_event` sees each event before the reply.
    pub async fn watch<R: Request>(&mut self, request: R, mut on_event: impl FnMut(Event)) -> Result<R::Reply> {
        let envelope = Envelope { protocol: protocol(), call: request.into() };
        let bytes = serde_json::to_vec(&envelope).map_err(|e| ApiError::failed(format!("the request cannot be written: {e}")))?;
        let mut body = self.send("POST", "/v1/call", bytes.into()).await?;
        let mut buffer = Vec::new();
        loop {
            while let Some(end) = buffer.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                match parse(&line)? {
                    Frame::Event(event) => on_event(event),
                    Frame::Reply(reply) => return Ok(reply),
                    Frame::Error(error) => return Err(error),
                }
            }
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(self.broken(error)),
                None => return Err(self.broken("it closed the connection before it replied")),
            }
        }
    }

    async fn send(&mut self, method: &str, path: &str, body: Bytes) -> Result<Incoming> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "spacedrive")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|e| ApiError::failed(format!("the request cannot be built: {e}")))?;
        self.sender.ready().await.map_err(|e| self.broken(e))?;
        let response = self.sender.send_request(request).await.map_err(|e| self.broken(e))?;
        Ok(response.into_body())
    }

    fn broken(&self, why: impl std::fmt::Display) -> ApiError {
        // A daemon that was killed leaves a socket on which nobody listens.
        if std::os::unix::net::UnixStream::connect(&self.socket).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
            return ApiError::not_running(format!("the daemon at {} ended before it answered", self.socket.display()))
                .hint("start it again; its log says what it did last");
        }
        ApiError::unreachable(format!("the connection to the daemon at {} broke: {why}", self.socket.display()))
    }

    fn unresponsive(&self) -> ApiError {
        let pid = self.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
        ApiError::unreachable(format!("the daemon at {}{pid} is running but does not answer", self.socket.display()))
    }
}

fn parse<R: DeserializeOwned>(line: &[u8]) -> Result<Frame<R>> {
    serde_json::from_slice(line).map_err(|error| {
        ApiError::new(ErrorKind::Version, format!("the daemon's answer cannot be read: {error}"))
            .hint("restart the daemon, so that it has the same version as this command: spacedrive stop && spacedrive start")
    })
}

fn sort_connect_error(socket: &Path, error: io::Error) -> ConnectError {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    // A daemon may come or go between the attempt and this look.
    let nobody = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    let Ok(meta) = std::fs::symlink_metadata(socket) else {
        return if nobody { ConnectError::Absent } else { ConnectError::Other(error) };
    };
    let me = rustix::process::geteuid().as_raw();
    if !meta.file_type().is_socket() {
        ConnectError::Foreign("it is not a socket".to_owned())
    } else if meta.uid() != me {
        ConnectError::Foreign(format!("it belongs to the user with uid {}", meta.uid()))
    } else if nobody {
        ConnectError::Stale
    } else {
        ConnectError::Other(error)
    }
}
