use super::*;

fn parse(arguments: &[&str]) -> Result<Options, String> {
    let matches = command().try_get_matches_from([&["send"], arguments].concat()).map_err(|error| error.to_string())?;
    read(&matches).map_err(|error| error.to_string())
}

#[test]
fn without_flags_it_goes_to_the_local_gateway_as_json() {
    let options = parse(&[]).unwrap();
    assert_eq!(options.target, Target::Http { host_port: "127.0.0.1:9411".into(), path: "/api/v2/spans".into() });
    assert_eq!((options.format, options.spans, options.batch), (Format::Json, Some(1_000), 100));
}

#[test]
fn a_scribe_address_may_leave_its_port_out() {
    let cases = [
        ("gateway", "gateway:1463"),
        ("gateway:9410", "gateway:9410"),
        ("scribe://10.0.0.1/", "10.0.0.1:1463"),
        ("::1", "[::1]:1463"),
        ("[::1]", "[::1]:1463"),
        ("[::1]:9410", "[::1]:9410"),
    ];
    for (text, host_port) in cases {
        assert_eq!(parse(&["--scribe", text]).unwrap().target, Target::Scribe(host_port.into()), "{text}");
    }
    for text in ["", ":1463", "a:", "a:0", "a:99999", "a b", "http://a", "a/b", "x:y:1463"] {
        let error = parse(&["--scribe", text]).unwrap_err();
        assert!(error.contains("HOST"), "{text}: {error}");
    }
}

#[test]
fn a_url_is_what_a_collector_may_be_but_without_tls() {
    for text in ["http://gateway", "http://gateway:9411/", "http://gateway/api/v2/spans"] {
        let target = Target::Http { host_port: "gateway:9411".into(), path: "/api/v2/spans".into() };
        assert_eq!(parse(&["--http", text]).unwrap().target, target);
    }
    assert!(parse(&["--http", "https://gateway"]).unwrap_err().contains("no TLS"));
    assert!(parse(&["--http", "gateway:9411"]).unwrap_err().contains("http://HOST"));
}

#[test]
fn each_format_of_http_has_its_path() {
    for (format, expected, path) in [
        ("json", Format::Json, "/api/v2/spans"),
        ("proto3", Format::Proto3, "/api/v2/spans"),
        ("json-v1", Format::JsonV1, "/api/v1/spans"),
        ("thrift", Format::Thrift, "/api/v1/spans"),
    ] {
        for url in ["http://a".to_owned(), format!("http://a:9411{path}"), format!("http://a{path}/")] {
            let options = parse(&["--http", &url, "--format", format]).unwrap();
            assert_eq!(options.target, Target::Http { host_port: "a:9411".into(), path: path.into() }, "{url}");
            assert_eq!(options.format, expected);
        }
        let bare = Target::Http { host_port: "127.0.0.1:9411".into(), path: path.into() };
        assert_eq!(parse(&["--format", format]).unwrap().target, bare);
    }
}

#[test]
fn a_path_that_does_not_take_the_format_is_refused_with_those_it_takes() {
    for (url, format, takes) in [
        ("http://a/api/v2/spans", "thrift", "/api/v2/spans takes --format json or proto3"),
        ("http://a/api/v1/spans", "proto3", "/api/v1/spans takes --format json-v1 or thrift"),
    ] {
        let error = parse(&["--http", url, "--format", format]).unwrap_err();
        assert!(error.contains(takes), "{error}");
    }
    assert!(parse(&["--http", "http://a/api/v1/spans"]).unwrap_err().contains("json-v1 or thrift"));
    assert!(parse(&["--http", "http://a/api/v3/spans"]).unwrap_err().contains("/api/v1/spans"));
    assert!(parse(&["--format", "xml"]).unwrap_err().contains("json-v1"));
}

#[test]
fn grpc_takes_a_url_without_a_path_and_no_format() {
    for text in ["http://gateway", "http://gateway:9411/"] {
        let options = parse(&["--grpc", text]).unwrap();
        assert_eq!((options.target, options.format), (Target::Grpc("gateway:9411".into()), Format::Proto3));
    }
    assert!(parse(&["--grpc", "https://gateway"]).unwrap_err().contains("no TLS"));
    assert!(parse(&["--grpc", "http://gateway/api/v2/spans"]).unwrap_err().contains("without a path"));
    assert!(parse(&["--grpc", "gateway:9411"]).unwrap_err().contains("http://HOST"));
    for flags in [["--format", "json"], ["--scribe", "a"], ["--http", "http://a"]] {
        let error = parse(&[&["--grpc", "http://a"][..], &flags].concat()).unwrap_err();
        assert!(error.contains("--grpc") && error.contains(flags[0]), "{error}");
    }
}

#[test]
fn what_is_prepared_is_bounded_in_bytes() {
    let of = |bytes: &str, spans: &str| parse(&["--prepare", "--span-bytes", bytes, "--spans", spans]);
    assert!(of("640", "500000").is_ok());
    assert!(of("60000", "10000").is_ok());
    assert!(of("60000", "10001").unwrap_err().contains("at most --spans 10000 of this size"));
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    assert!(parse(&["--http", "http://a", "--scribe", "a"]).is_err());
    assert!(parse(&["--scribe", "a", "--format", "proto3"]).is_err());
    assert!(parse(&["--prepare", "--spans", "endless"]).unwrap_err().contains("--spans"));
    assert!(parse(&["--prepare", "--spans", "500001"]).unwrap_err().contains("500000"));
}

#[test]
fn numbers_beyond_their_bounds_are_refused_with_the_bounds() {
    for (flag, text, bounds) in [
        ("--batch", "0", "1 to 10000"),
        ("--connections", "1001", "1 to 1000"),
        ("--span-bytes", "100001", "1 to 100000"),
        ("--spans", "-1", "a number"),
        ("--rate", "many", "a number"),
        ("--patience", "5", "a time"),
    ] {
        let error = parse(&[&format!("{flag}={text}")]).unwrap_err();
        assert!(error.contains(bounds), "{error}");
    }
    assert_eq!(parse(&["--spans", "endless"]).unwrap().spans, None);
    assert_eq!(parse(&["--patience", "500ms"]).unwrap().patience, Duration::from_millis(500));
}
