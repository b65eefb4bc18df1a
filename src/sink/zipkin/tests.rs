//! URLs and headers; what goes over the wire is in `tests/it/drain/sink.rs`.

use super::*;

fn settings(url: &str) -> Settings {
    Settings {
        name: "c".to_owned(),
        url: url.to_owned(),
        encoding: Encoding::Proto3,
        gzip: false,
        timeout: Duration::from_secs(1),
    }
}

#[test]
fn the_path_is_zipkins_unless_the_url_has_one() {
    let path = |url: &str| parse_url(&settings(url)).unwrap().to_string();
    assert_eq!(path("http://c:9411"), "http://c:9411/api/v2/spans");
    assert_eq!(path("http://c:9411/"), "http://c:9411/api/v2/spans");
    assert_eq!(path("https://c/zipkin/spans"), "https://c/zipkin/spans");
}

#[test]
fn an_url_that_is_no_collectors_is_refused_by_name() {
    for url in ["", "c:9411", "ftp://c", "http://", "scribe://c:9410"] {
        let error = parse_url(&settings(url)).expect_err(url).to_string();
        assert!(error.contains("sink c") && error.contains("http(s)://HOST"), "{error}");
    }
}

#[test]
fn an_url_is_shown_without_its_password() {
    crate::sink::install_tls();
    let sink = Zipkin::new(settings("http://me:secret@c:9411"), "00").unwrap();
    assert_eq!(sink.url(), "http://c:9411/api/v2/spans");
}

#[test]
fn the_via_header_names_this_gateway_first_and_is_bounded() {
    crate::sink::install_tls();
    let sink = Zipkin::new(settings("http://c"), "own").unwrap();
    let via = |ids: &[&str]| {
        let via = ids.iter().map(|s| (*s).to_owned()).collect();
        sink.via(&Load { via, ..Load::default() }).to_str().unwrap().to_owned()
    };
    assert_eq!(via(&[]), "own");
    assert_eq!(via(&["a", "b"]), "own, a, b");
    assert_eq!(via(&["x"; 20]).split(", ").count(), VIA_MAX);
    assert_eq!(via(&["a\nb"]), "own");
}
