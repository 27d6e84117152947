//! An answer: JSON lines, any number of events and then one reply or error.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::Poll;

use axum::body::Body;
use axum::response::Response;
use http::{StatusCode, header};
use hyper::body::{Body as HttpBody, Bytes, Frame as BodyFrame};
use serde::Serialize;
use spacedrive_api::{ApiError, Event, Frame};
use tokio::sync::mpsc;

/// The lines of an answer that is under way.
#[derive(Debug)]
pub(crate) struct Answer {
    sender: mpsc::Sender<Bytes>,
}

impl Answer {
    /// How many lines may wait for a slow client before the handler waits too.
    const WAITING: usize = 64;

    /// An answer, and the response that carries it.
    pub(crate) fn new() -> (Self, Response) {
        let (sender, lines) = mpsc::channel(Self::WAITING);
        let mut response = Response::new(Body::new(Lines(lines)));
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-ndjson"));
        (Self { sender }, response)
    }

    /// Sends an event. Answers whether the client is still there.
    pub(crate) async fn event(&mut self, event: Event) -> bool {
        self.sender.send(line(&Frame::<()>::Event(event))).await.is_ok()
    }

    /// Sends the last line. A client that has gone away does not matter.
    pub(crate) async fn finish(self, last: Bytes) {
        let _ = self.sender.send(last).await;
    }
}

/// The lines as a body. It ends when the answer is dropped, after everything that was sent. (`http_body_util::channel` can
/// lose the last frame when the sender goes away while it is polled on another thread.)
struct Lines(mpsc::Receiver<Bytes>);

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(BodyFrame::data(line))))
    }
}

/// One frame as a JSON line.
pub(crate) fn line<R: Serialize>(frame: &Frame<R>) -> Bytes {
    let mut bytes = serde_json::to_vec(frame).unwrap_or_else(|error| {
        tracing::error!(%error, "a reply cannot be written as JSON");
        br#"{"error":{"kind":"failed","message":"the daemon cannot write its reply"}}"#.to_vec()
    });
    bytes.push(b'\n');
    bytes.into()
}

/// A whole answer of one line.
pub(crate) fn whole(last: Bytes) -> Response {
    let mut response = Response::new(Body::from(last));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-ndjson"));
    response
}

/// A whole answer that is an error.
pub(crate) fn error(status: StatusCode, error: ApiError) -> Response {
    let mut response = whole(line(&Frame::<()>::Error(error)));
    *response.status_mut() = status;
    response
}
