//! v1 spans, Scribe's `Log` and lists, written by hand: a sender that shares no line with the product.
//!
//! Fields in the order of Zipkin's `V1ThriftSpanWriter`, strict message headers, framed.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};

#[derive(Clone, Debug, Default)]
pub struct Host {
    pub name: String,
    pub ipv4: u32,
    pub port: i16,
    pub ipv6: Option<[u8; 16]>,
}

/// (key, value bytes, `AnnotationType`, host).
pub type Binary = (String, Vec<u8>, i32, Option<Host>);

#[derive(Clone, Debug, Default)]
pub struct Span {
    pub trace_high: i64,
    pub trace: i64,
    pub id: i64,
    pub parent: Option<i64>,
    pub name: String,
    pub notes: Vec<(i64, String, Option<Host>)>,
    pub binary: Vec<Binary>,
    pub debug: Option<bool>,
    pub timestamp: Option<i64>,
    pub duration: Option<i64>,
}

const BOOL: u8 = 2;
const I16: u8 = 6;
const I32: u8 = 8;
const I64: u8 = 10;
const STRING: u8 = 11;
const STRUCT: u8 = 12;
const LIST: u8 = 15;

fn field(out: &mut Vec<u8>, kind: u8, id: u8) {
    out.extend([kind, 0, id]);
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).expect("a test's string is short").to_be_bytes());
    out.extend(bytes);
}

fn list(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend(u32::try_from(count).expect("a test's list is short").to_be_bytes());
}

fn long(out: &mut Vec<u8>, id: u8, value: i64) {
    field(out, I64, id);
    out.extend(value.to_be_bytes());
}

fn host(out: &mut Vec<u8>, id: u8, host: Option<&Host>) {
    let Some(host) = host else { return };
    field(out, STRUCT, id);
    field(out, I32, 1);
    out.extend(host.ipv4.to_be_bytes());
    field(out, I16, 2);
    out.extend(host.port.to_be_bytes());
    field(out, STRING, 3);
    string(out, host.name.as_bytes());
    if let Some(ipv6) = host.ipv6 {
        field(out, STRING, 4);
        string(out, &ipv6);
    }
    out.push(0);
}

impl Span {
    /// The bare struct, as Scribe carries it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        long(&mut out, 1, self.trace);
        field(&mut out, STRING, 3);
        string(&mut out, self.name.as_bytes());
        long(&mut out, 4, self.id);
        if let Some(parent) = self.parent {
            long(&mut out, 5, parent);
        }
        field(&mut out, LIST, 6);
        list(&mut out, STRUCT, self.notes.len());
        for (timestamp, value, at) in &self.notes {
            long(&mut out, 1, *timestamp);
            field(&mut out, STRING, 2);
            string(&mut out, value.as_bytes());
            host(&mut out, 3, at.as_ref());
            out.push(0);
        }
        field(&mut out, LIST, 8);
        list(&mut out, STRUCT, self.binary.len());
        for (key, value, kind, at) in &self.binary {
            field(&mut out, STRING, 1);
            string(&mut out, key.as_bytes());
            field(&mut out, STRING, 2);
            string(&mut out, value);
            field(&mut out, I32, 3);
            out.extend(kind.to_be_bytes());
            host(&mut out, 4, at.as_ref());
            out.push(0);
        }
        if let Some(debug) = self.debug {
            field(&mut out, BOOL, 9);
            out.push(u8::from(debug));
        }
        let optional =
            [(10, self.timestamp), (11, self.duration), (12, Some(self.trace_high).filter(|high| *high != 0))];
        for (id, value) in optional {
            if let Some(value) = value {
                long(&mut out, id, value);
            }
        }
        out.push(0);
        out
    }

    /// The trace id as Zipkin's API wants it.
    pub fn trace_hex(&self) -> String {
        match self.trace_high {
            0 => format!("{:016x}", self.trace),
            high => format!("{high:016x}{:016x}", self.trace),
        }
    }
}

/// A list for `/api/v1/spans` as `application/x-thrift`.
pub fn http_list(spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::new();
    list(&mut out, STRUCT, spans.len());
    spans.iter().for_each(|span| out.extend(span.bytes()));
    out
}

/// A list for `/api/v1/spans` as JSON, as reporters wrote it. Numbers are all 7: no reader of Zipkin's keeps them.
pub fn json_list(spans: &[Span]) -> Vec<u8> {
    let endpoint = |host: &Host| {
        let mut out = json!({"serviceName": host.name, "port": host.port as u16});
        if host.ipv4 != 0 {
            out["ipv4"] = Ipv4Addr::from(host.ipv4).to_string().into();
        }
        if let Some(ipv6) = host.ipv6 {
            out["ipv6"] = Ipv6Addr::from(ipv6).to_string().into();
        }
        out
    };
    let at = |mut out: Value, host: &Option<Host>| {
        if let Some(host) = host {
            out["endpoint"] = endpoint(host);
        }
        out
    };
    let binary = |(key, bytes, kind, host): &Binary| {
        let value = match kind {
            0 => Value::from(bytes == &[1]),
            6 => Value::from(String::from_utf8(bytes.clone()).expect("a test's text")),
            _ => Value::from(7),
        };
        at(json!({"key": key, "value": value}), host)
    };
    let span = |span: &Span| {
        let notes = span.notes.iter().map(|(time, value, host)| at(json!({"timestamp": time, "value": value}), host));
        let mut out = json!({
            "traceId": span.trace_hex(),
            "id": format!("{:016x}", span.id),
            "name": span.name,
            "annotations": notes.collect::<Vec<_>>(),
            "binaryAnnotations": span.binary.iter().map(binary).collect::<Vec<_>>(),
        });
        let parent = span.parent.map(|id| Value::from(format!("{id:016x}")));
        let debug = span.debug.map(Value::from);
        let times = [("timestamp", span.timestamp.map(Value::from)), ("duration", span.duration.map(Value::from))];
        for (field, value) in [("parentId", parent), ("debug", debug)].into_iter().chain(times) {
            if let Some(value) = value {
                out[field] = value;
            }
        }
        out
    };
    Value::from(spans.iter().map(span).collect::<Vec<_>>()).to_string().into_bytes()
}

/// What a `Log` was answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Ok,
    TryLater,
    /// An exception, with its bytes.
    Exception(Vec<u8>),
}

/// One connection to a Scribe port.
pub struct Scribe(TcpStream);

impl Scribe {
    pub fn dial(port: u16) -> io::Result<Scribe> {
        let limit = Duration::from_secs(15);
        let stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), limit)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Scribe(stream))
    }

    /// One `Log` of these spans in the category `zipkin`. An error means that the answer is unknown.
    pub fn log(&mut self, spans: &[Span]) -> io::Result<Said> {
        let mut call = vec![0x80, 1, 0, 1];
        string(&mut call, b"Log");
        call.extend([0, 0, 0, 9]);
        field(&mut call, LIST, 1);
        list(&mut call, STRUCT, spans.len());
        for span in spans {
            field(&mut call, STRING, 1);
            string(&mut call, b"zipkin");
            field(&mut call, STRING, 2);
            string(&mut call, base64::engine::general_purpose::STANDARD.encode(span.bytes()).as_bytes());
            call.push(0);
        }
        call.push(0);
        let mut frame = Vec::new();
        string(&mut frame, &call);
        self.0.write_all(&frame)?;
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("32 bits fit")];
        self.0.read_exact(&mut answer)?;
        // Header: version and type 2 (reply), "Log", sequence id 9; result: field 0, an i32.
        let reply = [&[0x80, 1, 0, 2, 0, 0, 0, 3][..], b"Log", &[0, 0, 0, 9, I32, 0, 0, 0, 0, 0]].concat();
        Ok(match answer.strip_prefix(&reply[..]) {
            Some([0, 0]) => Said::Ok,
            Some([1, 0]) => Said::TryLater,
            _ => Said::Exception(answer),
        })
    }
}
