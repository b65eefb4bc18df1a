use super::*;

const SPAN: &str = r#"[{"traceId":"1","id":"2","tags":{"a":"xyAnnotations"}}]"#;

fn decode(encoding: Encoding, body: &[u8]) -> Result<usize, String> {
    let mut batch = Batch::default();
    encoding.decode(body, &Limits::default(), &Options::default(), &mut batch).map_err(|error| error.to_string())?;
    Ok(batch.items.len())
}

#[test]
fn the_content_type_chooses_the_encoding_and_all_but_one_are_json() {
    for (content_type, encoding) in [
        (None, Encoding::JsonV2),
        (Some("application/json; charset=utf-8"), Encoding::JsonV2),
        (Some("text/plain"), Encoding::JsonV2),
        (Some("application/x-protobuf"), Encoding::Proto3),
        (Some("Application/X-Protobuf; a=b"), Encoding::Proto3),
        (Some("application/x-protobuffer"), Encoding::JsonV2),
    ] {
        assert_eq!(Encoding::of_content_type(content_type), encoding, "{content_type:?}");
    }
}

#[test]
fn no_bytes_and_an_empty_list_are_no_spans() {
    assert_eq!(decode(Encoding::JsonV2, b""), Ok(0));
    assert_eq!(decode(Encoding::Proto3, b""), Ok(0));
    assert_eq!(decode(Encoding::JsonV2, b"[]"), Ok(0));
    assert_eq!(decode(Encoding::JsonV2, b"\n []"), Ok(0));
}

#[test]
fn what_is_no_list_is_refused_in_zipkins_words() {
    for body in ["hello", "{\"traceId\":\"1\"}", " []", "\u{feff}[]", "\n", "\0"] {
        assert_eq!(decode(Encoding::JsonV2, body.as_bytes()), Err("Expected a JSON_V2 encoded list\n".to_owned()));
    }
    assert_eq!(decode(Encoding::Proto3, b"hello"), Err("Expected a PROTO3 encoded list\n".to_owned()));
}

#[test]
fn another_encoding_is_named() {
    let refused =
        |expected: &str, received: &str| Err(format!("Expected a {expected} encoded list, but received: {received}\n"));
    assert_eq!(decode(Encoding::JsonV2, b"\x0c\0\0\0\0"), refused("JSON_V2", "THRIFT"));
    assert_eq!(decode(Encoding::JsonV2, b"\x0a\x02\x0a\x00"), refused("JSON_V2", "PROTO3"));
    assert_eq!(decode(Encoding::Proto3, SPAN.as_bytes()), refused("PROTO3", "JSON_V2"));
    assert_eq!(decode(Encoding::Proto3, br#"[{"traceId":"1","id":"2"}]"#), refused("PROTO3", "JSON_V1"));
}

#[test]
fn v1_json_is_found_by_its_field_and_not_by_a_text_that_looks_like_one() {
    assert_eq!(decode(Encoding::JsonV2, SPAN.as_bytes()), Ok(1));
    let v1 = br#"[{"traceId":"1","id":"2","binaryAnnotations":[]}]"#;
    let told = "Expected a JSON_V2 encoded list, but received: JSON_V1\n";
    assert_eq!(decode(Encoding::JsonV2, v1), Err(told.to_owned()));
}

#[test]
fn an_element_of_length_zero_is_told_by_the_proto3_reader() {
    let told = decode(Encoding::Proto3, b"\x0a\0").unwrap_err();
    assert!(told.contains("element of length 0"), "{told}");
    let told = decode(Encoding::Proto3, b"\x0a\0\x0a\x01\x00").unwrap_err();
    assert!(told.contains("element of length 0"), "{told}");
}

#[test]
fn at_the_v1_endpoint_all_but_thrift_is_json() {
    for (content_type, encoding) in [
        (None, Encoding::JsonV1),
        (Some("application/json"), Encoding::JsonV1),
        (Some("application/x-protobuf"), Encoding::JsonV1),
        (Some("application/x-thrift"), Encoding::Thrift),
        (Some("Application/X-Thrift; a=b"), Encoding::Thrift),
    ] {
        assert_eq!(Encoding::of_v1_content_type(content_type), encoding, "{content_type:?}");
    }
}

const THRIFT: &[u8] = b"\x0c\0\0\0\x01\x0a\0\x01\0\0\0\0\0\0\0\x01\x0a\0\x04\0\0\0\0\0\0\0\x02\0";

#[test]
fn v1_in_json_and_in_thrift_is_read_and_others_are_named() {
    let refused =
        |expected: &str, received: &str| Err(format!("Expected a {expected} encoded list, but received: {received}\n"));
    assert_eq!(decode(Encoding::Thrift, THRIFT), Ok(1));
    assert_eq!(decode(Encoding::Thrift, b""), Ok(0));
    // zipkin-reporter once wrote the wrong element type.
    assert_eq!(decode(Encoding::Thrift, &[b"\x0b", &THRIFT[1..]].concat()), Ok(1));
    assert_eq!(decode(Encoding::JsonV1, br#"[{"traceId":"1","id":"1","name":"test"}]"#), Ok(1));
    assert_eq!(decode(Encoding::JsonV1, b"\n []"), Ok(0));
    assert_eq!(decode(Encoding::JsonV1, THRIFT), refused("JSON_V1", "THRIFT"));
    assert_eq!(decode(Encoding::JsonV2, THRIFT), refused("JSON_V2", "THRIFT"));
    assert_eq!(decode(Encoding::Thrift, SPAN.as_bytes()), refused("THRIFT", "JSON_V2"));
    assert_eq!(decode(Encoding::Thrift, b"\x0a\x02\x0a\x00"), refused("THRIFT", "PROTO3"));
    assert_eq!(decode(Encoding::JsonV1, b"hello"), Err("Expected a JSON_V1 encoded list\n".to_owned()));
}

#[test]
fn v2_json_is_found_by_its_field_and_not_by_a_text_that_looks_like_one() {
    let told = "Expected a JSON_V1 encoded list, but received: JSON_V2\n";
    for field in ["tags", "localEndpoint", "remoteEndpoint"] {
        let v2 = format!(r#"[{{"traceId":"1","id":"2","{field}":{{}}}}]"#);
        assert_eq!(decode(Encoding::JsonV1, v2.as_bytes()), Err(told.to_owned()));
    }
    let v1 = br#"[{"traceId":"1","id":"2","binaryAnnotations":[{"key":"a","value":"\"tags\" Endpoint\""}]}]"#;
    assert_eq!(decode(Encoding::JsonV1, v1), Ok(1));
}

#[test]
fn spans_are_counted_as_far_as_their_outline_can_be_read() {
    let count = |encoding: Encoding, body: &[u8]| encoding.count(body, &Limits::default());
    assert_eq!(count(Encoding::JsonV1, b"[{},{}]"), 2);
    assert_eq!(count(Encoding::Thrift, THRIFT), 1);
    let (head, span) = THRIFT.split_at(5);
    let three = [head, span, span, &span[..9]].concat();
    assert_eq!(count(Encoding::Thrift, &[b"\x0c\0\0\0\x03", &three[5..]].concat()), 2);
    assert_eq!(count(Encoding::Thrift, b"\x0c\x7f\xff\xff\xff"), 0);
}
