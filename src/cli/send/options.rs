//! The flags of `spangate send`, and what they mean.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::collector;
use crate::config::value::{Kind, Value};

/// Where Scribe's `host` has no port.
const SCRIBE_PORT: u16 = 1463;
/// A connection is a socket; more than these want another limit of open files, too.
const CONNECTIONS_MAX: u64 = 1_000;
/// Some 11 MB as Scribe: a message that every default takes (frames of 16 MB, bodies of 10 MiB).
const BATCH_MAX: u64 = 10_000;
/// With `--prepare` all are in memory, at most some 1.2 KB each.
const PREPARED_MAX: u64 = 500_000;
/// Larger ones than `--prepare` reckons with are measured one by one.
const SPAN_BYTES_MAX: u64 = 100_000;
/// Bytes of spans that `--prepare` may keep: what that number has without `--span-bytes`.
const PREPARED_BYTES_MAX: u64 = PREPARED_MAX * 1_200;

const SPANS: Kind = Kind::Count { min: 1, max: u64::MAX, or: Some("endless") };
const RATE: Kind = Kind::Count { min: 1, max: 100_000_000, or: None };
const CONNECTIONS: Kind = Kind::Count { min: 1, max: CONNECTIONS_MAX, or: None };
const BATCH: Kind = Kind::Count { min: 1, max: BATCH_MAX, or: None };
const SPAN_BYTES: Kind = Kind::Count { min: 1, max: SPAN_BYTES_MAX, or: None };
const SEED: Kind = Kind::Count { min: 0, max: u64::MAX, or: None };
const PATIENCE: Kind = Kind::Time { min: Duration::from_millis(100), max: Duration::from_secs(86_400), or: None };

/// What a message is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A Scribe `Log` call of Thrift v1 spans.
    Scribe,
    Json,
    Proto3,
    JsonV1,
    /// A list of Thrift v1 spans.
    Thrift,
}

const V1_PATH: &str = "/api/v1/spans";
const V2_PATH: &str = "/api/v2/spans";

impl Format {
    /// The formats of HTTP, by name.
    const NAMES: [&'static str; 4] = ["json", "proto3", "json-v1", "thrift"];

    fn named(name: &str) -> Format {
        match name {
            "proto3" => Format::Proto3,
            "json-v1" => Format::JsonV1,
            "thrift" => Format::Thrift,
            _ => Format::Json,
        }
    }

    /// Where HTTP takes it.
    fn path(self) -> &'static str {
        if matches!(self, Format::JsonV1 | Format::Thrift) { V1_PATH } else { V2_PATH }
    }

    /// How HTTP calls it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Proto3 => "application/x-protobuf",
            Format::Thrift | Format::Scribe => "application/x-thrift",
            Format::Json | Format::JsonV1 => "application/json",
        }
    }
}

/// Where to send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `HOST:PORT`.
    Scribe(String),
    Http {
        host_port: String,
        path: String,
    },
    /// `HOST:PORT`.
    Grpc(String),
}

/// What is asked of `spangate send`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub target: Target,
    pub format: Format,
    /// `None` sends until it is stopped.
    pub spans: Option<u64>,
    /// Spans a second, over all connections.
    pub rate: Option<u64>,
    pub connections: u64,
    pub batch: u64,
    /// Bytes of JSON v2 to which a smaller span is filled up.
    pub span_bytes: Option<usize>,
    /// `None` takes another one each time.
    pub seed: Option<u64>,
    pub ledger: Option<PathBuf>,
    /// How long a message may go without a yes.
    pub patience: Duration,
    /// Encode all before the first byte is sent.
    pub prepare: bool,
}

const ABOUT: &str = "Sends made-up traces and says what was acknowledged";
const CLOSING: &str = "\
Whole traces of a shop with eight services, two stores and a queue, with an error now and then. What is answered \
TRY_LATER, 503 or 429, or not at all, is sent again until it is acknowledged or the patience is over. Exit code 0: \
all that was sent is acknowledged.";

/// The command for the parser.
pub fn command() -> Command {
    let text = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let typed = |name, value, kind: Kind| text(name, value).value_parser(move |text: &str| kind.parse(text));
    Command::new("send")
        .about(ABOUT)
        .after_help(CLOSING)
        .arg(text("scribe", "HOST[:1463]").value_parser(scribe).help("Send over Scribe, Thrift v1"))
        .arg(
            text("http", "URL")
                .value_parser(http)
                .conflicts_with("scribe")
                .help("Send over HTTP [http://127.0.0.1:9411]"),
        )
        .arg(
            text("grpc", "URL")
                .value_parser(grpc)
                .conflicts_with_all(["scribe", "http"])
                .help("Send over gRPC, proto3: http://HOST[:9411]"),
        )
        .arg(
            text("format", "json|proto3|json-v1|thrift")
                .value_parser(|text: &str| Kind::Choice(&Format::NAMES).parse(text))
                .conflicts_with_all(["scribe", "grpc"])
                .help("Encoding over HTTP; the last two go to /api/v1/spans [json]"),
        )
        .arg(typed("spans", "NUMBER|endless", SPANS).help("Spans in all [1000]"))
        .arg(typed("rate", "NUMBER", RATE).help("Spans a second at most [as fast as they are acknowledged]"))
        .arg(typed("connections", "NUMBER", CONNECTIONS).help("Connections, one message under way on each [4]"))
        .arg(typed("batch", "NUMBER", BATCH).help("Spans in a message [100]"))
        .arg(typed("span-bytes", "NUMBER", SPAN_BYTES).help("Fill spans up to so many bytes of JSON v2 [as they are]"))
        .arg(typed("seed", "NUMBER", SEED).help("The same seed makes the same traces [another one each time]"))
        .arg(
            text("ledger", "FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write each acknowledged span: trace id, id, kind"),
        )
        .arg(typed("patience", "TIME", PATIENCE).help("Give up a message that has no yes after this [10s]"))
        .arg(
            Arg::new("prepare")
                .long("prepare")
                .action(ArgAction::SetTrue)
                .help(format!("Encode all before the first is sent, for measurements; at most {PREPARED_MAX} spans")),
        )
}

/// Reads what the parser found; the error is a usage error of the whole.
pub fn read(matches: &ArgMatches) -> Result<Options, clap::Error> {
    let count = |name| match matches.get_one::<Value>(name) {
        Some(Value::Count(n)) => Some(*n),
        _ => None,
    };
    let endless = matches!(matches.get_one::<Value>("spans"), Some(Value::Word(_)));
    let (target, format) = where_to(matches)?;
    let options = Options {
        target,
        format,
        spans: (!endless).then(|| count("spans").unwrap_or(1_000)),
        rate: count("rate"),
        connections: count("connections").unwrap_or(4),
        batch: count("batch").unwrap_or(100),
        span_bytes: count("span-bytes").map(|bytes| usize::try_from(bytes).expect("its kind bounds it")),
        seed: count("seed"),
        ledger: matches.get_one::<PathBuf>("ledger").cloned(),
        patience: match matches.get_one::<Value>("patience") {
            Some(Value::Time(time)) => *time,
            _ => Duration::from_secs(10),
        },
        prepare: matches.get_flag("prepare"),
    };
    match options.prepare && options.spans.is_none_or(|spans| spans > prepared_max(&options)) {
        true => {
            let most = prepared_max(&options);
            Err(usage(format!("--prepare keeps all in memory: at most --spans {most} of this size")))
        }
        false => Ok(options),
    }
}

/// Spans that `--prepare` keeps.
fn prepared_max(options: &Options) -> u64 {
    let filled = options.span_bytes.and_then(|bytes| PREPARED_BYTES_MAX.checked_div(bytes as u64));
    filled.map_or(PREPARED_MAX, |most| most.min(PREPARED_MAX))
}

fn usage(what: String) -> clap::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, what + "\n")
}

/// The target, and the format that it is sent.
fn where_to(matches: &ArgMatches) -> Result<(Target, Format), clap::Error> {
    if let Some(target) = matches.get_one::<Target>("scribe") {
        return Ok((target.clone(), Format::Scribe));
    }
    if let Some(target) = matches.get_one::<Target>("grpc") {
        return Ok((target.clone(), Format::Proto3));
    }
    let format = match matches.get_one::<Value>("format") {
        Some(Value::Word(name)) => Format::named(name),
        _ => Format::Json,
    };
    let Some(HttpUrl { host_port, path }) = matches.get_one::<HttpUrl>("http") else {
        return Ok((Target::Http { host_port: "127.0.0.1:9411".into(), path: format.path().into() }, format));
    };
    if let Some(path) = path.filter(|path| *path != format.path()) {
        let takes = Format::NAMES.into_iter().filter(|name| Format::named(name).path() == path);
        let takes = takes.collect::<Vec<_>>().join(" or ");
        return Err(usage(format!("{path} takes --format {takes}; without a path, --http finds the right one")));
    }
    Ok((Target::Http { host_port: host_port.clone(), path: format.path().into() }, format))
}

/// `HOST[:1463]`, an IPv6 address in brackets or bare.
fn scribe(text: &str) -> Result<Target, String> {
    let expected = || "HOST or HOST:PORT, such as localhost:1463".to_owned();
    let host_port = text.strip_prefix("scribe://").unwrap_or(text).trim_end_matches('/');
    let bare_v6 = host_port.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match host_port.rsplit_once(':') {
        Some((host, port)) if !bare_v6 && !host_port.ends_with(']') => {
            (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(expected)?)
        }
        _ => (host_port, SCRIBE_PORT),
    };
    let odd = |c: char| c.is_whitespace() || c == '/' || c == '@';
    if host.is_empty() || host.contains(odd) || (host.contains(':') && !bare_v6 && !host.starts_with('[')) {
        return Err(expected());
    }
    Ok(Target::Scribe(if bare_v6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") }))
}

/// A URL as it was given.
#[derive(Debug, Clone)]
struct HttpUrl {
    host_port: String,
    path: Option<&'static str>,
}

/// A collector's URL, as `--collector` takes it, or with the path of v1; this sender speaks no TLS.
fn http(text: &str) -> Result<HttpUrl, String> {
    let expected = "http://HOST[:9411], with or without /api/v2/spans or /api/v1/spans";
    let path = [V1_PATH, V2_PATH].into_iter().find(|path| text.trim_end_matches('/').ends_with(path));
    let base = text.trim_end_matches('/');
    let base = path.and_then(|path| base.strip_suffix(path)).unwrap_or(base);
    Ok(HttpUrl { host_port: host_port(base, expected)?, path })
}

/// Where gRPC is spoken: a collector's URL without a path.
fn grpc(text: &str) -> Result<Target, String> {
    let expected = "http://HOST[:9411]";
    match text.contains("/api/") {
        true => Err(format!("{expected}, without a path: gRPC has its own")),
        false => host_port(text, expected).map(Target::Grpc),
    }
}

fn host_port(url: &str, expected: &str) -> Result<String, String> {
    match Kind::Collector.parse(url) {
        Ok(Value::Text(url)) if url.starts_with("http://") => Ok(collector::host_port(&url).to_owned()),
        Ok(Value::Text(url)) if url.starts_with("https://") => Err(format!("{expected} (no TLS here)")),
        _ => Err(expected.to_owned()),
    }
}

#[cfg(test)]
#[path = "tests/options.rs"]
mod tests;
