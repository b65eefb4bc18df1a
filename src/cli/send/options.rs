//! The flags of `spangate send`, and what they mean.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::value::{Kind, Value};

/// Where Scribe's `host` has no port.
const SCRIBE_PORT: u16 = 1463;
/// A connection is a socket; more than these want another limit of open files, too.
const CONNECTIONS_MAX: u64 = 1_000;
/// Some 11 MB as Scribe: a message that every default takes (frames of 16 MB, bodies of 10 MiB).
const BATCH_MAX: u64 = 10_000;
/// With `--prepare` all are in memory, at most some 1.2 KB each.
const PREPARED_MAX: u64 = 500_000;

const SPANS: Kind = Kind::Count { min: 1, max: u64::MAX, or: Some("endless") };
const RATE: Kind = Kind::Count { min: 1, max: 100_000_000, or: None };
const CONNECTIONS: Kind = Kind::Count { min: 1, max: CONNECTIONS_MAX, or: None };
const BATCH: Kind = Kind::Count { min: 1, max: BATCH_MAX, or: None };
const SEED: Kind = Kind::Count { min: 0, max: u64::MAX, or: None };
const PATIENCE: Kind = Kind::Time { min: Duration::from_millis(100), max: Duration::from_secs(86_400), or: None };

/// What a message is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A Scribe `Log` call of Thrift v1 spans.
    Scribe,
    Json,
    Proto3,
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
            text("format", "json|proto3")
                .value_parser(|text: &str| Kind::Choice(&["json", "proto3"]).parse(text))
                .conflicts_with("scribe")
                .help("Encoding over HTTP [json]"),
        )
        .arg(typed("spans", "NUMBER|endless", SPANS).help("Spans in all [1000]"))
        .arg(typed("rate", "NUMBER", RATE).help("Spans a second at most [as fast as they are acknowledged]"))
        .arg(typed("connections", "NUMBER", CONNECTIONS).help("Connections, one message under way on each [4]"))
        .arg(typed("batch", "NUMBER", BATCH).help("Spans in a message [100]"))
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
    let target = matches.get_one::<Target>("scribe").or_else(|| matches.get_one("http"));
    let target = target
        .cloned()
        .unwrap_or_else(|| Target::Http { host_port: "127.0.0.1:9411".into(), path: "/api/v2/spans".into() });
    let proto3 = matches!(matches.get_one::<Value>("format"), Some(Value::Word("proto3")));
    let options = Options {
        format: match target {
            Target::Scribe(_) => Format::Scribe,
            Target::Http { .. } if proto3 => Format::Proto3,
            Target::Http { .. } => Format::Json,
        },
        target,
        spans: (!endless).then(|| count("spans").unwrap_or(1_000)),
        rate: count("rate"),
        connections: count("connections").unwrap_or(4),
        batch: count("batch").unwrap_or(100),
        seed: count("seed"),
        ledger: matches.get_one::<PathBuf>("ledger").cloned(),
        patience: match matches.get_one::<Value>("patience") {
            Some(Value::Time(time)) => *time,
            _ => Duration::from_secs(10),
        },
        prepare: matches.get_flag("prepare"),
    };
    match options.prepare && options.spans.is_none_or(|spans| spans > PREPARED_MAX) {
        true => {
            let what = format!("--prepare keeps all in memory: at most --spans {PREPARED_MAX}\n");
            Err(clap::Error::raw(clap::error::ErrorKind::ValueValidation, what))
        }
        false => Ok(options),
    }
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

/// A collector's URL, as `--collector` takes it; this sender speaks no TLS.
fn http(text: &str) -> Result<Target, String> {
    let expected = || "http://HOST[:9411], with or without /api/v2/spans".to_owned();
    match Kind::Collector.parse(text) {
        Ok(Value::Text(url)) => {
            let rest = url.strip_prefix("http://").ok_or_else(|| format!("{} (no TLS here)", expected()))?;
            let (host_port, path) = rest.split_once('/').ok_or_else(expected)?;
            Ok(Target::Http { host_port: host_port.into(), path: format!("/{path}") })
        }
        _ => Err(expected()),
    }
}

#[cfg(test)]
#[path = "tests/options.rs"]
mod tests;
