//! The spans that must look the same in Zipkin whether they came straight or through the gateway.
//!
//! Each shape is a trace of its own, so that a difference names the shape. What they stand for: docs of Zipkin's
//! `V1SpanConverter`, `V1ThriftSpanReader`, `V2SpanReader`, `Proto3Fields` and their tests.

use super::v1::{Host, Span};

/// A v1 span with what is known of its way through Zipkin.
pub struct Shape {
    pub what: &'static str,
    pub span: Span,
    /// Zipkin's own Scribe collector keeps the first v2 span only; its HTTP collector keeps them all.
    pub splits: bool,
    /// Tags that Zipkin drops and the gateway keeps by default: non-string binary annotations.
    pub kept: Vec<(&'static str, &'static str)>,
}

const FIRST_TRACE: i64 = 0x51a9_0000;
/// 2026-01-01, in microseconds.
const T: i64 = 1_767_225_600_000_000;
const STRING: i32 = 6;

fn host(name: &str, ipv4: u32, port: i16) -> Option<Host> {
    Some(Host { name: name.to_owned(), ipv4, port, ipv6: None })
}

fn fe() -> Option<Host> {
    host("Frontend", 0x7f00_0001, 8080)
}

fn be() -> Option<Host> {
    host("backend", 0xc0a8_6365_u32, 9000)
}

fn v6() -> Option<Host> {
    let ipv6 = "2001:db8::c001".parse::<std::net::Ipv6Addr>().expect("an address").octets();
    Some(Host { name: "six".to_owned(), ipv4: 0, port: -1696, ipv6: Some(ipv6) })
}

fn notes(of: &[(i64, &str, Option<Host>)]) -> Vec<(i64, String, Option<Host>)> {
    of.iter().map(|(at, value, host)| (T + at, (*value).to_owned(), host.clone())).collect()
}

fn tag(key: &str, value: &str, at: Option<Host>) -> super::v1::Binary {
    (key.to_owned(), value.as_bytes().to_vec(), STRING, at)
}

fn address(key: &str, at: Option<Host>) -> super::v1::Binary {
    (key.to_owned(), vec![1], 0, at)
}

/// A list of shapes under construction.
#[derive(Default)]
struct Shapes(Vec<Shape>);

impl Shapes {
    fn add(&mut self, what: &'static str, edit: impl FnOnce(&mut Span)) -> &mut Shape {
        let number = i64::try_from(self.0.len()).expect("few shapes");
        let mut span =
            Span { trace: FIRST_TRACE + number, id: 0x1d00 + number, name: "Get /Path".to_owned(), ..Span::default() };
        edit(&mut span);
        self.0.push(Shape { what, span, splits: false, kept: Vec::new() });
        self.0.last_mut().expect("just pushed")
    }
}

/// Every shape, ids the same at each call.
pub fn v1() -> Vec<Shape> {
    let mut all = Shapes::default();
    one_sided(&mut all);
    two_sided(&mut all);
    messaging(&mut all);
    odd_fields(&mut all);
    addresses(&mut all);
    not_strings(&mut all);
    all.0
}

fn one_sided(all: &mut Shapes) {
    all.add("client, whole", |span| {
        span.notes = notes(&[(0, "cs", fe()), (900, "cr", fe()), (300, "wire send", fe())]);
        span.binary = vec![tag("http.path", "/api", fe()), address("sa", be())];
        (span.timestamp, span.duration) = (Some(T), Some(900));
        span.parent = Some(7);
    });
    all.add("client, by annotations alone", |span| span.notes = notes(&[(0, "cs", fe()), (900, "cr", fe())]));
    all.add("client that has only sent", |span| span.notes = notes(&[(4, "cs", fe())]));
    all.add("client that has only received", |span| span.notes = notes(&[(9, "cr", fe())]));
    all.add("client, sent later than its timestamp", |span| {
        span.notes = notes(&[(4, "cs", fe())]);
        span.timestamp = Some(T + 3);
    });
    all.add("server, shared because without a timestamp", |span| {
        span.notes = notes(&[(5, "sr", be()), (800, "ss", be())]);
        span.binary = vec![address("ca", fe())];
    });
    all.add("server with a timestamp and a duration", |span| {
        span.notes = notes(&[(5, "sr", be()), (800, "ss", be())]);
        (span.timestamp, span.duration) = (Some(T + 3), Some(700));
    });
    all.add("server with a timestamp and no duration, as Finagle's", |span| {
        span.notes = notes(&[(5, "sr", be()), (800, "ss", be())]);
        (span.timestamp, span.debug) = (Some(T + 5), Some(false));
    });
    all.add("server that has only received", |span| {
        span.notes = notes(&[(4, "sr", be())]);
        span.timestamp = Some(T + 3);
    });
    all.add("server reversed", |span| span.notes = notes(&[(9, "sr", be()), (5, "ss", be())]));
    all.add("server without length", |span| span.notes = notes(&[(9, "sr", be()), (9, "ss", be())]));
    all.add("local", |span| {
        span.binary = vec![tag("lc", "spark", fe())];
        (span.timestamp, span.duration) = (Some(T), Some(5));
    });
    all.add("local, of no component", |span| {
        span.binary = vec![tag("lc", "", fe())];
        (span.timestamp, span.duration) = (Some(T), Some(5));
    });
}

fn two_sided(all: &mut Shapes) {
    all.add("client and server in one", |span| {
        span.notes = notes(&[(0, "cs", fe()), (100, "sr", be()), (800, "ss", be()), (900, "cr", fe())]);
        (span.timestamp, span.duration) = (Some(T), Some(900));
        span.binary =
            vec![tag("http.path", "/api", fe()), tag("db", "x", be()), address("sa", be()), address("ca", fe())];
    })
    .splits = true;
    all.add("client and server in one, out of order", |span| {
        span.notes = notes(&[(900, "cr", fe()), (800, "ss", be()), (100, "sr", be()), (0, "cs", fe())]);
        span.debug = Some(true);
    })
    .splits = true;
    all.add("client and server in one service", |span| {
        span.notes = notes(&[(0, "cs", fe()), (100, "sr", fe()), (800, "ss", fe()), (900, "cr", fe())]);
    })
    .splits = true;
    all.add("one way", |span| span.notes = notes(&[(0, "cs", fe()), (100, "sr", be())])).splits = true;
    all.add("client whose answer came at another service", |span| {
        span.notes = notes(&[(1, "cs", fe()), (5, "cr", be())]);
    })
    .splits = true;
    all.add("one tag on two services", |span| {
        span.binary = vec![tag("foo", "bar", fe()), tag("foo", "baz", be())];
        (span.timestamp, span.duration) = (Some(T), Some(5));
    })
    .splits = true;
}

fn messaging(all: &mut Shapes) {
    all.add("producer", |span| {
        span.notes = notes(&[(0, "ms", fe())]);
        span.binary = vec![address("ma", be())];
    });
    all.add("producer, with the wire's send", |span| span.notes = notes(&[(0, "ms", fe()), (20, "ws", fe())]));
    all.add("consumer", |span| {
        span.notes = notes(&[(7, "mr", be())]);
        span.binary = vec![address("ma", fe())];
    });
    all.add("consumer, with the wire's receive", |span| span.notes = notes(&[(3, "wr", be()), (7, "mr", be())]));
    all.add("producer and consumer", |span| {
        span.notes = notes(&[(0, "ms", fe()), (2, "ws", fe()), (5, "wr", be()), (7, "mr", be())]);
    })
    .splits = true;
    all.add("wire annotations alone", |span| span.notes = notes(&[(4, "ws", fe()), (5, "wr", fe())]));
}

fn odd_fields(all: &mut Shapes) {
    all.add("trace id of 128 bits", |span| {
        span.trace_high = 0x463a_c35c_9f64_13ad;
        span.notes = notes(&[(0, "cs", fe()), (9, "cr", fe())]);
    });
    all.add("negative ids", |span| {
        (span.trace, span.id, span.parent) = (-2, -3, Some(-4));
        span.notes = notes(&[(0, "sr", fe())]);
    });
    all.add("its own parent", |span| {
        span.parent = Some(span.id);
        span.notes = notes(&[(0, "x", fe())]);
    });
    all.add("parent 0", |span| {
        span.parent = Some(0);
        span.notes = notes(&[(0, "x", fe())]);
    });
    all.add("names beyond ASCII", |span| {
        span.name = "ÜBERWEISUNG İ 支払い".to_owned();
        span.notes = notes(&[(0, "päuse ☕ \"quoted\" \\ \u{2028} \u{1} \t", host("Zählér", 0x0102_0304, 1))]);
        span.binary = vec![tag("schlüssel", "wert 🦀", host("Zählér", 0x0102_0304, 1))];
    });
    all.add("no name", |span| {
        span.name = String::new();
        span.notes = notes(&[(0, "cs", fe())]);
    });
    all.add("debug", |span| {
        span.debug = Some(true);
        span.notes = notes(&[(0, "cs", fe()), (9, "cr", fe())]);
    });
    all.add("duration without timestamp", |span| {
        span.duration = Some(9);
        span.binary = vec![tag("a", "b", fe())];
    });
    all.add("annotation at 0, twice, unsorted", |span| {
        span.notes = notes(&[(9, "b", fe()), (3, "z", fe()), (3, "a", fe()), (3, "a", fe()), (-T, "never", fe())]);
    });
    all.add("annotations of two characters that are none of Zipkin's", |span| {
        span.notes = notes(&[(1, "xx", fe()), (2, "csf", fe()), (3, "error", fe())]);
    });
    all.add("nothing but ids", |span| span.name = String::new());
}

fn addresses(all: &mut Shapes) {
    all.add("server's address alone", |span| span.binary = vec![address("sa", be())]);
    all.add("client's address alone", |span| span.binary = vec![address("ca", fe())]);
    all.add("both addresses and no annotation", |span| span.binary = vec![address("ca", fe()), address("sa", be())]);
    all.add("server's address as a string, as zipkin-ruby wrote it", |span| {
        span.notes = notes(&[(0, "cs", fe())]);
        span.binary = vec![tag("sa", "1", be())];
    });
    all.add("address without host", |span| {
        span.notes = notes(&[(0, "cs", fe())]);
        span.binary = vec![address("sa", None)];
    });
    all.add("client's address equal to the server's own", |span| {
        span.notes = notes(&[(0, "sr", be())]);
        span.binary = vec![address("ca", be())];
    });
    all.add("client's address in the server's service", |span| {
        span.notes = notes(&[(0, "sr", be())]);
        span.binary = vec![address("ca", host("backend", 0x0a00_0001, 1))];
    });
    all.add("ipv6 and a port beyond 32767", |span| span.notes = notes(&[(0, "cs", v6()), (9, "cr", v6())]));
    all.add("ipv4 in the ipv6 field", |span| {
        let mut at = v6().expect("a host");
        at.ipv6 = Some("::ffff:1.2.3.4".parse::<std::net::Ipv6Addr>().expect("an address").octets());
        span.notes = notes(&[(0, "cs", Some(at))]);
    });
    all.add("endpoint of nothing", |span| span.notes = notes(&[(0, "sr", host("", 0, 0))]));
    all.add("annotation without endpoint", |span| {
        span.notes = notes(&[(0, "cs", None)]);
        span.timestamp = Some(T);
    });
    all.add("endpoint of a name alone", |span| span.notes = notes(&[(0, "cs", host("Only", 0, 0))]));
    all.add("endpoint of an address alone", |span| span.notes = notes(&[(0, "cs", host("", 0x0102_0304, 0))]));
}

/// What Zipkin drops today, and converted until 2018 (zipkin 69fba38f8a): the text that the gateway keeps.
fn not_strings(all: &mut Shapes) {
    let values: [(&str, i32, Vec<u8>, &str); 9] = [
        ("bool true", 0, vec![1], "true"),
        ("bool false", 0, vec![0], "false"),
        ("i16", 2, (-2_i16).to_be_bytes().to_vec(), "-2"),
        ("i32", 3, 70_000_i32.to_be_bytes().to_vec(), "70000"),
        ("i64", 4, i64::MIN.to_be_bytes().to_vec(), "-9223372036854775808"),
        ("double", 5, 1.5_f64.to_be_bytes().to_vec(), "1.5"),
        ("double, large", 5, 1e21_f64.to_be_bytes().to_vec(), "1.0E21"),
        ("double, whole", 5, 3_f64.to_be_bytes().to_vec(), "3.0"),
        ("error, as Finagle's", 0, vec![1], "true"),
    ];
    for (key, kind, bytes, text) in values {
        let shape = all.add("a tag that is no string", |span| {
            span.notes = notes(&[(0, "cs", fe()), (9, "cr", fe())]);
            span.binary = vec![(key.to_owned(), bytes, kind, fe()), tag("a", "string", fe())];
        });
        shape.kept = vec![(key, text)];
    }
}

/// (what, the id to ask for, body): JSON v2 as reporters write it, and as only Zipkin's reader would take it.
pub const JSON_V2: &[(&str, &str, &str)] = &[
    ("the least", "a1", r#"[{"traceId":"a1","id":"b"}]"#),
    ("padded to 32", "000000000000001f000000000000a200", r#"[{"traceId":"1f000000000000a200","id":"1"}]"#),
    ("32 digits, the first half 0", "000000000000a300", r#"[{"traceId":"0000000000000000000000000000a300","id":"1"}]"#),
    ("a number for an id", "0000000000000104", r#"[{"traceId":104,"id":1,"name":"n"}]"#),
    ("an ambiguous span", "a5", r#"[{"traceId":"a5","id":"1","name":"test"}]"#),
    (
        "all fields",
        "463ac35c9f6413ad48485a3953bb6124",
        r#"[{"traceId":"463ac35c9f6413ad48485a3953bb6124","parentId":"1","id":"2","kind":"CLIENT","name":"Get /",
        "timestamp":1767225600000000,"duration":207000,
        "localEndpoint":{"serviceName":"FE","ipv4":"127.0.0.1","ipv6":"2001:DB8::C001","port":80},
        "remoteEndpoint":{"serviceName":"be","ipv4":"192.168.99.101","port":9000},
        "annotations":[{"timestamp":1767225600000238,"value":"foo"},{"timestamp":1767225600000100,"value":"bar"}],
        "tags":{"http.path":"/api","clnt/finagle.version":"6.45.0"},"debug":true}]"#,
    ),
    (
        "server, shared",
        "a6",
        r#"[{"traceId":"a6","id":"1","kind":"SERVER","shared":true,"timestamp":1767225600000000}]"#,
    ),
    ("shared client", "a7", r#"[{"traceId":"a7","id":"1","kind":"CLIENT","shared":true,"debug":false}]"#),
    ("shared without kind", "a8", r#"[{"traceId":"a8","id":"1","shared":true}]"#),
    ("producer", "a9", r#"[{"traceId":"a9","id":"1","kind":"PRODUCER","remoteEndpoint":{"serviceName":"Kafka"}}]"#),
    ("consumer", "aa", r#"[{"traceId":"aa","id":"1","kind":"CONSUMER","localEndpoint":{"port":"80"}}]"#),
    ("its own parent", "ab", r#"[{"traceId":"ab","parentId":"1","id":"1"}]"#),
    ("a parent of zeros", "ac", r#"[{"traceId":"ac","parentId":"0000000000000000","id":"1"}]"#),
    (
        "nulls",
        "ad",
        r#"[{"traceId":"ad","id":"1","name":null,"kind":null,"tags":null,"annotations":null,"debug":null}]"#,
    ),
    ("numbers as text", "ae", r#"[{"traceId":"ae","id":"1","timestamp":"1767225600000000","duration":"5"}]"#),
    ("numbers with exponents", "af", r#"[{"traceId":"af","id":"1","timestamp":1.7672256E15,"duration":12.0}]"#),
    ("times at or below 0", "b0", r#"[{"traceId":"b0","id":"1","timestamp":-1,"duration":0}]"#),
    ("duration alone", "b1", r#"[{"traceId":"b1","id":"1","duration":7}]"#),
    ("tags of numbers", "b2", r#"[{"traceId":"b2","id":"1","tags":{"a":1.50,"b":-3,"c":1E5}}]"#),
    (
        "a tag twice, tags twice",
        "b3",
        r#"[{"traceId":"b3","id":"1","tags":{"a":"1","a":"2"},"tags":{"b":"3","A":""}}]"#,
    ),
    (
        "annotations twice, unsorted, at 0",
        "b4",
        r#"[{"traceId":"b4","id":"1","annotations":[{"timestamp":2,"value":"b"},{"timestamp":1,"value":"z"},
        {"timestamp":1,"value":"a","endpoint":{"serviceName":"x"}},{"timestamp":2,"value":"b"},{"value":"0","timestamp":0}]}]"#,
    ),
    (
        "names beyond ASCII",
        "b5",
        "[{\"traceId\":\"b5\",\"id\":\"1\",\"name\":\"ÜBER İ 支払い 🦀\",\"localEndpoint\":{\"serviceName\":\"ZÄHLER\"}}]",
    ),
    (
        "escapes",
        "b6",
        r#"[{"traceId":"b6","id":"1","name":"\u00c4\ud83e\udd80","tags":{"a\"\\\/\b\f\n\r\t":"\u0001\u2028<&>\u007f"}}]"#,
    ),
    ("a control character as it is", "b7", "[{\"traceId\":\"b7\",\"id\":\"1\",\"tags\":{\"a\":\"x\ty\nz\"}}]"),
    ("a lone surrogate", "b8", r#"[{"traceId":"b8","id":"1","tags":{"a":"x\ud83ey"}}]"#),
    (
        "empty names",
        "b9",
        r#"[{"traceId":"b9","id":"1","name":"","localEndpoint":{"serviceName":""},"remoteEndpoint":{}}]"#,
    ),
    (
        "addresses that are none",
        "ba",
        r#"[{"traceId":"ba","id":"1","localEndpoint":{"serviceName":"a","ipv4":"localhost","ipv6":"fe80::1%eth0"},
        "remoteEndpoint":{"serviceName":"b","ipv4":"256.1.1.1","port":0}}]"#,
    ),
    (
        "addresses in each other's field",
        "bb",
        r#"[{"traceId":"bb","id":"1","localEndpoint":{"ipv4":"2001:db8::1"},"remoteEndpoint":{"ipv6":"1.2.3.4"}}]"#,
    ),
    (
        "addresses of v4 in v6",
        "bc",
        r#"[{"traceId":"bc","id":"1","localEndpoint":{"ipv6":"::ffff:1.2.3.4"},"remoteEndpoint":{"ipv6":"::ffff:0102:0304"}}]"#,
    ),
    (
        "addresses to be shortened",
        "bd",
        r#"[{"traceId":"bd","id":"1","localEndpoint":{"ipv6":"2001:0DB8:0:0:1:0:0:1"},"remoteEndpoint":{"ipv6":"0:0:0:0:0:0:0:1","ipv4":"0.0.0.0"}}]"#,
    ),
    ("an unknown field", "be", r#"[{"traceId":"be","id":"1","new":{"a":[1,{"b":null}]},"tags":{"x":"y"}}]"#),
    ("garbage behind", "bf", r#"[{"traceId":"bf","id":"1"}] and more"#),
    ("spaces within", "c0", "[ \r\n\t{ \"traceId\" : \"c0\" , \"id\" : \"1\" } ]"),
    ("literals in capitals", "c1", r#"[{"traceId":"c1","id":"1","debug":TRUE,"name":Null}]"#),
    (
        "two spans of a trace",
        "c2",
        r#"[{"traceId":"c2","id":"1"},{"traceId":"c2","parentId":"1","id":"2","kind":"SERVER"}]"#,
    ),
    ("the words of a guard", "c3", r#"[{"traceId":"c3","id":"1","tags":{"an":"Endpoint\""}}]"#),
];

/// (what, path, content type, content encoding, body): answered alike by Zipkin and by the gateway, status for status.
/// Not among them: JSON called `application/x-protobuf`. Zipkin reads `[` as a field's tag, finds no span in it, and
/// says 202; the gateway says 400.
pub const STATUSES: &[(&str, &str, &str, &[u8])] = &[
    ("no body", "/api/v2/spans", "application/json", b""),
    ("an empty list", "/api/v2/spans", "application/json", b"[]"),
    ("an empty proto list", "/api/v2/spans", "application/x-protobuf", b""),
    ("form", "/api/v2/spans", "application/x-www-form-urlencoded", b"[]"),
    ("text", "/api/v2/spans", "text/plain", b"hello"),
    ("an object", "/api/v2/spans", "application/json", b"{}"),
    ("null", "/api/v2/spans", "application/json", b"null"),
    ("a list of null", "/api/v2/spans", "application/json", b"[null]"),
    ("a list of lists", "/api/v2/spans", "application/json", b"[[]]"),
    ("a space before", "/api/v2/spans", "application/json", b" []"),
    ("cut", "/api/v2/spans", "application/json", br#"[{"traceId":"a","id":"#),
    ("a comma behind", "/api/v2/spans", "application/json", br#"[{"traceId":"a","id":"b"},]"#),
    ("no id", "/api/v2/spans", "application/json", br#"[{"traceId":"a"}]"#),
    ("capital digits", "/api/v2/spans", "application/json", br#"[{"traceId":"AB","id":"b"}]"#),
    (
        "33 digits",
        "/api/v2/spans",
        "application/json",
        br#"[{"traceId":"000000000000000000000000000000001","id":"b"}]"#,
    ),
    ("a trace id of zeros", "/api/v2/spans", "application/json", br#"[{"traceId":"0000000000000000","id":"b"}]"#),
    ("a kind in small letters", "/api/v2/spans", "application/json", br#"[{"traceId":"a","id":"b","kind":"client"}]"#),
    ("a tag of true", "/api/v2/spans", "application/json", br#"[{"traceId":"a","id":"b","tags":{"a":true}}]"#),
    ("a tag of null", "/api/v2/spans", "application/json", br#"[{"traceId":"a","id":"b","tags":{"a":null}}]"#),
    ("half a microsecond", "/api/v2/spans", "application/json", br#"[{"traceId":"a","id":"b","timestamp":0.5}]"#),
    ("debug as text", "/api/v2/spans", "application/json", br#"[{"traceId":"a","id":"b","debug":"true"}]"#),
    (
        "a port too far",
        "/api/v2/spans",
        "application/json",
        br#"[{"traceId":"a","id":"b","localEndpoint":{"port":65536}}]"#,
    ),
    (
        "half an annotation",
        "/api/v2/spans",
        "application/json",
        br#"[{"traceId":"a","id":"b","annotations":[{"timestamp":1}]}]"#,
    ),
    ("one bad of two", "/api/v2/spans", "application/json", br#"[{"traceId":"a","id":"b"},{"traceId":"a","id":"x"}]"#),
    (
        "v1 as v2",
        "/api/v2/spans",
        "application/json",
        br#"[{"traceId":"a","id":"b","binaryAnnotations":[{"key":"lc","value":"","endpoint":{"serviceName":"x"}}]}]"#,
    ),
    ("proto with an id too long", "/api/v2/spans", "application/x-protobuf", b"\x0a\x0e\x0a\x01\x01\x1a\x09123456789"),
    ("proto without id", "/api/v2/spans", "application/x-protobuf", b"\x0a\x0a\x0a\x0812345678"),
    ("proto cut", "/api/v2/spans", "application/x-protobuf", b"\x0a\x14\x0a\x0812345678\x1a\x0812"),
    ("proto of a group", "/api/v2/spans", "application/x-protobuf", b"\x0a\x0f\x0a\x01\x01\x1a\x0812345678\x7b\x7c"),
    ("unknown path", "/api/v3/spans", "application/json", b"[]"),
];
