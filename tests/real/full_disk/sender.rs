//! Spans of 10 KB by both doors, each telling from its id what it must hold, and who was answered yes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::support::collector::{Request, field};
use crate::support::http::{Answer, Client};
use crate::support::process::Gateway;
use crate::support::scribe;

/// About what a span takes on the disk.
pub const NAME_BYTES: u64 = 10_000;

/// What the span of this id is called: nothing that a compressor can make small.
pub fn name(id: u64) -> String {
    let mut letters = fastrand::Rng::with_seed(id);
    (0..NAME_BYTES).map(|_| letters.lowercase()).collect()
}

#[derive(Default)]
pub struct Sender {
    sent: u64,
    pub acknowledged: BTreeSet<u64>,
}

impl Sender {
    fn ids(&mut self, spans: u64) -> Vec<u64> {
        self.sent += spans;
        (self.sent - spans + 1..=self.sent).collect()
    }

    /// One message by HTTP.
    pub fn post(&mut self, gateway: &Gateway, spans: u64) -> Answer {
        let ids = self.ids(spans);
        let span = |id: &u64| format!(r#"{{"traceId":"{id:016x}","id":"{id:016x}","name":"{}"}}"#, name(*id));
        let body = format!("[{}]", ids.iter().map(span).collect::<Vec<_>>().join(","));
        let answer = Client::new(gateway.http).post("/api/v2/spans", "application/json", body.as_bytes()).unwrap();
        if answer.status == 202 {
            self.acknowledged.extend(ids);
        }
        answer
    }

    /// One by Scribe.
    pub fn log(&mut self, gateway: &Gateway, spans: u64) -> i32 {
        let ids = self.ids(spans);
        let texts: Vec<String> = ids.iter().map(|id| scribe::entry(*id as i64, *id as i64, &name(*id))).collect();
        let entries: Vec<(&str, &str)> = texts.iter().map(|text| ("zipkin", text.as_str())).collect();
        let code = scribe::Client::connect((Ipv4Addr::LOCALHOST, gateway.scribe).into()).log(&entries);
        if code == scribe::OK {
            self.acknowledged.extend(ids);
        }
        code
    }

    /// Every span is whole, none was never sent, and all that were acknowledged are there. A span may come twice.
    pub fn assert_whole(&self, requests: &[Request]) {
        let spans = requests.iter().flat_map(|request| spans_of(&request.body));
        let found: BTreeSet<u64> = spans.map(|(id, called)| self.checked(id, &called)).collect();
        let missing: Vec<_> = self.acknowledged.difference(&found).collect();
        assert!(missing.is_empty(), "{} acknowledged spans are missing: {missing:?}", missing.len());
    }

    /// The id of a span that is as it was sent.
    pub fn checked(&self, id: u64, called: &str) -> u64 {
        assert!((1..=self.sent).contains(&id), "span {id} was never sent");
        assert!(called == name(id), "span {id} is not whole");
        id
    }
}

/// Ids and names of a `zipkin.proto3.ListOfSpans`.
fn spans_of(mut list: &[u8]) -> Vec<(u64, String)> {
    let mut spans = Vec::new();
    while !list.is_empty() {
        let (mut span, mut id, mut name) = (field(&mut list).unwrap().1.bytes().unwrap(), 0, String::new());
        while !span.is_empty() {
            match field(&mut span).unwrap() {
                (3, value) => id = u64::from_be_bytes(value.bytes().unwrap().try_into().unwrap()),
                (5, value) => name = String::from_utf8(value.bytes().unwrap().to_vec()).unwrap(),
                _ => {}
            }
        }
        spans.push((id, name));
    }
    spans
}
