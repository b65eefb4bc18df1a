//! A gRPC call as its bytes: `zipkin.proto3.SpanService/Report` over HTTP/2 without TLS.
//!
//! A connection lives in the future that waits for an answer, and nowhere else: between two messages nobody reads it.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{Connection, SendRequest, handshake};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpStream;

use super::link::{ANSWER_BYTES_MAX, Answer, odd, shown};

const PATH: &str = "/zipkin.proto3.SpanService/Report";

/// Codes of gRPC: done, and "not now".
const OK: &str = "0";
const UNAVAILABLE: &str = "14";

/// The names of the codes that a collector may answer, for people.
const CODES: [(&str, &str); 6] = [
    ("3", "INVALID_ARGUMENT"),
    ("4", "DEADLINE_EXCEEDED"),
    ("8", "RESOURCE_EXHAUSTED"),
    ("12", "UNIMPLEMENTED"),
    ("13", "INTERNAL"),
    (UNAVAILABLE, "UNAVAILABLE"),
];

/// An HTTP/2 connection.
pub struct Channel {
    sender: SendRequest<Bytes>,
    connection: Connection<TcpStream, Bytes>,
    uri: String,
}

impl Channel {
    pub async fn open(stream: TcpStream, host_port: &str) -> io::Result<Channel> {
        let (sender, connection) = handshake(stream).await.map_err(failed)?;
        Ok(Channel { sender, connection, uri: format!("http://{host_port}{PATH}") })
    }

    /// Reports `spans`, a `ListOfSpans`.
    pub async fn report(&mut self, spans: &[u8]) -> io::Result<Answer> {
        let mut message = BytesMut::with_capacity(5 + spans.len());
        message.put_u8(0);
        message.put_u32(u32::try_from(spans.len()).map_err(io::Error::other)?);
        message.put_slice(spans);
        let request = Request::post(&self.uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", concat!("spangate-send/", env!("CARGO_PKG_VERSION")))
            // A collector is not to trace its own intake of spans.
            .header("b3", "0")
            .body(())
            .map_err(|error| odd(error.to_string()))?;
        let mut call = pin!(call(self.sender.clone(), request, message.freeze()));
        tokio::select! {
            biased;
            answered = &mut call => answered,
            // Its end may have brought the answer with it.
            ended = &mut self.connection => match (call.await, ended) {
                (Err(_), Err(error)) => Err(failed(error)),
                (answered, _) => answered,
            },
        }
    }
}

async fn call(sender: SendRequest<Bytes>, request: Request<()>, message: Bytes) -> io::Result<Answer> {
    let (answer, mut stream) = sender.ready().await.and_then(|mut s| s.send_request(request, false)).map_err(failed)?;
    stream.send_data(message, true).map_err(failed)?;
    let (head, mut body) = answer.await.map_err(failed)?.into_parts();
    let mut left = ANSWER_BYTES_MAX;
    while let Some(data) = body.data().await {
        let length = data.map_err(failed)?.len();
        left = left.checked_sub(length).ok_or_else(|| odd("an answer without end"))?;
        body.flow_control().release_capacity(length).map_err(failed)?;
    }
    let trailers = body.trailers().await.map_err(failed)?.unwrap_or_default();
    Ok(answer_of(&Response::from_parts(head, ()), &trailers))
}

/// The answer: in the trailers, or in the head where there is no message; or HTTP's own, of whoever is no gRPC.
fn answer_of(head: &Response<()>, trailers: &HeaderMap) -> Answer {
    let field = |name: &str| trailers.get(name).or_else(|| head.headers().get(name));
    let text = field("grpc-message").map_or_else(String::new, |text| shown(&unescaped(text.as_bytes())));
    match (head.status(), field("grpc-status").and_then(|code| code.to_str().ok())) {
        (StatusCode::OK, Some(OK)) => Answer::Yes,
        (StatusCode::OK, Some(UNAVAILABLE)) => {
            let after = field("grpc-retry-pushback-ms").and_then(|ms| ms.to_str().ok()?.parse().ok());
            Answer::Later("UNAVAILABLE".into(), after.map(Duration::from_millis))
        }
        (StatusCode::OK, Some(code)) => {
            let name = CODES.iter().find(|(number, _)| *number == code).map_or(code, |(_, name)| name);
            Answer::No(format!("{name} {text}").trim_end().to_owned())
        }
        (StatusCode::OK, None) => Answer::No("200 without a grpc-status: is this a port of gRPC?".into()),
        (status @ (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS), _) => {
            Answer::Later(status.as_u16().to_string(), None)
        }
        (status, _) => Answer::No(format!("{status} {text}").trim_end().to_owned()),
    }
}

/// `%NN` is the byte NN (gRPC over HTTP/2, "Status-Message").
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                out.push(escaped);
                rest = &after[2..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

/// What our own side finds wrong with the bytes is another protocol.
fn failed(error: h2::Error) -> io::Error {
    let garbled = matches!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR | h2::Reason::FRAME_SIZE_ERROR));
    if garbled && error.is_library() {
        return odd("not an answer of HTTP/2: is this a port of gRPC?");
    }
    let text = error.to_string();
    error.into_io().unwrap_or_else(|| io::Error::other(text))
}

#[cfg(test)]
#[path = "tests/grpc.rs"]
mod tests;
