use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;

use super::*;
use crate::archive::format::tests::{encode, frame, part};
use crate::archive::format::{Format, Part};
use crate::channel::Origin;
use crate::span::{Annotation, Endpoint, Kind, Span, TraceId};

fn read(parts: &[Part]) -> SerializedFileReader<Bytes> {
    let (bytes, _, unreadable) = encode(Format::Parquet1, parts);
    assert_eq!(unreadable, Vec::<u64>::new());
    let options = ReadOptionsBuilder::new()
        .with_reader_properties(ReaderProperties::builder().set_read_bloom_filter(true).build());
    SerializedFileReader::new_with_options(Bytes::from(bytes), options.build()).unwrap()
}

fn rows(parts: &[Part]) -> Vec<String> {
    read(parts).get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect()
}

fn with_origin(part: Part, pairs: &[(&str, &str)]) -> Part {
    let origin = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let head = Head { origin: Arc::new(Origin(origin)), received_us: 1_700_000_000_000_001, ..(*part.head).clone() };
    Part { head: Arc::new(head), ..part }
}

fn full(id: u64) -> Span<'static> {
    let endpoint = |name: &'static str| Endpoint {
        service_name: Some(name.into()),
        ipv4: Some(Ipv4Addr::new(10, 1, 2, 3).octets()),
        ipv6: Some("2001:db8::c001".parse::<Ipv6Addr>().unwrap().octets()),
        port: 65_535,
    };
    let annotation = |timestamp_us, value: &'static str| Annotation { timestamp_us, value: value.into() };
    Span {
        trace_id: TraceId { high: 1, low: 0xfedc },
        parent_id: 2,
        id,
        kind: Some(Kind::Server),
        name: Some("gét".into()),
        timestamp_us: 1_472_470_996_199_000,
        duration_us: 207_000,
        local: Some(endpoint("shop")),
        remote: Some(endpoint("stock")),
        annotations: vec![annotation(1_472_470_996_238_000, "foo"), annotation(1_472_470_996_403_000, "bar")],
        tags: vec![("a".into(), "".into()), ("http.path".into(), "/api".into())],
        debug: true,
        shared: true,
    }
}

#[test]
fn every_field_is_a_column() {
    let part =
        with_origin(frame(0, vec![full(3)]), &[("listener", "http"), ("via", "a"), ("peer", "::1"), ("via", "b")]);
    let endpoint = |side: &str, name: &str| {
        format!(
            "{side}_service_name: \"{name}\", {side}_ipv4: \"10.1.2.3\", {side}_ipv6: \"2001:db8::c001\", \
             {side}_port: 65535"
        )
    };
    let row = format!(
        "{{trace_id: \"0000000000000001000000000000fedc\", parent_id: \"0000000000000002\", id: \"0000000000000003\", \
         kind: \"SERVER\", name: \"gét\", timestamp: 2016-08-29 11:43:16.199000 +00:00, duration: 207000, {}, {}, \
         annotations: [{{timestamp: 2016-08-29 11:43:16.238000 +00:00, value: \"foo\"}}, \
         {{timestamp: 2016-08-29 11:43:16.403000 +00:00, value: \"bar\"}}], \
         tags: {{\"a\" -> \"\", \"http.path\" -> \"/api\"}}, debug: true, shared: true, \
         received: 2023-11-14 22:13:20.000001 +00:00, \
         origin: {{\"listener\" -> \"http\", \"via\" -> \"a,b\", \"peer\" -> \"::1\"}}}}",
        endpoint("local", "shop"),
        endpoint("remote", "stock"),
    );
    assert_eq!(rows(&[part]), [row]);
}

#[test]
fn what_a_span_lacks_is_null_and_lists_are_empty() {
    let bare = Span { trace_id: TraceId { high: 0, low: 1 }, id: 2, ..Span::default() };
    let rows = rows(&[frame(
        0,
        vec![bare, full(3), Span { id: 4, trace_id: TraceId { high: 0, low: 1 }, ..Span::default() }],
    )]);
    let nothing = |id: u64| {
        format!(
            "{{trace_id: \"0000000000000001\", parent_id: null, id: \"{id:016x}\", kind: null, name: null, \
             timestamp: null, duration: null, local_service_name: null, local_ipv4: null, local_ipv6: null, \
             local_port: null, remote_service_name: null, remote_ipv4: null, remote_ipv6: null, remote_port: null, \
             annotations: [], tags: {{}}, debug: false, shared: false, received: 1970-01-01 00:00:00.000001 +00:00, \
             origin: {{}}}}"
        )
    };
    assert_eq!((rows[0].as_str(), rows[2].as_str()), (nothing(2).as_str(), nothing(4).as_str()));
    assert!(rows[1].contains("\"foo\"") && rows[1].contains("\"http.path\""), "{}", rows[1]);
}

#[test]
fn a_row_group_ends_at_its_rows_and_at_its_bytes() {
    let groups =
        |parts: &[Part]| -> Vec<i64> { read(parts).metadata().row_groups().iter().map(|g| g.num_rows()).collect() };
    let parts: Vec<Part> = (0..11).map(|n| part(n * 5_000, 5_000)).collect();
    assert_eq!(groups(&parts), [50_000, 5_000]);
    let long = |id| Span {
        name: Some("x".repeat(60_000).into()),
        id,
        trace_id: TraceId { high: 0, low: 1 },
        ..Span::default()
    };
    let parts: Vec<Part> = (0..300).map(|n| frame(n, vec![long(n + 1)])).collect();
    assert_eq!(groups(&parts), [280, 20], "16 MiB of 60,000 bytes each");
    let origin = ["a", "b", "c", "d"].map(|key| (key, "x".repeat(255)));
    let origin: Vec<(&str, &str)> = origin.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let parts: Vec<Part> = (0..4).map(|n| with_origin(part(n * 5_000, 5_000), &origin)).collect();
    assert!(groups(&parts)[0] < 16_400, "a kibibyte of origin in each");
    let tags: Vec<_> = (0..90_000).map(|n| (format!("{n:x}").into(), "".into())).collect();
    let tagged = |id| Span { id, trace_id: TraceId { high: 0, low: 1 }, tags: tags.clone(), ..Span::default() };
    let part = frame(0, vec![tagged(1)]);
    assert_eq!(groups(&vec![part; 12]), [11, 1], "90,000 tags of ten bytes each");
}

#[test]
fn lists_longer_than_what_is_handed_on_at_once_stay_whole() {
    let tags = |count: u32| (0..count).map(|n| (format!("{n:05}").into(), "v".into())).collect::<Vec<_>>();
    let spans: Vec<Span<'_>> = [3_000, 0, 3_000, 9_000, 1]
        .into_iter()
        .zip(1..)
        .map(|(count, id)| Span { id, trace_id: TraceId { high: 0, low: 1 }, tags: tags(count), ..Span::default() })
        .collect();
    let counts: Vec<usize> = rows(&[frame(0, spans)]).iter().map(|row| row.matches("->").count()).collect();
    assert_eq!(counts, [3_000, 0, 3_000, 9_000, 1]);
}

#[test]
fn a_trace_is_looked_up_in_a_bloom_filter_and_services_have_statistics() {
    let file = read(&[part(0, 10_000)]);
    let group = file.get_row_group(0).unwrap();
    let filter = group.get_column_bloom_filter(0).expect("the trace id has one");
    let found = |ids: std::ops::Range<u64>| {
        ids.filter(|id| filter.check(&parquet::data_type::ByteArray::from(format!("{id:016x}").into_bytes()))).count()
    };
    assert_eq!(found(1..10_001), 10_000, "none is missed");
    assert!(found(1_000_000..1_100_000) < 300, "0.1 % of 100,000, and room for chance");
    assert!(group.get_column_bloom_filter(2).is_none());
    let file = read(&[frame(0, vec![full(1)])]);
    let group = file.metadata().row_group(0);
    for column in group.columns() {
        let path = column.column_path().string();
        assert!(matches!(column.compression(), Compression::ZSTD(_)), "{path}");
        assert!(column.statistics().is_some(), "{path}");
    }
    let timestamp = group.columns().iter().find(|c| c.column_path().string() == "timestamp").unwrap();
    assert!(timestamp.encodings().any(|e| e == Encoding::DELTA_BINARY_PACKED));
}
