//! SIGKILL in the middle: what was answered yes is found, in the archive exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::rig::{Sender, archived, collected, wait_until_all};
use crate::support::collector::Collector;
use crate::support::http::Client;
use crate::support::process::Gateway;
use crate::support::scribe;

const KILLS: usize = 5;
/// Spans a message, small so that many messages are in flight at each kill.
const MESSAGE: usize = 10;
/// From the configuration's defaults: 4 batches of 5,000 spans in flight at each sink.
const IN_FLIGHT: u32 = 4 * 5_000;

/// Sends over HTTP and Scribe in turn until told to stop; reconnects through the kills.
fn send(first: u64, http: u16, scribe_port: u16, stop: &AtomicBool) -> Sender {
    let mut sender = Sender::from(first);
    let mut client = Client::new(http);
    client.timeout = Duration::from_secs(5);
    while !stop.load(Ordering::Relaxed) {
        let http_down = !sender.post(&mut client, MESSAGE);
        let address = ([127, 0, 0, 1], scribe_port).into();
        if let Ok(mut client) = scribe::Client::try_connect(address) {
            sender.log(&mut client, MESSAGE);
        }
        if http_down {
            // It is being killed and started: a pause spares the core that starts it.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    sender
}

#[tokio::test(flavor = "multi_thread")]
async fn every_span_that_was_acknowledged_survives_five_kills_and_stands_in_the_archive_once() {
    let dir = TempDir::new().unwrap();
    let (mut a, b) = (Collector::start().await, Collector::start().await);
    let mut gateway = Gateway::start(dir.path(), &["--collector", &a.url(), "--collector", &b.url()]);
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..3)
        .map(|n| {
            let (stop, http, scribe) = (stop.clone(), gateway.http, gateway.scribe);
            std::thread::spawn(move || send(1 + n * 1_000_000_000, http, scribe, &stop))
        })
        .collect();
    for kill in 0..KILLS {
        std::thread::sleep(Duration::from_millis(400));
        if kill == 1 {
            a.fall().await;
        }
        gateway.process.kill();
        gateway.start_again();
        if kill == 2 {
            a.rise();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let senders: Vec<Sender> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    let acknowledged = senders.iter().flat_map(|sender| sender.acknowledged.clone()).collect();
    let sent: std::collections::HashSet<String> = senders.iter().flat_map(|sender| sender.sent.clone()).collect();
    wait_until_all("collected", &acknowledged, || collected(&[&a, &b]));
    wait_until_all("archived", &acknowledged, || archived(&gateway));
    let (collected, archived) = (collected(&[&a, &b]), archived(&gateway));
    assert!(archived.values().all(|times| *times == 1), "something stands in the archive twice");
    assert!(archived.keys().chain(collected.keys()).all(|id| sent.contains(id)), "something was never sent");
    let repeats: u32 = collected.values().map(|times| times - 1).sum();
    assert!(repeats <= KILLS as u32 * 2 * IN_FLIGHT, "{repeats} repeats");
    println!("{} acknowledged, {repeats} repeated by collectors after {KILLS} kills", acknowledged.len());
    gateway.stop();
}
