//! The clocks of one connection: how long a head may take, how long it may idle.
//!
//! hyper's own `header_read_timeout` also runs while a connection idles, so it cannot tell a
//! slow head (10 s from its first byte) from a quiet keep-alive (60 s). Here the socket says
//! when bytes arrive and the service says when requests begin and end. HTTP/2 has frames that
//! begin no request (PING, SETTINGS), so there only the idle clock runs, from the last request's
//! end. Known flaw: the head of a pipelined request that arrived with its predecessor's bytes
//! starts its clock at its next byte; until then it idles.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How an HTTP/2 connection begins; no HTTP/1 method does.
const PREFACE: &[u8] = b"PRI";

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Head,
    /// With this many requests.
    Busy(usize),
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Bytes of [`PREFACE`] seen; `None` once they can be told from it.
    preface: Option<usize>,
    http2: bool,
}

/// Shared by the socket, the service and the task of one connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Clocks {
    state: Arc<Mutex<State>>,
    header: Duration,
    idle: Duration,
}

impl Clocks {
    pub fn new(header: Duration, idle: Duration) -> Self {
        let state = State { phase: Phase::Idle, since: Instant::now(), preface: Some(0), http2: false };
        Clocks { state: Arc::new(Mutex::new(state)), header, idle }
    }

    /// What it is doing, and when that has taken too long.
    pub fn deadline(&self) -> (Phase, Option<Instant>) {
        let state = self.lock();
        let deadline = match state.phase {
            Phase::Idle => Some(state.since + self.idle),
            Phase::Head => Some(state.since + self.header),
            Phase::Busy(_) => None,
        };
        (state.phase, deadline)
    }

    /// A request began; it ends when the guard is dropped.
    pub fn request(&self) -> Request {
        let mut state = self.lock();
        state.phase = match state.phase {
            Phase::Busy(requests) => Phase::Busy(requests + 1),
            Phase::Idle | Phase::Head => Phase::Busy(1),
        };
        Request(self.clone())
    }

    fn arrived(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if let Some(seen) = state.preface {
            let more = bytes.len().min(PREFACE.len() - seen);
            let fits = bytes[..more] == PREFACE[seen..seen + more];
            state.http2 = fits && seen + more == PREFACE.len();
            state.preface = (fits && !state.http2).then_some(seen + more);
        }
        let phase = match (state.phase, state.http2) {
            (Phase::Idle, false) => Phase::Head,
            (Phase::Head, true) => Phase::Idle,
            (same, _) => same,
        };
        if phase != state.phase {
            (state.phase, state.since) = (phase, Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding it")
    }
}

/// A request under way.
pub(super) struct Request(Clocks);

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        (state.phase, state.since) = match state.phase {
            Phase::Busy(requests) if requests > 1 => (Phase::Busy(requests - 1), state.since),
            _ => (Phase::Idle, Instant::now()),
        };
    }
}

/// A socket that tells the clocks when bytes arrive.
pub(super) struct Watched<S> {
    pub stream: S,
    pub clocks: Clocks,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let arrived = &buf.filled()[before..];
        if !arrived.is_empty() {
            self.clocks.arrived(arrived);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    fn limit(clocks: &Clocks) -> Option<Duration> {
        clocks.deadline().1.map(|at| at - Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn the_header_clock_runs_from_the_first_byte_and_the_idle_clock_from_the_last_answer() {
        let clocks = Clocks::new(HEADER, IDLE);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(limit(&clocks), Some(Duration::from_secs(10)));
        clocks.arrived(b"P");
        assert_eq!(limit(&clocks), Some(HEADER));
        tokio::time::advance(Duration::from_secs(9)).await;
        clocks.arrived(b"OST /");
        assert_eq!(limit(&clocks), Some(Duration::from_secs(1)));
        let request = clocks.request();
        clocks.arrived(b"body");
        assert_eq!(limit(&clocks), None);
        drop(request);
        assert_eq!((clocks.deadline().0, limit(&clocks)), (Phase::Idle, Some(IDLE)));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_http2_that_begin_no_request_neither_start_a_head_nor_keep_it_alive() {
        let clocks = Clocks::new(HEADER, IDLE);
        clocks.arrived(b"PR");
        assert_eq!(clocks.deadline().0, Phase::Head);
        clocks.arrived(b"I * HTTP/2.0");
        assert_eq!((clocks.deadline().0, limit(&clocks)), (Phase::Idle, Some(IDLE)));
        tokio::time::advance(Duration::from_secs(20)).await;
        clocks.arrived(b"ping");
        assert_eq!(limit(&clocks), Some(Duration::from_secs(40)));
        let (one, two) = (clocks.request(), clocks.request());
        drop(one);
        assert_eq!(clocks.deadline(), (Phase::Busy(1), None));
        drop(two);
        assert_eq!(limit(&clocks), Some(IDLE));
    }
}
