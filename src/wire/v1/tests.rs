//! Entries as a whole: what becomes of them, and what a refusal leaves.

use super::*;
use crate::span::canonical;

/// A span with one annotation of a host without a name.
const SPAN: &[u8] = &[
    10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, // trace_id
    11, 0, 3, 0, 0, 0, 3, b'G', b'e', b't', // name
    10, 0, 4, 0, 0, 0, 0, 0, 0, 0, 7, // id
    15, 0, 6, 12, 0, 0, 0, 1, // one annotation
    10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 11, 0, 2, 0, 0, 0, 2, b's', b'r', // sr at 5
    12, 0, 3, 8, 0, 1, 1, 2, 3, 4, 0, 0, // host 1.2.3.4
    0,
];

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn decode(message: &[u8], batch: &mut Batch) -> Result<usize, DecodeError> {
    decode_entry(message, &Limits::default(), &Options::default(), &mut Scratch::default(), batch)
}

#[test]
fn an_entry_becomes_canonical_bytes_and_an_item() {
    let mut batch = Batch::default();
    assert_eq!(decode(format!("{}\n", base64(SPAN)).as_bytes(), &mut batch), Ok(1));
    assert_eq!((batch.items.len(), batch.items[0].key), (1, 9));
    let element = canonical::elements(&batch.body).next().unwrap().unwrap();
    let span = canonical::read(element).unwrap();
    assert_eq!((span.id, span.name.as_deref(), span.timestamp_us, span.shared), (7, Some("get"), 5, true));
    assert_eq!(span.local.unwrap().ipv4, Some([1, 2, 3, 4]));
}

#[test]
fn bytes_after_the_span_are_ignored() {
    let (mut alone, mut followed) = (Batch::default(), Batch::default());
    decode(base64(SPAN).as_bytes(), &mut alone).unwrap();
    decode(base64(&[SPAN, b"\xff\x00garbage"].concat()).as_bytes(), &mut followed).unwrap();
    assert_eq!(alone, followed);
}

#[test]
fn a_refused_entry_leaves_the_batch_as_it_was_and_names_the_culprit() {
    let mut batch = Batch::default();
    decode(base64(SPAN).as_bytes(), &mut batch).unwrap();
    let before = batch.clone();
    let zeroed = |range: std::ops::Range<usize>| {
        let mut bytes = SPAN.to_vec();
        bytes[range].fill(0);
        base64(&bytes)
    };
    let cases = [
        (String::new(), "message", "empty message, expected one Thrift span"),
        ("\n".into(), "message", "empty message, expected one Thrift span"),
        ("notbase64".into(), "message", "base64: last unit does not have enough valid bits"),
        (base64(b"hello"), "span", "Truncated: length 2 > bytes available 1"),
        (base64(&SPAN[..SPAN.len() - 1]), "span", "Truncated: length 1 > bytes available 0 reading Span from TBinary"),
        (zeroed(3..11), "trace_id", "traceId == 0 reading Span from TBinary"),
        (zeroed(24..32), "id", "id == 0 reading Span from TBinary"),
    ];
    for (message, field, reason) in cases {
        let error = decode(message.as_bytes(), &mut batch).unwrap_err();
        assert_eq!(error.field, field, "{message}");
        assert!(error.reason.starts_with(reason), "{message}: {error}");
        assert_eq!(batch, before, "{message}");
    }
}

#[test]
fn a_span_cut_or_changed_anywhere_never_panics_and_the_scratch_serves_on() {
    let (limits, options) = (Limits::default(), Options::default());
    let (mut scratch, mut batch) = (Scratch::default(), Batch::default());
    let mut good = Batch::default();
    decode(base64(SPAN).as_bytes(), &mut good).unwrap();
    for at in 0..SPAN.len() {
        decode_struct(&SPAN[..at], &limits, &options, &mut scratch, &mut batch).unwrap_err();
        for value in 0..=255 {
            let mut changed = SPAN.to_vec();
            changed[at] = value;
            let _ = decode_struct(&changed, &limits, &options, &mut scratch, &mut Batch::default());
        }
        batch.clear();
        decode_struct(SPAN, &limits, &options, &mut scratch, &mut batch).unwrap();
        assert_eq!(batch, good, "after a change at {at}");
        batch.clear();
    }
}

#[test]
fn a_span_of_too_many_bytes_or_entries_is_refused_whole() {
    let mut batch = Batch::default();
    let mut refused = |limits: &Limits| {
        let error = decode_struct(SPAN, limits, &Options::default(), &mut Scratch::default(), &mut batch).unwrap_err();
        assert_eq!(batch, Batch::default());
        error.reason
    };
    let small = refused(&Limits { span_bytes: 20, ..Limits::default() });
    assert!(small.contains("at most 20 are taken"), "{small}");
    let none = refused(&Limits { entries: 0, ..Limits::default() });
    assert_eq!(none, "1 elements, at most 0 are read reading Span from TBinary");
}

#[test]
fn a_name_repeated_by_many_services_cannot_grow_beyond_four_times_its_bytes() {
    let (error, batch) = repeated(&[b'n'; 1000]);
    assert!(error.starts_with("span of "), "{error}");
    assert!(batch.body.is_empty() && batch.body.capacity() < 64 << 10, "{}", batch.body.capacity());
}

#[test]
fn a_name_that_is_no_utf8_is_not_copied_for_every_service() {
    let (error, _) = repeated(&vec![0xff; 2 << 20]);
    assert!(error.contains("too long"), "{error}");
}

/// What comes of a span whose name a hundred services have.
fn repeated(name: &[u8]) -> (String, Batch) {
    let mut bytes = vec![10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 10, 0, 4, 0, 0, 0, 0, 0, 0, 0, 7];
    bytes.extend_from_slice(&[11, 0, 3]);
    bytes.extend_from_slice(&(name.len() as u32).to_be_bytes());
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&[15, 0, 6, 12, 0, 0, 0, 100]);
    for service in 0..100 {
        bytes.extend_from_slice(&[10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 11, 0, 2, 0, 0, 0, 1, b'x']);
        bytes.extend_from_slice(&[12, 0, 3, 11, 0, 3, 0, 0, 0, 1, service, 0, 0]);
    }
    bytes.push(0);
    let mut batch = Batch::default();
    let error = decode(base64(&bytes).as_bytes(), &mut batch).unwrap_err();
    (error.reason, batch)
}

#[test]
fn buffers_are_taken_over_from_one_entry_to_the_next() {
    let (limits, options, message) = (Limits::default(), Options::default(), base64(SPAN));
    let (mut scratch, mut batch) = (Scratch::default(), Batch::default());
    decode_entry(message.as_bytes(), &limits, &options, &mut scratch, &mut batch).unwrap();
    let places =
        |scratch: &Scratch| (scratch.bytes.as_ptr(), scratch.source.annotations.as_ptr(), scratch.spans.as_ptr());
    let before = places(&scratch);
    decode_entry(message.as_bytes(), &limits, &options, &mut scratch, &mut batch).unwrap();
    assert_eq!(places(&scratch), before);
}

#[test]
fn a_large_entry_leaves_little_room_behind() {
    let mut bytes = SPAN[..SPAN.len() - 1].to_vec();
    for list in [6, 8] {
        bytes.extend_from_slice(&[15, 0, list, 12, 0, 0, 4, 0]);
        for entry in 0..1024u16 {
            let [high, low] = entry.to_be_bytes();
            match list {
                6 => bytes.extend_from_slice(&[10, 0, 1, 0, 0, 0, 0, 0, 0, high, low | 1, 11, 0, 2, 0, 0, 0, 1, b'x']),
                _ => bytes.extend_from_slice(&[
                    11,
                    0,
                    1,
                    0,
                    0,
                    0,
                    2,
                    high,
                    low & 127,
                    11,
                    0,
                    2,
                    0,
                    0,
                    0,
                    0,
                    8,
                    0,
                    3,
                    0,
                    0,
                    0,
                    6,
                ]),
            }
            bytes.extend_from_slice(&[12, 0, if list == 6 { 3 } else { 4 }, 11, 0, 3, 0, 0, 0, 1]);
            bytes.extend_from_slice(&[low % 100, 0, 0]);
        }
    }
    bytes.push(0);
    let (mut scratch, mut batch) = (Scratch::default(), Batch::default());
    let spans =
        decode_entry(base64(&bytes).as_bytes(), &Limits::default(), &Options::default(), &mut scratch, &mut batch);
    assert!(spans.is_ok_and(|spans| spans > 50), "many services");
    let Scratch { bytes, source, spans } = &scratch;
    assert!(bytes.capacity() <= SPARE_BYTES && spans.capacity() <= SPARE_SPANS);
    let lists = [source.annotations.capacity(), source.binary_annotations.capacity()].into_iter();
    let lists = lists.chain(spans.iter().flat_map(|span| [span.annotations.capacity(), span.tags.capacity()]));
    assert!(lists.clone().all(|capacity| capacity <= SPARE_ENTRIES), "{:?}", lists.collect::<Vec<_>>());
}
