//! Spans sent again: to a collector at a bounded rate, through kills; to a gateway, whose archive has them once.

use std::collections::{BTreeMap, HashSet};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::support::collector::{Collector, Play};
use crate::support::process::wait_for;

/// Longer than any machine needs.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

impl Two {
    /// A replay of the archive `lake` with its state in the test's directory.
    fn replay(&self, more: &[&str]) -> Command {
        let mut command = command("replay", &[&["--config", &self.config, "--drain", "lake"], more].concat());
        command.current_dir(self.dir.path());
        command
    }

    fn resume(&self) -> Command {
        let mut command = command("replay", &["--resume", "spangate-replay.json"]);
        command.current_dir(self.dir.path());
        command
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("spangate-replay.json")
    }

    /// How often each span id is in the ledger: a shared span stands on both sides of a call.
    fn ids(&self) -> BTreeMap<String, u32> {
        let mut ids = BTreeMap::new();
        for line in &self.ledger {
            *ids.entry(line.split(' ').nth(1).unwrap().to_owned()).or_default() += 1;
        }
        ids
    }
}

fn filled(spans: u64) -> Two {
    tokio::task::block_in_place(|| Two::filled(spans))
}

fn ends(mut command: Command) -> Output {
    tokio::task::block_in_place(|| command.output().unwrap())
}

fn outcome(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric("spangate_drain_spans_total", &["drain=\"archive\"", &format!("outcome=\"{outcome}\"")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_each_span_once_and_the_report_says_so() {
    let (two, collector) = (filled(1_200), Collector::start().await);
    let output = ends(two.replay(&["--into", &collector.url(), "--rate", "100000"]));
    assert_eq!(said(&output), "sent            1200 spans\n");
    assert_eq!(collector.taken(), two.ids());
    let requests = collector.requests();
    assert!(requests.iter().all(|request| request.headers["spangate-replay"] == "1"));
    assert!(requests.iter().all(|request| request.spans.len() <= 500));
    assert!(!two.state().exists(), "nothing is left to go on with");
    let one = ends(two.replay(&["--into", &collector.url(), "--service", "cart", "--first", "0", "--last", "599"]));
    let cart = two.spans("lake", &["--service", "cart", "--first", "0", "--last", "599"]).len();
    assert_eq!(said(&one), format!("sent            {cart} spans\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_refuses_is_written_down_and_the_rest_goes_through() {
    let (two, collector) = (filled(300), Collector::start().await);
    let bad: HashSet<String> = two.ids().into_keys().take(3).collect();
    let refused: u32 = two.ids().iter().filter(|(id, _)| bad.contains(*id)).map(|(_, count)| count).sum();
    collector.play(Play::RefuseSpans(bad.clone()));
    let output = ends(two.replay(&["--into", &collector.url(), "--batch", "50"]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(complaint(&output).contains(&format!("{refused} spans were refused for good")), "{output:?}");
    let file = std::fs::read_to_string(two.dir.path().join("spangate-replay.json.refused.jsonl")).unwrap();
    let ids = file
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["span"]["id"].as_str().unwrap().to_owned());
    assert_eq!(ids.collect::<HashSet<_>>(), bad);
    let taken = collector.taken();
    assert!(two.ids().iter().all(|(id, count)| taken.get(id) == (!bad.contains(id)).then_some(count)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_asks_for_time_gets_it() {
    let (two, mut collector) = (filled(100), Collector::absent());
    let url = collector.url();
    let mut replay =
        two.replay(&["--into", &url, "--batch", "30"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    wait_for("the state", LIMIT, || two.state().exists().then_some(()));
    collector.play(Play::Status(503, vec![("retry-after", "1".into())], String::new()));
    collector.rise();
    wait_for("a try", LIMIT, || (!collector.requests().is_empty()).then_some(()));
    collector.play(Play::Ok);
    let status = tokio::task::block_in_place(|| replay.wait().unwrap());
    assert!(status.success());
    assert_eq!(collector.taken(), two.ids());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_wrong_stops_it_at_once() {
    let (two, collector) = (filled(10), Collector::start().await);
    collector.play(Play::status(404));
    let output = ends(two.replay(&["--into", &collector.url()]));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(complaint(&output).contains("404"), "{output:?}");
    assert!(!two.state().exists(), "it had not begun");
    let nobody = ends(two.replay(&["--into", "http://127.0.0.1:1", "--patience", "1s"]));
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
    assert!(complaint(&nobody).contains("nothing got through for 1s"), "{nobody:?}");
}

/// A slow replay of which something has arrived.
async fn under_way(two: &Two, collector: &Collector) -> Child {
    let slow = ["--into", &collector.url(), "--rate", "200", "--batch", "20", "--from", "1h"];
    let replay = two.replay(&slow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("some spans", LIMIT, || (collector.taken().len() > 100).then_some(()));
    replay
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_goes_on_where_it_was() {
    let (two, collector) = (filled(1_000), Collector::start().await);
    let mut replay = under_way(&two, &collector).await;
    replay.kill().unwrap();
    replay.wait().unwrap();
    let another = ends(two.replay(&["--into", &collector.url()]));
    assert_eq!(another.status.code(), Some(2), "{another:?}");
    assert!(complaint(&another).contains("--resume spangate-replay.json goes on with it"), "{another:?}");
    let output = ends(two.resume());
    assert!(output.status.success(), "{output:?}");
    let (taken, ids) = (collector.taken(), two.ids());
    assert!(taken.keys().eq(ids.keys()), "{} of {} ids", taken.len(), ids.len());
    let repeated: u32 = taken.iter().map(|(id, times)| times - ids[id]).sum();
    // A quarter of a second of its rate, the batch under way, and the slowness of a machine.
    assert!(repeated <= 400, "{repeated} spans came again");
    assert!(!two.state().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_interrupted_says_how_to_go_on_and_repeats_a_batch_at_most() {
    let (two, collector) = (filled(1_000), Collector::start().await);
    for signal in [Signal::INT, Signal::TERM] {
        let mut replay = match two.state().exists() {
            false => under_way(&two, &collector).await,
            true => two.resume().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
        };
        let so_far = collector.taken().len();
        wait_for("some more", LIMIT, || (collector.taken().len() > so_far + 20).then_some(()));
        kill_process(Pid::from_child(&replay), signal).unwrap();
        let status = tokio::task::block_in_place(|| replay.wait().unwrap());
        assert_eq!(status.code(), Some(1));
        let mut told = String::new();
        std::io::Read::read_to_string(replay.stderr.as_mut().unwrap(), &mut told).unwrap();
        assert!(told.contains("to go on: spangate archive replay --resume spangate-replay.json"), "{told}");
    }
    assert!(ends(two.resume()).status.success());
    let (taken, ids) = (collector.taken(), two.ids());
    let repeated: u32 = taken.iter().map(|(id, times)| times - ids[id]).sum();
    assert!(taken.keys().eq(ids.keys()) && repeated <= 40, "{repeated} spans came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_sends_a_replay_on_and_does_not_archive_it_again() {
    let two = filled(400);
    for scheme in ["http", "scribe"] {
        let (dir, collector) = (TempDir::new().unwrap(), Collector::start().await);
        let mut gateway =
            tokio::task::block_in_place(|| Gateway::start(dir.path(), &["--collector", &collector.url()]));
        let port = if scheme == "http" { gateway.http } else { gateway.scribe };
        let output = ends(two.replay(&["--into", &format!("{scheme}://127.0.0.1:{port}"), "--rate", "100000"]));
        assert_eq!(said(&output), "sent            400 spans\n");
        wait_for("all at the collector", LIMIT, || (collector.taken() == two.ids()).then_some(()));
        wait_for("all left out", LIMIT, || (outcome(&gateway, "filtered") == 400.0).then_some(()));
        assert!(collector.requests().iter().all(|request| !request.headers.contains_key("spangate-replay")));
        gateway.stop();
        let data = dir.path().join("data");
        assert_eq!(said(&archive("cat", &["--data", data.to_str().unwrap()])), "", "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_takes_a_replay_where_it_is_told_to_or_the_mark_is_not_honoured() {
    let two = filled(100);
    let file = "[drain.archive]\nfilter.replayed = true\n";
    for (file, flags) in [(file, &[][..]), ("", &["--http-replay-mark=false", "--scribe-replay-mark=false"])] {
        for scheme in ["http", "scribe"] {
            let dir = TempDir::new().unwrap();
            let config = dir.path().join("spangate.toml");
            std::fs::write(&config, file).unwrap();
            let flags = [&["--config", config.to_str().unwrap()], flags].concat();
            let mut gateway = tokio::task::block_in_place(|| Gateway::start(dir.path(), &flags));
            let port = if scheme == "http" { gateway.http } else { gateway.scribe };
            assert!(ends(two.replay(&["--into", &format!("{scheme}://127.0.0.1:{port}")])).status.success());
            gateway.stop();
            let data = dir.path().join("data");
            let found = said(&archive("cat", &["--data", data.to_str().unwrap()]));
            assert_eq!(found.lines().count(), 100, "{scheme} {flags:?}");
        }
    }
}
