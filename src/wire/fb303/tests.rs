//! Every method, and every way not to call one.

use std::cell::RefCell;

use super::*;

/// Answers that remember what was asked for.
#[derive(Default)]
struct Answers {
    done: RefCell<Vec<String>>,
}

impl Fb303 for Answers {
    fn name(&self) -> String {
        "Scribe".into()
    }
    fn version(&self) -> String {
        "1.0".into()
    }
    fn status(&self) -> FbStatus {
        FbStatus::WARNING
    }
    fn status_details(&self) -> String {
        "a sink rests".into()
    }
    fn counters(&self) -> BTreeMap<String, i64> {
        BTreeMap::from([("zipkin:received good".into(), 3), ("scribe_overall:sent".into(), -1)])
    }
    fn counter(&self, key: &str) -> i64 {
        key.len() as i64
    }
    fn set_option(&self, key: &str, value: &str) {
        self.done.borrow_mut().push(format!("{key}={value}"));
    }
    fn option(&self, key: &str) -> String {
        format!("option {key}")
    }
    fn options(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("k".into(), "v".into())])
    }
    fn cpu_profile(&self, seconds: i32) -> String {
        format!("{seconds} s")
    }
    fn alive_since(&self) -> i64 {
        1_400_000_000
    }
    fn reinitialize(&self) {
        self.done.borrow_mut().push("reinitialize".into());
    }
    fn shutdown(&self) {
        self.done.borrow_mut().push("shutdown".into());
    }
}

fn header(name: &str, kind: MessageKind) -> Header<'_> {
    Header { name: name.as_bytes(), seqid: 7, form: Form::Unversioned, kind, len: 0 }
}

fn string(id: u8, text: &str) -> Vec<u8> {
    [&[11, 0, id], &(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
}

/// The body of the reply to a call, behind frame length, name, type and number.
fn reply(name: &str, arguments: &[u8], answers: &Answers) -> Vec<u8> {
    let mut out = Vec::new();
    answer(&header(name, MessageKind::Call), arguments, answers, &mut out);
    assert_eq!(out[..4], (out.len() as u32 - 4).to_be_bytes(), "{name}");
    let start = [&(name.len() as u32).to_be_bytes()[..], name.as_bytes(), &[2, 0, 0, 0, 7]].concat();
    assert!(out[4..].starts_with(&start), "{name}: {out:?}");
    out.split_off(4 + start.len())
}

/// The kind in the exception that a call was answered with.
fn exception(header: &Header<'_>, arguments: &[u8]) -> i32 {
    let mut out = Vec::new();
    answer(header, arguments, &Answers::default(), &mut out);
    let kind_at = 4 + 4 + header.name.len();
    assert_eq!(out[kind_at], MessageKind::Exception as u8, "{header:?}");
    let [.., a, b, c, d, 0] = out[..] else { panic!("{out:?}") };
    i32::from_be_bytes([a, b, c, d])
}

#[test]
fn every_method_is_answered() {
    let answers = Answers::default();
    let text = |text: &str| [&string(0, text)[..], &[0]].concat();
    let number = |number: i64| [&[10, 0, 0], &number.to_be_bytes()[..], &[0]].concat();
    let key = [string(1, "key"), vec![0]].concat();
    assert_eq!(reply("getName", &[0], &answers), text("Scribe"));
    assert_eq!(reply("getVersion", &[0], &answers), text("1.0"));
    assert_eq!(reply("getStatus", &[0], &answers), [8, 0, 0, 0, 0, 0, 5, 0]);
    assert_eq!(reply("getStatusDetails", &[0], &answers), text("a sink rests"));
    let counters = reply("getCounters", &[0], &answers);
    assert_eq!(counters[..9], [13, 0, 0, 11, 10, 0, 0, 0, 2]);
    assert!(counters.ends_with(&[b"zipkin:received good", &3i64.to_be_bytes()[..], &[0]].concat()));
    assert_eq!(reply("getCounter", &key, &answers), number(3));
    assert_eq!(reply("setOption", &[string(1, "a"), string(2, "b"), vec![0]].concat(), &answers), [0]);
    assert_eq!(reply("getOption", &key, &answers), text("option key"));
    assert_eq!(reply("getOptions", &[0], &answers)[..9], [13, 0, 0, 11, 11, 0, 0, 0, 1]);
    assert_eq!(reply("getCpuProfile", &[8, 0, 1, 0, 0, 0, 9, 0], &answers), text("9 s"));
    assert_eq!(reply("aliveSince", &[0], &answers), number(1_400_000_000));
    assert_eq!(*answers.done.borrow(), ["a=b"]);
}

#[test]
fn oneway_methods_act_and_say_nothing() {
    let answers = Answers::default();
    let mut out = b"before".to_vec();
    for kind in [MessageKind::Oneway, MessageKind::Call] {
        answer(&header("reinitialize", kind), &[0], &answers, &mut out);
        answer(&header("shutdown", kind), &[0], &answers, &mut out);
    }
    answer(&header("getName", MessageKind::Oneway), &[0], &answers, &mut out);
    answer(&header("nothing", MessageKind::Oneway), &[0], &answers, &mut out);
    assert_eq!(out, b"before");
    assert_eq!(*answers.done.borrow(), ["reinitialize", "shutdown", "reinitialize", "shutdown"]);
}

#[test]
fn what_is_not_understood_is_answered_with_the_right_exception() {
    let call = |name| header(name, MessageKind::Call);
    assert_eq!(exception(&call("__can__finagle__trace__v3__"), &[0]), ExceptionKind::UnknownMethod as i32);
    assert_eq!(exception(&call(""), &[]), ExceptionKind::UnknownMethod as i32);
    assert_eq!(exception(&header("getName", MessageKind::Reply), &[0]), ExceptionKind::InvalidMessageType as i32);
    let bad_arguments: [(&str, &[u8]); 6] = [
        ("getName", b""),
        ("getName", &[11, 0, 1, 0x7f, 0xff, 0xff, 0xff]),
        ("getCounter", &[0]),
        ("getCounter", &[11, 0, 1, 0, 0, 0, 1, 0xff, 0]),
        ("setOption", &[11, 0, 1, 0, 0, 0, 0, 0]),
        ("getCpuProfile", &[0]),
    ];
    for (name, arguments) in bad_arguments {
        assert_eq!(exception(&call(name), arguments), ExceptionKind::ProtocolError as i32, "{name} {arguments:?}");
    }
}

#[test]
fn arguments_are_bounded() {
    let long = [string(1, &"k".repeat(ARGUMENTS_BYTES_MAX)), vec![0]].concat();
    assert_eq!(exception(&header("getCounter", MessageKind::Call), &long), ExceptionKind::ProtocolError as i32);
    let deep = [12, 0, 9].repeat(DEPTH_MAX + 1);
    assert_eq!(exception(&header("getName", MessageKind::Call), &deep), ExceptionKind::ProtocolError as i32);
}

#[test]
fn arguments_changed_anywhere_never_panic() {
    let arguments = [string(1, "key"), string(2, "value"), vec![0]].concat();
    for at in 0..arguments.len() {
        for value in 0..=255 {
            let mut changed = arguments.clone();
            changed[at] = value;
            let mut out = Vec::new();
            answer(&header("setOption", MessageKind::Call), &changed, &Answers::default(), &mut out);
            assert!(!out.is_empty(), "{value} at {at}");
        }
    }
}

#[test]
fn methods_are_known_by_name() {
    assert!(is_method(b"getCounters"));
    assert!(!is_method(b"Log") && !is_method(b"getcounters"));
}
