//! A client that can send anything, for tests of what a daemon makes of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A raw connection to a daemon's socket.
#[derive(Debug)]
pub struct RawClient {
    stream: UnixStream,
}

impl RawClient {
    /// Connects.
    pub fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream }
    }

    /// Sends bytes as they are. Answers whether the daemon took them.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends `body` as a call, and asks for the connection to be closed afterwards.
    pub fn call(&mut self, body: &[u8]) -> bool {
        let head = format!("POST /v1/call HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        self.send(head.as_bytes()) && self.send(body)
    }

    /// Sends `bytes` again and again, until the daemon takes no more.
    pub fn send_while_taken(&mut self, bytes: &[u8]) {
        self.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        while self.stream.write_all(bytes).is_ok() {}
    }

    /// Waits until an answer begins: the daemon has taken the call.
    pub fn wait_for_answer(&mut self) {
        self.stream.read_exact(&mut [0]).unwrap();
    }

    /// Waits until the daemon ends the connection, without reading what it sent before.
    #[track_caller]
    pub fn wait_for_end(self, limit: Duration) {
        use rustix::event::{PollFd, PollFlags, poll};
        let second = rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 };
        crate::wait_until(limit, "the daemon ends the connection", || {
            let mut asked = [PollFd::new(&self.stream, PollFlags::RDHUP)];
            poll(&mut asked, Some(&second)).is_ok()
                && asked[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
        });
    }

    /// Reads until the daemon closes the connection: head and body as text.
    pub fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ends the sending half.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }
}
