//! Transfers between two endpoints on loopback.
#![allow(clippy::unwrap_used, reason = "a test that fails here has found something")]
#![allow(clippy::print_stdout, reason = "the child that is killed talks to its parent, and figures are worth seeing")]

mod hostile;
mod kill;
mod round_trip;

use std::path::Path;
use std::sync::Arc;

use iroh::endpoint::{Connection, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode, TransportAddr};
use spacedrive_net::transfer::{ALPN, About, Incoming, Limits, Outgoing, Progress, Received, Report, Result, Sent, Source};

/// Ten times what anything in here takes.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(120);

async fn endpoint() -> Endpoint {
    Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .alpns(vec![ALPN.to_vec()])
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")
        .unwrap()
        .bind()
        .await
        .unwrap()
}

fn address(endpoint: &Endpoint) -> EndpointAddr {
    EndpointAddr::from_parts(endpoint.id(), endpoint.bound_sockets().into_iter().map(TransportAddr::Ip))
}

/// Two endpoints that are connected.
struct Pair {
    sender: Endpoint,
    receiver: Endpoint,
    out: Connection,
    back: Connection,
}

impl Pair {
    async fn new() -> Self {
        let (sender, receiver) = (endpoint().await, endpoint().await);
        let accept = async { receiver.accept().await.unwrap().await.unwrap() };
        let (out, back) = tokio::join!(sender.connect(address(&receiver), ALPN), accept);
        Self { out: out.unwrap(), back, sender, receiver }
    }

    async fn close(self) {
        tokio::join!(self.sender.close(), self.receiver.close());
    }

    /// Sends these paths into `into`.
    async fn transfer(&self, id: u8, paths: &[&Path], into: &Path) -> (Result<Sent>, Result<Report>) {
        let outgoing = Outgoing::scan(source(paths), about(id), into).unwrap();
        let send = async {
            let (send, recv) = self.out.open_bi().await.unwrap();
            outgoing.send(send, recv, Arc::default(), || {}, || {}).await
        };
        let receive = async {
            let (send, recv) = self.back.accept_bi().await.unwrap();
            receive(send, recv, into).await?.confirm().await
        };
        tokio::time::timeout(DEADLINE, async { tokio::join!(send, receive) }).await.unwrap()
    }
}

fn about(id: u8) -> About {
    About { id: [id; 16], sender: "alice".to_owned(), message: None }
}

fn source(paths: &[&Path]) -> Source {
    Source::paths(&paths.iter().map(|path| path.to_path_buf()).collect::<Vec<_>>()).unwrap()
}

async fn receive(send: SendStream, recv: RecvStream, into: &Path) -> Result<Received> {
    let incoming = Incoming::read(send, recv, Limits::default()).await?;
    incoming.receive(b"sender", into, Arc::<Progress>::default()).await
}
