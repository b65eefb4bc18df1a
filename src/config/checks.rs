//! What is wrong between settings that are each right.
//!
//! Each check is a function over what was understood; it leaves alone what was not
//! ([`Values::intact`]), so that one mistake is one problem.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::build;
use super::collector::own_listener;
use super::drains::{Drain, Kind};
use super::layers::Values;
use super::problem::{Origin, Problem};
use super::value::{Value, show_time};
use crate::archive::path::{self, LASTS_MIN};
use crate::archive::plan::Place;
use crate::archive::target::{Remote, Scheme, Target};
use crate::drain::sieve::TEXT_BYTES_MAX;

const LISTENERS: [&str; 3] = ["scribe.address", "http.address", "admin.address"];

/// All of them.
pub fn all(values: &Values, drains: &[Drain], problems: &mut Vec<Problem>) {
    problems.extend(some_drain(drains, problems));
    problems.extend(one_listener_an_address(values));
    orders(values, &GATEWAY, problems);
    problems.extend(no_sync_in_memory(values));
    problems.extend(each_its_own_place(drains));
    for drain in drains {
        match &drain.kind {
            Kind::Group { values: group, sinks, .. } => {
                orders(group, &GROUP, problems);
                problems.extend(sinks.iter().filter_map(|sink| no_loop(values, sink)));
                problems.extend(sinks.iter().flat_map(|sink| of_another_policy(group, sink)));
                problems.extend(sinks.iter().flat_map(of_another_protocol));
            }
            Kind::Archive { values: archive } => {
                orders(archive, &ARCHIVE, problems);
                problems.extend(keeps_to_its_own(archive, values));
                problems.extend(sieve_is_short(archive));
                problems.extend(directories_last(archive));
                problems.extend(built_in_is_flat(archive));
                problems.extend(labels_are_given(archive, values));
            }
            Kind::Retired => {}
        }
    }
}

/// Without a drain, what is taken would go nowhere.
fn some_drain(drains: &[Drain], problems: &[Problem]) -> Option<Problem> {
    let none = drains.iter().all(|drain| matches!(drain.kind, Kind::Retired));
    // A drain that was not understood is a problem already.
    let misread = problems.iter().any(|p| p.key.starts_with("drain") || p.key == "collector" || p.key.is_empty());
    (none && !misread).then(|| {
        let what = "there is none, so spans would go nowhere: add --collector http://HOST:9411, \
            or leave --archive at builtin";
        Problem::new(&Origin::Default, "drain", what)
    })
}

/// Two sockets on one address: the second would not bind. Port 0 is a free one each time.
fn one_listener_an_address(values: &Values) -> Vec<Problem> {
    let all: Vec<(&str, SocketAddr)> =
        LISTENERS.iter().flat_map(|key| values.addresses(key).into_iter().map(|address| (*key, address))).collect();
    let mut problems = Vec::new();
    for (n, (key, address)) in all.iter().enumerate() {
        if let Some((other, taken)) = all[..n].iter().find(|(_, taken)| clash(taken, address))
            && values.intact(&[key, other])
        {
            // The one that was typed is the one to change.
            let (key, other) = if values.at(key) < values.at(other) { (other, key) } else { (key, other) };
            let what = match taken == address {
                true => format!("{address} is taken by {other}; each listener needs its own port"),
                false => format!("{taken} and {address} are one address; {other} and this need a port each"),
            };
            problems.push(Problem::new(values.at(key), *key, what));
        }
    }
    problems
}

fn clash(a: &SocketAddr, b: &SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let overlap = a.ip() == b.ip() || (same_family && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() != 0 && a.port() == b.port() && overlap
}

/// A collector that is one of our own listeners would be sent its own spans for ever.
fn no_loop(values: &Values, sink: &Values) -> Option<Problem> {
    let url = sink.text("url");
    let (key, listener) = LISTENERS.iter().find_map(|key| {
        let listeners = values.addresses(key);
        let own = own_listener(&url, listeners.iter()).copied();
        own.filter(|_| values.intact(&[key])).map(|own| (*key, own))
    })?;
    let flag = key.replace('.', "-");
    let what = format!(
        "{url} is this gateway's own listener {key} = {listener}; name the collector's address, \
         or move the gateway with --{flag}"
    );
    Some(Problem::new(sink.at("url"), sink.full_key("url"), what))
}

/// What a sink says for a policy that its drain has not.
fn of_another_policy(group: &Values, sink: &Values) -> Vec<Problem> {
    let policy = group.text("policy");
    let pairs = [("weight", "weighted"), ("priority", "failover")];
    let unheard = pairs
        .iter()
        .filter(|(key, of)| policy != *of && sink.number(key) != 1 && sink.intact(&[key]) && group.intact(&["policy"]));
    let problem = |(key, of): &(&str, &str)| {
        let (value, drain) = (sink.number(key), group.full_key("policy"));
        let what = format!("{key} = {value} is for policy = \"{of}\" alone, and {drain} is \"{policy}\"");
        Problem::new(sink.at(key), sink.full_key(key), what)
    };
    unheard.map(problem).collect()
}

/// What is said of a sink and is not heard over its protocol. A default may stand: the resolved file has them all.
fn of_another_protocol(sink: &Values) -> Vec<Problem> {
    let over_scribe = sink.text("url").starts_with("scribe://");
    let unheard = [
        ("encoding", over_scribe && sink.text("encoding") != "proto3"),
        ("gzip", over_scribe && sink.yes("gzip")),
        ("category", !over_scribe && sink.text("category") != "zipkin"),
    ];
    let what = match over_scribe {
        true => "Scribe has one encoding, Thrift v1 in base64; this key is for HTTP alone",
        false => "HTTP has no categories; this key is for scribe://HOST:9410 alone",
    };
    let said = unheard.into_iter().filter(|(key, unheard)| *unheard && sink.intact(&[key]));
    said.map(|(key, _)| Problem::new(sink.at(key), sink.full_key(key), what)).collect()
}

/// `(less, more, why)`: the first may not be greater than the second.
type Order = (&'static str, &'static str, &'static str);

const GATEWAY: [Order; 6] = [
    ("scribe.frame_max", "channel.capacity", "such a call could never be kept"),
    ("http.body_max", "channel.capacity", "such a body could never be kept"),
    ("scribe.frame_max", "intake.bytes_in_flight", "such a call could never be taken"),
    ("http.body_max", "intake.bytes_in_flight", "such a body could never be taken"),
    ("http.body_max", "http.decoded_max", "a body is not smaller decoded"),
    ("channel.cache", "channel.capacity", "there is nothing more to keep"),
];
const GROUP: [Order; 1] = [("backoff_min", "backoff_max", "the first rest is the shortest")];
const ARCHIVE: [Order; 2] = [
    ("roll_idle", "roll_age", "an object is closed at that age anyway"),
    ("roll_size", "keep", "an object would go as soon as it is written"),
];

fn orders(values: &Values, orders: &[Order], problems: &mut Vec<Problem>) {
    for (less, more, why) in orders {
        let (Some(small), Some(great)) = (values.get(less), values.get(more)) else { continue };
        if values.intact(&[less, more]) && greater(small, great) {
            // The one that was typed is the one to change.
            let (at, key) = if values.at(less) >= values.at(more) { (less, less) } else { (more, more) };
            let what =
                format!("{} = {small} is more than {} = {great}: {why}", values.full_key(less), values.full_key(more));
            problems.push(Problem::new(values.at(at), values.full_key(key), what));
        }
    }
}

fn greater(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Bytes(a), Value::Bytes(b)) => a > b,
        (Value::Time(a), Value::Time(b)) => a > b,
        _ => unreachable!("the orders above compare sizes with sizes and times with times"),
    }
}

/// There is nothing to sync in memory: whoever sets it expects what is not promised.
fn no_sync_in_memory(values: &Values) -> Option<Problem> {
    let (key, at) = ("channel.sync", values.at("channel.sync"));
    let in_memory = values.text("channel.kind") == "memory" && values.intact(&["channel.kind", key]);
    (in_memory && *at != Origin::Default).then(|| {
        let what = "is for a channel of files alone, and channel.kind is \"memory\", which syncs nothing: take it away, \
            or set channel.kind to \"file\"";
        Problem::new(at, key, what)
    })
}

/// An archive's plans record what it takes.
fn sieve_is_short(archive: &Values) -> Option<Problem> {
    let long = build::archived(archive).to_string().len();
    (long > TEXT_BYTES_MAX).then(|| {
        let what = format!(
            "filter and sample_rate take {long} bytes in an archive's plans, which have room for {TEXT_BYTES_MAX}: use \
             beginnings of names with * at the end"
        );
        Problem::new(archive.at("filter.services"), archive.full_key("filter.services"), what)
    })
}

/// Two archives of one channel name their objects alike, by channel and positions: in one place, or in one within the
/// other, names would meet whatever the paths are, and a query would count spans twice.
fn each_its_own_place(drains: &[Drain]) -> Vec<Problem> {
    let mut places: Vec<(String, PathBuf, &str)> = Vec::new();
    let mut problems = Vec::new();
    for drain in drains {
        let Kind::Archive { values } = &drain.kind else { continue };
        if !values.intact(&["archive", "endpoint"]) {
            continue;
        }
        let (endpoint, place) = (values.text("endpoint"), PathBuf::from(values.text("archive")));
        let meets = |taken: &Path| taken.starts_with(&place) || place.starts_with(taken);
        if let Some((_, taken, other)) = places.iter().find(|(at, taken, _)| *at == endpoint && meets(taken)) {
            let what = format!(
                "drain {other} writes to {}, and both name objects by channel and positions, whatever the path: give \
                 each its own place, none within the other",
                taken.display()
            );
            problems.push(Problem::new(&drain.at, values.full_key("archive"), what));
        }
        places.push((endpoint, place, &drain.name));
    }
    problems
}

/// A directory has at least one object: those of seconds would have no more than one each.
fn directories_last(archive: &Values) -> Option<Problem> {
    const DAY: u64 = 86_400;
    if !archive.intact(&["path", "time", "zone", "round"]) {
        return None;
    }
    let divides = |round: &Duration| round.subsec_nanos() == 0 && DAY.is_multiple_of(round.as_secs());
    if let Some(round) = archive.time_or("round").filter(|round| !divides(round)) {
        let what = format!("{} is no part of a day in whole seconds", show_time(round));
        return Some(Problem::new(archive.at("round"), archive.full_key("round"), what));
    }
    let short = build::path(archive).lasts().filter(|lasts| *lasts < LASTS_MIN)?;
    let what = format!(
        "each directory would last {}: with round = \"{}\" or more it lasts longer",
        show_time(short),
        show_time(LASTS_MIN)
    );
    Some(Problem::new(archive.at("path"), archive.full_key("path"), what))
}

/// A placeholder that is neither ours nor a label of any listener was meant to be another.
fn labels_are_given(archive: &Values, gateway: &Values) -> Option<Problem> {
    const LABELS: [&str; 2] = ["scribe.labels", "http.labels"];
    if !archive.intact(&["path", "time", "zone", "round"]) || !gateway.intact(&LABELS) {
        return None;
    }
    let given = LABELS.map(|key| gateway.labels(key));
    let template = build::path(archive);
    let unknown = template.labels().find(|label| !given.iter().any(|labels| labels.contains_key(*label)))?;
    let what = format!(
        "{{{unknown}}} is none of {}, nor a label that scribe.labels or http.labels gives",
        path::placeholders()
    );
    Some(Problem::new(archive.at("path"), archive.full_key("path"), what))
}

/// The built-in archive is one directory, in which what is oldest is found and removed.
fn built_in_is_flat(archive: &Values) -> Option<Problem> {
    let wrong = archive.text("archive") == "builtin" && !archive.text("path").is_empty();
    (wrong && archive.intact(&["archive", "path"])).then(|| {
        let what = "is for what you name yourself: builtin is one directory, so that zcat DATA/archive/*.gz finds all";
        Problem::new(archive.at("path"), archive.full_key("path"), what)
    })
}

/// An archive of the user's own: outside our data directory, never trimmed, and with settings of its kind alone.
fn keeps_to_its_own(archive: &Values, gateway: &Values) -> Vec<Problem> {
    let text = archive.text("archive");
    let mut problems = Vec::new();
    let mut wrong = |key: &str, what: String| problems.push(Problem::new(archive.at(key), archive.full_key(key), what));
    let remote = Remote::parse(&text);
    let scheme = remote.as_ref().map(|remote| remote.scheme);
    if scheme.is_none_or(|scheme| scheme == Scheme::Hdfs) && archive.text("endpoint") != "none" {
        wrong("endpoint", "is for s3://, gs:// and az:// alone".to_owned());
    }
    if scheme != Some(Scheme::S3) && archive.text("region") != "none" {
        wrong("region", "is for s3:// alone".to_owned());
    }
    let dir = text.strip_prefix("file://");
    if remote.is_none() && dir.is_none() {
        return problems;
    }
    if *archive.at("keep") != Origin::Default {
        wrong("keep", "is for \"builtin\" alone: what you name yourself is never trimmed".to_owned());
    }
    let Some(dir) = dir else { return problems };
    if Path::new(dir).starts_with(gateway.text("data")) {
        wrong("archive", format!("{dir} is in the data directory; use \"builtin\", or a directory of its own"));
    }
    if Path::new(&gateway.text("data")).starts_with(dir) {
        wrong("archive", format!("{dir} holds the data directory; use a directory beside it"));
    }
    if let Err(error) = Place::of(&Target::Local { dir: dir.into() }) {
        wrong("archive", error.to_string());
    }
    problems
}
