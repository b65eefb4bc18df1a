//! Our readers of Thrift against the generated ones: v1 spans, `Log` calls and message headers.
//!
//! The generated code goes by a field's id alone, takes the last of two, refuses invalid UTF-8 and gives a default for
//! what is missing. So bytes are compared as they came where each field is of its type, there once, and there where we
//! ask for it; and always as the generated code writes again what it read.

use std::borrow::Cow;

use spangate::span::Batch;
use spangate::span::Endpoint;
use spangate::wire::r#gen::fb303::FbStatus;
use spangate::wire::r#gen::scribe::LogEntry;
use spangate::wire::r#gen::zipkin_core;
use spangate::wire::scribe::{Entry, Form, Header, MessageKind};
use spangate::wire::thrift::{Cursor, span};
use spangate::wire::v1::{Options, V1Annotation, V1BinaryAnnotation, V1Span, value};
use spangate::wire::{Limits, v1};
use thrift::TConfiguration;
use thrift::protocol::{
    TBinaryInputProtocol, TBinaryOutputProtocol, TInputProtocol, TMessageType, TSerializable, TType,
};

/// Longer than any input.
const BYTES_MAX: usize = 64 << 10;

/// A struct's fields: id, type, and what a struct or a list's element is. Those marked must be there.
struct Shape(&'static [(i16, TType, Option<&'static Shape>, bool)]);

const ENDPOINT: Shape = Shape(&[
    (1, TType::I32, None, false),
    (2, TType::I16, None, false),
    (3, TType::String, None, false),
    (4, TType::String, None, false),
]);
const ANNOTATION: Shape =
    Shape(&[(1, TType::I64, None, true), (2, TType::String, None, true), (3, TType::Struct, Some(&ENDPOINT), false)]);
const BINARY: Shape = Shape(&[
    (1, TType::String, None, true),
    (2, TType::String, None, true),
    (3, TType::I32, None, true),
    (4, TType::Struct, Some(&ENDPOINT), false),
]);
const SPAN: Shape = Shape(&[
    (1, TType::I64, None, false),
    (3, TType::String, None, true),
    (4, TType::I64, None, false),
    (5, TType::I64, None, false),
    (6, TType::List, Some(&ANNOTATION), false),
    (8, TType::List, Some(&BINARY), false),
    (9, TType::Bool, None, false),
    (10, TType::I64, None, false),
    (11, TType::I64, None, false),
    (12, TType::I64, None, false),
]);
const ENTRY: Shape = Shape(&[(1, TType::String, None, false), (2, TType::String, None, false)]);
const LOG: Shape = Shape(&[(1, TType::List, Some(&ENTRY), true)]);

type Input<'a> = TBinaryInputProtocol<&'a [u8]>;

fn input(bytes: &[u8]) -> Input<'_> {
    // It reserves what a list claims.
    let limits = TConfiguration::builder().max_container_size(Some(1000)).max_string_size(Some(BYTES_MAX)).build();
    TBinaryInputProtocol::with_config(bytes, false, limits.expect("limits in order"))
}

/// Whether the struct that comes is as the generated code takes it for granted.
fn is_plain(input: &mut Input<'_>, shape: &Shape) -> thrift::Result<bool> {
    let mut seen = Vec::new();
    loop {
        let field = input.read_field_begin()?;
        let Some(id) = field.id.filter(|_| field.field_type != TType::Stop) else { break };
        let Some((_, kind, inner, _)) = shape.0.iter().find(|known| known.0 == id) else {
            // What has no type that all know, or may hold such, is passed over in as many ways as there are readers.
            use TType::{Bool, Double, I08, I16, I32, I64, String};
            if !matches!(field.field_type, Bool | I08 | I16 | I32 | I64 | Double | String) {
                return Ok(false);
            }
            input.skip(field.field_type)?;
            continue;
        };
        if *kind != field.field_type || seen.contains(&id) {
            return Ok(false);
        }
        seen.push(id);
        let elements = match (kind, inner) {
            (TType::List, _) => {
                let list = input.read_list_begin()?;
                if list.size > 0 && list.element_type != TType::Struct {
                    return Ok(false);
                }
                list.size
            }
            (_, Some(_)) => 1,
            // Bytes, where they may be no text.
            (TType::String, None) => input.read_bytes().map(|_| 0)?,
            // Of Zipkin's reader 1 alone is true, of the generated one all but 0.
            (TType::Bool, None) if !matches!(input.read_byte()?, 0 | 1) => return Ok(false),
            (TType::Bool, None) => 0,
            (kind, None) => input.skip(*kind).map(|()| 0)?,
        };
        for _ in 0..elements {
            if !is_plain(input, inner.expect("a shape of what it holds"))? {
                return Ok(false);
            }
        }
    }
    Ok(shape.0.iter().all(|(id, _, _, needed)| !needed || seen.contains(id)))
}

/// A list of v1 spans, and the batch that our reader made of it.
pub fn list(body: &[u8], ours: &Batch) {
    let mut theirs = input(body);
    let Ok(head) = theirs.read_list_begin() else { return };
    let (mut plain, mut ours_read) = (input(&body[5..]), Cursor::new(&body[5..]));
    let mut all_plain = true;
    let (limits, options) = (Limits::default(), Options::default());
    let (mut written, mut one_by_one) = (Vec::new(), Some(Batch::default()));
    for _ in 0..head.size {
        let Ok(span) = zipkin_core::Span::read_from_in_protocol(&mut theirs) else { return };
        all_plain &= matches!(is_plain(&mut plain, &SPAN), Ok(true));
        if all_plain {
            same(&read(&mut ours_read), &span);
        }
        let again = rewritten(&span);
        let decode = |batch: &mut Batch| v1::decode_struct(&again, &limits, &options, &mut Default::default(), batch);
        one_by_one = one_by_one.and_then(|mut batch| decode(&mut batch).ok().map(|_| batch));
        written.extend(again);
    }
    let written = [&[TType::Struct as u8][..], &head.size.to_be_bytes(), &written].concat();
    assert_eq!(v1::count(&written, &limits), head.size as usize, "another's encoder, {} bytes", written.len());
    let mut batch = Batch::default();
    let taken = v1::decode_list(&written, &limits, &options, &mut batch);
    assert_eq!(taken.is_ok().then_some(&batch), one_by_one.as_ref(), "a list is its spans: {taken:?}");
    // What it left out may have paid for what a span becomes.
    if all_plain && taken.is_ok() {
        assert_eq!(&batch, ours, "another's reader and writer between");
    }
}

/// One v1 span, bare.
pub fn span(message: &[u8]) {
    let Ok(theirs) = zipkin_core::Span::read_from_in_protocol(&mut input(message)) else { return };
    if let Ok(true) = is_plain(&mut input(message), &SPAN) {
        same(&read(&mut Cursor::new(message)), &theirs);
    }
    rewritten(&theirs);
}

fn read<'a>(cursor: &mut Cursor<'a>) -> V1Span<'a> {
    let mut span = V1Span::default();
    span::read(cursor, &Limits::default(), &Options::default(), &mut span).expect("what another's reader takes");
    span
}

/// As the generated code writes a span, which ours reads as it is.
fn rewritten(theirs: &zipkin_core::Span) -> Vec<u8> {
    let mut out = Vec::new();
    theirs.write_to_out_protocol(&mut TBinaryOutputProtocol::new(&mut out, false)).expect("memory takes it");
    same(&read(&mut Cursor::new(&out)), theirs);
    out
}

/// Panics where our span is another than the generated one.
pub fn same(ours: &V1Span<'_>, theirs: &zipkin_core::Span) {
    let id = |id: Option<i64>| id.unwrap_or(0).cast_unsigned();
    let events = theirs.annotations.iter().flatten();
    let tags = theirs.binary_annotations.iter().flatten();
    let expected = V1Span {
        trace_id_high: id(theirs.trace_id_high),
        trace_id: id(theirs.trace_id),
        parent_id: id(theirs.parent_id),
        id: id(theirs.id),
        name: theirs.name.as_deref().map(Cow::Borrowed),
        timestamp_us: theirs.timestamp.unwrap_or(0),
        duration_us: theirs.duration.unwrap_or(0),
        annotations: events.filter_map(annotation).collect(),
        binary_annotations: tags.filter_map(binary).collect(),
        debug: theirs.debug.unwrap_or(false),
    };
    assert_eq!(*ours, expected, "another's decoder reads another span");
}

fn annotation(theirs: &zipkin_core::Annotation) -> Option<V1Annotation<'_>> {
    let timestamp_us = theirs.timestamp.filter(|timestamp| *timestamp != 0)?;
    let endpoint = theirs.host.as_ref().and_then(endpoint);
    Some(V1Annotation { timestamp_us, value: theirs.value.as_deref()?.into(), endpoint })
}

fn binary(theirs: &zipkin_core::BinaryAnnotation) -> Option<V1BinaryAnnotation<'_>> {
    let (key, bytes, kind) = (theirs.key.as_deref()?, theirs.value.as_deref()?, theirs.annotation_type?.0);
    let endpoint = theirs.host.as_ref().and_then(endpoint);
    let is_side = matches!(key, "ca" | "sa" | "ma");
    let address = is_side && matches!(kind, value::kind::STRING | value::kind::BOOL);
    if address && kind == value::kind::BOOL && !(bytes == [1] && endpoint.is_some()) {
        return None;
    }
    let value = match (kind, bytes) {
        (value::kind::STRING, _) => String::from_utf8_lossy(bytes),
        (value::kind::BOOL, [yes]) => (*yes == 1).to_string().into(),
        (value::kind::I32, &[a, b, c, d]) => i32::from_be_bytes([a, b, c, d]).to_string().into(),
        // Java's texts have no second writer here.
        _ => value::text(kind, bytes),
    };
    Some(V1BinaryAnnotation { address, key: key.into(), value, endpoint })
}

fn endpoint(theirs: &zipkin_core::Endpoint) -> Option<Endpoint<'_>> {
    let ip = theirs.ipv6.as_deref().unwrap_or_default();
    let name = theirs.service_name.as_deref().map(str::to_lowercase).filter(|name| !name.is_empty());
    let found = Endpoint {
        service_name: name.map(Into::into),
        ipv4: ip.try_into().ok().or(theirs.ipv4.filter(|ipv4| *ipv4 != 0).map(i32::to_be_bytes)),
        ipv6: ip.try_into().ok(),
        port: theirs.port.unwrap_or(0).cast_unsigned(),
    };
    Some(found).filter(|found| *found != Endpoint::default())
}

/// A message's header.
pub fn header(payload: &[u8], ours: &Header<'_>) {
    let Ok(theirs) = input(payload).read_message_begin() else { return };
    let kind = match theirs.message_type {
        TMessageType::Call => MessageKind::Call,
        TMessageType::Reply => MessageKind::Reply,
        TMessageType::Exception => MessageKind::Exception,
        TMessageType::OneWay => MessageKind::Oneway,
    };
    let form = if payload[0] & 0x80 == 0 { Form::Unversioned } else { Form::Strict };
    let found = (ours.name, ours.seqid, ours.kind, ours.form);
    assert_eq!(
        found,
        (theirs.name.as_bytes(), theirs.sequence_number, kind, form),
        "another's decoder reads another header"
    );
}

/// The arguments of a `Log` call; `None` where they have no list.
pub fn log(arguments: &[u8], ours: &[Entry<'_>]) {
    if !matches!(is_plain(&mut input(arguments), &LOG), Ok(true)) {
        return;
    }
    let Some(theirs) = entries(arguments) else { return };
    let bytes = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
    let theirs: Vec<_> = theirs.iter().map(|entry| (bytes(&entry.category), bytes(&entry.message))).collect();
    let ours: Vec<_> = ours.iter().map(|entry| (entry.category.to_vec(), entry.message.to_vec())).collect();
    assert_eq!(ours, theirs, "another's decoder reads other entries");
}

/// As the processor that Thrift generates reads them.
fn entries(arguments: &[u8]) -> Option<Vec<LogEntry>> {
    let mut input = input(arguments);
    let mut entries = Vec::new();
    loop {
        let field = input.read_field_begin().ok()?;
        match (field.id, field.field_type) {
            (_, TType::Stop) => return Some(entries),
            (Some(1), _) => {
                for _ in 0..input.read_list_begin().ok()?.size {
                    entries.push(LogEntry::read_from_in_protocol(&mut input).ok()?);
                }
            }
            (_, other) => input.skip(other).ok()?,
        }
    }
}

/// What fb303 answers to `arguments`: a struct whose field 0 is as `wire::Answers` says, for the texts that the
/// generated code finds in them.
pub fn answer(arguments: &[u8], reply: &[u8], method: &[u8]) {
    // An entry's fields are as those of every method with texts.
    let Ok(LogEntry { category: Some(key), .. }) = LogEntry::read_from_in_protocol(&mut input(arguments)) else {
        return;
    };
    let mut theirs = input(reply);
    let field = theirs.read_field_begin().expect("a struct");
    let text =
        |theirs: &mut Input<'_>, expected: &str| assert_eq!(theirs.read_string().ok().as_deref(), Some(expected));
    let number = |theirs: &mut Input<'_>, expected: i64| assert_eq!(theirs.read_i64().ok(), Some(expected));
    match (method, field.id, field.field_type) {
        (b"getName", Some(0), TType::String) => text(&mut theirs, "Scribe"),
        (b"getVersion", Some(0), TType::String) => text(&mut theirs, "1"),
        (b"getStatus", Some(0), TType::I32) => assert_eq!(theirs.read_i32().ok(), Some(FbStatus::ALIVE.0)),
        (b"getStatusDetails" | b"getCpuProfile", Some(0), TType::String) => text(&mut theirs, ""),
        (b"getCounter", Some(0), TType::I64) => number(&mut theirs, key.len() as i64),
        (b"getOption", Some(0), TType::String) => text(&mut theirs, &key),
        (b"aliveSince", Some(0), TType::I64) => number(&mut theirs, 1),
        (b"getCounters", Some(0), TType::Map) => {
            assert_eq!(theirs.read_map_begin().map(|map| map.size).ok(), Some(1));
            text(&mut theirs, "one");
            number(&mut theirs, 1);
        }
        (b"getOptions", Some(0), TType::Map) => assert_eq!(theirs.read_map_begin().map(|map| map.size).ok(), Some(0)),
        (b"setOption", _, TType::Stop) => return,
        other => panic!("an answer of another kind: {other:?}"),
    }
    assert_eq!(theirs.read_field_begin().map(|field| field.field_type).ok(), Some(TType::Stop));
}
