//! What hostile peers send, and how each is refused.

mod calls;
mod frames;
mod requests;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{BYTE, LONG};
use crate::support::grpc;
use crate::support::names::Name;
use crate::support::process::Gateway;
use crate::support::scribe::entry;

/// How it is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    /// Again and again by a few peers, over a connection for each.
    Flood,
    /// The same by many at once, and fewer in all, as each costs much.
    AtOnce,
    /// By many at once, who go on with a byte now and then and never end.
    ByteByByte,
}

/// Where it is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Door {
    Http,
    Scribe,
    /// As the body of a call, with this `grpc-encoding`.
    Grpc(&'static str),
    /// As the first half of one.
    Left(grpc::Leave),
}

/// What is sent.
enum Load {
    Same(Vec<u8>),
    /// Made of two good entries of this trace, each time of others: their spans must arrive.
    Around(i64, fn(&[String; GOOD]) -> Vec<u8>),
}

/// Good entries beside bad ones.
const GOOD: usize = 2;

pub struct Shot {
    pub what: &'static str,
    pub way: Way,
    door: Door,
    load: Load,
    fired: AtomicU64,
    /// What an answer holds; nothing where the connection is closed without one, or before it is heard.
    answer: &'static [&'static str],
    /// What the log says of it, where no answer does.
    pub log: &'static str,
    /// What the dead letters say, where entries of it end there.
    pub letters: &'static [&'static str],
    /// Family and labels.
    pub counter: (&'static str, &'static [&'static str]),
    /// What one of it adds to the counter.
    pub counts: u64,
}

impl Shot {
    /// Sends it over a connection of its own; the error is what was answered instead.
    pub fn fire(&self, gateway: &Gateway) -> Result<(), String> {
        let answer = match self.door {
            Door::Grpc(encoding) => self.call(encoding, gateway)?,
            Door::Left(leave) => self.leave(leave, gateway)?,
            Door::Http | Door::Scribe => self.exchange(gateway)?,
        };
        self.heard(&answer)
    }

    fn exchange(&self, gateway: &Gateway) -> Result<Vec<u8>, String> {
        let mut stream = self.dial(gateway);
        stream.set_read_timeout(Some(LONG)).expect("a time above none");
        // It may be cut off before it has said all.
        let _ = stream.write_all(&self.next()).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err("nothing, and it stays open".to_owned()),
            _ => Ok(answer),
        }
    }

    fn call(&self, encoding: &str, gateway: &Gateway) -> Result<Vec<u8>, String> {
        let mut client = grpc::Client::connect(self.address(gateway));
        client.timeout = LONG;
        let (headers, body) = ([("grpc-encoding", encoding)], self.next());
        let outcome = match self.way {
            Way::ByteByByte => client.go_on(client.begin(&headers), &body, BYTE),
            Way::Flood | Way::AtOnce => client.try_call(&headers, &[&body]),
        };
        let outcome = outcome.map_err(|error| format!("nothing: {error}"))?;
        let status = outcome.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        Ok(format!("grpc-status: {status}, {}", outcome.message).into_bytes())
    }

    fn leave(&self, leave: grpc::Leave, gateway: &Gateway) -> Result<Vec<u8>, String> {
        let mut client = grpc::Client::connect(self.address(gateway));
        client.timeout = LONG;
        client.leave(&self.next(), leave).map(|()| Vec::new()).map_err(|error| error.to_string())
    }

    /// Whether it is sent by what waits for its answer, so that each peer needs a thread.
    pub fn is_call(&self) -> bool {
        matches!(self.door, Door::Grpc(_))
    }

    /// Begins it, and does not wait for anything.
    pub fn begin(&self, gateway: &Gateway) -> TcpStream {
        let mut stream = self.dial(gateway);
        stream.write_all(&self.next()).expect("there is room for a few bytes");
        stream.set_nonblocking(true).expect("a socket can");
        stream
    }

    fn dial(&self, gateway: &Gateway) -> TcpStream {
        TcpStream::connect(self.address(gateway)).expect("it listens, with room for one more")
    }

    fn address(&self, gateway: &Gateway) -> SocketAddr {
        let port = if self.door == Door::Scribe { gateway.scribe } else { gateway.http };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// What is sent this time.
    fn next(&self) -> Vec<u8> {
        let nth = self.fired.fetch_add(1, Ordering::SeqCst);
        match &self.load {
            Load::Same(bytes) => bytes.clone(),
            Load::Around(trace, around) => around(&ids(nth).map(|id| entry(*trace, id, "good"))),
        }
    }

    /// The good spans that were beside it so far.
    pub fn good_spans(&self) -> Vec<Name> {
        let Load::Around(trace, _) = &self.load else { return Vec::new() };
        let name = |id| format!("{trace:016x} {id:016x} CLIENT");
        (0..self.fired.load(Ordering::SeqCst)).flat_map(ids).map(name).collect()
    }

    fn byte_by_byte(self) -> Shot {
        Shot { way: Way::ByteByByte, ..self }
    }

    /// The error is an answer that is not as it should be.
    pub fn heard(&self, answer: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(answer);
        if self.answer.iter().all(|part| text.contains(part)) { Ok(()) } else { Err(text.into_owned()) }
    }
}

/// Of the good spans of a trace those that go at this time.
fn ids(nth: u64) -> [i64; GOOD] {
    std::array::from_fn(|at| nth as i64 * GOOD as i64 + at as i64 + 1)
}

const MESSAGES: &str = "spangate_messages_refused_total";
const CONNECTIONS: &str = "spangate_connections_refused_total";

type Answer = &'static [&'static str];
type Labels = &'static [&'static str];

fn http(reason: Labels, what: &'static str, answer: Answer, bytes: Vec<u8>) -> Shot {
    Shot {
        what,
        way: Way::Flood,
        door: Door::Http,
        load: Load::Same(bytes),
        fired: AtomicU64::new(0),
        answer,
        log: "",
        letters: &[],
        counter: (MESSAGES, reason),
        counts: 1,
    }
}

/// Whose connection is closed, with a line in the log.
fn closed(door: Door, reason: Labels, what: &'static str, log: &'static str, bytes: Vec<u8>) -> Shot {
    Shot { door, log, counter: (CONNECTIONS, reason), ..http(reason, what, &[], bytes) }
}

/// What neighbours send who mean no harm: how much slower a good client becomes for them is for comparison.
pub fn harmless() -> Shot {
    frames::harmless()
}

/// One of each.
pub fn shots() -> Vec<Shot> {
    let mut all = requests::bad_bodies();
    all.extend(requests::bombs());
    all.extend(requests::bad_heads());
    all.extend(frames::bad_calls());
    all.extend(frames::beside_good_ones());
    all.extend(calls::bad_messages());
    all.extend(calls::bombs());
    all.extend(calls::cut());
    all.extend(requests::slow());
    all.extend([frames::slow(), calls::slow()]);
    all
}
