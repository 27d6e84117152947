//! One side of a transfer without a daemon, to measure it: `benches/transfer.py` runs both.
//!
//! `transfer serve BIND INBOX` takes transfers until it is killed; `transfer send TO-FILE cubic|bbr PATH` sends one.
//! `raw-serve` and `raw-send` do the same with one file and nothing but a stream of iroh, as a reference.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for benchmarks, not a part of the program")]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use iroh::endpoint::{QuicTransportConfig, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode, TransportAddr};
use spacedrive_net::transfer::{ALPN, About, Incoming, Limits, Outgoing, Source};

async fn endpoint(bind: &str, bbr: bool) -> Endpoint {
    let mut transport = QuicTransportConfig::builder();
    if bbr {
        transport = transport.congestion_controller_factory(Arc::new(noq_proto::congestion::Bbr3Config::default()));
    }
    let builder = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .alpns(vec![ALPN.to_vec()])
        .transport_config(transport.build())
        .clear_ip_transports();
    builder.bind_addr(bind).unwrap().bind().await.unwrap()
}

/// Peak memory of this process, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Processor time of this process, in seconds.
fn cpu() -> f64 {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    usage.tv_sec as f64 + usage.tv_nsec as f64 / 1e9
}

fn write_address(endpoint: &Endpoint, to: &Path) {
    let address = EndpointAddr::from_parts(endpoint.id(), endpoint.bound_sockets().into_iter().map(TransportAddr::Ip));
    std::fs::write(to.with_extension("new"), serde_json::to_vec(&address).unwrap()).unwrap();
    std::fs::rename(to.with_extension("new"), to).unwrap();
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [mode @ ("serve" | "raw-serve"), bind, address, inbox] => {
            let endpoint = endpoint(bind, false).await;
            write_address(&endpoint, Path::new(address));
            while let Some(incoming) = endpoint.accept().await {
                let connection = incoming.await.unwrap();
                let (mut send, mut recv) = connection.accept_bi().await.unwrap();
                let (start, cpu_before) = (Instant::now(), cpu());
                if mode == "serve" {
                    let incoming = Incoming::read(send, recv, Limits::default()).await.unwrap();
                    let received = incoming.receive(b"bench", Path::new(inbox), Arc::default()).await.unwrap();
                    received.confirm().await.unwrap();
                } else {
                    let mut file = std::fs::File::create(Path::new(inbox).join("raw")).unwrap();
                    while let Some(chunk) = recv.read_chunk(1 << 20).await.unwrap() {
                        file.write_all(&chunk).unwrap();
                    }
                    send.write_all(b"!").await.unwrap();
                    send.finish().unwrap();
                    let _ = send.stopped().await;
                }
                println!("{:.3} {:.3} {}", start.elapsed().as_secs_f64(), cpu() - cpu_before, peak());
            }
        }
        [mode @ ("send" | "raw-send"), bind, to, control, path] => {
            let endpoint = endpoint(bind, control == "bbr").await;
            let to: EndpointAddr = serde_json::from_slice(&std::fs::read(to).unwrap()).unwrap();
            let start = Instant::now();
            let connection = endpoint.connect(to, ALPN).await.unwrap();
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            if mode == "send" {
                let mut id = [0; 16];
                std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut id).unwrap();
                let about = About { id, ..About::default() };
                let source = Source::paths(&[PathBuf::from(path)]).unwrap();
                let outgoing = tokio::task::spawn_blocking(move || Outgoing::scan(source, about, Path::new("/tmp")));
                outgoing.await.unwrap().unwrap().send(send, recv, Arc::default(), || {}, || {}).await.unwrap();
            } else {
                let mut file = std::fs::File::open(path).unwrap();
                let mut buffer = vec![0; 1 << 20];
                loop {
                    let length = file.read(&mut buffer).unwrap();
                    if length == 0 {
                        break;
                    }
                    send.write_all(&buffer[..length]).await.unwrap();
                }
                send.finish().unwrap();
                recv.read_to_end(1).await.unwrap();
            }
            println!("{:.3} {:.3} {}", start.elapsed().as_secs_f64(), cpu(), peak());
            connection.close(0_u32.into(), b"");
            endpoint.close().await;
        }
        _ => println!("usage: transfer serve|raw-serve BIND ADDRESS-FILE INBOX | send|raw-send BIND ADDRESS-FILE cubic|bbr PATH"),
    }
}
