//! Layers: precedence, positions, and what each layer refuses.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::{Case, origin, told};
use crate::channel::Sync;
use crate::config::table::{Scope, rows};

#[test]
fn an_empty_configuration_is_the_embedded_defaults() {
    let understood = Case::default().understood();
    let settings = &understood.settings;
    assert_eq!(settings.data, Path::new("/home/spangate-data"));
    assert_eq!(settings.channel.dir, Path::new("/home/spangate-data/channel"));
    assert_eq!(settings.scribe.addresses, ["0.0.0.0:1463".parse().unwrap()]);
    assert_eq!(settings.http.addresses, ["0.0.0.0:9411".parse().unwrap()]);
    assert_eq!(settings.admin.addresses, ["127.0.0.1:9412".parse().unwrap()]);
    assert_eq!(settings.scribe.frame_bytes_max, 16_384_000);
    assert_eq!(settings.channel.sync, Sync::Always);
    assert!(settings.drains.is_empty() && settings.retired.is_empty());
    assert_eq!(settings.archives.len(), 1);
    assert!(understood.resolved.entries().iter().all(|entry| entry.at.to_string() == "default"));
}

#[test]
fn a_flag_goes_before_a_variable_a_variable_before_the_file_the_file_before_the_default() {
    let file = "[channel]\nsync = \"1s\"\n";
    let sync = |case: Case| {
        let understood = case.understood();
        (understood.settings.channel.sync, origin(&understood, "channel.sync"))
    };
    let every = |secs| Sync::Every(Duration::from_secs(secs));
    assert_eq!(sync(Case::default()), (Sync::Always, "default".into()));
    assert_eq!(sync(Case::file(file)), (every(1), "spangate.toml:2:8".into()));
    let case = || Case::file(file).variable("SPANGATE_CHANNEL_SYNC", "2s");
    assert_eq!(sync(case()), (every(2), "variable SPANGATE_CHANNEL_SYNC".into()));
    assert_eq!(sync(case().flag("channel.sync", &["3s"])), (every(3), "flag --channel-sync".into()));
}

#[test]
fn a_mistake_is_reported_although_a_stronger_layer_hides_it() {
    let case = Case::file("stop_timeout = 5").variable("SPANGATE_STOP_TIMEOUT", "soon").flag("stop_timeout", &["5s"]);
    let expected = "expected a time from 1s to 1h, such as \"20ms\", \"5s\", \"1m\"";
    assert_eq!(
        case.problems(),
        [
            format!("spangate.toml:1:16: stop_timeout: found 5, {expected}"),
            format!("variable SPANGATE_STOP_TIMEOUT: stop_timeout: found \"soon\", {expected}"),
        ]
    );
}

#[test]
fn lists_are_commas_repeated_flags_or_arrays() {
    let list = ["0.0.0.0:1463", "[::]:9410"];
    let expected: Vec<std::net::SocketAddr> = list.iter().map(|a| a.parse().unwrap()).collect();
    for case in [
        Case::default().flag("scribe.address", &list),
        Case::default().flag("scribe.address", &["0.0.0.0:1463, [::]:9410"]),
        Case::default().variable("SPANGATE_SCRIBE_ADDRESS", "0.0.0.0:1463,[::]:9410"),
        Case::file("scribe.address = [\"0.0.0.0:1463\", \"[::]:9410\"]"),
        Case::file("[scribe]\naddress = \"0.0.0.0:1463,[::]:9410\""),
    ] {
        assert_eq!(case.understood().settings.scribe.addresses, expected);
    }
}

#[test]
fn none_or_an_empty_list_switches_a_listener_off() {
    for case in [
        Case::default().flag("http.address", &["none"]),
        Case::default().variable("SPANGATE_HTTP_ADDRESS", "none"),
        Case::file("http.address = []"),
        Case::file("http.address = \"none\""),
    ] {
        assert!(case.understood().settings.http.addresses.is_empty());
    }
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let case = Case::default().variable("SPANGATE_HTTP_ADDRESS", "").variable("SPANGATE_COLLECTORS", "");
    assert_eq!(told(&case.understood()), told(&Case::default().understood()));
}

#[test]
fn an_unknown_variable_is_refused_and_those_of_kubernetes_and_others_are_not() {
    let case = Case::default()
        .variable("SPANGATE_SERVICE_HOST", "10.0.0.1")
        .variable("SPANGATE_SERVICE_PORT_HTTP", "9411")
        .variable("SPANGATE_PORT", "tcp://10.0.0.1:9411")
        .variable("SPANGATE_PORT_9411_TCP_ADDR", "10.0.0.1")
        .variable("SPANGATEWAY", "x")
        .variable("PATH", "/bin");
    case.understood();
    let case = Case::default()
        .variable("SPANGATE_COLLECTOR", "http://a")
        .variable("SPANGATE_PORTS", "1")
        .variable("SPANGATE_DRAIN_ZIPKIN_POLICY", "random");
    assert_eq!(
        case.problems(),
        [
            "variable SPANGATE_COLLECTOR: unknown variable; did you mean SPANGATE_COLLECTORS?",
            "variable SPANGATE_DRAIN_ZIPKIN_POLICY: unknown variable; `spangate --help` lists the settings",
            "variable SPANGATE_PORTS: unknown variable; `spangate --help` lists the settings",
        ]
    );
}

#[test]
fn an_unknown_key_names_its_neighbour_or_its_own_table_or_what_there_is() {
    let case = Case::file("chanel.sync = 1\ncapacity = 1\n[http]\nbody_mx = 1\n[log]\ncolour = true\n[sentry]\n");
    assert_eq!(
        case.problems(),
        [
            "spangate.toml:1:1: chanel: unknown key; did you mean channel?",
            "spangate.toml:2:1: capacity: unknown key; did you mean channel.capacity?",
            "spangate.toml:4:1: http.body_mx: unknown key; did you mean http.body_max?",
            "spangate.toml:6:1: log.colour: unknown key; expected one of format, level",
            "spangate.toml:7:2: sentry: unknown key; expected one of data, scribe, http, admin, intake, channel, \
             dead_letters, stop_timeout, log, drain",
        ]
    );
}

#[test]
fn what_is_not_toml_is_reported_by_line_and_the_rest_is_read_on() {
    let case =
        Case::file("[http]\nbody_max = 64MiB\ndecoded_max = \"1MiB\"\n[log]\nlevel = \"loud\"\nlevel = \"info\"\n");
    let problems = case.problems();
    assert_eq!(problems.len(), 3, "{problems:#?}");
    // Nothing is said of body_max against decoded_max: the first was not understood.
    assert!(problems[0].starts_with("spangate.toml:2:12: not TOML: "), "{}", problems[0]);
    assert!(problems[0].ends_with("; sizes, times, addresses and words stand in quotes"), "{}", problems[0]);
    assert!(problems[1].starts_with("spangate.toml:5:9: log.level: found \"loud\", expected off, "), "{}", problems[1]);
    assert_eq!(problems[2], "spangate.toml:6:1: not TOML: duplicate key");
}

#[test]
fn a_value_of_another_type_is_refused() {
    let case = Case::file(
        "data = 5\nstop_timeout = [\"5s\"]\nscribe = 3\n[http]\nidle_timeout = 1979-05-27\naddress = [[\"0.0.0.0:1\"]]\n",
    );
    let problems = case.problems();
    let starts = [
        "spangate.toml:1:8: data: found 5, expected a path",
        "spangate.toml:2:16: stop_timeout: found a list, expected a time",
        "spangate.toml:3:10: scribe: found 3, expected a table of address, categories, frame_max",
        "spangate.toml:5:16: http.idle_timeout: found the date 1979-05-27, expected a time",
        "spangate.toml:6:12: http.address: found a list, expected IP:PORT",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}\n{start}");
    }
}

#[test]
fn two_listeners_on_one_address_are_refused_where_it_was_typed() {
    let clash = |case: Case| case.problems().join("\n");
    assert_eq!(
        clash(Case::default().flag("scribe.address", &["0.0.0.0:9411"])),
        "flag --scribe-address: scribe.address: 0.0.0.0:9411 is taken by http.address; each listener needs its own port"
    );
    assert_eq!(
        clash(Case::file("admin.address = \"127.0.0.1:9411\"")),
        "spangate.toml:1:17: admin.address: 0.0.0.0:9411 and 127.0.0.1:9411 are one address; http.address and this \
         need a port each"
    );
    Case::default()
        .flag("scribe.address", &["127.0.0.1:0"])
        .flag("http.address", &["127.0.0.1:0"])
        .flag("admin.address", &["127.0.0.1:0"])
        .understood();
    Case::default().flag("http.address", &["0.0.0.0:9411,[::]:9411"]).understood();
}

#[test]
fn settings_that_cannot_both_hold_are_refused() {
    let case = Case::default().flag("intake.bytes_in_flight", &["12MiB"]).flag("http.decoded_max", &["1MiB"]);
    assert_eq!(
        case.problems(),
        [
            "flag --http-decoded-max: http.decoded_max: http.body_max = \"10MiB\" is more than \
             http.decoded_max = \"1MiB\": a body is not smaller decoded",
            "flag --intake-bytes-in-flight: intake.bytes_in_flight: scribe.frame_max = 16384000 is more than \
             intake.bytes_in_flight = \"12MiB\": such a call could never be taken",
        ]
    );
}

#[test]
fn no_two_settings_share_a_flag_or_a_variable() {
    let all: Vec<_> = rows(Scope::Shorthand).chain(rows(Scope::Gateway)).collect();
    let flags: BTreeSet<_> = all.iter().filter_map(|s| s.flag()).collect();
    let variables: BTreeSet<_> = all.iter().filter_map(|s| s.variable()).collect();
    assert_eq!((flags.len(), variables.len()), (all.len(), all.len()));
}

#[test]
fn what_is_resolved_reads_as_a_file_that_means_the_same() {
    let file = "[drain.zipkin]\nbatch.linger = \"5ms\"\nsinks = [{ url = \"http://a\", gzip = true }, { url = \"http://b\" }]\n\
        [drain.bulk]\narchive = \"file:///bulk \\\"quoted\\\"\"\n[drain.old]\nretired = true\n";
    for case in [
        Case::default(),
        Case::default().flag("archive", &["none"]).flag("collector", &["http://a"]),
        Case::file(file).flag("http.address", &["none"]).flag("channel.free_min", &["123456789"]),
    ] {
        let first = case.understood();
        let printed = first.resolved.to_string();
        let again = Case::file(&printed).understood();
        assert_eq!(told(&first), told(&again), "{printed}");
    }
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(text in "[a-z_.=\\[\\]{}\"',0-9\n#-]{0,80}") {
        let _ = Case::file(&text).resolve();
    }

    #[test]
    fn no_value_makes_it_panic(key in 0_usize..30, value in "[ -~]{0,20}") {
        let setting = rows(Scope::Gateway).nth(key % rows(Scope::Gateway).count()).unwrap();
        let _ = Case::default().variable(&setting.variable().unwrap(), &value).resolve();
        let _ = Case::default().flag("collector", &[&value]).flag("archive", &[&value]).resolve();
    }
}
