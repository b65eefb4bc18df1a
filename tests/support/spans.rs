//! Plausible traces from a seed: what a shop's tracers would send, as JSON values.
//!
//! Nothing here comes from `src/span` or `src/wire`, so a fault there cannot hide itself; the
//! proto3 form is written by the generated types. The same seed makes the same spans, always.

use prost::Message;
use serde_json::{Value, json};
use spangate::wire::r#gen::zipkin_proto3 as proto3;

/// 2026-01-01, in microseconds: when the first trace begins.
const FIRST_TRACE_US: u64 = 1_767_225_600_000_000;

/// Caller, callee, and the callee's port. The first caller is the shop's front door.
const CALLS: [(&str, &str, u16); 6] = [
    ("frontend", "cart", 8081),
    ("frontend", "catalogue", 8082),
    ("cart", "redis", 6379),
    ("catalogue", "search", 9200),
    ("cart", "orders", 8083),
    ("orders", "mysql", 3306),
];

/// A span, the names by which a test finds it again, and the whole of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// 16 or 32 lower-case hexadecimal digits, as Zipkin shows it.
    pub trace_id: String,
    /// 16 digits. The two halves of a call (`CLIENT`, and `SERVER` with `shared`) have one id.
    pub id: String,
    pub kind: Option<&'static str>,
    pub service: &'static str,
    pub json: Value,
}

pub struct Traces {
    random: fastrand::Rng,
    clock_us: u64,
}

impl Traces {
    pub fn seeded(seed: u64) -> Traces {
        Traces { random: fastrand::Rng::with_seed(seed), clock_us: FIRST_TRACE_US }
    }

    /// A whole trace: a request to the front door and the calls that it causes; 3 to 13 spans.
    pub fn trace(&mut self) -> Vec<Made> {
        self.clock_us += self.random.u64(1_000..1_000_000);
        let trace_id = self.trace_id();
        let mut made = Vec::new();
        let root = self.id();
        let duration_us = self.random.u64(20_000..900_000);
        let mut fields = self.fields("frontend", "SERVER", "get /shop", self.clock_us, duration_us);
        fields["tags"] = json!({ "http.method": "GET", "http.path": "/shop", "http.status_code": "200" });
        made.push(finish(fields, &trace_id, None, &root));
        let mut servers = vec![("frontend", root, self.clock_us)];
        for (caller, callee, port) in CALLS {
            let Some((_, parent, start_us)) = servers.iter().find(|(name, ..)| *name == caller).cloned() else {
                continue;
            };
            if made.len() < 3 || self.random.u8(..) < 200 {
                let at_us = start_us + self.random.u64(10..5_000);
                let id = self.call(&mut made, &trace_id, &parent, (caller, callee, port), at_us);
                servers.push((callee, id, at_us));
            }
        }
        made
    }

    /// Traces until there are `count` spans, the last one cut short.
    pub fn spans(&mut self, count: usize) -> Vec<Made> {
        let mut made = Vec::new();
        while made.len() < count {
            made.extend(self.trace());
        }
        made.truncate(count);
        made
    }

    /// Both halves of a call; databases do not trace, so theirs has one.
    fn call(
        &mut self,
        made: &mut Vec<Made>,
        trace_id: &str,
        parent: &str,
        (caller, callee, port): (&'static str, &'static str, u16),
        at_us: u64,
    ) -> String {
        let id = self.id();
        let duration_us = self.random.u64(100..10_000);
        let mut client = self.fields(caller, "CLIENT", &format!("call {callee}"), at_us, duration_us);
        client["remoteEndpoint"] = json!({ "serviceName": callee, "ipv4": "10.0.1.7", "port": port });
        if self.random.u8(..) < 40 {
            client["tags"]["error"] = json!("connection reset by peer");
            client["annotations"] = json!([{ "timestamp": at_us + 50, "value": "retry \"1\" · später" }]);
        }
        made.push(finish(client, trace_id, Some(parent), &id));
        if !matches!(callee, "redis" | "mysql") {
            let mut server = self.fields(callee, "SERVER", "handle", at_us + 20, duration_us - 50);
            server["shared"] = json!(true);
            made.push(finish(server, trace_id, Some(parent), &id));
        }
        id
    }

    fn fields(
        &mut self,
        service: &'static str,
        kind: &'static str,
        name: &str,
        timestamp_us: u64,
        duration_us: u64,
    ) -> Value {
        let host = self.random.u8(1..250);
        let zone = ["eu-1", "eu-2", "us-1"][usize::from(host % 3)];
        json!({
            "kind": kind, "name": name, "timestamp": timestamp_us, "duration": duration_us,
            "localEndpoint": { "serviceName": service, "ipv4": format!("10.0.0.{host}") },
            "tags": { "zone": zone, "host": format!("{service}-{host}") },
        })
    }

    /// Every other trace has an id of 128 bits.
    fn trace_id(&mut self) -> String {
        if self.random.bool() { self.id() } else { format!("{}{}", self.id(), self.id()) }
    }

    fn id(&mut self) -> String {
        format!("{:016x}", self.random.u64(1..))
    }
}

fn finish(mut json: Value, trace_id: &str, parent: Option<&str>, id: &str) -> Made {
    json["traceId"] = json!(trace_id);
    json["id"] = json!(id);
    if let Some(parent) = parent {
        json["parentId"] = json!(parent);
    }
    let one_of = |name: &Value, known: &[&'static str]| known.iter().copied().find(|known| name == known);
    let kind = one_of(&json["kind"], &["CLIENT", "SERVER"]);
    let services = ["frontend", "cart", "catalogue", "search", "orders"];
    let service = one_of(&json["localEndpoint"]["serviceName"], &services).expect("a caller or a callee that traces");
    Made { trace_id: trace_id.to_owned(), id: id.to_owned(), kind, service, json }
}

/// The body of a `POST /api/v2/spans` with `application/json`.
pub fn json_body(spans: &[Made]) -> Vec<u8> {
    let list: Vec<&Value> = spans.iter().map(|span| &span.json).collect();
    serde_json::to_vec(&list).unwrap()
}

/// The body of a `POST /api/v2/spans` with `application/x-protobuf`.
pub fn proto3_body(spans: &[Made]) -> Vec<u8> {
    proto3::ListOfSpans { spans: spans.iter().map(|span| proto3_span(&span.json)).collect() }.encode_to_vec()
}

/// A span of JSON v2 in canonical spelling (full hexadecimal ids, plain numbers) as the generated type.
pub fn proto3_span(json: &Value) -> proto3::Span {
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    let kind = ["", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"].iter().position(|kind| json["kind"] == *kind);
    let annotations = json["annotations"].as_array().into_iter().flatten();
    let tags = json["tags"].as_object().into_iter().flatten();
    proto3::Span {
        trace_id: hex(&text(&json["traceId"])),
        parent_id: hex(&text(&json["parentId"])),
        id: hex(&text(&json["id"])),
        kind: kind.unwrap_or(0) as i32,
        name: text(&json["name"]),
        timestamp: json["timestamp"].as_u64().unwrap_or(0),
        duration: json["duration"].as_u64().unwrap_or(0),
        local_endpoint: proto3_endpoint(&json["localEndpoint"]),
        remote_endpoint: proto3_endpoint(&json["remoteEndpoint"]),
        annotations: annotations
            .map(|a| proto3::Annotation { timestamp: a["timestamp"].as_u64().unwrap_or(0), value: text(&a["value"]) })
            .collect(),
        tags: tags.map(|(key, value)| (key.clone(), text(value))).collect(),
        debug: json["debug"] == true,
        shared: json["shared"] == true,
    }
}

fn proto3_endpoint(json: &Value) -> Option<proto3::Endpoint> {
    let ipv4 = json["ipv4"].as_str().and_then(|ip| ip.parse::<std::net::Ipv4Addr>().ok());
    let ipv6 = json["ipv6"].as_str().and_then(|ip| ip.parse::<std::net::Ipv6Addr>().ok());
    json.is_object().then(|| proto3::Endpoint {
        service_name: json["serviceName"].as_str().unwrap_or_default().to_owned(),
        ipv4: ipv4.map_or_else(Vec::new, |ip| ip.octets().to_vec()),
        ipv6: ipv6.map_or_else(Vec::new, |ip| ip.octets().to_vec()),
        port: json["port"].as_i64().unwrap_or(0) as i32,
    })
}

fn hex(text: &str) -> Vec<u8> {
    super::vectors::unhex(text)
}
