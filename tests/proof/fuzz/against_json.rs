//! Our readers of JSON against serde's, and our writers of v1 against our readers: nothing of a span gets lost.
//!
//! serde's says what a list holds; the spans that we made of it must hold that, too: name, tags, annotations. What v1
//! gives another meaning to is left out: `sa`, `ca`, `ma`, `lc`, and the core annotations.

use serde_json::{Map, Value};
use spangate::span::{Batch, Span, canonical};
use spangate::wire::v1::encode::{Form, encode_span};
use spangate::wire::v1::{self, Options};
use spangate::wire::{Limits, json_v1};

/// What makes an address, a kind or a time of v1 rather than a tag or an annotation.
const TAGS_OF_V1: [&str; 4] = ["sa", "ca", "ma", "lc"];
const CORE: [&str; 8] = ["cs", "cr", "ss", "sr", "ms", "mr", "ws", "wr"];

fn spans(batch: &Batch) -> Vec<Span<'_>> {
    canonical::elements(&batch.body).map(|span| span.and_then(canonical::read).expect("canonical bytes")).collect()
}

/// A list of v2 spans, and the batch that our reader made of it.
pub fn v2(body: &[u8], ours: &Batch) {
    let Ok(Value::Array(theirs)) = serde_json::from_slice(body) else { return };
    let ours = spans(ours);
    assert_eq!(ours.len(), theirs.len(), "another's reader counts other spans");
    for (ours, theirs) in ours.iter().zip(theirs.iter().filter_map(Value::as_object)) {
        is_named(&[ours], theirs);
        let tags = theirs.get("tags").and_then(Value::as_object).into_iter().flatten();
        tags.filter_map(|(key, value)| Some((&**key, value.as_str()?))).for_each(|tag| is_tagged(&[ours], tag));
        are_annotated(&[ours], theirs, &[]);
    }
}

/// A list of v1 spans, each of which may be several of ours.
pub fn v1(body: &[u8], ours: &Batch) {
    let Ok(Value::Array(theirs)) = serde_json::from_slice(body) else { return };
    let ours = spans(ours);
    for theirs in theirs.iter().filter_map(Value::as_object) {
        let id = theirs.get("id").and_then(Value::as_str).and_then(|id| u64::from_str_radix(id, 16).ok());
        let Some(id) = id else { continue };
        let ours: Vec<&Span<'_>> = ours.iter().filter(|span| span.id == id).collect();
        is_named(&ours, theirs);
        let once = |key: &str| array(theirs, "binaryAnnotations").filter(|tag| tag["key"] == key).count() == 1;
        let tags = array(theirs, "binaryAnnotations").filter_map(text_tag);
        let plain = tags.filter(|(key, _)| once(key) && !TAGS_OF_V1.contains(key));
        plain.for_each(|tag| is_tagged(&ours, tag));
        are_annotated(&ours, theirs, &CORE);
    }
}

fn array<'a>(span: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a Value> {
    span.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// A binary annotation that is a text by what it says and by what it does not say.
fn text_tag(tag: &Value) -> Option<(&str, &str)> {
    Some((tag.get("key")?.as_str()?, tag.get("value")?.as_str()?)).filter(|_| tag.get("type").is_none())
}

fn is_named(ours: &[&Span<'_>], theirs: &Map<String, Value>) {
    let Some(name) = theirs.get("name").and_then(Value::as_str) else { return };
    let name = name.to_lowercase();
    let is = |span: &&Span<'_>| span.name.as_deref().unwrap_or_default() == name;
    assert!(ours.iter().any(is), "another's reader finds the name {name:?}: {ours:?}");
}

fn is_tagged(ours: &[&Span<'_>], (key, value): (&str, &str)) {
    let mut tags = ours.iter().flat_map(|span| &span.tags);
    assert!(tags.any(|tag| tag.0 == key && tag.1 == value), "another's reader finds {key:?}={value:?}: {ours:?}");
}

fn are_annotated(ours: &[&Span<'_>], theirs: &Map<String, Value>, but: &[&str]) {
    for annotation in array(theirs, "annotations") {
        let said = |field: &str| annotation.get(field);
        let (Some(at), Some(value)) =
            (said("timestamp").and_then(Value::as_u64), said("value").and_then(Value::as_str))
        else {
            continue;
        };
        let mut all = ours.iter().flat_map(|span| &span.annotations);
        let found = all.any(|annotation| annotation.timestamp_us == at && annotation.value == value);
        assert!(found || but.contains(&value), "another's reader finds {value:?} at {at}: {ours:?}");
    }
}

/// A canonical span, written as v1 and read again: what v1 can say comes back. What it cannot is refused by name.
pub fn is_sayable(element: &[u8]) {
    let said = canonical::read(element).expect("canonical bytes");
    for form in [Form::Thrift, Form::Json] {
        let mut out = Vec::new();
        if encode_span(form, element, &mut out).is_err() {
            continue;
        }
        let (limits, options, mut batch) = (Limits::default(), Options::default(), Batch::default());
        match form {
            Form::Thrift => {
                v1::decode_struct(&out, &limits, &options, &mut v1::Scratch::default(), &mut batch).map(drop)
            }
            Form::Json => json_v1::decode(&[b"[", &out[..], b"]"].concat(), &limits, &options, &mut batch),
        }
        .unwrap_or_else(|error| panic!("what we wrote as v1: {error}: {said:?}"));
        comes_back(form, &said, &spans(&batch));
    }
}

/// One span of `read`, or several together, have what v1 says of `said`.
pub fn comes_back(form: Form, said: &Span<'_>, read: &[Span<'_>]) {
    for span in read {
        assert_eq!((span.trace_id, span.id, span.parent_id), (said.trace_id, said.id, said.parent_id), "{form:?}");
        assert_eq!((&span.name, span.debug), (&said.name, said.debug), "{form:?}");
    }
    let read: Vec<&Span<'_>> = read.iter().collect();
    for (key, value) in said.tags.iter().filter(|tag| !TAGS_OF_V1.contains(&&*tag.0)) {
        is_tagged(&read, (key, value));
    }
    for said in said.annotations.iter().filter(|annotation| !CORE.contains(&&*annotation.value)) {
        let back = read.iter().flat_map(|span| &span.annotations).any(|annotation| annotation == said);
        assert!(back || form == Form::Thrift && said.timestamp_us == 0, "{form:?} lost {said:?}: {read:?}");
    }
}
