//! Conversion as a table. A v1 span is written `name @time+duration`, then its annotations as
//! `value@time:host` and binary annotations as `key=value:host`; the v2 spans that are expected
//! as `KIND name @time+duration local>remote shared`, then annotations `value@time` and tags
//! `key=value`, with ` | ` between spans.

use super::*;

/// Hosts by their short name.
fn host(short: &str) -> Endpoint<'static> {
    let named = |name: &'static str, ipv4: Option<[u8; 4]>, port| Endpoint {
        service_name: Some(Cow::Borrowed(name)).filter(|name| !name.is_empty()),
        ipv4,
        ipv6: None,
        port,
    };
    match short {
        "fe" => named("frontend", Some([127, 0, 0, 1]), 0),
        "fe:63840" => named("frontend", Some([127, 0, 0, 1]), 63840),
        "fe:noname" => named("", Some([127, 0, 0, 1]), 0),
        "fe:backend" => named("backend", Some([127, 0, 0, 1]), 0),
        "be" => named("backend", Some([192, 168, 99, 101]), 9000),
        "be:0" => named("backend", Some([192, 168, 99, 101]), 0),
        "kafka" => named("kafka", None, 0),
        "ip" => named("", Some([10, 0, 0, 1]), 5),
        other => panic!("unknown host {other}"),
    }
}

fn short(endpoint: &Option<Endpoint<'_>>) -> String {
    let Some(endpoint) = endpoint else { return String::new() };
    let known = ["fe", "fe:63840", "fe:noname", "fe:backend", "be", "be:0", "kafka", "ip"];
    known.into_iter().find(|short| host(short) == *endpoint).map_or_else(|| format!("{endpoint:?}"), str::to_owned)
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn v1(text: &'static str) -> V1Span<'static> {
    let mut span = V1Span { trace_id: 1, parent_id: 2, id: 3, ..V1Span::default() };
    for (place, word) in text.split(' ').enumerate() {
        if place == 0 {
            span.name = Some(Cow::Borrowed(word)).filter(|name| name != "-");
        } else if let Some(time) = word.strip_prefix('@') {
            let (start, length) = time.split_once('+').unwrap_or((time, "0"));
            (span.timestamp_us, span.duration_us) = (number(start), number(length));
        } else if let Some((key, value)) = word.split_once('=') {
            let (value, at) = value.split_once(':').map_or((value, None), |(value, at)| (value, Some(host(at))));
            let address = matches!(key, "ca" | "sa" | "ma");
            let (key, value) = (key.into(), value.into());
            span.binary_annotations.push(V1BinaryAnnotation { address, key, value, endpoint: at });
        } else {
            let (value, rest) = word.split_once('@').unwrap_or_else(|| panic!("{word}"));
            let (time, at) = rest.split_once(':').map_or((rest, None), |(time, at)| (time, Some(host(at))));
            span.annotations.push(V1Annotation { timestamp_us: number(time), value: value.into(), endpoint: at });
        }
    }
    span
}

fn show(span: &Span<'_>) -> String {
    assert_eq!((span.trace_id, span.parent_id, span.id), (TraceId { high: 0, low: 1 }, 2, 3));
    let mut words = vec![span.kind.map_or("-", |kind| kind.name()).to_owned()];
    words.push(span.name.as_deref().unwrap_or("-").to_owned());
    match (span.timestamp_us, span.duration_us) {
        (0, 0) => {}
        (start, 0) => words.push(format!("@{start}")),
        (start, length) => words.push(format!("@{start}+{length}")),
    }
    match (short(&span.local), short(&span.remote)) {
        (local, remote) if local.is_empty() && remote.is_empty() => {}
        (local, remote) if remote.is_empty() => words.push(local),
        (local, remote) => words.push(format!("{local}>{remote}")),
    }
    words.extend(span.shared.then(|| "shared".to_owned()));
    words.extend(span.annotations.iter().map(|a| format!("{}@{}", a.value, a.timestamp_us)));
    words.extend(span.tags.iter().map(|(key, value)| format!("{key}={value}")));
    words.join(" ")
}

fn converted(mut source: V1Span<'static>) -> Vec<String> {
    let mut spans = Vec::new();
    let count = convert(&mut source, &mut spans).unwrap();
    spans[..count].iter().map(show).collect()
}

fn check(table: &[(&str, &'static str, &str)]) {
    for (name, source, expected) in table {
        assert_eq!(converted(v1(source)).join(" | "), *expected, "{name}: {source}");
    }
}

#[test]
fn calls_convert_as_in_zipkins_span_converter_test() {
    check(&[
        (
            "client",
            "get @199+207 cs@199:fe ws@238:fe wr@403:fe cr@406:fe http.path=/api:fe clnt=6.45.0:fe sa=:be",
            "CLIENT get @199+207 fe>be ws@238 wr@403 clnt=6.45.0 http.path=/api",
        ),
        ("client_unfinished", "get @199 cs@199:fe ws@238:fe", "CLIENT get @199 fe ws@238"),
        ("lateRemoteEndpoint_cr", "get cr@199:fe sa=:be", "CLIENT get fe>be cr@199"),
        ("lateRemoteEndpoint_sa", "- sa=:be", "- - >be"),
        ("noAnnotationsExceptAddresses", "get @199+207 lc=:fe sa=:be", "- get @199+207 fe>be"),
        (
            "server",
            "get @199+207 sr@199:be ss@406:be http.path=/api:be finagle.version=6.45.0:be ca=:fe",
            "SERVER get @199+207 be>fe finagle.version=6.45.0 http.path=/api",
        ),
        (
            "server_clientAddress",
            "get sr@1000:be Gc(9,0.PSScavenge)@1500:be ss@208000:be srv=6.28.0:be:0 sa=:be ca=:fe:63840",
            "SERVER get @1000+207000 be>fe:63840 shared Gc(9,0.PSScavenge)@1500 srv=6.28.0",
        ),
        ("missingEndpoints", "foo @199+207", "- foo @199+207"),
        ("missingEndpoints_coreAnnotation", "foo @199 sr@199", "- foo @199 sr@199"),
        ("server_shared_v1_no_timestamp_duration", "get sr@199:be ss@406:be", "SERVER get @199+207 be shared"),
        ("server_incomplete_shared", "get sr@199:be", "SERVER get @199 be shared"),
        ("lateRemoteEndpoint_ss", "get ss@199:be ca=:fe", "SERVER get be>fe ss@199"),
        ("lateRemoteEndpoint_ca", "- ca=:fe", "SERVER - >fe"),
        ("localSpan_emptyComponent", "local @199+207 lc=:fe", "- local @199+207 fe"),
        (
            "clientAndServer",
            "get @199+207 cs@199:fe ws@238:fe sr@250:be ss@350:be wr@403:fe cr@406:fe \
             http.path=/api:fe http.path=/BACKEND:be clnt=6.45.0:fe srv=6.44.0:be ca=:fe sa=:be",
            "CLIENT get @199+207 fe>be ws@238 wr@403 clnt=6.45.0 http.path=/api | \
             SERVER get @250+100 be>fe shared http.path=/BACKEND srv=6.44.0",
        ),
        ("assumesServerWithoutTimestampIsShared", "get sr@250:be ss@350:be", "SERVER get @250+100 be shared"),
        (
            "clientAndServer_loopback",
            "get @199+207 cs@199:fe sr@250:fe ss@350:fe cr@406:fe",
            "CLIENT get @199+207 fe | SERVER get @250+100 fe shared",
        ),
        ("oneway_loopback", "get cs@199:fe sr@250:fe", "CLIENT get @199 fe | SERVER get @250 fe shared"),
        ("client_missingCs", "get @199+207 cs@406:fe", "CLIENT get @199+207 fe"),
        ("client_missingCs by cr", "get @199+207 cr@406:fe", "CLIENT get @199+207 fe"),
        ("server_missingSr", "get @199+207 ss@406:be", "SERVER get @199+207 be"),
        (
            "redundantAddressAnnotations_client",
            "get @199+207 cs@199:fe cr@406:fe ca=:fe sa=:fe",
            "CLIENT get @199+207 fe>fe",
        ),
        (
            "redundantServiceNameOnAddressAnnotations_server",
            "get @199+207 sr@199:fe ss@406:fe ca=:fe sa=:fe",
            "SERVER get @199+207 fe",
        ),
        (
            "redundantServiceNameOnAddressAnnotations_serverRetainsClientSocket",
            "get @199+207 sr@199:be ss@406:be ca=:fe:backend sa=:be",
            "SERVER get @199+207 be>fe:noname",
        ),
        ("onlyAddressAnnotations", "rpc ca=:fe sa=:be", "- rpc fe>be"),
        (
            "dataMissingEndpointGoesOnFirstSpan",
            "missing foo@199:fe bar@238:fe baz@250:be qux@350:be missing@403 foo=bar:fe baz=qux:be missing=",
            "- missing fe foo@199 bar@238 missing@403 foo=bar missing= | - missing be baz@250 qux@350 baz=qux",
        ),
        ("parsesSharedFlagFromRPCSpan", "get @10 sr@20:be ss@30:be", "SERVER get @20+10 be shared"),
    ]);
}

#[test]
fn messages_convert_as_in_zipkins_span_converter_test() {
    check(&[
        ("producer", "send ms@199:fe", "PRODUCER send @199 fe"),
        ("producer_remote", "send @199 ms@199:fe ma=:kafka", "PRODUCER send @199 fe>kafka"),
        ("producer_duration", "send @199+51 ms@199:fe ws@250:fe", "PRODUCER send @199+51 fe"),
        ("consumer", "next @199 mr@199:be", "CONSUMER next @199 be"),
        ("consumer_remote", "next @199 mr@199:be ma=:kafka", "CONSUMER next @199 be>kafka"),
        ("consumer_duration", "next @199+51 wr@199:be mr@250:be", "CONSUMER next @199+51 be"),
        (
            "producerAndConsumer",
            "whatev ms@199:fe ws@238:fe wr@403:be mr@406:be ma=:kafka",
            "PRODUCER whatev @199+39 fe>kafka | CONSUMER whatev @403+3 be>kafka shared",
        ),
        (
            "producerAndConsumer_loopback_shared",
            "message ms@199:fe ws@238:fe wr@403:fe mr@406:fe",
            "PRODUCER message @199+39 fe | CONSUMER message @403+3 fe shared",
        ),
        ("producer and consumer without wire", "m ms@1:fe mr@5:be", "PRODUCER m @1 fe | CONSUMER m @5 be shared"),
    ]);
}

#[test]
fn addresses_convert_as_in_zipkins_v1_span_converter_test() {
    check(&[
        ("convert_ma", "- mr@199:be ma=:kafka", "CONSUMER - @199 be>kafka"),
        ("convert_sa", "- cs@199:fe sa=:be", "CLIENT - @199 fe>be"),
        ("convert_ca", "- sr@199:be ca=:fe", "SERVER - @199 be>fe shared"),
        ("convert_ma_incorrect_value", "- mr@199:be ma=1:kafka", "CONSUMER - @199 be>kafka"),
        ("convert_sa_incorrect_value", "- cs@199:fe sa=1:be", "CLIENT - @199 fe>be"),
        ("convert_ca_incorrect_value", "- sr@199:be ca=1:fe", "SERVER - @199 be>fe shared"),
        ("ma beside addresses of a call", "- ms@199:fe ca=:fe ma=:kafka", "SERVER - @199 fe>fe"),
    ]);
}

#[test]
fn spans_that_lack_something_convert_as_the_reference_does() {
    check(&[
        ("only cr", "- cr@9:fe", "CLIENT - fe cr@9"),
        ("cs and a start", "- @3 cs@4:fe", "CLIENT - @3 fe"),
        ("sr and a start", "- @3 sr@4:be", "SERVER - @3 be"),
        ("its own time wins", "- @3+5 sr@4:be ss@9:be", "SERVER - @3+5 be"),
        ("ss before sr", "- sr@9:be ss@5:be", "SERVER - @9 be shared"),
        ("sr at ss", "- sr@9:be ss@9:be", "SERVER - @9 be shared"),
        ("client's ends on two services", "- cs@1:fe cr@5:be", "CLIENT - @1+4 fe | CLIENT - be"),
        ("a tag on two services", "- @3+5 k=v:fe k=v:be", "- - @3+5 fe k=v | - - be k=v"),
        ("first fragment", "- csf@4:fe", "- - fe csf@4"),
        ("cs without host", "- @3 cs@4", "- - @3 cs@4"),
        ("wire only", "- ws@4:fe wr@5:fe", "- - fe ws@4 wr@5"),
        ("address without host", "- sa=", "- -"),
        ("named component", "- lc=spark:fe", "- - fe lc=spark"),
        ("duration alone", "- @0+5 lc=:fe", "- - fe"),
        ("one-way", "- @1 cs@1:fe sr@5:be", "CLIENT - @1 fe | SERVER - @5 be shared"),
        ("services without name are one", "- cs@1:ip x@2:fe:noname", "CLIENT - @1 ip x@2"),
    ]);
}

#[test]
fn the_order_of_annotations_does_not_matter() {
    let source = v1("get @199+207 cs@199:fe sr@250:be x@260:be ss@350:be cr@406:fe b=1:be a=2:fe sa=:be ca=:fe");
    let expected = converted(source.clone());
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..50 {
        let mut shuffled = source.clone();
        random.shuffle(&mut shuffled.annotations);
        random.shuffle(&mut shuffled.binary_annotations);
        assert_eq!(converted(shuffled), expected);
    }
}

#[test]
fn spare_spans_leave_nothing_behind() {
    let mut spans = Vec::new();
    let mut first = v1("get @199+207 cs@199:fe sr@250:be x@260:be k=v:be sa=:be");
    assert_eq!(convert(&mut first, &mut spans), Ok(2));
    let mut second = v1("- a@1 b=c");
    assert_eq!(convert(&mut second, &mut spans), Ok(1));
    assert_eq!(show(&spans[0]), "- - a@1 b=c");
}

#[test]
fn more_services_than_any_call_has_are_refused() {
    let services = |count: usize| {
        let mut source = V1Span { trace_id: 1, parent_id: 2, id: 3, ..V1Span::default() };
        for index in 0..count {
            let service_name = Some(Cow::Owned(format!("service-{index}")));
            let endpoint = Some(Endpoint { service_name, ..Endpoint::default() });
            source.annotations.push(V1Annotation { timestamp_us: 1, value: "x".into(), endpoint });
        }
        convert(&mut source, &mut Vec::new())
    };
    assert_eq!(services(SERVICES_MAX), Ok(SERVICES_MAX));
    assert_eq!(services(SERVICES_MAX + 1), Err(TooManyServices));
    assert!(TooManyServices.to_string().starts_with("annotations of more than 256 services"));
}
