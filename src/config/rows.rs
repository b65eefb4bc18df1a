//! The rows of the table: every setting, in the order of the reference file.
//!
//! The bounds are wide: they refuse what cannot work or was mistyped, not what is unwise.

use std::time::Duration;

use super::table::Scope::{Archive, Gateway, Group, Shorthand, Sink};
use super::table::{Scope, Setting};
use super::value::Kind;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// More than any message should be, and little enough for 32 bits.
const MESSAGE_MAX: u64 = GIB;
/// More than a process can have descriptors.
const CONNECTIONS_MAX: u64 = 1_000_000;
/// More than any disk of one machine.
const DISK_MAX: u64 = 1_000 * TIB;
/// With what else an archive holds then it stays under 64 MB.
const ARCHIVE_PUT_MAX: u64 = 48 * MIB;
/// A collector answers 413 above this (Zipkin's HTTP collector).
const ZIPKIN_BODY_MAX: u64 = 10 * MIB;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Bytes { min, max, or: None }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max, or: None }
}

const fn time(min: Duration, max: Duration) -> Kind {
    Kind::Time { min, max, or: None }
}

/// Spans a second, or no bound.
const RATE: Kind = Kind::Count { min: 1, max: 1_000_000_000, or: Some("none") };

/// A row that has a default.
const fn row(
    scope: Scope,
    key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
    reason: &'static str,
) -> Setting {
    Setting { scope, key, kind, default: Some(default), doc, reason }
}

/// A row that has none.
const fn open(scope: Scope, key: &'static str, kind: Kind, doc: &'static str, reason: &'static str) -> Setting {
    Setting { scope, key, kind, default: None, doc, reason }
}

/// Every setting.
pub static SETTINGS: &[Setting] = &[
    open(
        Shorthand,
        "collector",
        Kind::Collectors,
        "A Zipkin collector, such as http://zipkin:9411 or scribe://zipkin:9410; repeatable. Makes the drain zipkin, or replaces its sinks",
        "spans are kept and archived without one",
    ),
    open(
        Shorthand,
        "archive",
        Kind::Archive,
        "Where the drain archive writes; builtin is DATA/archive, none switches it off [builtin]",
        "builtin, so that a first start shows its spans without any set-up",
    ),
    row(
        Gateway,
        "data",
        Kind::Path,
        "spangate-data",
        "The data directory: channel, dead letters, built-in archive",
        "beside where it was started; printed as an absolute path",
    ),
    row(
        Gateway,
        "scribe.address",
        Kind::Addresses,
        "0.0.0.0:1463",
        "Where Scribe is served; none: nowhere",
        "Scribe's port; add 0.0.0.0:9410 for tracers that use Zipkin's old one",
    ),
    row(
        Gateway,
        "scribe.categories",
        Kind::Words,
        "zipkin",
        "Categories taken; others are answered OK, counted and gone; * takes all",
        "what Zipkin's tracers send and its collector takes",
    ),
    row(
        Gateway,
        "scribe.frame_max",
        bytes(KIB, MESSAGE_MAX),
        "16384000",
        "Largest Scribe call",
        "Flume's limit: what passed there passes here",
    ),
    row(
        Gateway,
        "scribe.frame_timeout",
        time(ms(100), HOUR),
        "30s",
        "A call that began must be complete in this time; idle connections stay",
        "16 MB pass a slow line in it; a stuck peer holds memory no longer",
    ),
    row(
        Gateway,
        "scribe.frame_rate_min",
        bytes(1, GIB),
        "4KiB",
        "Least bytes a second, on average, of a call that takes longer than 5 s",
        "slower than any line between machines; a peer that stalls on purpose must not hold others' memory",
    ),
    row(
        Gateway,
        "scribe.connections_max",
        count(1, CONNECTIONS_MAX),
        "10000",
        "Most Scribe connections at a time; there is no limit per peer",
        "a balancer is one peer; one descriptor each",
    ),
    row(
        Gateway,
        "scribe.binary_annotations",
        Kind::Choice(&["keep", "drop"]),
        "keep",
        "Binary annotations that are not strings: kept as strings, or dropped as Zipkin does",
        "nothing disappears",
    ),
    row(
        Gateway,
        "scribe.labels",
        Kind::Labels,
        "none",
        "Labels that each span from here carries in the channel, such as { zone = \"a\" }, 512 bytes in all; filters ask \
         for them",
        "few gateways have more than one kind of tracer",
    ),
    row(
        Gateway,
        "scribe.allow_shutdown",
        Kind::Bool,
        "false",
        "Whether fb303's shutdown stops the gateway",
        "nobody is asked for a password here",
    ),
    row(
        Gateway,
        "scribe.replay_mark",
        Kind::Bool,
        "true",
        "Whether what comes marked by spangate archive replay is known as archived before; else it is archived again",
        "a mark costs nobody's spans but its sender's, who could as well not send them",
    ),
    row(
        Gateway,
        "http.address",
        Kind::Addresses,
        "0.0.0.0:9411",
        "Where Zipkin HTTP is served; none: nowhere",
        "Zipkin's port: tracers need no change",
    ),
    row(Gateway, "http.body_max", bytes(KIB, MESSAGE_MAX), "10MiB", "Largest body on the wire", "Zipkin's limit"),
    row(
        Gateway,
        "http.decoded_max",
        bytes(KIB, MESSAGE_MAX),
        "64MiB",
        "Largest body after decompression",
        "more than a whole tracer queue; less than a bomb wants",
    ),
    row(
        Gateway,
        "http.decoded_ratio_max",
        count(1, 10_000),
        "100",
        "Decompressed bytes per compressed byte, at most",
        "spans compress 10 to 30 times; a bomb 1000 times",
    ),
    row(
        Gateway,
        "http.header_timeout",
        time(ms(100), HOUR),
        "10s",
        "A request head that began must be complete in this time",
        "heads are one packet; a slow one holds a connection",
    ),
    row(
        Gateway,
        "http.body_timeout",
        time(ms(100), HOUR),
        "30s",
        "A body that began must be complete in this time",
        "10 MiB pass a slow line in it",
    ),
    row(
        Gateway,
        "http.body_rate_min",
        bytes(1, GIB),
        "4KiB",
        "Least bytes a second, on average, of a body that takes longer than 5 s",
        "as scribe.frame_rate_min",
    ),
    row(
        Gateway,
        "http.idle_timeout",
        time(ms(100), DAY),
        "60s",
        "A connection without a request is closed after this time",
        "longer than the reporting interval of tracers",
    ),
    row(
        Gateway,
        "http.connections_max",
        count(1, CONNECTIONS_MAX),
        "10000",
        "Most HTTP connections at a time; there is no limit per peer",
        "a balancer is one peer; one descriptor each",
    ),
    row(
        Gateway,
        "http.binary_annotations",
        Kind::Choice(&["keep", "drop"]),
        "keep",
        "Values at /api/v1/spans that are not strings: kept as strings, or dropped as Zipkin does",
        "nothing disappears",
    ),
    row(
        Gateway,
        "http.allowed_origins",
        Kind::Words,
        "*",
        "Origins that browsers may send from (CORS); none: no such headers",
        "as Zipkin has it",
    ),
    row(
        Gateway,
        "http.replay_mark",
        Kind::Bool,
        "true",
        "As scribe.replay_mark, for the header spangate-replay of HTTP and gRPC",
        "as there",
    ),
    row(
        Gateway,
        "http.labels",
        Kind::Labels,
        "none",
        "As scribe.labels, for what comes over HTTP and gRPC",
        "as there",
    ),
    row(
        Gateway,
        "admin.address",
        Kind::Addresses,
        "127.0.0.1:9412",
        "Where /metrics, /health and /ready are served; none: nowhere",
        "this machine alone, until told otherwise",
    ),
    row(
        Gateway,
        "admin.token_file",
        Kind::File,
        "none",
        "A file with the token (16 signs at least) that changing requests carry; none: they come from this machine alone",
        "a secret in a file is in no list of processes and in no print of the settings",
    ),
    row(
        Gateway,
        "intake.bytes_in_flight",
        bytes(MIB, 64 * GIB),
        "32MiB",
        "Bytes of messages, inflated, being read, decoded or waiting for their sync: half for the first 64 KiB of each, half for the rest (half as many beside for what inflates to over 1 MiB); decoding takes a few times that",
        "one of the largest calls, and many of the usual 100 KB that wait for no large one",
    ),
    row(
        Gateway,
        "intake.commit_wait",
        time(ms(10), MINUTE),
        "500ms",
        "Longest wait for room and sync together; then TRY_LATER or 503",
        "tracers give up after about a second",
    ),
    row(
        Gateway,
        "channel.kind",
        Kind::Choice(&["file", "memory"]),
        "file",
        "Where spans wait: file; or memory, where they are lost when the process ends before they are delivered",
        "a yes means durable",
    ),
    row(
        Gateway,
        "channel.capacity",
        bytes(16 * MIB, DISK_MAX),
        "10GiB",
        "Bytes of spans kept for drains; intake stops there. In memory 256MiB unless set",
        "half an hour of 15,000 spans a second; in memory half a minute, in what a small container has",
    ),
    row(
        Gateway,
        "channel.capacity_spans",
        Kind::Count { min: 1, max: u64::MAX, or: Some("none") },
        "none",
        "Spans kept, if they are to be bounded, too",
        "bytes are what fills a disk",
    ),
    row(
        Gateway,
        "channel.sync",
        Kind::Time { min: ms(1), max: MINUTE, or: Some("always") },
        "always",
        "When a yes goes out: always after the sync; or after the write, with a sync at most this much later. \
         Not for memory",
        "a yes means durable",
    ),
    row(
        Gateway,
        "channel.free_min",
        Kind::Bytes { min: 0, max: DISK_MAX, or: Some("auto") },
        "auto",
        "Free disk under which intake stops, but for memory; auto: 1 GiB or 5 %, whichever is more. Archive and dead letters may use half of it",
        "draining needs room to go on; a full disk hurts others, too",
    ),
    row(
        Gateway,
        "channel.cache",
        bytes(0, 16 * GIB),
        "16MiB",
        "Written frames kept in memory for drains that keep up",
        "seconds of a busy gateway; others read the disk",
    ),
    row(
        Gateway,
        "dead_letters.refused_max",
        bytes(MIB, DISK_MAX),
        "1GiB",
        "Spans that collectors refused: bytes kept, oldest go first",
        "a million spans to look at or send again",
    ),
    row(
        Gateway,
        "dead_letters.undecodable_max",
        bytes(MIB, DISK_MAX),
        "64MiB",
        "Entries that are no spans: bytes kept, oldest go first",
        "whoever reaches the port can fill it, so it has a small room of its own",
    ),
    row(
        Gateway,
        "stop_timeout",
        time(SECOND, HOUR),
        "20s",
        "Longest time from SIGTERM to exit",
        "under the 30 s after which Kubernetes kills",
    ),
    row(
        Gateway,
        "log.format",
        Kind::Choice(&["text", "json"]),
        "text",
        "Form of the log on stderr",
        "people read it first",
    ),
    row(
        Gateway,
        "log.level",
        Kind::Filter,
        "info",
        "What is logged: a level, or more for a module as in info,spangate::drain=debug",
        "one line per event that a person would act on",
    ),
    row(
        Group,
        "policy",
        Kind::Choice(&["round_robin", "random", "weighted", "least_loaded", "failover", "by_trace"]),
        "round_robin",
        "How batches are shared among the sinks: round_robin, random; weighted, by weight; least_loaded, the one of two \
         with more room; failover, by priority; by_trace, a trace to one sink while that is well",
        "equal collectors take equal shares",
    ),
    row(
        Group,
        "batch.spans",
        count(1, 100_000),
        "5000",
        "Most spans in a request",
        "a collector stores this many in well under its timeout",
    ),
    row(
        Group,
        "batch.bytes",
        bytes(KIB, ZIPKIN_BODY_MAX),
        "4MiB",
        "Most bytes of a request, as proto3",
        "Zipkin answers 413 above 10 MiB; JSON takes twice as much as proto3",
    ),
    row(
        Group,
        "batch.linger",
        time(Duration::ZERO, MINUTE),
        "20ms",
        "Longest wait for more once a span waits",
        "keeps a trickle under 100 ms",
    ),
    row(
        Group,
        "in_flight",
        count(1, 256),
        "4",
        "Most batches on their way to one sink; how many there are is found by trying, from two on",
        "hides a round trip; more only crowd a slow collector",
    ),
    row(
        Group,
        "rate_max",
        RATE,
        "none",
        "Most spans a second, to all sinks together",
        "collectors say themselves when it is too much",
    ),
    row(
        Group,
        "backlog_rate",
        RATE,
        "none",
        "Most spans a second of those that were received more than a minute ago; less than what comes in never ends",
        "a backlog goes as fast as the collectors take it",
    ),
    row(
        Group,
        "backoff_min",
        time(ms(1), MINUTE),
        "200ms",
        "First rest of a failing sink; doubles, with jitter",
        "a restart of a connection, not of a machine",
    ),
    row(
        Group,
        "backoff_max",
        time(ms(1), HOUR),
        "30s",
        "Longest rest of a failing sink",
        "a collector that is back is used within half a minute",
    ),
    row(
        Group,
        "filter.listeners",
        Kind::Listeners,
        "none",
        "Listeners whose spans it takes: scribe, http, grpc; none: all. What another key of the filter leaves out is left \
         out anyway",
        "a drain takes everything until told otherwise",
    ),
    row(
        Group,
        "filter.categories",
        Kind::Words,
        "none",
        "Scribe categories that it takes; none: all, and what has none",
        "as above",
    ),
    row(
        Group,
        "filter.services",
        Kind::Services,
        "none",
        "Local service names that it takes, * at the end for any rest; none: all, and spans that have none",
        "as above",
    ),
    row(
        Group,
        "filter.services_exclude",
        Kind::Services,
        "none",
        "Local service names that it leaves out, also where filter.services has them",
        "as above",
    ),
    row(
        Group,
        "filter.labels",
        Kind::Labels,
        "none",
        "Labels that a span has to carry, all of them; scribe.labels and http.labels set them",
        "as above",
    ),
    row(
        Group,
        "sample_rate",
        Kind::Share,
        "1.0",
        "Part of the traces that it takes, the same ones as Zipkin at this COLLECTOR_SAMPLE_RATE; debug spans always",
        "nothing disappears unless told so",
    ),
    row(
        Group,
        "max_age",
        Kind::Time { min: SECOND, max: Duration::from_secs(365 * 86_400), or: Some("none") },
        "none",
        "Longest wait in the channel; then a span is given up, counted as expired. Time before a start does not count",
        "nothing disappears unless told so",
    ),
    row(
        Group,
        "overflow",
        Kind::Choice(&["block", "skip"]),
        "block",
        "When the channel is full and this drain is furthest behind: intake stops; or its oldest spans are given up, \
         counted as skipped",
        "a yes cannot be taken back",
    ),
    row(
        Group,
        "mass_refusal",
        Kind::Choice(&["hold", "dead_letter"]),
        "hold",
        "What to do with a collector that refuses more than 5 % and at least 1000 of a minute's spans",
        "a collector that refuses so many is wrong, not they: hold keeps them in the channel until it is mended",
    ),
    row(
        Group,
        "start",
        Kind::Choice(&["end", "oldest"]),
        "end",
        "Where a drain with a new name begins",
        "a new destination wants new spans; oldest gives what is still there",
    ),
    row(
        Group,
        "retired",
        Kind::Bool,
        "false",
        "The drain is gone, and what waits for it may go, too",
        "nothing disappears unless told so",
    ),
    row(
        Archive,
        "archive",
        Kind::Archive,
        "builtin",
        "Where: builtin is DATA/archive; file:///DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX and \
            hdfs://NAMENODE[:PORT]/PATH are never trimmed; none: no such drain",
        "a first start shows its spans without any set-up",
    ),
    row(
        Archive,
        "endpoint",
        Kind::Endpoint,
        "none",
        "Where a store is that is not Amazon's, Google's or Azure's own, such as http://minio:9000; none: theirs",
        "theirs is known by the bucket, or by AWS_ENDPOINT_URL and its like",
    ),
    row(
        Archive,
        "region",
        Kind::Name,
        "none",
        "Region of an s3 bucket; none: as AWS_REGION says, or us-east-1",
        "it mostly stands where the credentials do",
    ),
    row(
        Archive,
        "path_style",
        Kind::Bool,
        "true",
        "Whether an s3 bucket stands in the URL's path; false: in its host name",
        "every store that speaks S3 understands it",
    ),
    row(
        Archive,
        "timeout",
        time(ms(100), HOUR),
        "2m",
        "A request to a store must be answered in this time, with its body of at most 48 MiB; to HDFS, of 1 MiB",
        "such a body passes a line of 3.4 Mbit/s in it",
    ),
    row(
        Archive,
        "put_max",
        bytes(KIB, ARCHIVE_PUT_MAX),
        "48MiB",
        "Largest object that a store is sent in one request; a larger one goes in parts of 8 MiB",
        "one request either makes the object or does not; it is held in memory while it goes",
    ),
    row(
        Archive,
        "format",
        Kind::Choice(&["jsonl.gz", "jsonl.zst", "parquet"]),
        "jsonl.gz",
        "What objects are: Zipkin JSON by lines, or Parquet. Where archive is not builtin, the default is parquet",
        "zcat shows a first span; whoever names a store wants to query it",
    ),
    row(
        Archive,
        "path",
        Kind::Template,
        "",
        "Directories of objects: Flume's escapes of time, {service} {category} {peer} {listener} and labels of each \
         span, {host} {channel} {first} {last}. Where archive is not builtin, the default is dt=%Y-%m-%d/hour=%H/",
        "zcat DATA/archive/*.gz finds all; Spark, Trino and DuckDB see dt and hour as columns",
    ),
    row(
        Archive,
        "time",
        Kind::Choice(&["received", "span"]),
        "received",
        "Whose time directories are of: that at which spans came in, or their own, where that is at most 7 days before \
         and 1 day behind it",
        "a directory is complete when its hour is over, and no clock of a tracer makes directories",
    ),
    row(
        Archive,
        "zone",
        Kind::Zone,
        "UTC",
        "The zone of these times: UTC, or an offset such as +02:00",
        "no day has 23 or 25 hours, and every gateway means the same by an hour",
    ),
    row(
        Archive,
        "round",
        Kind::Time { min: MINUTE, max: DAY, or: Some("none") },
        "none",
        "These times are rounded down to a multiple of this, a part of a day",
        "an hour is about what one looks for; 10m beside %H%M makes six directories of it",
    ),
    row(
        Archive,
        "roll_size",
        bytes(KIB, 5 * GIB),
        "64MiB",
        "An object is closed at about this size. Where archive is not builtin, the default is 128MiB",
        "large enough for bulk readers",
    ),
    row(
        Archive,
        "roll_age",
        time(ms(100), DAY),
        "1m",
        "Or when its first span is this old. Where archive is not builtin, the default is 10m",
        "bulk readers lag that much at most",
    ),
    row(
        Archive,
        "roll_idle",
        time(ms(100), DAY),
        "5s",
        "Or after this long without a span. Where archive is not builtin, the default is 1m",
        "who tries it sees the span within ten seconds; a store for queries wants few and large objects",
    ),
    row(
        Archive,
        "keep",
        bytes(MIB, DISK_MAX),
        "10GiB",
        "Bytes that builtin keeps, oldest objects go first; they go sooner where free disk nears channel.free_min",
        "a default must not fill the disk",
    ),
    row(
        Archive,
        "filter.listeners",
        Kind::Listeners,
        "none",
        "Listeners whose spans it takes: scribe, http, grpc; none: all. What another key of the filter leaves out is left \
         out anyway",
        "a drain takes everything until told otherwise",
    ),
    row(
        Archive,
        "filter.categories",
        Kind::Words,
        "none",
        "Scribe categories that it takes; none: all, and what has none",
        "as above",
    ),
    row(
        Archive,
        "filter.services",
        Kind::Services,
        "none",
        "Local service names that it takes, * at the end for any rest; none: all, and spans that have none",
        "as above",
    ),
    row(
        Archive,
        "filter.services_exclude",
        Kind::Services,
        "none",
        "Local service names that it leaves out, also where filter.services has them",
        "as above",
    ),
    row(
        Archive,
        "filter.labels",
        Kind::Labels,
        "none",
        "Labels that a span has to carry, all of them; scribe.labels and http.labels set them",
        "as above",
    ),
    row(
        Archive,
        "filter.replayed",
        Kind::Bool,
        "false",
        "Whether it takes spans that spangate archive replay sends, which an archive had before",
        "a replay into a gateway must not make the archive hold a span twice",
    ),
    row(
        Archive,
        "sample_rate",
        Kind::Share,
        "1.0",
        "Part of the traces that it takes, the same ones as Zipkin at this COLLECTOR_SAMPLE_RATE; debug spans always",
        "nothing disappears unless told so",
    ),
    row(
        Archive,
        "retired",
        Kind::Bool,
        "false",
        "The drain is gone, and what waits for it may go, too",
        "nothing disappears unless told so",
    ),
    open(
        Sink,
        "url",
        Kind::Collector,
        "The collector: http://HOST:9411, https://HOST, scribe://HOST:9410, or dns+http://HOST for each of its addresses",
        "has to be given",
    ),
    open(Sink, "name", Kind::Name, "Its name in metrics and logs", "HOST:PORT of the url"),
    row(
        Sink,
        "encoding",
        Kind::Choice(&["proto3", "json"]),
        "proto3",
        "What it is sent over HTTP",
        "our own bytes, and the one encoding that no guard of Zipkin's can refuse",
    ),
    row(
        Sink,
        "gzip",
        Kind::Bool,
        "false",
        "Whether requests of HTTP are compressed",
        "collectors are near, and CPU is dearer than the network",
    ),
    row(
        Sink,
        "category",
        Kind::Name,
        "zipkin",
        "The category of what is sent over Scribe",
        "the one that Zipkin takes",
    ),
    row(
        Sink,
        "timeout",
        time(ms(10), HOUR),
        "10s",
        "Connect, send and answer together",
        "a collector that needs longer is not keeping up",
    ),
    row(
        Sink,
        "weight",
        count(1, 1_000),
        "1",
        "Its share under policy = \"weighted\"",
        "equal shares, until one is known to take more",
    ),
    row(
        Sink,
        "priority",
        count(1, 1_000),
        "1",
        "Under policy = \"failover\" the sinks of the lowest number that are well share all; the others stand by",
        "all share, until one is said to stand by",
    ),
    row(Sink, "rate_max", RATE, "none", "Most spans a second to it", "a collector says itself when it is too much"),
    row(
        Sink,
        "watch",
        Kind::Choice(&["zipkin", "none"]),
        "zipkin",
        "zipkin: /health and the count of dropped spans are looked at, and what begins to drop is sent half for a while",
        "a 202 says that spans were taken, not that they were stored",
    ),
    open(Sink, "batch.spans", count(1, 100_000), "Most spans in a request to it", "the drain's batch"),
    open(Sink, "batch.bytes", bytes(KIB, ZIPKIN_BODY_MAX), "Most bytes of a request to it", "the drain's batch"),
    open(Sink, "batch.linger", time(Duration::ZERO, MINUTE), "Longest wait for more", "the drain's batch"),
];
