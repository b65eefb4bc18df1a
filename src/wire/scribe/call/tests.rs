//! Calls as the listener reads them, replies as it writes them.

use super::*;
use crate::wire::Limits;
use crate::wire::scribe::{Entry, Form, log_arguments, reply_exception, reply_log};

fn header() -> Header<'static> {
    Header { name: LOG, seqid: 7, form: Form::Strict, kind: MessageKind::Call, len: 0 }
}

fn answer(write: impl FnOnce(&mut Vec<u8>)) -> Option<Answer> {
    let mut frame = Vec::new();
    write(&mut frame);
    log_answer(&frame[4..], 7)
}

#[test]
fn a_call_is_read_as_it_was_written() {
    let mut out = b"before".to_vec();
    let mut call = LogCall::begin(7, &mut out);
    call.entry("zipkin", b"\x00\x01", &mut out);
    call.entry("other", b"", &mut out);
    call.end(&mut out);
    let frame = &out[6..];
    assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
    let header = Header::parse(&frame[4..]).unwrap();
    assert_eq!((header.name, header.seqid, header.kind), (LOG, 7, MessageKind::Call));
    let entries = log_arguments(&frame[4 + header.len..], &Limits::default()).unwrap().unwrap();
    let expected = [Entry { category: b"zipkin", message: b"AAE=" }, Entry { category: b"other", message: b"" }];
    assert_eq!(entries.collect::<Vec<_>>(), expected);
}

#[test]
fn a_call_of_nothing_is_an_empty_list() {
    let mut out = Vec::new();
    LogCall::begin(1, &mut out).end(&mut out);
    assert_eq!(u32::from_be_bytes(out[..4].try_into().unwrap()) as usize, out.len() - 4);
    let header = Header::parse(&out[4..]).unwrap();
    assert_eq!(log_arguments(&out[4 + header.len..], &Limits::default()).unwrap().unwrap().count(), 0);
}

#[test]
fn codes_and_exceptions_are_told_apart_in_both_forms() {
    for form in [Form::Strict, Form::Unversioned] {
        let header = Header { form, ..header() };
        for code in [ResultCode::OK, ResultCode::TRY_LATER, ResultCode(9)] {
            assert_eq!(answer(|out| reply_log(&header, code, out)), Some(Answer::Code(code)));
        }
        let kind = ExceptionKind::InternalError;
        let expected = Some(Answer::Exception(kind, "no".into()));
        assert_eq!(answer(|out| reply_exception(&header, kind, "no", out)), expected);
    }
}

#[test]
fn an_exception_without_fields_is_one_of_an_unknown_kind() {
    let head = b"\x80\x01\x00\x03\x00\x00\x00\x03Log\x00\x00\x00\x07";
    let unknown = Some(Answer::Exception(ExceptionKind::Unknown, String::new()));
    assert_eq!(log_answer(&[&head[..], &[0]].concat(), 7), unknown);
    // A number that Thrift does not have, behind a field that we do not know.
    let odd = [&head[..], &[12, 0, 9, 2, 0, 1, 1, 0, 8, 0, 2, 0, 0, 0, 99, 0]].concat();
    assert_eq!(log_answer(&odd, 7), unknown);
}

#[test]
fn what_answers_another_call_or_nothing_is_no_answer() {
    let written = |header: Header<'_>| answer(|out| reply_log(&header, ResultCode::OK, out));
    assert_eq!(written(Header { seqid: 8, ..header() }), None);
    assert_eq!(written(Header { name: b"getStatus", ..header() }), None);
    let void = b"\x80\x01\x00\x02\x00\x00\x00\x03Log\x00\x00\x00\x07\x00";
    assert_eq!(log_answer(void, 7), None);
    let call = b"\x80\x01\x00\x01\x00\x00\x00\x03Log\x00\x00\x00\x07\x08\x00\x00\x00\x00\x00\x00\x00";
    assert_eq!(log_answer(call, 7), None);
}

#[test]
fn a_reply_cut_anywhere_is_no_answer() {
    let mut frame = Vec::new();
    reply_exception(&header(), ExceptionKind::InternalError, "text", &mut frame);
    for cut in 4..frame.len() {
        assert_eq!(log_answer(&frame[4..cut], 7), None, "cut at {cut}");
    }
}
