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
