//! A listener for `send` that answers by a script and notes what it acknowledged.
//!
//! Reads by the generated types and serde_json, none of the product's readers, so that an encoder
//! and a decoder with the same fault do not agree here.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde_json::Value;
use spangate::wire::r#gen::{scribe::LogEntry, zipkin_core, zipkin_proto3 as proto3};
use thrift::protocol::{TBinaryInputProtocol, TInputProtocol, TMessageType, TSerializable};

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Scribe,
    Json,
    Proto3,
    JsonV1,
    Thrift,
    Grpc,
}

/// What it says to a message.
#[derive(Debug, Clone, Copy)]
pub enum Say {
    Yes,
    /// TRY_LATER, 503, UNAVAILABLE.
    Later,
    /// An exception, 400, INVALID_ARGUMENT.
    Never,
    /// Closes instead.
    Nothing,
}

/// What it saw; all but the names in spans.
#[derive(Default)]
pub struct Seen {
    /// `TRACE_ID ID KIND` of each span that was told yes.
    pub acknowledged: Vec<String>,
    pub later: u64,
    pub unanswered: u64,
    messages: usize,
}

pub struct Listener {
    pub address: SocketAddr,
    speaks: Speaks,
    seen: Arc<Mutex<Seen>>,
}

impl Listener {
    /// `script` answers by the number of the message, counted over all connections.
    pub fn start(speaks: Speaks, script: impl Fn(usize) -> Say + Send + Sync + 'static) -> Listener {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, seen) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Seen::default())));
        let (all, script) = (seen.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let (stream, seen, script) = (stream.unwrap(), all.clone(), script.clone());
                // A connection that the sender ends is a good end.
                std::thread::spawn(move || serve(stream, speaks, &seen, &*script));
            }
        });
        Listener { address, speaks, seen }
    }

    /// The flags that send to it.
    pub fn flags(&self) -> Vec<String> {
        let http = format!("http://{}", self.address);
        match self.speaks {
            Speaks::Scribe => vec!["--scribe".into(), self.address.to_string()],
            Speaks::Json => vec!["--http".into(), http],
            Speaks::Proto3 => vec!["--http".into(), http, "--format".into(), "proto3".into()],
            Speaks::JsonV1 => vec!["--http".into(), http, "--format".into(), "json-v1".into()],
            Speaks::Thrift => vec!["--http".into(), http, "--format".into(), "thrift".into()],
            Speaks::Grpc => vec!["--grpc".into(), http],
        }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

/// Notes what is said to a message of these spans.
fn say(seen: &Mutex<Seen>, script: &dyn Fn(usize) -> Say, names: Vec<String>) -> Say {
    let mut all = seen.lock().unwrap();
    let say = script(all.messages);
    all.messages += 1;
    match say {
        Say::Yes => all.acknowledged.extend(names),
        Say::Later => all.later += names.len() as u64,
        Say::Nothing => all.unanswered += names.len() as u64,
        Say::Never => {}
    }
    say
}

fn serve(stream: TcpStream, speaks: Speaks, seen: &Mutex<Seen>, script: &dyn Fn(usize) -> Say) -> io::Result<()> {
    if speaks == Speaks::Grpc {
        return super::grpc::serve(stream, &|list| say(seen, script, proto3_names(list)));
    }
    let mut stream = BufReader::new(stream);
    loop {
        let names = match speaks {
            Speaks::Scribe => scribe_names(&frame(&mut stream)?),
            Speaks::Json => json_names(&body(&mut stream, "/api/v2/spans", "application/json")?),
            Speaks::JsonV1 => json_v1_names(&body(&mut stream, "/api/v1/spans", "application/json")?),
            Speaks::Thrift => thrift_names(&body(&mut stream, "/api/v1/spans", "application/x-thrift")?),
            Speaks::Proto3 | Speaks::Grpc => {
                proto3_names(&body(&mut stream, "/api/v2/spans", "application/x-protobuf")?)
            }
        };
        let say = say(seen, script, names);
        let answer: &[u8] = match (speaks, say) {
            (_, Say::Nothing) => return Ok(()),
            (Speaks::Scribe, Say::Yes) => b"\x80\x01\0\x02\0\0\0\x03Log\0\0\0\x01\x08\0\0\0\0\0\0\0",
            (Speaks::Scribe, Say::Later) => b"\x80\x01\0\x02\0\0\0\x03Log\0\0\0\x01\x08\0\0\0\0\0\x01\0",
            (Speaks::Scribe, Say::Never) => b"\x80\x01\0\x03\0\0\0\x03Log\0\0\0\x01\x0b\0\x01\0\0\0\x0bnot with us\0",
            (_, Say::Yes) => b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
            (_, Say::Later) => b"HTTP/1.1 503 Full\r\nretry-after: 0\r\ncontent-length: 4\r\n\r\nfull",
            (_, Say::Never) => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 11\r\n\r\nnot with us",
        };
        if speaks == Speaks::Scribe {
            stream.get_mut().write_all(&(answer.len() as u32).to_be_bytes())?;
        }
        stream.get_mut().write_all(answer)?;
    }
}

fn frame(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    // What is no frame at all (another protocol) has an absurd length.
    let length = u32::from_be_bytes(length);
    if length > 64 << 20 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    Ok(payload)
}

fn body(stream: &mut BufReader<TcpStream>, path: &str, content_type: &str) -> io::Result<Vec<u8>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match String::from_utf8(line) {
            Ok(line) if !head.is_empty() || line == format!("POST {path} HTTP/1.1\r\n") => head += &line,
            _ => {
                stream.get_mut().write_all(b"HTTP/1.1 400 No HTTP\r\n\r\n")?;
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
    assert!(head.contains(&format!("content-type: {content_type}\r\n")), "{head}");
    let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn json_names(body: &[u8]) -> Vec<String> {
    let spans: Vec<Value> = serde_json::from_slice(body).unwrap();
    let text = |span: &Value, field: &str| span[field].as_str().unwrap().to_owned();
    spans.iter().map(|span| format!("{} {} {}", text(span, "traceId"), text(span, "id"), text(span, "kind"))).collect()
}

/// A kind by the annotations of v1.
fn kind_of<'v>(values: impl Iterator<Item = &'v str> + Clone) -> &'static str {
    let kinds = [("cs", "CLIENT"), ("sr", "SERVER"), ("ms", "PRODUCER"), ("mr", "CONSUMER")];
    kinds.iter().find(|(value, _)| values.clone().any(|found| found == *value)).unwrap().1
}

fn json_v1_names(body: &[u8]) -> Vec<String> {
    let spans: Vec<Value> = serde_json::from_slice(body).unwrap();
    let name = |span: &Value| {
        let kind = kind_of(span["annotations"].as_array().unwrap().iter().map(|a| a["value"].as_str().unwrap()));
        format!("{} {} {kind}", span["traceId"].as_str().unwrap(), span["id"].as_str().unwrap())
    };
    spans.iter().map(name).collect()
}

fn thrift_names(body: &[u8]) -> Vec<String> {
    let mut input = TBinaryInputProtocol::new(body, true);
    let spans = input.read_list_begin().unwrap().size;
    (0..spans).map(|_| thrift_name(&zipkin_core::Span::read_from_in_protocol(&mut input).unwrap())).collect()
}

fn thrift_name(span: &zipkin_core::Span) -> String {
    let kind = kind_of(span.annotations.as_ref().unwrap().iter().filter_map(|annotation| annotation.value.as_deref()));
    format!("{:016x}{:016x} {:016x} {kind}", span.trace_id_high.unwrap(), span.trace_id.unwrap(), span.id.unwrap())
}

fn proto3_names(body: &[u8]) -> Vec<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let name = |span: &proto3::Span| {
        let kind = span.kind().as_str_name();
        format!("{} {} {kind}", hex(&span.trace_id), hex(&span.id))
    };
    proto3::ListOfSpans::decode(body).unwrap().spans.iter().map(name).collect()
}

fn scribe_names(payload: &[u8]) -> Vec<String> {
    let mut input = TBinaryInputProtocol::new(payload, true);
    let head = input.read_message_begin().unwrap();
    assert_eq!((head.name.as_str(), head.message_type), ("Log", TMessageType::Call));
    input.read_struct_begin().unwrap();
    assert_eq!(input.read_field_begin().unwrap().id, Some(1));
    let entries = input.read_list_begin().unwrap().size;
    (0..entries).map(|_| entry_name(&LogEntry::read_from_in_protocol(&mut input).unwrap())).collect()
}

fn entry_name(entry: &LogEntry) -> String {
    assert_eq!(entry.category.as_deref(), Some("zipkin"));
    let bytes = STANDARD.decode(entry.message.as_ref().unwrap()).unwrap();
    thrift_name(&zipkin_core::Span::read_from_in_protocol(&mut TBinaryInputProtocol::new(&bytes[..], true)).unwrap())
}
