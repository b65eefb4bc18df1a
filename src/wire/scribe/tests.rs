//! Headers, entries and replies, byte by byte.

use super::*;

fn strict(name: &[u8], kind: u8, seqid: i32) -> Vec<u8> {
    let mut out = vec![0x80, 1, 0, kind];
    put_string(name, &mut out);
    out.extend_from_slice(&seqid.to_be_bytes());
    out
}

fn unversioned(name: &[u8], kind: u8, seqid: i32) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(name, &mut out);
    out.push(kind);
    out.extend_from_slice(&seqid.to_be_bytes());
    out
}

/// Arguments of a `Log` call with these entries.
fn arguments(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = vec![15, 0, 1, 12];
    out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    for (category, message) in entries {
        for (id, text) in [(1, category), (2, message)] {
            put_field(kind::STRING, id, &mut out);
            put_string(text, &mut out);
        }
        out.push(0);
    }
    out.push(0);
    out
}

fn read(arguments: &[u8]) -> Result<Option<Vec<Entry<'_>>>> {
    Ok(log_arguments(arguments, &Limits::default())?.map(Iterator::collect))
}

#[test]
fn a_header_is_read_in_both_forms() {
    for (bytes, form) in [(strict(LOG, 1, -7), Form::Strict), (unversioned(LOG, 1, -7), Form::Unversioned)] {
        let expected = Header { name: LOG, seqid: -7, form, kind: MessageKind::Call, len: bytes.len() };
        assert_eq!(Header::parse(&bytes), Ok(expected));
        assert_eq!(Header::parse(&[&bytes[..], b"arguments"].concat()), Ok(expected));
    }
    let oneway = strict(b"shutdown", 4, 0);
    assert_eq!(Header::parse(&oneway).unwrap().kind, MessageKind::Oneway);
    let bytes = unversioned(b"\xff", 1, 0);
    assert_eq!(Header::parse(&bytes).unwrap().method(), "\u{fffd}");
}

#[test]
fn a_prefix_is_enough_once_the_header_is_in_it() {
    let longest = vec![b'm'; METHOD_NAME_MAX];
    for bytes in [strict(LOG, 1, 1), unversioned(LOG, 1, 1), strict(&longest, 1, 1), unversioned(&longest, 1, 1)] {
        for cut in 0..bytes.len() {
            assert_eq!(Header::parse_prefix(&bytes[..cut]), Ok(None), "cut at {cut}");
            let error = Header::parse(&bytes[..cut]).unwrap_err();
            assert!(matches!(error.fault, Fault::Truncated { .. }), "{error}");
        }
        assert!(matches!(Header::parse_prefix(&bytes), Ok(Some(_))));
        assert!(bytes.len() <= HEADER_BYTES_MAX);
    }
}

#[test]
fn a_header_that_cannot_be_one_names_what_is_wrong() {
    let long = vec![b'm'; METHOD_NAME_MAX + 1];
    let cases = [
        (
            vec![0x80, 2, 0, 1, 0, 0, 0, 0],
            "protocol version 0x80020001, expected 0x8001____ or a method name at byte 4",
        ),
        (strict(LOG, 9, 0), "message type 9, expected 1 to 4 at byte 4"),
        (unversioned(LOG, 0, 0), "message type 0, expected 1 to 4 at byte 8"),
        (vec![0x80, 1, 0, 1, 0xff, 0xff, 0xff, 0xff], "negative length -1 at byte 8"),
        (strict(&long, 1, 0), "method name of 257 bytes, expected at most 256 at byte 8"),
        (b"GET / HTTP/1.1\r\n".to_vec(), "method name of 1195725856 bytes, expected at most 256 at byte 4"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(Header::parse(&bytes).unwrap_err().to_string(), expected);
        assert!(Header::parse_prefix(&bytes).is_err(), "{expected}");
    }
}

#[test]
fn entries_are_bytes_and_one_with_invalid_text_costs_no_other() {
    let bytes = arguments(&[(b"zipkin", b"CgAB"), (b"\xff\xfe", b"\xc0"), (b"", b""), (b"zipkin", b"AAA=")]);
    let entries = read(&bytes).unwrap().unwrap();
    let pairs: Vec<_> = entries.iter().map(|entry| (entry.category, entry.message)).collect();
    let expected: [(&[u8], &[u8]); 4] =
        [(b"zipkin", b"CgAB"), (b"\xff\xfe", b"\xc0"), (b"", b""), (b"zipkin", b"AAA=")];
    assert_eq!(pairs, expected);
}

#[test]
fn a_missing_list_is_not_an_empty_one() {
    assert_eq!(read(&[0]), Ok(None));
    assert_eq!(read(&arguments(&[])), Ok(Some(vec![])));
    // A null list of libthrift is a missing field; a list of the wrong type is an unknown one.
    assert_eq!(read(&[14, 0, 1, 12, 0, 0, 0, 0, 0]), Ok(None));
    assert_eq!(read(&[15, 0, 2, 12, 0, 0, 0, 0, 0]), Ok(None));
    // Writers without elements need not know their type.
    assert_eq!(read(&[15, 0, 1, 0, 0, 0, 0, 0, 0]), Ok(Some(vec![])));
}

#[test]
fn unknown_and_missing_fields_of_an_entry_are_passed_over() {
    let entry = [
        15, 0, 1, 12, 0, 0, 0, 2, // two entries
        8, 0, 1, 0, 0, 0, 9, 11, 0, 2, 0, 0, 0, 1, b'm', 13, 0, 7, 8, 8, 0, 0, 0, 0, 0, // category as i32, a map
        0, // nothing
        0, b'x', b'y', // end, and what libthrift does not look at either
    ];
    let entries = read(&entry).unwrap().unwrap();
    assert_eq!(entries, [Entry { category: b"", message: b"m" }, Entry::default()]);
}

#[test]
fn arguments_cut_or_changed_anywhere_never_panic() {
    let bytes = arguments(&[(b"zipkin", b"CgAB"), (b"other", b"text")]);
    for at in 0..bytes.len() {
        assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        for value in 0..=255 {
            let mut changed = bytes.clone();
            changed[at] = value;
            if let Ok(Some(entries)) = read(&changed) {
                assert!(entries.len() <= 2, "{value} at {at}");
            }
        }
    }
}

#[test]
fn counts_are_bounded_before_anything_is_reserved() {
    let claim = |element, count: u32, bytes| {
        let mut claim = vec![15, 0, 1, element];
        claim.extend_from_slice(&count.to_be_bytes());
        claim.resize(claim.len() + bytes, 0);
        read(&claim).unwrap_err().fault
    };
    assert_eq!(claim(12, u32::MAX >> 1, 10), Fault::Truncated { wanted: 0x7fff_ffff, available: 10 });
    assert_eq!(claim(12, 1_000_001, 1_000_001), Fault::TooMany { count: 1_000_001, limit: ENTRIES_MAX });
    assert_eq!(claim(11, 1, 10), Fault::ElementType { found: 11, expected: 12 });
}

#[test]
fn other_protocols_are_told_by_their_first_four_bytes() {
    for verb in
        ["GET / HTTP", "POST /api", "PUT /", "HEAD /", "DELETE /", "OPTIONS *", "PATCH /", "HTTP/1.1", "PRI * HTTP/2"]
    {
        let first = verb.as_bytes().first_chunk().unwrap();
        assert_eq!(Foreign::recognise(*first), Some(Foreign::Http), "{verb}");
    }
    assert_eq!(Foreign::recognise([0x16, 3, 1, 2]), Some(Foreign::Tls));
    for length in [0u32, 1, 16_384_000, 0x1000_0000] {
        assert_eq!(Foreign::recognise(length.to_be_bytes()), None, "a frame of {length} bytes");
    }
}

#[test]
fn replies_are_in_the_callers_form_with_its_name_and_number() {
    let mut out = b"before".to_vec();
    let call = strict(LOG, 1, 5);
    reply_log(&Header::parse(&call).unwrap(), ResultCode::TRY_LATER, &mut out);
    let mut expected = b"before\x00\x00\x00\x17".to_vec();
    expected.extend_from_slice(&strict(LOG, 2, 5));
    expected.extend_from_slice(&[8, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(out, expected);

    out.clear();
    let probe = unversioned(b"__can__finagle__trace__v3__", 1, 0);
    let header = Header::parse(&probe).unwrap();
    reply_exception(&header, ExceptionKind::UnknownMethod, "no", &mut out);
    let mut expected = unversioned(b"__can__finagle__trace__v3__", 3, 0);
    expected.extend_from_slice(&[11, 0, 1, 0, 0, 0, 2, b'n', b'o', 8, 0, 2, 0, 0, 0, 1, 0]);
    assert_eq!(out[..4], (expected.len() as u32).to_be_bytes());
    assert_eq!(out[4..], expected);
}
