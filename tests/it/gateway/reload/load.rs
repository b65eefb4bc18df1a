//! Ten reloads under load: nothing refused, nothing lost, nothing twice where nothing changed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::rig::{Sender, archived, collected, wait_until_all};
use super::{LIMIT, Rig, drain};
use crate::support::collector::Collector;
use crate::support::http::Client;
use crate::support::process::{sum, wait_for};
use crate::support::scribe;

const ROUNDS: usize = 10;
/// Spans a message, small so that many messages are under way at each reload.
const MESSAGE: usize = 10;
/// Accepted between two reloads at least.
const SPANS: f64 = 500.0;

/// Sends over HTTP and Scribe in turn, on one connection each, until told to stop. Every answer must be yes.
fn send(first: u64, http: u16, scribe_port: u16, stop: &AtomicBool) -> Sender {
    let mut sender = Sender::from(first);
    let mut client = Client::new(http);
    let mut scribe = scribe::Client::connect(([127, 0, 0, 1], scribe_port).into());
    while !stop.load(Ordering::Relaxed) {
        assert!(sender.post(&mut client, MESSAGE), "refused over HTTP");
        assert!(sender.log(&mut scribe, MESSAGE), "refused over Scribe");
    }
    sender
}

/// The file of a round: one drain stays as it is, one changes its sinks and batches, one comes and is retired in turn,
/// and the archive and the listeners change, too.
fn file(round: usize, stays: &Collector, changes: [&Collector; 2], comes: &Collector) -> String {
    let sinks = [&changes[..1], &changes[..], &changes[1..]][round % 3];
    let come = match round.is_multiple_of(2) {
        true => drain("comes", &[comes], ""),
        false => "[drain.comes]\nretired = true\n".to_owned(),
    };
    let changes = drain("changes", sinks, &format!("batch.spans = {}", 100 + round));
    format!(
        "[scribe]\ncategories = [\"zipkin\", \"c{round}\"]\n[drain.archive]\nroll_idle = \"{}ms\"\n{changes}{come}\
         # So long that no slow machine makes a batch be sent twice.\n\
         [drain.stays]\nsinks = [{{ url = \"{}\", timeout = \"5m\" }}]\n",
        200 + round,
        stays.url(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_reloads_under_load_refuse_nothing_and_lose_nothing() {
    let (stays, a, b, comes) =
        (Collector::start().await, Collector::start().await, Collector::start().await, Collector::start().await);
    let file = |round| file(round, &stays, [&a, &b], &comes);
    // Long enough that no slow disk of this machine is taken for a refusal of ours.
    let mut rig = Rig::start(&file(0), &["--intake-commit-wait", "30s"]);
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..3)
        .map(|n| {
            let (stop, http, scribe) = (stop.clone(), rig.gateway.http, rig.gateway.scribe);
            std::thread::spawn(move || send(1 + n * 1_000_000_000, http, scribe, &stop))
        })
        .collect();
    let accepted = || rig.gateway.metric("spangate_spans_accepted_total", &[]);
    for round in 1..=ROUNDS {
        let before = accepted();
        if round.is_multiple_of(2) {
            std::fs::write(&rig.file, file(round)).unwrap();
            rig.hang_up("the configuration was reloaded", round);
        } else {
            rig.reloads(&file(round));
        }
        wait_for("spans flow", LIMIT, || (accepted() > before + SPANS).then_some(()));
        let text = rig.get("/metrics");
        for drain in ["drain=\"stays\"", "drain=\"changes\"", "drain=\"comes\"", "drain=\"archive\""] {
            let part = |name| sum(&text, name, &[drain]);
            let parts = part("spangate_drain_spans_total") + part("spangate_drain_waiting_spans");
            assert_eq!(part("spangate_drain_accepted_spans_total"), parts, "{drain} in round {round}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let senders: Vec<Sender> = senders.into_iter().map(|sender| sender.join().expect("every answer was yes")).collect();
    let sent: HashSet<String> = senders.iter().flat_map(|sender| sender.sent.clone()).collect();
    wait_until_all("collected where nothing changed", &sent, || collected(&[&stays]));
    wait_until_all("collected where sinks changed", &sent, || collected(&[&a, &b]));
    wait_until_all("archived", &sent, || archived(&rig.gateway));
    assert!(archived(&rig.gateway).values().all(|times| *times == 1), "something stands in the archive twice");
    assert!(stays.taken().values().all(|times| *times == 1), "a drain that did not change sent something twice");
    assert!(!comes.taken().is_empty() && comes.taken().keys().all(|id| sent.contains(id)));
    assert_eq!(rig.gateway.metric("spangate_spans_refused_total", &[]), 0.0);
    assert_eq!(rig.gateway.metric("spangate_connections_total", &[]), 6.0, "each sender kept its two connections");
    assert_eq!(rig.said("the configuration was reloaded"), ROUNDS);
    println!("{} spans through {ROUNDS} reloads", sent.len());
    rig.gateway.stop();
}
