//! What is said when the gateway serves: a block on a terminal, else one log line a fact.
//!
//! [`facts`] and [`block`] are pure. The commands of the block work as printed in any POSIX
//! shell: the span's time and ids are made by `date`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::archive::Format;
use crate::config::value::{show_bytes, show_time};
use crate::gateway::{ArchiveAt, Promise, Started};

#[cfg(test)]
mod tests;

/// Tells whoever started it.
pub fn announce(started: &Started) {
    if io::stdout().is_terminal() {
        // The gateway serves whether or not its terminal is still there.
        let _ = write!(io::stdout().lock(), "{}", block(started));
        return;
    }
    tracing::info!("spangate {} serves", env!("CARGO_PKG_VERSION"));
    for (label, fact) in facts(started) {
        tracing::info!("{label}: {fact}");
    }
}

/// Label and text of each thing to know.
pub fn facts(started: &Started) -> Vec<(&'static str, String)> {
    let categories = match started.categories.iter().any(|c| c == "*") {
        true => "all categories".to_owned(),
        false => format!("category {}", started.categories.join(", ")),
    };
    let mut facts = vec![
        ("Scribe", listener(&started.scribe, &categories)),
        ("HTTP", listener(&started.http, "Zipkin v2 and v1, gRPC")),
        ("data", format!("{} ({})", started.data.display(), found(started))),
        ("yes means", promise(started.promise)),
    ];
    facts.extend(started.archives.iter().map(|archive| ("archive", archive_fact(archive))));
    if started.archives.is_empty() {
        facts.push(("archive", "none".into()));
    }
    facts.push(match started.collectors.is_empty() {
        true => ("collectors", "none: add --collector http://HOST:9411".into()),
        false => ("collectors", started.collectors.join(", ")),
    });
    facts.push(("admin", listener(&started.admin, "/metrics, /health, /ready")));
    facts
}

/// The block for a terminal.
pub fn block(started: &Started) -> String {
    let mut text = format!("\nspangate {}\n\n", env!("CARGO_PKG_VERSION"));
    for (label, fact) in facts(started) {
        writeln!(text, "  {label:<11} {fact}").expect("a String takes everything");
    }
    if let Some(http) = started.http.first() {
        writeln!(text, "\nSend a span:\n  {}", curl(*http)).expect("a String takes everything");
        if let Some(look) = started.archives.iter().find_map(look) {
            writeln!(text, "See it, ten seconds later:\n  {look}").expect("a String takes everything");
        }
    }
    text + "\n"
}

fn listener(addresses: &[SocketAddr], takes: &str) -> String {
    if addresses.is_empty() {
        return "none".into();
    }
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    format!("{} ({takes})", addresses.join(", "))
}

fn found(started: &Started) -> String {
    if started.promise == Promise::Held {
        return "for archive and dead letters".into();
    }
    let waiting: Vec<String> = started.waiting.iter().map(|(drain, n)| format!("{n} for {drain}")).collect();
    let mut text = match waiting.is_empty() {
        true => "no spans wait".into(),
        false => format!("spans wait: {}", waiting.join(", ")),
    };
    if started.found.damaged_items > 0 {
        let kept = started.found.damaged_path.as_ref().map(|path| format!(", kept in {}", path.display()));
        let damaged = started.found.damaged_items;
        write!(text, "; {damaged} damaged{}", kept.unwrap_or_default()).expect("a String takes everything");
    }
    text
}

fn promise(promise: Promise) -> String {
    match promise {
        Promise::Synced => "the spans are on disk".into(),
        Promise::Written(time) => {
            format!("the spans are written; a lost machine loses at most {}", show_time(time))
        }
        Promise::Held => {
            "the spans are in memory; what waits when the process ends is lost, to collectors and archive".into()
        }
    }
}

fn archive_fact(archive: &ArchiveAt) -> String {
    let keeps = archive.keep_bytes.map(|n| format!("keeps {}, oldest go first", show_bytes(n)));
    let keeps = keeps.unwrap_or_else(|| "never trimmed".into());
    format!("{} ({}, {keeps})", archive.at, archive.format.title())
}

/// A span named `hello` of the service `curl`, of now.
fn curl(http: SocketAddr) -> String {
    let host: IpAddr = match http.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}/api/v2/spans", SocketAddr::new(host, http.port()));
    // Digits of the time are hexadecimal enough for ids; shorter ones are padded.
    let span = r#"[{"traceId":"'$(date +%s)'","id":"'$(date +%s)'","name":"hello","timestamp":'$(date +%s)'000000,"duration":1000,"localEndpoint":{"serviceName":"curl"}}]"#;
    format!("curl -i {url} -H 'Content-Type: application/json' -d '{span}'")
}

/// How the span is seen in the built-in archive; one that was named is for queries and takes its time.
fn look(archive: &ArchiveAt) -> Option<String> {
    archive.keep_bytes?;
    let dir = shell_word(&archive.dir.as_ref()?.display().to_string());
    let (cat, end) = match archive.format {
        Format::JsonLinesGzip1 => ("zcat", "gz"),
        Format::JsonLinesZstd1 => ("zstdcat", "zst"),
        Format::Parquet1 => return None,
    };
    Some(format!("{cat} {dir}/*.{end} | grep '\"hello\"' | tail -n 1"))
}

/// A word as a POSIX shell reads it back.
fn shell_word(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+,:@".contains(&b));
    if plain { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
