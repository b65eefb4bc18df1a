//! From understood values to `Settings`: the only reader of the table's rows.

use std::path::{Path, PathBuf};

use super::drains::{Drain, Kind};
use super::layers::Values;
use super::{ChannelKind, Log, LogFormat, Settings};
use crate::archive::Template;
use crate::archive::target::{Connect, PART_BYTES, Remote, Target};
use crate::channel::{Start, Sync};
use crate::drain::sieve::{Filter, Sieve};
use crate::drain::{Policy, Terms};
use crate::listener::{http, intake, scribe};
use crate::sink::{self, zipkin::Encoding};
use crate::{admin, archive, channel, deadletter, drain};

/// Settings of the values; `data` is absolute by now.
pub fn settings(values: &Values, drains: &[Drain]) -> Settings {
    let data = PathBuf::from(values.text("data"));
    let free_min = values.number_or("channel.free_min");
    let mut settings = Settings {
        scribe: scribe(values),
        http: http(values),
        intake: intake::Settings {
            bytes_in_flight: values.size("intake.bytes_in_flight"),
            commit_wait: values.time("intake.commit_wait"),
        },
        admin: admin(values),
        channel_kind: channel_kind(values),
        channel: channel(values, &data, free_min),
        dead_letters: deadletter::Settings {
            dir: data.join("dead-letters"),
            refused_bytes_max: values.number("dead_letters.refused_max"),
            undecodable_bytes_max: values.number("dead_letters.undecodable_max"),
            free_min_bytes: half(free_min),
        },
        drains: Vec::new(),
        archives: Vec::new(),
        retired: Vec::new(),
        stop_timeout: values.time("stop_timeout"),
        log: log(values),
        data,
    };
    for drain in drains {
        match &drain.kind {
            Kind::Group { values, sinks, .. } => settings.drains.push(group(&drain.name, values, sinks)),
            Kind::Archive { values } => {
                let built = archive(&drain.name, values, &settings.data, free_min);
                settings.archives.push(built);
            }
            Kind::Retired => settings.retired.push(drain.name.clone()),
        }
    }
    settings
}

/// Dead letters may use half of the channel's reserve.
fn half(free_min: Option<u64>) -> Option<u64> {
    free_min.map(|bytes| bytes / 2)
}

fn scribe(values: &Values) -> scribe::Settings {
    scribe::Settings {
        addresses: values.addresses("scribe.address"),
        categories: values.words("scribe.categories"),
        frame_bytes_max: values.size("scribe.frame_max"),
        frame_timeout: values.time("scribe.frame_timeout"),
        frame_rate_min: values.number("scribe.frame_rate_min"),
        connections_max: values.size("scribe.connections_max"),
        labels: values.labels("scribe.labels").into_iter().collect(),
        keep_binary_annotations: values.text("scribe.binary_annotations") == "keep",
        allow_shutdown: values.yes("scribe.allow_shutdown"),
        replay_mark: values.yes("scribe.replay_mark"),
    }
}

fn http(values: &Values) -> http::Settings {
    http::Settings {
        addresses: values.addresses("http.address"),
        body_bytes_max: values.size("http.body_max"),
        decoded_bytes_max: values.size("http.decoded_max"),
        decoded_ratio_max: values.size("http.decoded_ratio_max"),
        header_timeout: values.time("http.header_timeout"),
        body_timeout: values.time("http.body_timeout"),
        body_rate_min: values.number("http.body_rate_min"),
        idle_timeout: values.time("http.idle_timeout"),
        connections_max: values.size("http.connections_max"),
        labels: values.labels("http.labels").into_iter().collect(),
        keep_binary_annotations: values.text("http.binary_annotations") == "keep",
        allowed_origins: values.words("http.allowed_origins"),
        replay_mark: values.yes("http.replay_mark"),
    }
}

fn admin(values: &Values) -> admin::Settings {
    let token_file = Some(values.text("admin.token_file")).filter(|path| path != "none").map(PathBuf::from);
    admin::Settings { addresses: values.addresses("admin.address"), token_file }
}

fn channel_kind(values: &Values) -> ChannelKind {
    if values.text("channel.kind") == "memory" { ChannelKind::Memory } else { ChannelKind::File }
}

fn channel(values: &Values, data: &Path, free_min: Option<u64>) -> channel::Settings {
    channel::Settings {
        dir: data.join("channel"),
        capacity_bytes: values.number("channel.capacity"),
        capacity_spans: values.number_or("channel.capacity_spans"),
        sync: values.time_or("channel.sync").map_or(Sync::Always, Sync::Every),
        // A full disk is nothing to what is kept in memory.
        free_min_bytes: if channel_kind(values) == ChannelKind::Memory { Some(0) } else { free_min },
        cache_bytes: values.size("channel.cache"),
    }
}

fn log(values: &Values) -> Log {
    let format = if values.text("log.format") == "json" { LogFormat::Json } else { LogFormat::Text };
    Log { format, level: values.text("log.level") }
}

/// What a drain takes, whichever kind it is of.
fn filter(values: &Values) -> Filter {
    Filter {
        listeners: values.words("filter.listeners"),
        categories: values.words("filter.categories"),
        services: values.words("filter.services"),
        services_exclude: values.words("filter.services_exclude"),
        labels: values.labels("filter.labels"),
        leave_replayed: false,
    }
}

/// What an archive takes: as a rule nothing that one had before.
pub fn archived(values: &Values) -> Sieve {
    let filter = Filter { leave_replayed: !values.yes("filter.replayed"), ..filter(values) };
    Sieve::new(filter, values.share("sample_rate"))
}

fn group(name: &str, values: &Values, sinks: &[Values]) -> super::Drain {
    let batch = drain::BatchSettings {
        spans: narrow(values.number("batch.spans")),
        bytes: values.size("batch.bytes"),
        linger: values.time("batch.linger"),
    };
    super::Drain {
        drain: drain::Settings {
            name: name.into(),
            policy: policy(&values.text("policy")),
            sieve: Sieve::new(filter(values), values.share("sample_rate")),
            max_age: values.time_or("max_age"),
            overflow: if values.text("overflow") == "skip" { drain::Overflow::Skip } else { drain::Overflow::Block },
            batch,
            in_flight_max: values.size("in_flight"),
            rate_max: values.number_or("rate_max"),
            backlog_rate: values.number_or("backlog_rate"),
            backoff_min: values.time("backoff_min"),
            backoff_max: values.time("backoff_max"),
            mass_refusal: match values.text("mass_refusal") == "dead_letter" {
                true => drain::MassRefusal::DeadLetter,
                false => drain::MassRefusal::Hold,
            },
        },
        start: if values.text("start") == "oldest" { Start::Oldest } else { Start::End },
        sinks: sinks.iter().map(sink).collect(),
        terms: sinks.iter().map(|sink| terms(sink, batch)).collect(),
    }
}

/// A count that the table bounds far below.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).expect("the table bounds it far below")
}

fn policy(word: &str) -> Policy {
    match word {
        "round_robin" => Policy::RoundRobin,
        "random" => Policy::Random,
        "weighted" => Policy::Weighted,
        "least_loaded" => Policy::LeastLoaded,
        "failover" => Policy::Failover,
        "by_trace" => Policy::ByTrace,
        _ => unreachable!("the table has no other policy than {word}"),
    }
}

/// What a sink has of its own; `batch` is its drain's.
fn terms(values: &Values, batch: drain::BatchSettings) -> Terms {
    let own = |key| values.get(key).is_some();
    Terms {
        weight: narrow(values.number("weight")),
        priority: narrow(values.number("priority")),
        batch: Some(drain::BatchSettings {
            spans: if own("batch.spans") { narrow(values.number("batch.spans")) } else { batch.spans },
            bytes: if own("batch.bytes") { values.size("batch.bytes") } else { batch.bytes },
            linger: if own("batch.linger") { values.time("batch.linger") } else { batch.linger },
        }),
        rate_max: values.number_or("rate_max"),
        watch: values.text("watch") == "zipkin",
    }
}

fn sink(values: &Values) -> sink::Settings {
    let (name, url, timeout) = (values.text("name"), values.text("url"), values.time("timeout"));
    if let Some(address) = url.strip_prefix("scribe://") {
        let category = values.text("category");
        return sink::Settings::Scribe(sink::scribe::Settings { name, address: address.into(), category, timeout });
    }
    let encoding = if values.text("encoding") == "json" { Encoding::JsonV2 } else { Encoding::Proto3 };
    sink::Settings::Zipkin(sink::zipkin::Settings { name, url, encoding, gzip: values.yes("gzip"), timeout })
}

fn format(text: &str) -> archive::Format {
    match text {
        "parquet" => archive::Format::Parquet1,
        "jsonl.zst" => archive::Format::JsonLinesZstd1,
        _ => archive::Format::JsonLinesGzip1,
    }
}

/// Where an archive's objects stand.
pub fn path(archive: &Values) -> Template {
    let path = Template::parse(&archive.text("path")).expect("the table checks it");
    let zone = archive.text("zone").parse().expect("the table checks it");
    path.in_zone(zone).rounded(archive.time_or("round")).by_span_time(archive.text("time") == "span")
}

fn archive(name: &str, values: &Values, data: &Path, free_min_bytes: Option<u64>) -> archive::Settings {
    archive::Settings {
        name: name.into(),
        sieve: archived(values),
        target: target(values, data),
        built_in: data.join("archive"),
        data: data.to_owned(),
        connect: Connect {
            region: Some(values.text("region")).filter(|region| region != "none"),
            path_style: values.yes("path_style"),
            timeout: values.time("timeout"),
            put_bytes_max: values.number("put_max"),
            part_bytes: PART_BYTES,
            variables: None,
        },
        format: format(&values.text("format")),
        path: path(values),
        roll_bytes: values.number("roll_size"),
        roll_age: values.time("roll_age"),
        roll_idle: values.time("roll_idle"),
        free_min_bytes,
    }
}

fn target(values: &Values, data: &Path) -> Target {
    let text = values.text("archive");
    if let Some(dir) = text.strip_prefix("file://") {
        return Target::Local { dir: dir.into() };
    }
    let endpoint = Some(values.text("endpoint")).filter(|endpoint| endpoint != "none");
    match Remote::parse(&text) {
        Some(remote) => Target::Remote(Remote { endpoint, ..remote }),
        None => Target::BuiltIn { dir: data.join("archive"), keep_bytes: values.number("keep") },
    }
}
