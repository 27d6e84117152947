//! What a daemon makes of clients that are broken, slow, greedy, or gone.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on panics")]

use std::fs;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spacedrive_api::client::Client;
use spacedrive_api::{LibraryClose, LibraryCreate, LibraryDelete, LibraryGet, LibraryList, LibraryState, Status};
use spacedrive_testing::{Home, Lab, RawClient, open_files, resident_bytes, wait_until};

fn lab() -> Lab {
    Lab::start(env!("CARGO_BIN_EXE_spacedrive"), &["a"])
}

/// Sends `body` as a call: the status code and the one frame of the answer.
#[track_caller]
fn call(home: &Home, body: &[u8]) -> (u16, Value) {
    let mut client = RawClient::connect(&home.socket("a"));
    client.call(body);
    let answer = client.rest();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body: String = match head.to_lowercase().contains("transfer-encoding: chunked") {
        true => body.split("\r\n").skip(1).step_by(2).collect(),
        false => body.to_owned(),
    };
    assert_eq!(body.trim_end().lines().count(), 1, "{answer}");
    (status, serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {answer}")))
}

#[track_caller]
fn refused(home: &Home, body: &[u8], kind: &str) {
    let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
    let (_, frame) = call(home, body);
    assert_eq!(frame["error"]["kind"], kind, "{shown}: {frame}");
    let message = frame["error"]["message"].as_str().unwrap();
    assert!(message.len() < 2_000 && !message.contains('\n'), "{shown}: {message}");
}

#[test]
fn what_is_not_a_call_is_answered_by_an_error() {
    let lab = lab();
    let before = resident_bytes(lab.pid("a"));
    let deep = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
    let list = br#"{"protocol":1,"call":"library_list","args":{}}"#;
    assert!(call(&lab, list).1["reply"].is_array());
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\0".to_vec(),
        b"null".to_vec(),
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"\xff\xfe\xfd".to_vec(),
        b"{\"protocol\":1,\"call\":\"library_create\",\"args\":{\"name\":\"\xff\"}}".to_vec(),
        list[..list.len() - 1].to_vec(),
        [list.as_slice(), b"x"].concat(),
        [list.as_slice(), list].concat(),
        deep(100_000),
        [br#"{"protocol":1,"call":"library_list","args":"#.as_slice(), &deep(100_000), b"}"].concat(),
        br#"{"protocol":1}"#.to_vec(),
        br#"{"protocol":1,"call":"library_list"}"#.to_vec(),
        br#"{"protocol":1,"call":"format_disk","args":{}}"#.to_vec(),
        br#"{"protocol":1,"call":7,"args":{}}"#.to_vec(),
        br#"{"protocol":1,"call":"library_create","args":{"name":7}}"#.to_vec(),
        br#"{"protocol":1,"call":"library_create","args":{}}"#.to_vec(),
        br#"{"protocol":1,"call":"library_create","args":{"name":"a","path":{"base64":"!"}}}"#.to_vec(),
        br#"{"protocol":1,"call":"library_create","args":{"name":"\ud800"}}"#.to_vec(),
        br#"{"protocol":1,"call":"library_create","args":{"name":"a","name":"b"}}"#.to_vec(),
        br#"{"protocol":1,"protocol":1,"call":"library_list","args":{}}"#.to_vec(),
        br#"{"protocol":"1","call":"library_list","args":{}}"#.to_vec(),
        br#"{"protocol":-1,"call":"library_list","args":{}}"#.to_vec(),
        br#"{"protocol":1.5,"call":"library_list","args":{}}"#.to_vec(),
        br#"{"protocol":1e400,"call":"library_list","args":{}}"#.to_vec(),
        br#"{"protocol":99999999999999999999,"call":"library_list","args":{}}"#.to_vec(),
        vec![b' '; (1 << 20) + 1],
        format!(r#"{{"protocol":1,"call":"library_create","args":{{"name":"{}"}}}}"#, "a".repeat(1_000_000)).into_bytes(),
    ];
    for body in &bodies {
        refused(&lab, body, "invalid");
    }
    assert_eq!(call(&lab, br#"{"protocol":2,"call":"x"}"#).1["error"]["kind"], "version");
    let after = resident_bytes(lab.pid("a"));
    assert!(after < before + (64 << 20), "{before} -> {after} bytes");
    assert_eq!(lab.run("--instance a library list --json").ok().json(), json!([]));
}

#[test]
fn what_is_not_http_is_dropped() {
    let lab = lab();
    let mut corpus: Vec<Vec<u8>> = [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
        "POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        "POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "POST /v1/call HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        "POST /v1/call HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "POST /v1/call HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf",
        "GET /v1/call HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "GET /v1/stop HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "POST /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "GET /v1/..%2fstop HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    let many = (0..10_000).map(|i| format!("h{i}: x\r\n")).collect::<String>();
    corpus.push(format!("GET /v1/status HTTP/1.1\r\n{many}\r\n").into_bytes());
    corpus.push(format!("GET /v1/status HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(1 << 20)).into_bytes());
    corpus.push(vec![0xff; 1 << 20]);
    for bytes in &corpus {
        let mut client = RawClient::connect(&lab.socket("a"));
        client.send(bytes);
        client.finish();
        let answer = client.rest();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        assert!(!answer.contains("\"reply\"") && !answer.contains("200 OK") || answer.contains("\"error\""), "{shown}: {answer}");
        lab.run("--instance a daemon").ok();
    }
}

#[test]
fn an_id_is_never_a_path() {
    let lab = lab();
    let outside = lab.path().join("outside.sdlibrary");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("library.json"), "{}").unwrap();
    let before = lab.files();
    let hostile = ["../../x", "/etc", "../outside", "outside", "..", ".", "", "a\0b", "\u{1b}[31m", "x/../../outside.sdlibrary"];
    for name in hostile {
        for (kind, args) in [
            ("library_get", json!({"library": name, "open": true})),
            ("library_close", json!({"library": name})),
            ("library_delete", json!({"library": name, "purge": true})),
        ] {
            let body = json!({"protocol": 1, "call": kind, "args": args}).to_string();
            refused(&lab, body.as_bytes(), "not_found");
        }
    }
    for name in ["../x", "a/b", "/etc", "..", ".", "", ".hidden", "a\0b", "a\nb", "\u{1b}[31m", " a", "a "] {
        let body = json!({"protocol": 1, "call": "library_create", "args": {"name": name}}).to_string();
        refused(&lab, body.as_bytes(), "invalid");
    }
    // Paths are absolute: the daemon's folder is nobody's business.
    for path in ["", "relative", "../outside.sdlibrary", "./x"] {
        let create = json!({"protocol": 1, "call": "library_create", "args": {"name": "x", "path": path}}).to_string();
        refused(&lab, create.as_bytes(), "invalid");
        let open = json!({"protocol": 1, "call": "library_open", "args": {"path": path}}).to_string();
        refused(&lab, open.as_bytes(), "invalid");
    }
    let open = json!({"protocol": 1, "call": "library_open", "args": {"path": "/nowhere\u{0}/x"}}).to_string();
    assert!(call(&lab, open.as_bytes()).1["error"].is_object());
    assert_eq!(lab.files(), before);
}

#[test]
fn slow_clients_keep_nobody_waiting_and_are_sent_away() {
    let lab = lab();
    let socket = lab.socket("a");
    let list =
        b"POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 46\r\n\r\n{\"protocol\":1,\"call\":\"library_list\",\"args\":{}}";
    let slow: Vec<RawClient> = (0..100)
        .map(|index| {
            let mut client = RawClient::connect(&socket);
            match index % 4 {
                0 => {}
                1 => drop(client.send(b"P")),
                2 => drop(client.send(b"POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{")),
                // One that asks and asks and reads nothing.
                _ => client.send_while_taken(list),
            }
            client
        })
        .collect();
    let begun = Instant::now();
    for _ in 0..20 {
        let begun = Instant::now();
        lab.run("--instance a library list").ok();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    // Each is sent away by the limits of 10 and 30 s.
    thread::scope(|scope| {
        for client in slow {
            scope.spawn(move || client.wait_for_end(Duration::from_secs(200)));
        }
    });
    assert!(begun.elapsed() > Duration::from_secs(5), "nobody was given any time: {:?}", begun.elapsed());
    lab.run("--instance a library list").ok();
}

#[test]
fn two_hundred_clients_at_once_meet_no_error() {
    let lab = lab();
    let socket = lab.socket("a");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let slowest = runtime.block_on(async {
        let clients: Vec<_> = (0..200)
            .map(|client| {
                let socket = socket.clone();
                tokio::spawn(async move {
                    let mut connection = Client::connect(&socket).await.unwrap();
                    let (name, mut slowest) = (format!("Of client {client}"), Duration::ZERO);
                    for request in 0..100 {
                        let begun = Instant::now();
                        match (request, request % 3) {
                            (20, _) => {
                                let library = connection.call(LibraryCreate { name: name.clone(), path: None }).await.unwrap();
                                assert_eq!((library.name, library.state), (name.clone(), LibraryState::Open));
                            }
                            (30, _) => {
                                let closed = connection.call(LibraryClose { library: name.clone() }).await.unwrap();
                                assert_eq!(closed.state, LibraryState::Closed);
                            }
                            (40, _) => {
                                let get = LibraryGet { library: name.clone(), open: true };
                                assert_eq!(connection.call(get).await.unwrap().state, LibraryState::Open);
                            }
                            (50, _) if client % 10 != 0 => {
                                let delete = LibraryDelete { library: name.clone(), purge: true };
                                assert_eq!(connection.call(delete).await.unwrap().library.name, name);
                            }
                            (_, 0) if !(10..60).contains(&request) => drop(connection.call(LibraryList {}).await.unwrap()),
                            (_, 1) if !(10..60).contains(&request) => {
                                drop(connection.call(Status { library: None }).await.unwrap());
                            }
                            _ => drop(connection.info().await.unwrap()),
                        }
                        slowest = slowest.max(begun.elapsed());
                    }
                    slowest
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        for client in clients {
            slowest = slowest.max(client.await.unwrap());
        }
        slowest
    });
    assert!(slowest < Duration::from_secs(60), "{slowest:?}");
    let left = lab.run("--instance a library list --json").ok().json();
    assert_eq!(left.as_array().unwrap().len(), 20);
    assert!(left.as_array().unwrap().iter().all(|library| library["state"] == "open"), "{left}");
    let folders = fs::read_dir(lab.data_dir("a").join("libraries")).unwrap().count();
    assert_eq!(folders, 20);
}

#[test]
fn more_clients_than_are_served_are_told_so() {
    let lab = lab();
    let socket = lab.socket("a");
    let idle: Vec<UnixStream> = (0..256).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    thread::scope(|scope| {
        for line in ["--instance a library list", "--instance a daemon", "--instance a status", "--instance a stop"] {
            let lab = &lab;
            scope.spawn(move || lab.run(line).exits(8).says("busy"));
        }
    });
    let listed = lab.run("instance list --json").ok().json();
    assert_eq!((&listed[0]["status"], &listed[0]["pid"]), (&json!("unresponsive"), &json!(lab.pid("a"))));
    // Beyond those that can be told so, more are closed without a word.
    let more: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    lab.run("--instance a daemon").exits(8);
    drop((idle, more));
    wait_until(Duration::from_secs(20), "it serves again", || lab.run("--instance a library list").code == 0);
}

#[test]
fn clients_that_hang_up_leave_nothing_behind() {
    let lab = lab();
    let pid = lab.pid("a");
    let body = |index: usize| {
        json!({"protocol": 1, "call": "library_create", "args": {"name": format!("L{index}")}}).to_string().into_bytes()
    };
    let round = |rounds: std::ops::Range<usize>| {
        for index in rounds {
            let mut client = RawClient::connect(&lab.socket("a"));
            match index % 5 {
                0 => drop(client),
                1 => drop(client.send(b"POST /v1/ca")),
                2 => drop(client.send(b"POST /v1/call HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")),
                3 => drop(client.send(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n")),
                // Hanging up stops the watching, never the work.
                _ if index % 100 == 4 => {
                    client.call(&body(index));
                    client.wait_for_answer();
                }
                _ => drop(client.call(b"{")),
            }
        }
    };
    round(0..100);
    let settled = || lab.run("--instance a library list --json").ok().json().as_array().unwrap().len();
    wait_until(Duration::from_secs(20), "the library is made", || settled() == 1);
    let (files, memory) = (open_files(pid), resident_bytes(pid));
    round(100..1_000);
    wait_until(Duration::from_secs(50), "the libraries are made", || settled() == 10);
    // Nine more libraries are open, each with its lock, database, WAL and index of the WAL, and a reader.
    wait_until(Duration::from_secs(50), "connections are closed", || open_files(pid) <= files + 9 * 8);
    assert!(resident_bytes(pid) < memory + (64 << 20));
    let left = fs::read_dir(lab.data_dir("a").join("libraries")).unwrap().flatten();
    assert!(left.into_iter().all(|entry| entry.path().extension().is_some_and(|e| e == "sdlibrary")));
}

#[test]
fn clients_that_are_killed_leave_a_whole_library_or_none() {
    let lab = lab();
    for index in 0..30 {
        let args = ["--instance", "a", "library", "create", &format!("L{index}")];
        let mut child =
            lab.command(args).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        thread::park_timeout(Duration::from_micros(700 * index));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let whole = || {
        let listed = lab.run("--instance a library list --json").ok().json();
        let listed = listed.as_array().unwrap();
        assert!(listed.iter().all(|library| library["state"] == "open"), "{listed:?}");
        let folders = fs::read_dir(lab.data_dir("a").join("libraries")).unwrap().flatten();
        let folders: Vec<_> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
        folders.len() == listed.len() && folders.iter().all(|name| name.ends_with(".sdlibrary"))
    };
    wait_until(Duration::from_secs(50), "what was begun is done", whole);
    // The daemon goes on, and so does whoever comes next.
    lab.run("--instance a library create Last").ok();
    assert!(lab.run("--instance a library current").ok().stdout.contains("Last"));
}
