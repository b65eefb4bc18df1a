//! The floor: the least that a durable gateway can do, as fast as we can write it.
//!
//! It receives messages (Scribe frames or HTTP bodies), appends their bytes to one preallocated
//! file, syncs once for all that wait, answers, and forwards the same bytes to a collector. It
//! looks at nothing but lengths: no span is decoded, counted or kept apart, nothing is recovered.
//! What spangate costs above this is what looking costs.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

/// More than a run writes.
const FILE_BYTES: u64 = 1 << 30;
/// IOV_MAX of Linux.
const PIECES_MAX: usize = 1024;
/// What a connection reads ahead of a length it does not know yet.
const READ: usize = 16 << 10;

const SCRIBE_OK: &[u8] = b"\0\0\0\x17\x80\x01\0\x02\0\0\0\x03Log\0\0\0\x01\x08\0\0\0\0\0\0\0";
const HTTP_OK: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

/// A message that waits for its sync.
struct Waiting {
    body: Bytes,
    durable: oneshot::Sender<()>,
}

/// From the connections to the log.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Vec<Waiting>>,
    filled: Condvar,
}

/// From the log to the collector.
#[derive(Default)]
struct Outgoing {
    bodies: Mutex<Vec<Bytes>>,
    filled: Notify,
}

/// Serves until it is killed: Scribe and HTTP on these ports, one file at `path`, one collector.
pub fn run(scribe: u16, http: u16, path: &Path, collector: &str) -> io::Result<()> {
    let (queue, outgoing) = (Arc::new(Queue::default()), Arc::new(Outgoing::default()));
    let file = File::create(path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES)?;
    let (log_queue, log_outgoing) = (queue.clone(), outgoing.clone());
    std::thread::spawn(move || log(file, &log_queue, &log_outgoing).expect("the log is written"));
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (scribe, http) =
            (TcpListener::bind(("127.0.0.1", scribe)).await?, TcpListener::bind(("127.0.0.1", http)).await?);
        let (answers, requests) = TcpStream::connect(collector).await?.into_split();
        tokio::spawn(forward(requests, outgoing));
        tokio::spawn(swallow(answers));
        loop {
            let (stream, is_scribe) = tokio::select! {
                accepted = scribe.accept() => (accepted?.0, true),
                accepted = http.accept() => (accepted?.0, false),
            };
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, is_scribe, queue.clone()));
        }
    })
}

async fn serve(mut stream: TcpStream, is_scribe: bool, queue: Arc<Queue>) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(READ);
    while let Some(body) = message(&mut stream, &mut input, is_scribe).await? {
        let (durable, synced) = oneshot::channel();
        queue.waiting.lock().expect("nobody panics").push(Waiting { body, durable });
        queue.filled.notify_one();
        synced.await.map_err(io::Error::other)?;
        stream.write_all(if is_scribe { SCRIBE_OK } else { HTTP_OK }).await?;
    }
    Ok(())
}

/// The next body; `None` at the end.
async fn message(stream: &mut TcpStream, input: &mut BytesMut, is_scribe: bool) -> io::Result<Option<Bytes>> {
    let (head, length) = loop {
        if let Some(found) = if is_scribe { scribe_head(input) } else { http_head(input) } {
            break found;
        }
        input.reserve(READ);
        if stream.read_buf(input).await? == 0 {
            return Ok(None);
        }
    };
    input.advance(head);
    input.reserve(length.saturating_sub(input.len()));
    while input.len() < length {
        if stream.read_buf(input).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(input.split_to(length).freeze()))
}

/// Bytes of a head, and of the body that follows.
fn scribe_head(input: &[u8]) -> Option<(usize, usize)> {
    input.first_chunk::<4>().map(|length| (4, u32::from_be_bytes(*length) as usize))
}

fn http_head(input: &[u8]) -> Option<(usize, usize)> {
    let end = input.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&input[..end]).ok()?;
    let length = head.split("content-length: ").nth(1)?.split('\r').next()?;
    Some((end + 4, length.parse().ok()?))
}

/// One write and one sync for all that wait.
fn log(mut file: File, queue: &Queue, outgoing: &Outgoing) -> io::Result<()> {
    loop {
        let mut waiting = queue.waiting.lock().expect("nobody panics");
        while waiting.is_empty() {
            waiting = queue.filled.wait(waiting).expect("nobody panics");
        }
        let group = std::mem::take(&mut *waiting);
        drop(waiting);
        for part in group.chunks(PIECES_MAX) {
            let mut pieces: Vec<IoSlice<'_>> = part.iter().map(|waiting| IoSlice::new(&waiting.body)).collect();
            let mut pieces = &mut pieces[..];
            while !pieces.is_empty() {
                let written = file.write_vectored(pieces)?;
                IoSlice::advance_slices(&mut pieces, written);
            }
        }
        file.sync_data()?;
        let (bodies, durable): (Vec<_>, Vec<_>) = group.into_iter().map(|one| (one.body, one.durable)).unzip();
        outgoing.bodies.lock().expect("nobody panics").extend(bodies);
        outgoing.filled.notify_one();
        // Whoever has gone needs no answer.
        for durable in durable {
            let _ = durable.send(());
        }
    }
}

/// One request a message, one after the other without waiting for answers.
async fn forward(mut requests: OwnedWriteHalf, outgoing: Arc<Outgoing>) -> io::Result<()> {
    loop {
        outgoing.filled.notified().await;
        let bodies = std::mem::take(&mut *outgoing.bodies.lock().expect("nobody panics"));
        for body in bodies {
            let head = format!("POST /api/v2/spans HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len());
            requests.write_all_buf(&mut Buf::chain(head.as_bytes(), &body[..])).await?;
        }
    }
}

async fn swallow(mut answers: OwnedReadHalf) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    while answers.read(&mut buffer).await? > 0 {}
    Ok(())
}
