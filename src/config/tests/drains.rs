//! Drains: made by the file, by flags, by default; switched off, retired, refused.

use std::path::PathBuf;
use std::time::Duration;

use super::{Case, origin};
use crate::archive::Target;
use crate::channel::Start;
use crate::config::{Drain, Settings};
use crate::drain::sieve::{Filter, Sieve};
use crate::drain::{Policy, Terms};
use crate::sink::zipkin::{self, Encoding};
use crate::sink::{self, scribe};

fn names(settings: &Settings) -> Vec<&str> {
    let groups = settings.drains.iter().map(|d| d.drain.name.as_str());
    groups.chain(settings.archives.iter().map(|a| a.name.as_str())).collect()
}

fn sinks(settings: &Settings) -> Vec<&str> {
    settings.drains.iter().flat_map(|d| &d.sinks).map(|s| s.name()).collect()
}

/// A sink of a drain, which is one of HTTP.
fn http(drain: &Drain, index: usize) -> &zipkin::Settings {
    match &drain.sinks[index] {
        sink::Settings::Zipkin(settings) => settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_collector_makes_the_drain_zipkin_with_the_defaults_of_a_drain() {
    for case in [
        Case::default().flag("collector", &["http://a", "http://b:19411/api/v2/spans"]),
        Case::default().flag("collector", &["http://a, http://b:19411"]),
        Case::default().variable("SPANGATE_COLLECTORS", "http://a,http://b:19411"),
    ] {
        let settings = case.understood().settings;
        assert_eq!(names(&settings), ["zipkin", "archive"]);
        assert_eq!(sinks(&settings), ["a:9411", "b:19411"]);
        let drain = &settings.drains[0];
        assert_eq!((drain.start, drain.drain.batch.spans, drain.drain.in_flight_max), (Start::End, 5_000, 4));
        assert_eq!((http(drain, 0).encoding, http(drain, 0).gzip), (Encoding::Proto3, false));
        assert_eq!(http(drain, 1).url, "http://b:19411/api/v2/spans");
    }
}

#[test]
fn a_collector_replaces_the_sinks_of_the_file_and_nothing_else_of_it() {
    let file = "[drain.zipkin]\nin_flight = 9\nsinks = [{ url = \"http://file\", gzip = true }]\n";
    let settings = Case::file(file).understood().settings;
    assert_eq!((sinks(&settings), http(&settings.drains[0], 0).gzip), (vec!["file:9411"], true));
    let understood = Case::file(file).flag("collector", &["http://typed"]).understood();
    assert_eq!(sinks(&understood.settings), ["typed:9411"]);
    assert_eq!(understood.settings.drains[0].drain.in_flight_max, 9);
    assert!(!http(&understood.settings.drains[0], 0).gzip);
    assert_eq!(origin(&understood, "drain.zipkin.sinks"), "flag --collector");
    assert_eq!(origin(&understood, "drain.zipkin.in_flight"), "spangate.toml:2:13");
    let settings = Case::file(file).flag("collector", &["none"]).understood().settings;
    assert_eq!(names(&settings), ["archive"]);
}

#[test]
fn the_archive_is_there_until_it_is_switched_off_or_moved() {
    let archive = |case: Case| case.understood().settings.archives.into_iter().map(|a| a.target).collect::<Vec<_>>();
    let built_in = Target::BuiltIn { dir: PathBuf::from("/home/spangate-data/archive"), keep_bytes: 10 << 30 };
    let moved = Target::Local { dir: PathBuf::from("/bulk") };
    assert_eq!(archive(Case::default()), std::slice::from_ref(&built_in));
    assert_eq!(archive(Case::file("[drain.archive]\nroll_age = \"30s\"")), [built_in]);
    assert_eq!(archive(Case::default().flag("archive", &["file:///bulk"])), std::slice::from_ref(&moved));
    assert_eq!(archive(Case::file("drain.archive.archive = \"none\"").flag("archive", &["file:///bulk"])), [moved]);
    let collector = || Case::default().flag("collector", &["http://a"]);
    assert!(archive(collector().flag("archive", &["none"])).is_empty());
    assert!(archive(collector().and_file("drain.archive.archive = \"none\"")).is_empty());
}

#[test]
fn without_any_drain_both_ways_out_are_named() {
    let expected = "drain: there is none, so spans would go nowhere: add --collector http://HOST:9411, or leave \
        --archive at builtin";
    assert_eq!(Case::default().flag("archive", &["none"]).problems(), [expected]);
    assert_eq!(Case::file("[drain.archive]\nretired = true").problems(), [expected]);
}

#[test]
fn a_retired_drain_is_its_name_alone() {
    let file = "[drain.old]\nretired = true\n[drain.zipkin]\nretired = true\nsinks = [{ url = \"http://a\" }]\n\
        [drain.kept]\nretired = false\nsinks = [{ url = \"http://b\" }]\n";
    let settings = Case::file(file).understood().settings;
    assert_eq!(names(&settings), ["kept", "archive"]);
    assert_eq!(settings.retired, ["old", "zipkin"]);
}

#[test]
fn a_drain_has_a_good_name_and_either_sinks_or_an_archive() {
    let long = "x".repeat(64);
    let file = format!(
        "[drain.\"two words\"]\narchive = \"file:///a\"\n[drain.dead-letters]\narchive = \"file:///b\"\n\
         [drain.{long}]\narchive = \"file:///c\"\n[drain.both]\nsinks = [{{ url = \"http://a\" }}]\n\
         archive = \"builtin\"\n[drain.neither]\n[drain.zipkin]\nin_flight = 1\n"
    );
    assert_eq!(
        Case::file(&file).problems(),
        [
            "spangate.toml:1:8: drain.two words: found \"two words\", expected a name of 1 to 63 of a-z, 0-9, _ and -"
                .to_owned(),
            "spangate.toml:3:8: drain.dead-letters: found \"dead-letters\", expected another name: this drain is the \
             gateway's own"
                .to_owned(),
            format!(
                "spangate.toml:5:8: drain.{long}: found \"{long}\", expected a name of 1 to 63 of a-z, 0-9, _ and -"
            ),
            "spangate.toml:7:8: drain.both: has both sinks and an archive; give each its own drain".to_owned(),
            "spangate.toml:10:8: drain.neither: has neither sinks nor an archive: add sinks = [{ url = \
             \"http://HOST:9411\" }], or archive = \"file:///DIR\", or retired = true"
                .to_owned(),
            "spangate.toml:11:8: drain.zipkin: has neither sinks nor an archive: add sinks = [{ url = \
             \"http://HOST:9411\" }], or --collector http://HOST:9411, or archive = \"file:///DIR\", or retired = true"
                .to_owned(),
        ]
    );
}

#[test]
fn keys_of_the_other_kind_of_drain_say_so() {
    let file = "[drain.zipkin]\nsinks = [{ url = \"http://a\" }]\nkeep = \"1GiB\"\n[drain.archive]\npolicy = \"round_robin\"\n";
    assert_eq!(
        Case::file(file).problems(),
        [
            "spangate.toml:3:1: drain.zipkin.keep: this key is for drains with an archive",
            "spangate.toml:5:1: drain.archive.policy: this key is for drains with sinks",
        ]
    );
}

#[test]
fn a_drain_of_either_kind_filters_and_samples() {
    let file = "[scribe]\nlabels = { zone = \"a\", \"k8s.pod\" = \"x, y\" }\n[drain.zipkin]\nsample_rate = 0.1\n\
        filter = { listeners = [\"http\"], services = [\"Shop*\"], labels = { zone = \"a\" } }\n\
        sinks = [{ url = \"http://a\" }]\n[drain.archive]\nfilter.services_exclude = \"probe\"\n";
    let settings = Case::file(file).flag("http.labels", &["zone=b,team=x"]).understood().settings;
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<Vec<_>>();
    assert_eq!(settings.scribe.labels, pairs(&[("k8s.pod", "x, y"), ("zone", "a")]));
    assert_eq!(settings.http.labels, pairs(&[("team", "x"), ("zone", "b")]));
    let filter = Filter {
        listeners: vec!["http".into()],
        services: vec!["shop*".into()],
        labels: [("zone".into(), "a".into())].into(),
        ..Filter::default()
    };
    assert_eq!(settings.drains[0].drain.sieve, Sieve::new(filter, 0.1));
    let filter = Filter { services_exclude: vec!["probe".into()], leave_replayed: true, ..Filter::default() };
    assert_eq!(settings.archives[0].sieve, Sieve::new(filter, 1.0));
}

#[test]
fn a_filter_that_cannot_be_meant_is_refused() {
    let file = "[http]\nlabels = { via = \"x\" }\n[scribe]\nlabels = { zone = 1 }\n[drain.zipkin]\nsample_rate = 1.5\n\
        filter = { listeners = [\"htpp\", \"grpc\", \"kafka\"], servces = [\"a\"], services = [\"*a\"] }\n\
        sinks = [{ url = \"http://a\" }]\n[drain.archive]\nfilter.labels = \"zone\"\n";
    assert_eq!(
        Case::file(file).problems(),
        [
            "spangate.toml:2:10: http.labels: expected another key than via, which the listeners set themselves",
            "spangate.toml:4:19: scribe.labels.zone: found 1, expected a text in quotes",
            "spangate.toml:6:15: drain.zipkin.sample_rate: found 1.5, expected a part of the whole from 0.0 to 1.0",
            "spangate.toml:7:25: drain.zipkin.filter.listeners: found \"htpp\", expected one of scribe, http, grpc; did \
             you mean http?",
            "spangate.toml:7:41: drain.zipkin.filter.listeners: found \"kafka\", expected one of scribe, http, grpc",
            "spangate.toml:7:51: drain.zipkin.filter.servces: unknown key; did you mean drain.zipkin.filter.services?",
            "spangate.toml:7:80: drain.zipkin.filter.services: found \"*a\", expected names of services, or their \
             beginnings with * at the end",
            "spangate.toml:10:17: drain.archive.filter.labels: found \"zone\", expected labels such as { zone = \"a\" \
             }, or KEY=VALUE where there are no tables",
        ]
    );
    let services: Vec<String> = (0..20).map(|n| format!("\"{n:040}\"")).collect();
    let file = format!("[drain.archive.filter]\nservices = [{}]\n", services.join(", "));
    let [problem] = &Case::file(&file).problems()[..] else { panic!("one problem") };
    assert!(problem.contains("bytes in an archive's plans, which have room for 512"), "{problem}");
}

#[test]
fn what_is_resolved_of_a_filter_reads_as_itself() {
    let file = "[scribe]\nlabels = { \"k8s.pod\" = \"a\" }\n[drain.zipkin]\nsample_rate = 0.1\n\
        filter = { labels = { zone = \"a, b\" } }\nsinks = [{ url = \"http://a\" }]\n";
    let understood = Case::file(file).understood();
    let again = Case::file(&understood.resolved.to_string()).understood();
    assert_eq!(super::told(&again), super::told(&understood));
}

#[test]
fn a_sink_that_was_given_no_name_has_one_that_what_is_resolved_can_say() {
    let file = |sinks: &str| Case::file(&format!("[drain.zipkin]\nsinks = [{sinks}]\n"));
    let urls = "{ url = \"http://[::1]:9412\" }, { url = \"http://b;9411\" }, { url = \"http://bt=\" }";
    let understood = file(urls).understood();
    assert_eq!(sinks(&understood.settings), ["[::1]:9412", "b_9411:9411", "bt_:9411"]);
    let said = understood.resolved.to_string();
    assert_eq!(sinks(&Case::file(&said).understood().settings), sinks(&understood.settings));
}

#[test]
fn sinks_need_a_url_and_are_each_there_once() {
    let file = "[drain.zipkin]\nsinks = [\n{ url = \"http://a\" },\n{ url = \"http://a:9411/api/v2/spans\" },\n\
        { url = \"http://b\", name = \"a:9411\" },\n{ nme = \"c\" },\n\"http://d\" ]\n";
    assert_eq!(
        Case::file(file).problems(),
        [
            "spangate.toml:4:9: drain.zipkin.sinks: the collector http://a:9411/api/v2/spans is there twice",
            "spangate.toml:5:9: drain.zipkin.sinks: two sinks are called a:9411; give one a name",
            "spangate.toml:6:1: drain.zipkin.sinks.url: missing: which collector is it?",
            "spangate.toml:6:3: drain.zipkin.sinks.nme: unknown key; did you mean drain.zipkin.sinks.name?",
            "spangate.toml:7:1: drain.zipkin.sinks: found \"http://d\", expected a table such as { url = \
             \"http://zipkin:9411\" }",
        ]
    );
}

#[test]
fn policies_and_what_sinks_have_of_their_own_are_understood() {
    let policies = [
        ("round_robin", Policy::RoundRobin),
        ("random", Policy::Random),
        ("weighted", Policy::Weighted),
        ("least_loaded", Policy::LeastLoaded),
        ("failover", Policy::Failover),
        ("by_trace", Policy::ByTrace),
    ];
    for (word, policy) in policies {
        let key = if policy == Policy::Weighted { "weight" } else { "weight = 1, priority" };
        let value = if matches!(policy, Policy::Weighted | Policy::Failover) { 7 } else { 1 };
        let file = format!(
            "[drain.zipkin]\npolicy = \"{word}\"\nsinks = [{{ url = \"http://a\" }}, {{ url = \"http://b\", {key} = {value} }}]\n"
        );
        let drain = Case::file(&file).understood().settings.drains.remove(0);
        assert_eq!(drain.drain.policy, policy);
        assert_eq!(drain.terms[0], Terms { batch: Some(drain.drain.batch), ..Terms::default() });
        assert_eq!(drain.terms[1].weight.max(drain.terms[1].priority), value);
    }
}

#[test]
fn a_sink_may_be_a_scribe_by_flag_and_in_the_file() {
    let flagged = Case::default().flag("collector", &["scribe://a", "http://b"]).understood().settings;
    assert_eq!(sinks(&flagged), ["a:9410", "b:9411"]);
    let file = "[drain.zipkin]\nsinks = [{ url = \"scribe://A:1463\", name = \"old\", category = \"spans\", timeout = \"2s\" }]\n";
    for (settings, name, address, category, seconds) in [
        (flagged, "a:9410", "a:9410", "zipkin", 10),
        (Case::file(file).understood().settings, "old", "a:1463", "spans", 2),
    ] {
        let sink::Settings::Scribe(found) = &settings.drains[0].sinks[0] else { panic!("no Scribe") };
        let scribe::Settings { name: found_name, address: found_address, category: found_category, timeout } = found;
        assert_eq!((found_name.as_str(), found_address.as_str(), found_category.as_str()), (name, address, category));
        assert_eq!(timeout.as_secs(), seconds);
    }
}

#[test]
fn a_sink_may_have_a_batch_and_rates_of_its_own() {
    let file = "[drain.zipkin]\nrate_max = 9000\nbacklog_rate = 400\nbatch.spans = 700\nsinks = [{ url = \"http://a\", \
        rate_max = 50, batch = { bytes = \"1MiB\" } }, { url = \"http://b\", batch = { spans = 3, linger = \"1s\" } }]\n";
    let drain = Case::file(file).understood().settings.drains.remove(0);
    assert_eq!((drain.drain.rate_max, drain.drain.backlog_rate), (Some(9_000), Some(400)));
    let batch = |n: usize| drain.terms[n].batch.unwrap();
    assert_eq!((drain.terms[0].rate_max, batch(0).spans, batch(0).bytes), (Some(50), 700, 1 << 20));
    assert_eq!((drain.terms[1].rate_max, batch(1).spans, batch(1).linger), (None, 3, Duration::from_secs(1)));
}

#[test]
fn what_another_policy_would_heed_says_so() {
    let file = "[drain.zipkin]\npolicy = \"failover\"\nsinks = [{ url = \"http://a\", weight = 2 }, { url = \"http://b\", \
        priority = 2 }]\n[drain.other]\nsinks = [{ url = \"http://a\", priority = 3 }, { url = \"http://b\", weight = 0 }]\n";
    assert_eq!(
        Case::file(file).problems(),
        [
            "spangate.toml:3:39: drain.zipkin.sinks.weight: weight = 2 is for policy = \"weighted\" alone, and \
             drain.zipkin.policy is \"failover\"",
            "spangate.toml:5:41: drain.other.sinks.priority: priority = 3 is for policy = \"failover\" alone, and \
             drain.other.policy is \"round_robin\"",
            "spangate.toml:5:75: drain.other.sinks.weight: found 0, expected a number from 1 to 1000",
        ]
    );
}

#[test]
fn what_another_protocol_has_no_use_for_is_refused() {
    let file = "[drain.zipkin]\nsinks = [\n{ url = \"scribe://a\", gzip = true, encoding = \"json\" },\n\
        { url = \"http://b\", category = \"spans\" },\n\
        { url = \"http://c\", gzip = true, category = \"zipkin\" } ]\n";
    let scribe = "Scribe has one encoding, Thrift v1 in base64; this key is for HTTP alone";
    assert_eq!(
        Case::file(file).problems(),
        [
            format!("spangate.toml:3:30: drain.zipkin.sinks.gzip: {scribe}"),
            format!("spangate.toml:3:47: drain.zipkin.sinks.encoding: {scribe}"),
            "spangate.toml:4:32: drain.zipkin.sinks.category: HTTP has no categories; this key is for \
             scribe://HOST:9410 alone"
                .to_owned(),
        ]
    );
}

#[test]
fn a_collector_that_is_an_own_listener_is_refused_with_the_way_out() {
    let own = Case::default().flag("collector", &["scribe://127.0.0.1:1463"]).problems();
    assert!(own[0].contains("scribe://127.0.0.1:1463 is this gateway's own listener scribe.address"), "{own:?}");
    Case::default().flag("collector", &["scribe://127.0.0.1"]).understood();
    assert_eq!(
        Case::default().flag("collector", &["http://localhost:9411"]).problems(),
        [
            "flag --collector: drain.zipkin.sinks.url: http://localhost:9411/api/v2/spans is this gateway's own listener \
          http.address = 0.0.0.0:9411; name the collector's address, or move the gateway with --http-address"
        ]
    );
    Case::default().flag("collector", &["http://localhost"]).flag("http.address", &["0.0.0.0:19411"]).understood();
}

#[test]
fn a_request_that_zipkin_would_refuse_is_refused() {
    let file = "[drain.zipkin]\nbatch = { bytes = \"11MiB\" }\nsinks = [{ url = \"http://a\" }]\n";
    assert_eq!(
        Case::file(file).problems(),
        ["spangate.toml:2:19: drain.zipkin.batch.bytes: found \"11MiB\", expected a size from 1KiB to 10MiB, such as \
          \"4MiB\" or a number of bytes"]
    );
}

#[test]
fn archives_keep_apart_from_each_other_and_from_the_data_directory() {
    let file = "[drain.a]\narchive = \"file:///bulk\"\n[drain.b]\narchive = \"file:///bulk/\"\n\
        [drain.c]\narchive = \"file:///home/spangate-data/archive\"\n[drain.d]\narchive = \"file:///d\"\nkeep = \"1GiB\"\n\
        [drain.e]\narchive = \"hdfs:/bucket\"\n[drain.f]\narchive = \"s3://bucket/x\"\n\
        [drain.g]\narchive = \"s3://bucket/x/\"\nkeep = \"1GiB\"\n\
        [drain.h]\narchive = \"s3://bucket/x\"\nendpoint = \"http://minio:9000\"\n\
        [drain.i]\narchive = \"file:///i\"\nendpoint = \"http://minio:9000\"\nregion = \"eu-west-1\"\n\
        [drain.j]\narchive = \"gs://bucket/x\"\nregion = \"eu-west-1\"\n\
        [drain.k]\narchive = \"hdfs://namenode:8020/x\"\n[drain.l]\narchive = \"hdfs://namenode/x/y\"\n\
        endpoint = \"http://minio:9000\"\n[drain.m]\narchive = \"hdfs://namenode/x/z\"\n";
    assert_eq!(
        Case::file(file).problems(),
        [
            "spangate.toml:3:8: drain.b.archive: drain a writes to file:///bulk, and both name objects by channel and \
             positions, whatever the path: give each its own place, none within the other",
            "spangate.toml:6:11: drain.c.archive: /home/spangate-data/archive is in the data directory; use \
             \"builtin\", or a directory of its own",
            "spangate.toml:9:8: drain.d.keep: is for \"builtin\" alone: what you name yourself is never trimmed",
            "spangate.toml:11:11: drain.e.archive: found \"hdfs:/bucket\", expected \"builtin\", \"file:///DIR\", \
             \"s3://BUCKET/PREFIX\", \"gs://BUCKET/PREFIX\", \"az://CONTAINER/PREFIX\", \
             \"hdfs://NAMENODE[:PORT]/PATH\" or \"none\"",
            "spangate.toml:14:8: drain.g.archive: drain f writes to s3://bucket/x, and both name objects by channel and \
             positions, whatever the path: give each its own place, none within the other",
            "spangate.toml:16:8: drain.g.keep: is for \"builtin\" alone: what you name yourself is never trimmed",
            "spangate.toml:22:12: drain.i.endpoint: is for s3://, gs:// and az:// alone",
            "spangate.toml:23:10: drain.i.region: is for s3:// alone",
            "spangate.toml:26:10: drain.j.region: is for s3:// alone",
            "spangate.toml:31:12: drain.l.endpoint: is for s3://, gs:// and az:// alone",
            "spangate.toml:32:8: drain.m.archive: drain k writes to hdfs://namenode/x, and both name objects by channel and \
             positions, whatever the path: give each its own place, none within the other",
        ]
    );
}

#[test]
fn half_of_the_reserve_is_for_archive_and_dead_letters() {
    let settings = Case::default().flag("channel.free_min", &["2GiB"]).understood().settings;
    assert_eq!(settings.channel.free_min_bytes, Some(2 << 30));
    assert_eq!(settings.archives[0].free_min_bytes, Some(2 << 30));
    assert_eq!(settings.dead_letters.free_min_bytes, Some(1 << 30));
    assert_eq!(Case::default().understood().settings.dead_letters.free_min_bytes, None);
}
