//! Between the streams of a connection, which are asynchronous, and files, which block: a bounded channel of
//! pieces each way, and a thread that reads and writes as if there were no network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{RecvStream, SendStream};
use tokio::sync::mpsc;

use super::error::{Result, TransferError};
use super::frame::{HEADER, ToReceiver, decode, header, message_frame};

/// The size of a piece: what is read at once, and collected before it is sent.
pub(crate) const PIECE: usize = 128 * 1024;
/// How many pieces wait between thread and stream.
const PIECES: usize = 4;
/// How long the other side may be silent while it is its turn.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// How far a transfer is; shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files that are finished.
    pub files: AtomicU64,
    /// Bytes that are finished, with those that were there before.
    pub bytes: AtomicU64,
    /// Bytes of files that crossed the network.
    pub moved: AtomicU64,
}

impl Progress {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// Where the sending thread puts frames.
pub(crate) struct Output {
    pieces: mpsc::Sender<Bytes>,
    buffer: BytesMut,
}

impl Output {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Bytes>) {
        let (pieces, receiver) = mpsc::channel(PIECES);
        (Self { pieces, buffer: BytesMut::with_capacity(2 * PIECE) }, receiver)
    }

    pub(crate) fn message(&mut self, message: &ToReceiver) -> Result<()> {
        self.buffer.extend_from_slice(&message_frame(message)?);
        self.flush_if_full()
    }

    /// A data frame of up to `max` bytes which `read` fills in place; how long it got. None: no frame.
    pub(crate) fn data<E>(
        &mut self,
        max: usize,
        read: impl FnOnce(&mut [u8]) -> std::result::Result<usize, E>,
    ) -> Result<std::result::Result<usize, E>> {
        let start = self.buffer.len();
        self.buffer.resize(start + HEADER + max, 0);
        let length = match read(&mut self.buffer[start + HEADER..]) {
            Ok(length) => length,
            Err(error) => {
                self.buffer.truncate(start);
                return Ok(Err(error));
            }
        };
        if length == 0 {
            self.buffer.truncate(start);
            return Ok(Ok(0));
        }
        self.buffer[start] = 1;
        self.buffer[start + 1..start + HEADER].copy_from_slice(&(length as u32).to_be_bytes());
        self.buffer.truncate(start + HEADER + length);
        self.flush_if_full()?;
        Ok(Ok(length))
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(2 * PIECE)).freeze();
        self.pieces.blocking_send(piece).map_err(|_| TransferError::Lost)
    }
}

/// Writes the pieces of a thread to the stream until the thread ends.
pub(crate) async fn pump_out(mut pieces: mpsc::Receiver<Bytes>, send: &mut SendStream) -> Result<()> {
    while let Some(piece) = pieces.recv().await {
        send.write_chunk(piece).await.map_err(|_| TransferError::Lost)?;
    }
    Ok(())
}

/// What the receiving thread reads.
pub(crate) enum Item {
    /// A message.
    Message(ToReceiver),
    /// Bytes of the current file.
    Data(Bytes),
}

/// Where the receiving thread gets frames from.
pub(crate) struct Input {
    pieces: mpsc::Receiver<Result<Bytes>>,
    piece: Bytes,
    data_left: usize,
    theirs: Arc<AtomicBool>,
}

impl Input {
    pub(crate) fn new() -> (Self, mpsc::Sender<Result<Bytes>>, Arc<AtomicBool>) {
        let (sender, pieces) = mpsc::channel(PIECES);
        let theirs = Arc::new(AtomicBool::new(false));
        (Self { pieces, piece: Bytes::new(), data_left: 0, theirs: theirs.clone() }, sender, theirs)
    }

    /// The next message, or the next bytes of a file as they come.
    pub(crate) fn next(&mut self) -> Result<Item> {
        while self.data_left == 0 {
            let mut head = [0; HEADER];
            self.fill(&mut head)?;
            let (is_data, length) = header(head)?;
            if is_data {
                self.data_left = length;
            } else {
                let mut body = vec![0; length];
                self.fill(&mut body)?;
                return decode(&body).map(Item::Message);
            }
        }
        self.more()?;
        let piece = self.piece.split_to(self.data_left.min(self.piece.len()));
        self.data_left -= piece.len();
        Ok(Item::Data(piece))
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<()> {
        while !buffer.is_empty() {
            self.more()?;
            let part = self.piece.split_to(buffer.len().min(self.piece.len()));
            let (now, rest) = buffer.split_at_mut(part.len());
            now.copy_from_slice(&part);
            buffer = rest;
        }
        Ok(())
    }

    fn more(&mut self) -> Result<()> {
        while self.piece.is_empty() {
            self.theirs.store(true, Ordering::Relaxed);
            let next = self.pieces.blocking_recv();
            self.theirs.store(false, Ordering::Relaxed);
            self.piece = next.unwrap_or(Err(TransferError::Lost))?;
        }
        Ok(())
    }
}

/// Reads the stream into the channel until either ends. Silence counts only while the thread waits.
pub(crate) async fn pump_in(recv: &mut RecvStream, pieces: mpsc::Sender<Result<Bytes>>, theirs: Arc<AtomicBool>) {
    // What the thread has not taken yet grows here, so that it writes large pieces when it is the slower one.
    let mut buffer = BytesMut::zeroed(PIECE);
    let mut filled = 0;
    loop {
        let read = tokio::select! {
            permit = pieces.reserve(), if filled > 0 => {
                let Ok(permit) = permit else { return };
                permit.send(Ok(buffer.split_to(filled).freeze()));
                filled = 0;
                if buffer.len() < PIECE / 8 {
                    buffer = BytesMut::zeroed(PIECE);
                }
                continue;
            }
            read = tokio::time::timeout(SILENCE, recv.read(&mut buffer[filled..])), if filled < buffer.len() => read,
        };
        let error = match read {
            Ok(Ok(Some(length))) => {
                filled += length;
                continue;
            }
            Ok(Ok(None) | Err(_)) => TransferError::Lost,
            Err(_) if theirs.load(Ordering::Relaxed) => TransferError::Silent,
            Err(_) => continue,
        };
        if filled > 0 && pieces.send(Ok(buffer.split_to(filled).freeze())).await.is_err() {
            return;
        }
        let _ = pieces.send(Err(error)).await;
        return;
    }
}

/// Reads one message outside of the data phase, with its own limit of time.
pub(crate) async fn read_message<T: for<'de> serde::Deserialize<'de>>(
    recv: &mut RecvStream,
    patience: Option<Duration>,
) -> Result<T> {
    let read = async {
        let mut head = [0; HEADER];
        recv.read_exact(&mut head).await.map_err(|_| TransferError::Lost)?;
        let (is_data, length) = header(head)?;
        if is_data {
            return Err(TransferError::Protocol { what: "data where a message belongs" });
        }
        let mut body = vec![0; length];
        recv.read_exact(&mut body).await.map_err(|_| TransferError::Lost)?;
        decode(&body)
    };
    match patience {
        Some(patience) => tokio::time::timeout(patience, read).await.unwrap_or(Err(TransferError::Silent)),
        None => read.await,
    }
}

/// Writes one message.
pub(crate) async fn write_message<T: serde::Serialize>(send: &mut SendStream, message: &T) -> Result<()> {
    send.write_all(&message_frame(message)?).await.map_err(|_| TransferError::Lost)
}
