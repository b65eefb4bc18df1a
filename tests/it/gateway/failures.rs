//! Every failure against every policy. One process for a policy; in it a drain for each failure, with two collectors,
//! of which one or both play it. All drains read the same spans, so no failure of one drain may show in another.
//!
//! Each acknowledged span is collected or, where both collectors refuse it or break on it, a dead letter; the ledger
//! adds up at every scrape; and when the failure ends, the collector is used again by itself.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::time::Duration;

use tempfile::TempDir;

use super::account::adds_up;
use super::rig::{LIMIT, Sender, collected, http};
use crate::support::collector::{Collector, Play};
use crate::support::http::Client;
use crate::support::process::{Gateway, sum, wait_for};

/// Spans of the first load; the chosen ones are among them.
const LOAD: usize = 200;

/// Ids that are bad where a failure is of chosen spans.
fn chosen() -> HashSet<String> {
    [7, 120].map(|number: u64| format!("{number:016x}")).into()
}

/// Who of the two collectors of a drain fails.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// The first; under `failover` it is the preferred one.
    One,
    /// Both, and what is to be a dead letter is known.
    Both { dead: bool },
}

struct Failure {
    name: &'static str,
    /// What the first collector's failure counts as.
    verdict: &'static str,
    who: Who,
    /// `None` where nobody listens.
    play: Option<Play>,
}

fn failures() -> Vec<Failure> {
    let one = |name, verdict, play| Failure { name, verdict, who: Who::One, play: Some(play) };
    let both = |name, verdict, play| Failure { name, verdict, who: Who::Both { dead: true }, play: Some(play) };
    let busy = |status| Play::Status(status, vec![("retry-after", "1".to_owned())], String::new());
    let of_chosen = |play| Play::ForSpans(chosen(), Box::new(play));
    let too_large = Play::TooLargeAbove(2_000);
    vec![
        Failure { name: "refuse", verdict: "elsewhere", who: Who::One, play: None },
        one("reset", "elsewhere", Play::Reset),
        one("close", "elsewhere", Play::Close),
        one("hang", "elsewhere", Play::Hang),
        one("500", "elsewhere", Play::status(500)),
        one("503-retry-after", "wait", busy(503)),
        one("429", "wait", busy(429)),
        Failure { name: "413", verdict: "too_large", who: Who::Both { dead: false }, play: Some(too_large) },
        both("chosen-400", "refused", Play::RefuseSpans(chosen())),
        both("chosen-500", "elsewhere", of_chosen(Play::status(500))),
        both("chosen-close", "elsewhere", of_chosen(Play::Close)),
        one("401", "misconfigured", Play::status(401)),
        one("404", "misconfigured", Play::status(404)),
        one("400", "refused", Play::status(400)),
        one("lose-reply", "elsewhere", Play::LoseReply),
        one("slow", "delivered", Play::Slow(Duration::from_millis(200))),
        // Its 202 stands before the body that never ends.
        one("dribble", "delivered", Play::Dribble),
    ]
}

/// A drain and its collectors.
struct Case {
    failure: Failure,
    collectors: [Collector; 2],
}

impl Case {
    async fn start(failure: Failure) -> Case {
        let mut collectors = [Collector::absent(), Collector::start().await];
        if let Some(play) = &failure.play {
            collectors[0].rise();
            collectors[0].play(play.clone());
        }
        if let (Who::Both { .. }, Some(play)) = (failure.who, &failure.play) {
            collectors[1].play(play.clone());
        }
        Case { failure, collectors }
    }

    fn label(&self) -> String {
        format!("drain=\"{}\"", self.failure.name)
    }

    fn settings(&self, policy: &str) -> String {
        // Only what hangs needs to be found soon; elsewhere a short timeout would be the machine's speed.
        let timeout = if matches!(self.failure.name, "hang" | "dribble") { "1s" } else { "1m" };
        let second = if policy == "failover" { ", priority = 2" } else { "" };
        let [first, other] = self.collectors.each_ref().map(Collector::url);
        format!(
            "[drain.{}]\npolicy = \"{policy}\"\nbatch = {{ spans = 50, linger = \"5ms\" }}\nbackoff_min = \"20ms\"\n\
             backoff_max = \"300ms\"\nsinks = [{{ name = \"first\", url = \"{first}\", timeout = \"{timeout}\" }}, \
             {{ name = \"other\", url = \"{other}\", timeout = \"1m\"{second} }}]\n",
            self.failure.name
        )
    }

    fn dead(&self) -> HashSet<String> {
        if self.failure.who == (Who::Both { dead: true }) { chosen() } else { HashSet::new() }
    }

    fn found(&self) -> BTreeMap<String, u32> {
        collected(&[&self.collectors[0], &self.collectors[1]])
    }

    fn spans(&self, text: &str, outcome: &str) -> usize {
        let outcome = format!("outcome=\"{outcome}\"");
        sum(text, "spangate_drain_spans_total", &[&self.label(), &outcome]) as usize
    }

    fn has_failed(&self, text: &str) -> bool {
        let outcome = format!("outcome=\"{}\"", self.failure.verdict);
        sum(text, "spangate_sink_spans_total", &[&self.label(), "sink=\"first\"", &outcome]) > 0.0
    }

    /// Whether these are collected or rightly dead.
    fn has_settled(&self, ids: &HashSet<String>, text: &str) -> bool {
        let (found, dead) = (self.found(), self.dead());
        let settled = ids.iter().all(|id| found.contains_key(id) || dead.contains(id));
        settled && self.spans(text, "dead_lettered") == dead.len()
    }

    /// The failure ends.
    fn mend(&mut self) {
        if self.failure.play.is_none() {
            self.collectors[0].rise();
        }
        self.collectors.iter().for_each(|collector| collector.play(Play::Ok));
    }

    /// Holds what was collected against what was acknowledged.
    fn settle(&self, acknowledged: &HashSet<String>, text: &str) {
        let name = self.failure.name;
        let found = self.found();
        let missing: HashSet<String> = acknowledged.iter().filter(|id| !found.contains_key(*id)).cloned().collect();
        assert_eq!(missing, self.dead(), "{name}: what was not collected");
        let expected = (acknowledged.len() - missing.len(), missing.len());
        assert_eq!((self.spans(text, "delivered"), self.spans(text, "dead_lettered")), expected, "{name}");
        if !matches!(name, "hang" | "lose-reply" | "dribble") {
            assert!(found.values().all(|times| *times == 1), "{name}: something came twice");
        }
    }
}

fn scrape(gateway: &Gateway, cases: &[Case]) -> String {
    let text = Client::new(gateway.admin).get("/metrics").unwrap().text();
    let labels: Vec<String> = cases.iter().map(Case::label).collect();
    adds_up(&text, &labels.iter().map(String::as_str).collect::<Vec<_>>());
    text
}

/// Sends a little and scrapes until `done` says yes of a scrape.
fn flow_until(what: &str, gateway: &Gateway, cases: &[Case], sender: &mut Sender, done: impl Fn(&str) -> bool) {
    let mut client = http(gateway);
    wait_for(what, LIMIT, || {
        assert!(sender.post(&mut client, 5));
        done(&scrape(gateway, cases)).then_some(())
    });
}

async fn under(policy: &str) {
    let dir = TempDir::new().unwrap();
    let mut cases = Vec::new();
    for failure in failures() {
        cases.push(Case::start(failure).await);
    }
    let mut text = String::new();
    cases.iter().for_each(|case| writeln!(text, "{}", case.settings(policy)).unwrap());
    let file = dir.path().join("spangate.toml");
    std::fs::write(&file, text).unwrap();
    let arguments = ["-c", file.to_str().unwrap(), "--archive", "none", "--intake-commit-wait", "30s"];
    let mut gateway = Gateway::start(dir.path(), &arguments);

    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&gateway), LOAD));
    let first: HashSet<String> = sender.acknowledged.clone();
    flow_until("the load is settled while the failures last", &gateway, &cases, &mut sender, |text| {
        cases.iter().all(|case| case.has_failed(text) && case.has_settled(&first, text))
    });
    cases.iter_mut().for_each(Case::mend);
    let taken: Vec<usize> = cases.iter().map(|case| case.collectors[0].requests().len()).collect();
    flow_until("each collector is used again", &gateway, &cases, &mut sender, |text| {
        let up =
            |case: &Case| sum(text, "spangate_sink_state", &[&case.label(), "sink=\"first\"", "state=\"up\""]) == 1.0;
        cases.iter().zip(&taken).all(|(case, taken)| up(case) && case.collectors[0].requests().len() > *taken)
    });
    let text = wait_for("all is settled", LIMIT, || {
        let text = scrape(&gateway, &cases);
        (sum(&text, "spangate_drain_waiting_spans", &[]) == 0.0).then_some(text)
    });
    cases.iter().for_each(|case| case.settle(&sender.acknowledged, &text));
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_survived_under_round_robin() {
    under("round_robin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_survived_under_random() {
    under("random").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_survived_under_weighted() {
    under("weighted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_survived_under_least_loaded() {
    under("least_loaded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_survived_under_failover() {
    under("failover").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_is_survived_under_by_trace() {
    under("by_trace").await;
}
