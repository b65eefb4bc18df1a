//! What peers send: every decoder, each against what it must give, and where there is one against another's decoder.

use std::collections::BTreeMap;
use std::io::Read;

use ::base64::Engine;
use ::base64::alphabet::STANDARD;
use ::base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use prost::Message;
use spangate::span::{Batch, canonical};
use spangate::wire::detect::Encoding;
use spangate::wire::fb303::Fb303;
use spangate::wire::r#gen::fb303::FbStatus;
use spangate::wire::r#gen::zipkin_proto3::ListOfSpans;
use spangate::wire::inflate::{Coding, most};
use spangate::wire::scribe::{Header, MessageKind, call, log_arguments};
use spangate::wire::v1::{self, Options, Scratch};
use spangate::wire::{DecodeError, Limits, json_v1 as v1_json, json_v2 as v2_json, proto3 as v2_proto};

use super::{against_json, against_proto3, against_thrift};

/// What a byte of input may become: numbers and addresses are written out, a v1 span of two sides is two spans.
const GROWTH_MAX: usize = 16;
const GROWTH_FLOOR: usize = 4096;

fn decoded(body: &[u8], mut decode: impl FnMut(&mut Batch) -> Result<(), DecodeError>) -> Option<Batch> {
    let mut batch = Batch::default();
    match decode(&mut batch) {
        Err(error) => {
            assert!(
                batch.body.is_empty() && batch.items.is_empty() && batch.labels.is_empty(),
                "half a message: {error}"
            );
            None
        }
        Ok(()) => {
            is_canonical(&batch);
            assert!(
                batch.body.len() <= GROWTH_MAX * body.len() + GROWTH_FLOOR,
                "{} bytes grew to {}",
                body.len(),
                batch.body.len()
            );
            Some(batch)
        }
    }
}

/// The items are the body, another's decoder reads it, and reading it again changes nothing.
pub fn is_canonical(batch: &Batch) {
    let lengths: usize = batch.items.iter().map(|item| item.len as usize).sum();
    assert_eq!(lengths, batch.body.len(), "items and body");
    let list = ListOfSpans::decode(&batch.body[..]).expect("a ListOfSpans");
    assert_eq!(list.spans.len(), batch.items.len());
    for (span, item) in list.spans.iter().zip(&batch.items) {
        let low = span.trace_id.last_chunk::<8>().expect("eight bytes at least");
        assert_eq!(u64::from_be_bytes(*low), item.key);
        assert!(item.label == spangate::span::NO_LABEL || usize::from(item.label) < batch.labels.len());
    }
    let mut again = Batch::default();
    v2_proto::decode(&batch.body, &Limits::default(), &mut again).expect("what we wrote we read");
    // JSON and Thrift have annotations without time or text and tags without a key, which Zipkin keeps; its reader of
    // proto3 takes them for none, as ours does.
    let mut annotations = list.spans.iter().flat_map(|span| &span.annotations);
    let unsayable = annotations.any(|annotation| annotation.timestamp == 0 || annotation.value.is_empty())
        || list.spans.iter().any(|span| span.tags.contains_key(""));
    assert!(again.body == batch.body || unsayable, "canonical bytes are read as other ones");
}

/// Every encoder takes what was decoded, and says it.
fn is_sayable(batch: &Batch) {
    for element in canonical::elements(&batch.body) {
        against_json::is_sayable(element.expect("an element"));
    }
}

pub fn json_v2(body: &[u8]) {
    let Some(batch) = decoded(body, |batch| v2_json::decode(body, &Limits::default(), batch)) else { return };
    let mut text = Vec::new();
    v2_json::encode_list([&batch.body[..]], &mut text).expect("canonical bytes are JSON");
    serde_json::from_slice::<serde_json::Value>(&text).expect("another's reader takes it");
    let again = decoded(&text, |batch| v2_json::decode(&text, &Limits::default(), batch)).expect("our own JSON");
    assert!(again.body == batch.body, "another span after JSON");
    against_json::v2(body, &batch);
    is_sayable(&batch);
}

pub fn json_v1(body: &[u8]) {
    let (limits, options) = (Limits::default(), Options::default());
    if let Some(batch) = decoded(body, |batch| v1_json::decode(body, &limits, &options, batch)) {
        against_json::v1(body, &batch);
        is_sayable(&batch);
    }
}

pub fn proto3(body: &[u8]) {
    let ours = decoded(body, |batch| v2_proto::decode(body, &Limits::default(), batch));
    if let Some(ours) = &ours {
        against_proto3::compare(body, ours);
        is_sayable(ours);
    }
    // What comes from a disk that lied is read by these without a check.
    let _ = canonical::span_bytes(body);
    for span in canonical::elements(body).flatten() {
        let mut text = Vec::new();
        let _ = (canonical::read(span).is_ok(), canonical::trace_id_of(span).is_ok());
        let _ = v2_json::encode_span(span, &mut text);
    }
}

pub fn thrift_list(body: &[u8]) {
    let (limits, options) = (Limits::default(), Options::default());
    let Some(batch) = decoded(body, |batch| v1::decode_list(body, &limits, &options, batch)) else { return };
    is_sayable(&batch);
    against_thrift::list(body, &batch);
}

pub fn thrift_span(message: &[u8]) {
    let (limits, options) = (Limits::default(), Options::default());
    for bare in [true, false] {
        let mut scratch = Scratch::default();
        let batch = decoded(message, |batch| {
            let spans = match bare {
                true => v1::decode_struct(message, &limits, &options, &mut scratch, batch),
                false => v1::decode_entry(message, &limits, &options, &mut scratch, batch),
            };
            spans.map(drop)
        });
        batch.iter().for_each(is_sayable);
        if bare && batch.is_some() {
            against_thrift::span(message);
        }
    }
}

pub fn scribe(payload: &[u8]) {
    let whole = Header::parse(payload);
    for cut in [0, 4, 12, payload.len() / 2] {
        if let Ok(Some(prefix)) = Header::parse_prefix(&payload[..cut.min(payload.len())]) {
            assert_eq!(Ok(prefix), whole, "a header that was read early is another");
        }
    }
    let _ = call::log_answer(payload, 7);
    let Ok(header) = whole else { return };
    against_thrift::header(payload, &header);
    let arguments = &payload[header.len..];
    if let Ok(Some(entries)) = log_arguments(arguments, &Limits::default()) {
        let inside = arguments.as_ptr_range();
        let entries: Vec<_> = entries.collect();
        against_thrift::log(arguments, &entries);
        let mut bytes = 0;
        for entry in entries {
            assert!(entry.message.is_empty() || inside.contains(&entry.message.as_ptr()), "a message of other bytes");
            bytes += entry.message.len() + entry.category.len();
        }
        assert!(bytes <= arguments.len(), "entries overlap");
    }
}

pub fn fb303(payload: &[u8]) {
    let Ok(header) = Header::parse(payload) else { return };
    against_thrift::header(payload, &header);
    let mut out = Vec::new();
    spangate::wire::fb303::answer(&header, &payload[header.len..], &Answers, &mut out);
    assert!(out.len() <= 64 * 1024 + payload.len(), "an answer of {} bytes", out.len());
    if out.is_empty() {
        return;
    }
    let (length, reply) = out.split_first_chunk::<4>().expect("a frame");
    assert_eq!(u32::from_be_bytes(*length) as usize, reply.len());
    let head = Header::parse(reply).expect("a message");
    against_thrift::header(reply, &head);
    assert_eq!((head.name, head.seqid, head.form), (header.name, header.seqid, header.form));
    match head.kind {
        MessageKind::Reply => against_thrift::answer(&payload[header.len..], &reply[head.len..], head.name),
        kind => assert_eq!(kind, MessageKind::Exception),
    }
}

struct Answers;

impl Fb303 for Answers {
    fn name(&self) -> String {
        "Scribe".into()
    }
    fn version(&self) -> String {
        "1".into()
    }
    fn status(&self) -> FbStatus {
        FbStatus::ALIVE
    }
    fn status_details(&self) -> String {
        String::new()
    }
    fn counters(&self) -> BTreeMap<String, i64> {
        BTreeMap::from([("one".into(), 1)])
    }
    fn counter(&self, key: &str) -> i64 {
        key.len() as i64
    }
    fn set_option(&self, _: &str, _: &str) {}
    fn option(&self, key: &str) -> String {
        key.to_owned()
    }
    fn options(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    fn cpu_profile(&self, _: i32) -> String {
        String::new()
    }
    fn alive_since(&self) -> i64 {
        1
    }
    fn reinitialize(&self) {}
    fn shutdown(&self) {}
}

pub fn base64(text: &[u8]) {
    let mut ours = Vec::new();
    let answer = spangate::wire::base64::decode(text, &mut ours);
    assert!(ours.len() <= text.len());
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(false);
    // What the strict reader takes, ours does, too, and reads it the same.
    if let Ok(theirs) = GeneralPurpose::new(&STANDARD, config).decode(text) {
        assert!(answer.is_ok() && ours == theirs, "another's reader reads other bytes");
    }
    let mut again = Vec::new();
    spangate::wire::base64::encode(text, &mut again);
    let mut back = Vec::new();
    spangate::wire::base64::decode(&again, &mut back).expect("our own text");
    assert!(back == text);
}

pub fn detect(body: &[u8]) {
    let (limits, options) = (Limits::default(), Options::default());
    for encoding in [Encoding::JsonV2, Encoding::Proto3, Encoding::JsonV1, Encoding::Thrift] {
        let batch = decoded(body, |batch| encoding.decode(body, &limits, &options, batch));
        let count = encoding.count(body, &limits);
        // A bare count may be of more than was read as spans, never of more than there are bytes.
        assert!(count <= body.len(), "{count} spans in {} bytes", body.len());
        drop(batch);
    }
}

pub fn gzip(body: &[u8]) {
    inflate(Coding::Gzip, body, |body| {
        let mut out = Vec::new();
        flate2::read::MultiGzDecoder::new(body).take(1 << 20).read_to_end(&mut out).ok().map(|_| out)
    });
}

pub fn zstd(body: &[u8]) {
    inflate(Coding::Zstd, body, |body| {
        let mut out = Vec::new();
        zstd::Decoder::new(body).ok()?.take(1 << 20).read_to_end(&mut out).ok().map(|_| out)
    });
}

fn inflate(coding: Coding, body: &[u8], other: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    for (decoded_max, ratio_max) in [(64 << 10, 100), (1000, 2)] {
        if let Ok(out) = coding.decode(body, decoded_max, ratio_max) {
            assert!(out.len() <= most(body.len(), decoded_max, ratio_max));
            assert!(other(body).is_none_or(|theirs| theirs == out), "another's reader inflates to other bytes");
        }
        let _ = coding.claimed(body);
    }
}

pub fn grpc(body: &[u8]) {
    let Ok(message) = spangate::wire::grpc::message(Bytes::copy_from_slice(body)) else { return };
    assert_eq!(message.bytes.len() + spangate::wire::grpc::PREFIX_BYTES, body.len(), "one message is the whole body");
    if !message.compressed {
        proto3(&message.bytes);
    }
}
