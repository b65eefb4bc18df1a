//! Framed connections: a call out, its reply back, and those that are kept between two calls.
//!
//! A connection that failed is dropped with its call; only one that answered in full is kept.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::wire::scribe::Foreign;
use crate::wire::scribe::call::{Answer, log_answer};

/// A reply has 30 bytes, an exception some text.
const REPLY_BYTES_MAX: u32 = 64 << 10;
/// Balancers forget connections after some minutes without a word: ours go before that.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// The connection ended before a byte of it.
    Unanswered(io::Error),
    /// Or within it.
    HalfAnswered(io::Error),
    /// It is none to a `Log` call of ours.
    Strange(String),
}

pub(super) struct Connection {
    stream: TcpStream,
    /// Since when it waits for another call.
    idle_since: Option<Instant>,
}

impl Connection {
    pub async fn dial(address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, idle_since: None })
    }

    /// Whether an earlier call came back over it, so that its peer may have let it go meanwhile.
    pub fn is_kept(&self) -> bool {
        self.idle_since.is_some()
    }

    /// Sends a frame and reads the answer to the call in it.
    pub async fn call(&mut self, frame: &[u8], seqid: i32) -> Result<Answer, Lost> {
        // A listener may answer (TRY_LATER, say) and close before it has read all: its answer says more than our error.
        let sent = self.stream.write_all(frame).await;
        let length = self.stream.read_u32().await.map_err(|error| Lost::Unanswered(sent.err().unwrap_or(error)))?;
        if let Some(foreign) = Foreign::recognise(length.to_be_bytes()) {
            return Err(Lost::Strange(format!("it answers {}, not Scribe", name(foreign))));
        }
        if length > REPLY_BYTES_MAX {
            return Err(Lost::Strange(format!("a reply of {length} bytes is none of Scribe's")));
        }
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await.map_err(Lost::HalfAnswered)?;
        log_answer(&payload, seqid).ok_or_else(|| Lost::Strange("its reply is none to a `Log` call".into()))
    }

    /// Whether it is worth another call: not long idle, and nothing has come since, not even its end.
    fn is_usable(&self) -> bool {
        let nothing = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.idle_since.is_none_or(|since| since.elapsed() < IDLE_MAX)
            && self.stream.try_read(&mut [0]).is_err_and(nothing)
    }
}

fn name(foreign: Foreign) -> &'static str {
    match foreign {
        Foreign::Http => "HTTP",
        Foreign::Tls => "TLS",
    }
}

/// Connections without a call, the latest used last. As many as calls have been under way at once.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Connection>>);

impl Pool {
    /// The connection used last, which is the least likely to be gone.
    pub fn take(&self) -> Option<Connection> {
        let mut idle = self.0.lock().expect("no panic while it is held");
        std::iter::from_fn(|| idle.pop()).find(Connection::is_usable)
    }

    pub fn clear(&self) {
        self.0.lock().expect("no panic while it is held").clear();
    }

    pub fn keep(&self, mut connection: Connection) {
        connection.idle_since = Some(Instant::now());
        self.0.lock().expect("no panic while it is held").push(connection);
    }
}
