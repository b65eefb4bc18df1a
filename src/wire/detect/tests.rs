use super::*;

const SPAN: &str = r#"[{"traceId":"1","id":"2","tags":{"a":"xyAnnotations"}}]"#;

fn decode(encoding: Encoding, body: &[u8]) -> Result<usize, String> {
    let mut batch = Batch::default();
    encoding.decode(body, &Limits::default(), &mut batch).map_err(|error| error.to_string())?;
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
