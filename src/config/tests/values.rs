//! Values: what each kind takes, and that it prints as it reads.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use crate::config::collector::{normalise, own_listener};
use crate::config::table::{Scope, rows};
use crate::config::value::{Kind, Value};

const BYTES: Kind = Kind::Bytes { min: 0, max: u64::MAX, or: None };
const TIME: Kind = Kind::Time { min: Duration::ZERO, max: Duration::MAX, or: None };

#[test]
fn sizes_are_read_in_every_unit() {
    for (text, bytes) in [
        ("0", 0),
        ("16384000", 16_384_000),
        ("16_384_000", 16_384_000),
        ("1B", 1),
        ("2kB", 2_000),
        ("2KiB", 2_048),
        ("3 MB", 3_000_000),
        ("4MiB", 4 << 20),
        ("4mib", 4 << 20),
        ("10GiB", 10 << 30),
        ("1TiB", 1 << 40),
    ] {
        assert_eq!(BYTES.parse(text), Ok(Value::Bytes(bytes)), "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused() {
    for text in
        ["", "MiB", "-1", "+1", "1.5GiB", "1 GiB 2", "10 Gibs", "1e6", "0x10", "_1", "1_", "1__0", "99999999TiB"]
    {
        assert!(BYTES.parse(text).is_err(), "{text}");
    }
}

#[test]
fn times_need_a_unit() {
    for (text, ms) in [("20ms", 20), ("5s", 5_000), ("1m", 60_000), ("2h", 7_200_000), ("1d", 86_400_000), ("0s", 0)] {
        assert_eq!(TIME.parse(text), Ok(Value::Time(Duration::from_millis(ms))), "{text}");
    }
    for text in ["", "20", "s", "1.5s", "-1s", "1 minute", "99999999999d"] {
        assert!(TIME.parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_bound_is_within_and_the_next_one_is_named() {
    let kind = Kind::Count { min: 1, max: 256, or: None };
    assert_eq!(kind.parse("256"), Ok(Value::Count(256)));
    assert_eq!(kind.parse("257"), Err("a number from 1 to 256".into()));
    assert_eq!(kind.parse("0"), Err("a number from 1 to 256".into()));
}

#[test]
fn a_misspelt_level_is_not_taken_for_a_module() {
    for text in ["info", "off", "info,spangate::drain=debug", "spangate=trace, warn"] {
        assert!(Kind::Filter.parse(text).is_ok(), "{text}");
    }
    for text in ["", "inof", "info,spangate", "spangate=loud", "=info", "INFO,", "info;debug"] {
        assert!(Kind::Filter.parse(text).is_err(), "{text}");
    }
}

#[test]
fn paths_that_only_a_shell_understands_are_refused() {
    assert!(Kind::Path.parse("/var/lib/spangate").is_ok());
    assert!(Kind::Path.parse("~tilde-in-a-name").is_ok());
    for text in ["", "~", "~/spans"] {
        assert!(Kind::Path.parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_collector_has_one_form_however_it_is_spelt() {
    for (text, form) in [
        ("http://zipkin", "http://zipkin:9411/api/v2/spans"),
        ("http://zipkin/", "http://zipkin:9411/api/v2/spans"),
        ("HTTP://Zipkin:9411/api/v2/spans", "http://zipkin:9411/api/v2/spans"),
        ("http://zipkin:9411/api/v2/spans/", "http://zipkin:9411/api/v2/spans"),
        ("http://zipkin:80", "http://zipkin:80/api/v2/spans"),
        ("http://10.0.0.7:19411", "http://10.0.0.7:19411/api/v2/spans"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]:9411/api/v2/spans"),
        ("https://zipkin.example.com", "https://zipkin.example.com:9411/api/v2/spans"),
        ("https://zipkin.example.com:443", "https://zipkin.example.com:443/api/v2/spans"),
        ("scribe://zipkin", "scribe://zipkin:9410"),
        ("SCRIBE://Zipkin:1463/", "scribe://zipkin:1463"),
        ("scribe://10.0.0.7:80", "scribe://10.0.0.7:80"),
        ("scribe://[2001:DB8::1]", "scribe://[2001:db8::1]:9410"),
    ] {
        assert_eq!(normalise(text).as_deref(), Ok(form), "{text}");
        assert_eq!(normalise(form).as_deref(), Ok(form), "normal forms stay");
    }
}

#[test]
fn what_is_no_collector_is_refused_with_the_forms_that_are_taken() {
    for text in [
        "",
        "zipkin",
        "zipkin:9411",
        "//zipkin",
        "http://",
        "http://zipkin:99999",
        "scribe://",
        "scribe:zipkin",
        "scribe://zipkin/api/v2/spans",
        "scribe://me@zipkin",
        "scribe://zipkin?category=x",
        "dns+http://zipkin",
        "kafka://broker",
        "http://zipkin/api/v1/spans",
        "http://zipkin/zipkin/",
        "http://user:secret@zipkin",
        "http://zipkin?x=1",
        "http://zipkin#x",
    ] {
        let expected = normalise(text).expect_err(text);
        let forms = ["http(s)://HOST[:9411]", "scribe://HOST[:9410]"];
        assert!(forms.iter().all(|form| expected.contains(form)), "{text}: {expected}");
    }
}

#[test]
fn a_collector_that_is_an_own_listener_is_recognised() {
    for (url, listener, own) in [
        ("http://localhost", "0.0.0.0:9411", true),
        ("scribe://localhost:1463", "0.0.0.0:1463", true),
        ("scribe://127.0.0.1", "0.0.0.0:9410", true),
        ("scribe://[::1]:1463", "[::]:1463", true),
        ("scribe://localhost", "0.0.0.0:1463", false),
        ("scribe://zipkin:1463", "0.0.0.0:1463", false),
        ("http://LOCALHOST", "127.0.0.1:9411", true),
        ("http://127.0.0.1", "0.0.0.0:9411", true),
        ("http://127.1.2.3", "0.0.0.0:9411", true),
        ("http://0.0.0.0", "127.0.0.1:9411", true),
        ("http://[::1]", "[::]:9411", true),
        ("http://127.0.0.1", "[::]:9411", true),
        ("http://10.0.0.7", "10.0.0.7:9411", true),
        ("http://localhost:1463", "0.0.0.0:1463", true),
        ("https://localhost", "0.0.0.0:9411", true),
        // Another port, another host, or a listener that such a connection does not reach.
        ("http://localhost:19411", "0.0.0.0:9411", false),
        ("http://zipkin", "0.0.0.0:9411", false),
        ("http://localhost", "10.0.0.7:9411", false),
        ("http://10.0.0.8", "10.0.0.7:9411", false),
        // TEST-NET-1: nobody's own address.
        ("http://192.0.2.1", "0.0.0.0:9411", false),
        ("http://[::1]", "0.0.0.0:9411", false),
    ] {
        let listener: SocketAddr = listener.parse().unwrap();
        let url = normalise(url).unwrap();
        assert_eq!(own_listener(&url, [listener].iter()).is_some(), own, "{url} and {listener}");
    }
}

#[test]
fn every_default_prints_as_toml_that_reads_as_itself() {
    let all = [Scope::Gateway, Scope::Group, Scope::Archive, Scope::Sink].into_iter().flat_map(rows);
    for (setting, default) in all.filter_map(|s| Some((s, s.default?))) {
        let value = setting.kind.parse(default).unwrap_or_else(|e| panic!("{}: {e}", setting.key));
        let printed = format!("key = {value}");
        let table: toml::Table = printed.parse().unwrap_or_else(|e| panic!("{}: {printed}: {e}", setting.key));
        let texts: Vec<String> = match &table["key"] {
            toml::Value::Array(list) => list.iter().map(|e| e.as_str().expect("texts").to_owned()).collect(),
            toml::Value::String(text) => vec![text.clone()],
            toml::Value::Table(labels) if labels.is_empty() => Vec::new(),
            other => vec![other.to_string()],
        };
        let read = match setting.kind.is_list() {
            true => setting.kind.parse_list(texts.iter().map(String::as_str)),
            false => setting.kind.parse(&texts[0]),
        };
        assert_eq!(read, Ok(value), "{}", setting.key);
    }
}

#[test]
fn a_share_is_a_part_of_the_whole() {
    for (text, share) in [("0", 0.0), ("1", 1.0), ("0.1", 0.1), ("1e-3", 0.001), ("1.0", 1.0)] {
        assert_eq!(Kind::Share.parse(text), Ok(Value::Share(share)), "{text}");
    }
    for text in ["", "-0.1", "1.01", "NaN", "inf", "10%", "0,1"] {
        assert_eq!(Kind::Share.parse(text), Err("a part of the whole from 0.0 to 1.0".into()), "{text}");
    }
    assert_eq!((Value::Share(1.0).to_string(), Value::Share(0.1).to_string()), ("1.0".to_owned(), "0.1".to_owned()));
}

#[test]
fn services_are_in_lower_case_and_starred_at_their_end_alone() {
    let services = |words: &[&str]| Kind::Services.parse_list(words.iter().copied());
    assert_eq!(services(&["Front", "shop-*"]), Ok(Value::Words(vec!["front".into(), "shop-*".into()])));
    assert_eq!(services(&["*"]), Ok(Value::Words(vec!["*".into()])));
    for words in [&["*shop"][..], &["a*b"], &["a**"], &["a", ""]] {
        assert!(services(words).is_err(), "{words:?}");
    }
}

#[test]
fn labels_print_as_the_table_that_they_may_be_given_as() {
    let labels = Kind::Labels.parse_list(["zone=a", "team = x=\"y\""].into_iter()).unwrap();
    assert_eq!(labels.to_string(), r#"{ "team" = "x=\"y\"", "zone" = "a" }"#);
}

proptest! {
    #[test]
    fn any_size_and_any_time_reads_back_as_printed(n in any::<u64>(), us in 0..u64::from(u32::MAX)) {
        let unquoted = |value: &Value| value.to_string().trim_matches('"').to_owned();
        let size = Value::Bytes(n);
        prop_assert_eq!(BYTES.parse(&unquoted(&size)), Ok(size));
        let time = Value::Time(Duration::from_micros(us));
        prop_assert_eq!(TIME.parse(&unquoted(&time)), Ok(time));
    }

    #[test]
    fn any_text_prints_as_toml_that_reads_as_itself(text in any::<String>()) {
        let table: toml::Table = format!("key = {}", Value::Text(text.clone())).parse().unwrap();
        prop_assert_eq!(table["key"].as_str(), Some(text.as_str()));
    }
}
