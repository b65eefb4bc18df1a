use super::*;
use crate::wire::scribe::{ExceptionKind, Form, Header, LOG, MessageKind, reply_exception, reply_log};

fn header() -> Header<'static> {
    Header { name: LOG, seqid: SEQID, form: Form::Strict, kind: MessageKind::Call, len: 0 }
}

fn reply(write: impl FnOnce(&mut Vec<u8>)) -> Option<Answer> {
    let mut frame = Vec::new();
    write(&mut frame);
    scribe_reply(&frame[4..])
}

#[test]
fn replies_of_scribe_are_told_apart() {
    assert_eq!(reply(|out| reply_log(&header(), ResultCode::OK, out)), Some(Answer::Yes));
    let later = Some(Answer::Later("TRY_LATER".into(), None));
    assert_eq!(reply(|out| reply_log(&header(), ResultCode::TRY_LATER, out)), later);
    let odd = reply(|out| reply_log(&header(), ResultCode(9), out));
    assert_eq!(odd, Some(Answer::No("ResultCode 9".into())));
    let exception = reply(|out| reply_exception(&header(), ExceptionKind::UnknownMethod, "no\nsuch", out));
    assert_eq!(exception, Some(Answer::No("no such".into())));
}

#[test]
fn a_reply_to_another_call_is_none() {
    let other = Header { seqid: SEQID + 1, ..header() };
    assert_eq!(reply(|out| reply_log(&other, ResultCode::OK, out)), None);
    let name = Header { name: b"getStatus", ..header() };
    assert_eq!(reply(|out| reply_log(&name, ResultCode::OK, out)), None);
    assert_eq!(scribe_reply(b""), None);
}

fn http(head: &str, body: &str) -> (Answer, bool) {
    let head = Head::parse(head.as_bytes()).unwrap();
    (head.answer(body.as_bytes()), head.keep)
}

#[test]
fn answers_of_http_are_told_apart() {
    assert_eq!(http("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", ""), (Answer::Yes, true));
    let full = http("HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\nConnection: close\r\n\r\n", "full");
    assert_eq!(full, (Answer::Later("503".into(), Some(Duration::from_secs(7))), false));
    assert_eq!(http("HTTP/1.1 429 Too Many Requests\r\n\r\n", "").0, Answer::Later("429".into(), None));
    assert_eq!(http("HTTP/1.1 400 Bad Request\r\n\r\n", "no\u{7} good").0, Answer::No("400 no  good".into()));
    assert_eq!(http("HTTP/1.1 301 Moved\r\n\r\n", "").0, Answer::No("301".into()));
}

#[test]
fn what_is_no_http_answer_is_refused() {
    for head in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 two\r\n\r\n", "\u{0}\u{0}\r\n\r\n"] {
        assert!(Head::parse(head.as_bytes()).unwrap_err().to_string().contains("HTTP port"), "{head:?}");
    }
}
