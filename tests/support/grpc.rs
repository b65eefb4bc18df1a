//! gRPC's `Report` as an HTTP/2 client that knows nothing of gRPC sends it, a call at a time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest, handshake};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub const REPORT: &str = "/zipkin.proto3.SpanService/Report";

/// What a call came to.
#[derive(Debug)]
pub struct Outcome {
    pub http: u16,
    /// Of the trailers, or of the headers where these are the trailers.
    pub status: Option<u16>,
    pub message: String,
    pub pushback_ms: Option<u64>,
    pub reply: Vec<u8>,
}

/// A connection, which is served while one of its calls is waited for.
pub struct Client {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    connection: JoinHandle<()>,
    ping: PingPong,
    /// For each answer.
    pub timeout: Duration,
}

/// How a peer goes in the middle of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Resets the call: CANCEL.
    Reset,
    /// Closes the connection.
    Close,
}

/// A call that has begun.
pub struct Call {
    response: ResponseFuture,
    stream: SendStream<Bytes>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, mut connection) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.expect("the listener is there");
            handshake(stream).await.expect("a handshake")
        });
        let ping = connection.ping_pong().expect("it is asked for once");
        // How it ends is told to each call.
        let connection = runtime.spawn(async move { drop(connection.await) });
        Client { runtime, sender, connection, ping, timeout: Duration::from_secs(10) }
    }

    /// Calls with a list of spans.
    pub fn report(&self, list: &[u8]) -> Outcome {
        self.call(&[], &[&framed(0, list)])
    }

    /// Calls with the body in these pieces.
    pub fn call(&self, headers: &[(&str, &str)], pieces: &[&[u8]]) -> Outcome {
        self.try_call(headers, pieces).expect("an answer")
    }

    /// For a listener that may not answer.
    pub fn try_call(&self, headers: &[(&str, &str)], pieces: &[&[u8]]) -> io::Result<Outcome> {
        let mut call = self.begin(headers);
        for piece in pieces {
            // Refused before its end, a body need not be sent whole.
            if call.stream.send_data(Bytes::copy_from_slice(piece), false).is_err() {
                break;
            }
        }
        self.end(call, &[])
    }

    /// Begins a call: its head alone.
    pub fn begin(&self, headers: &[(&str, &str)]) -> Call {
        let mut request = http::Request::post(format!("http://gateway{REPORT}")).header("te", "trailers");
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.runtime.block_on(async {
            let mut sender = self.sender.clone().ready().await.expect("the connection is there");
            let (response, stream) = sender.send_request(request.body(()).unwrap(), false).unwrap();
            Call { response, stream }
        })
    }

    /// The last of its body, and what is answered.
    pub fn end(&self, Call { response, mut stream }: Call, rest: &[u8]) -> io::Result<Outcome> {
        // Nobody may be there to take it any more.
        let _ = stream.send_data(Bytes::copy_from_slice(rest), true);
        self.within(async { outcome(response.await?).await })
    }

    /// Goes on with the byte `x` at each `pause` and never ends, until it is answered.
    pub fn go_on(&self, Call { response, mut stream }: Call, first: &[u8], pause: Duration) -> io::Result<Outcome> {
        let mut next = Bytes::copy_from_slice(first);
        let dribble = async {
            while stream.send_data(next, false).is_ok() {
                next = Bytes::from_static(b"x");
                tokio::time::sleep(pause).await;
            }
            std::future::pending().await
        };
        self.within(async {
            tokio::select! {
                answer = async { outcome(response.await?).await } => answer,
                () = dribble => unreachable!("it is pending for ever"),
            }
        })
    }

    /// Sends `half` of a body, and leaves once the listener has its head: a call that is not taken up yet goes unseen.
    pub fn leave(mut self, half: &[u8], how: Leave) -> io::Result<()> {
        let Call { response, mut stream } = self.begin(&[]);
        stream.send_data(Bytes::copy_from_slice(half), false).expect("it is not refused yet");
        let answer = self.ping.ping(Ping::opaque());
        let timed = self.runtime.block_on(async { tokio::time::timeout(self.timeout, answer).await });
        timed?.map_err(io::Error::other)?;
        match how {
            Leave::Reset => stream.send_reset(Reason::CANCEL),
            Leave::Close => self.connection.abort(),
        }
        drop((response, stream, self.sender));
        // Without calls it ends by itself, when all is sent; an abort is no answer.
        let _ = self.runtime.block_on(async { tokio::time::timeout(self.timeout, self.connection).await })?;
        Ok(())
    }

    fn within<T>(&self, answer: impl Future<Output = Result<T, h2::Error>>) -> io::Result<T> {
        let timed = self.runtime.block_on(async { tokio::time::timeout(self.timeout, answer).await });
        timed?.map_err(io::Error::other)
    }
}

impl Call {
    /// More of its body; it goes out while an answer is waited for.
    pub fn send(&mut self, piece: &[u8]) {
        self.stream.send_data(Bytes::copy_from_slice(piece), false).expect("it is not refused yet");
    }
}

async fn outcome(response: http::Response<RecvStream>) -> Result<Outcome, h2::Error> {
    let (head, mut body) = response.into_parts();
    let mut reply = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        reply.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?.unwrap_or(head.headers);
    let text = |name: &str| trailers.get(name).map(|value| value.to_str().unwrap().to_owned());
    Ok(Outcome {
        http: head.status.as_u16(),
        status: text("grpc-status").map(|status| status.parse().unwrap()),
        message: text("grpc-message").unwrap_or_default(),
        pushback_ms: text("grpc-retry-pushback-ms").map(|ms| ms.parse().unwrap()),
        reply,
    })
}

/// A message behind its prefix.
pub fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
}
