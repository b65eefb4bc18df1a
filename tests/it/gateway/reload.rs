//! Another configuration while the gateway runs: what changes, what does not, and what is refused.

mod load;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use super::rig::{LIMIT, Sender, archived, collected, http, scribe, wait_until_all};
use crate::support::collector::{Collector, Play};
use crate::support::http::{Answer, Client};
use crate::support::process::{Gateway, Process, free_port, wait_for};
use crate::support::scribe::entry;

const OURS: (&str, &str) = ("spangate-admin", "1");

/// A gateway with a configuration file that is written again and again.
struct Rig {
    gateway: Gateway,
    file: PathBuf,
    _dir: TempDir,
}

impl Rig {
    fn start(text: &str, arguments: &[&str]) -> Rig {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("spangate.toml");
        std::fs::write(&file, text).unwrap();
        let path = file.display().to_string();
        let gateway = Gateway::start(dir.path(), &[&["-c", &path], arguments].concat());
        Rig { gateway, file, _dir: dir }
    }

    /// Writes the file and asks for a reload.
    fn reload(&self, text: &str) -> Answer {
        std::fs::write(&self.file, text).unwrap();
        self.post(&[OURS])
    }

    fn post(&self, headers: &[(&str, &str)]) -> Answer {
        Client::new(self.gateway.admin).request("POST", "/reload", headers, b"").unwrap()
    }

    #[track_caller]
    fn reloads(&self, text: &str) -> String {
        let answer = self.reload(text);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// Sends SIGHUP and waits until as many reloads as `count` were told with `words` since the start.
    fn hang_up(&self, words: &str, count: usize) {
        kill_process(self.gateway.process.pid(), Signal::HUP).unwrap();
        wait_for(&format!("{words} the {count}th time"), LIMIT, || (self.said(words) == count).then_some(()));
    }

    /// How many lines of the log hold this.
    fn said(&self, words: &str) -> usize {
        let log = std::fs::read_to_string(&self.gateway.process.log).unwrap();
        log.lines().filter(|line| line.contains(words)).count()
    }

    fn get(&self, path: &str) -> String {
        Client::new(self.gateway.admin).get(path).unwrap().text()
    }
}

/// A drain with these sinks.
fn drain(name: &str, sinks: &[&Collector], more: &str) -> String {
    let sinks: Vec<String> = sinks.iter().map(|sink| format!("{{ url = \"{}\" }}", sink.url())).collect();
    format!("[drain.{name}]\nsinks = [{}]\n{more}\n", sinks.join(", "))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_and_says_what_check_says() {
    let collector = Collector::start().await;
    let good = drain("zipkin", &[&collector], "");
    let mut rig = Rig::start(&good, &[]);
    let bad = "[scribe]\ncategories = [\"other\"]\nadress = [\"0.0.0.0:1463\"]\n[drain.zipkin]\nsinks = []\n";
    let answer = rig.reload(bad);
    let check = super::start::run(&["check", "-c", &rig.file.display().to_string()]);
    assert_eq!(answer.status, 422);
    assert_eq!(answer.text(), format!("{}nothing was changed\n", String::from_utf8_lossy(&check.stderr)));
    assert!(answer.text().contains("did you mean scribe.address"), "{}", answer.text());
    assert_eq!(rig.said("the configuration was not reloaded"), 1);
    rig.hang_up("the configuration was not reloaded", 2);
    std::fs::remove_file(&rig.file).unwrap();
    assert_eq!(rig.post(&[OURS]).status, 422);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&rig.gateway), 5) && sender.log(&mut scribe(&rig.gateway), 5));
    wait_until_all("collected", &sender.acknowledged, || collected(&[&collector]));
    assert_eq!(rig.reloads(&good), "nothing differs\n");
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_restart_changes_refuses_the_whole_reload_and_is_listed() {
    let collector = Collector::start().await;
    let mut rig = Rig::start(&drain("zipkin", &[&collector], ""), &["--channel-cache", "1MiB"]);
    let wanted = format!(
        "[scribe]\ncategories = [\"other\"]\n[channel]\nsync = \"5ms\"\ncache = \"2MiB\"\n[http]\nconnections_max = 7\n{}",
        drain("another", &[&collector], "")
    );
    let answer = rig.reload(&wanted);
    let file = rig.file.display();
    let expected = [
        format!("{file}:4:8: channel.sync \"always\" -> \"5ms\""),
        format!("{file}:7:19: http.connections_max 10000 -> 7"),
        "only a restart brings these into force".to_owned(),
        "nothing was changed\n".to_owned(),
    ];
    assert_eq!((answer.status, answer.text()), (409, expected.join("\n")));
    assert!(!rig.get("/ready").contains("another"));
    assert_eq!(scribe(&rig.gateway).log(&[("other", "no base64!")]), 0);
    let ignored = rig.gateway.metric("spangate_entries_ignored_total", &["category=\"other\""]);
    assert_eq!(ignored, 1.0, "the category is still not taken");
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_gone_while_spans_wait_for_it_refuses_the_reload_until_it_is_retired() {
    let (absent, well) = (Collector::absent(), Collector::start().await);
    let kept = drain("kept", &[&well], "");
    let mut rig = Rig::start(&format!("{kept}{}", drain("old", &[&absent], "")), &[]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&rig.gateway), 7));
    let answer = rig.reload(&kept);
    assert_eq!(answer.status, 409);
    let way_out = "`retired = true` in [drain.old], and reload; it needs no mention after that";
    for words in ["drain old", "7 spans wait", way_out, "nothing was changed"] {
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
    }
    assert!(!answer.text().contains("forget"), "that takes a gateway that is stopped: {}", answer.text());
    assert_eq!(rig.gateway.metric("spangate_drain_waiting_spans", &["drain=\"old\""]), 7.0);
    assert!(rig.reloads(&format!("{kept}[drain.old]\nretired = true\n")).contains("drain old is given up"));
    for path in ["/metrics", "/ready"] {
        assert!(!rig.get(path).contains("\"old\""), "{path}: {}", rig.get(path));
    }
    assert_eq!(rig.reloads(&kept), "nothing differs\n", "it needs no mention any more");
    // Under the same name it begins anew, at nothing.
    assert!(rig.reloads(&format!("{kept}{}", drain("old", &[&absent], ""))).contains("drain old begins"));
    assert!(sender.post(&mut http(&rig.gateway), 2));
    let told = |name| rig.gateway.metric(name, &["drain=\"old\""]);
    let names = ["spangate_drain_accepted_spans_total", "spangate_drain_waiting_spans", "spangate_drain_spans_total"];
    assert_eq!(names.map(told), [2.0, 2.0, 0.0]);
    wait_until_all("collected", &sender.acknowledged, || collected(&[&well]));
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_with_nothing_waiting_goes_without_a_word_and_one_that_comes_may_begin_with_the_oldest() {
    let (a, b) = (Collector::start().await, Collector::start().await);
    let first = drain("first", &[&a], "");
    let mut rig = Rig::start(&first, &[]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&rig.gateway), 5));
    wait_until_all("collected", &sender.acknowledged, || collected(&[&a]));
    let waiting = || rig.gateway.metric("spangate_drain_waiting_spans", &["drain=\"first\""]);
    wait_for("all is settled", LIMIT, || (waiting() == 0.0).then_some(()));
    let said = rig.reloads(&drain("second", &[&b], "start = \"oldest\""));
    assert_eq!(said, "drain second begins\ndrain first is given up\n");
    wait_until_all("what was there is sent to the new one", &sender.acknowledged, || collected(&[&b]));
    assert!(sender.post(&mut http(&rig.gateway), 5));
    wait_until_all("collected", &sender.acknowledged, || collected(&[&b]));
    assert_eq!(a.taken().len(), 5, "the old one has what it had");
    assert!(!rig.get("/metrics").contains("\"first\""), "{}", rig.get("/metrics"));
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_come_and_go_and_a_drain_that_does_not_change_keeps_its_connections() {
    let (a, b, untouched) = (Collector::start().await, Collector::start().await, Collector::start().await);
    let same = drain("same", &[&untouched], "in_flight = 1");
    let mut rig = Rig::start(&format!("{same}{}", drain("zipkin", &[&a], "")), &[]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&rig.gateway), 5));
    wait_until_all("collected", &sender.acknowledged, || collected(&[&a]));
    wait_until_all("collected", &sender.acknowledged, || collected(&[&untouched]));
    let said = rig.reloads(&format!("{same}{}", drain("zipkin", &[&b], "batch.spans = 7")));
    assert!(said.contains("drain.zipkin.batch.spans 5000 -> 7"), "{said}");
    assert!(said.contains(&a.url()) && said.contains(&b.url()) && !said.contains(&untouched.url()), "{said}");
    let mut later = Sender::from(1_000);
    assert!(later.post(&mut http(&rig.gateway), 20));
    wait_until_all("collected", &later.acknowledged, || collected(&[&b]));
    wait_until_all("collected", &later.acknowledged, || collected(&[&untouched]));
    assert!(b.requests().iter().all(|request| request.spans.len() <= 7));
    assert_eq!((a.taken().len(), untouched.connections()), (5, 1));
    let metrics = rig.get("/metrics");
    let series = |sink: &Collector| metrics.matches(&format!("sink=\"{}\"", sink.address)).count();
    assert!(series(&a) == 0 && series(&b) > 0, "{metrics}");
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_hangs_holds_the_new_settings_no_longer_than_its_timeout() {
    let (hung, well) = (Collector::start().await, Collector::start().await);
    hung.play(Play::Hang);
    let with_timeout = format!("[drain.zipkin]\nsinks = [{{ url = \"{}\", timeout = \"8s\" }}]\n", hung.url());
    let mut rig = Rig::start(&with_timeout, &[]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&rig.gateway), 50));
    let in_flight = || rig.gateway.metric("spangate_sink_in_flight", &[]);
    wait_for("a batch is under way", LIMIT, || (in_flight() > 0.0).then_some(()));
    let said = rig.reloads(&drain("zipkin", &[&well], ""));
    assert!(said.contains("drain zipkin still waits for batches that are on their way to a sink"), "{said}");
    assert!(sender.post(&mut http(&rig.gateway), 50), "intake goes on");
    wait_until_all("collected", &sender.acknowledged, || collected(&[&well]));
    assert!(hung.taken().is_empty());
    let in_flight = || rig.gateway.metric("spangate_sink_in_flight", &[]);
    wait_for("the last answer is read", LIMIT, || (in_flight() == 0.0).then_some(()));
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_change_replaces_one_that_still_waits() {
    let (hung, never, well) = (Collector::start().await, Collector::start().await, Collector::start().await);
    hung.play(Play::Hang);
    let with_timeout = format!("[drain.zipkin]\nsinks = [{{ url = \"{}\", timeout = \"12s\" }}]\n", hung.url());
    let mut rig = Rig::start(&with_timeout, &[]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&rig.gateway), 50));
    wait_for("a batch is under way", LIMIT, || (!hung.requests().is_empty()).then_some(()));
    assert!(rig.reloads(&drain("zipkin", &[&never], "")).contains("still waits"));
    assert!(rig.reloads(&drain("zipkin", &[&well], "")).contains("drain.zipkin.sinks"));
    wait_until_all("collected", &sender.acknowledged, || collected(&[&well]));
    assert!(never.taken().is_empty() && hung.taken().is_empty());
    let metrics = rig.get("/metrics");
    assert!(!metrics.contains(&hung.address.to_string()) && !metrics.contains(&never.address.to_string()));
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_still_being_given_up_does_not_begin_anew() {
    let (hung, well) = (Collector::start().await, Collector::start().await);
    hung.play(Play::Hang);
    let kept = drain("kept", &[&well], "");
    let old = format!("[drain.old]\nsinks = [{{ url = \"{}\", timeout = \"12s\" }}]\n", hung.url());
    let mut rig = Rig::start(&format!("{kept}{old}"), &[]);
    assert!(Sender::from(1).post(&mut http(&rig.gateway), 50));
    wait_for("a batch is under way", LIMIT, || (!hung.requests().is_empty()).then_some(()));
    let said = rig.reloads(&format!("{kept}[drain.old]\nretired = true\n"));
    assert!(said.contains("drain old is given up\ndrain old still waits"), "{said}");
    let answer = rig.reload(&format!("{kept}{old}"));
    assert_eq!(answer.status, 409);
    assert!(answer.text().contains("drain old is still being given up"), "{}", answer.text());
    assert_eq!(rig.reloads(&kept), "nothing differs\n", "it is on its way out, and not forgotten");
    wait_for("it is gone", LIMIT, || (!rig.get("/metrics").contains("drain=\"old\"")).then_some(()));
    assert!(rig.reloads(&format!("{kept}{old}")).contains("drain old begins"));
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_take_new_limits_over_on_connections_that_are_open() {
    let mut rig = Rig::start("", &[]);
    let (mut scribe, mut client) = (scribe(&rig.gateway), http(&rig.gateway));
    let text = entry(1, 1, "get");
    assert_eq!(scribe.log(&[("other", &text)]), 0);
    let mut sender = Sender::from(1);
    sender.padding = 4_000;
    assert!(sender.post(&mut client, 1));
    let said = rig.reloads("[scribe]\ncategories = [\"zipkin\", \"other\"]\n[http]\nbody_max = \"2KiB\"\n");
    assert_eq!(
        said,
        "http.body_max \"10MiB\" -> \"2KiB\"\nscribe.categories [\"zipkin\"] -> [\"zipkin\", \"other\"]\n"
    );
    assert_eq!(scribe.log(&[("other", &text)]), 0);
    let accepted = rig.gateway.metric("spangate_spans_accepted_total", &["listener=\"scribe\""]);
    let ignored = rig.gateway.metric("spangate_entries_ignored_total", &["category=\"other\""]);
    assert_eq!((accepted, ignored), (1.0, 1.0));
    let large = vec![b' '; 4_000];
    assert_eq!(client.post("/api/v2/spans", "application/json", &large).unwrap().status, 413);
    rig.gateway.stop();
}

#[test]
fn the_log_takes_another_level_over() {
    let mut rig = Rig::start("log.level = \"info\"\n", &[]);
    assert_eq!(rig.reloads("log.level = \"error\"\n"), "log.level \"info\" -> \"error\"\n");
    rig.reloads("log.level = \"error\"\n[scribe]\ncategories = [\"silent\"]\n");
    rig.reloads("log.level = \"info\"\n[scribe]\ncategories = [\"loud\"]\n");
    assert_eq!((rig.said("-> [\"silent\"]"), rig.said("-> [\"loud\"]")), (0, 1));
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_archive_takes_new_settings_over_and_every_span_stands_in_it_once() {
    let mut rig = Rig::start("[drain.archive]\nroll_idle = \"1h\"\nroll_age = \"1h\"\n", &[]);
    let mut sender = Sender::from(1);
    for _ in 0..3 {
        assert!(sender.post(&mut http(&rig.gateway), 100));
    }
    assert!(
        rig.reloads("[drain.archive]\nroll_idle = \"200ms\"\n").contains("drain.archive.roll_idle \"1h\" -> \"200ms\"")
    );
    wait_until_all("archived", &sender.acknowledged, || archived(&rig.gateway));
    assert!(sender.post(&mut http(&rig.gateway), 100));
    wait_until_all("archived", &sender.acknowledged, || archived(&rig.gateway));
    assert!(archived(&rig.gateway).values().all(|times| *times == 1));
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_for_who_may_and_a_token_comes_into_force_with_it() {
    let mut rig = Rig::start("", &[]);
    assert_eq!(rig.post(&[]).status, 403);
    assert_eq!(rig.post(&[OURS, ("origin", "http://127.0.0.1")]).status, 403);
    assert_eq!(Client::new(rig.gateway.admin).request("GET", "/reload", &[OURS], b"").unwrap().status, 405);
    assert_eq!(rig.said("reloaded"), 0);
    let secret = rig.gateway.dir.join("secret");
    let with_token = format!("[admin]\ntoken_file = \"{}\"\n", secret.display());
    assert_eq!(rig.reload(&with_token).status, 409, "there is no such file");
    std::fs::write(&secret, "the-first-secret-of-ours\n").unwrap();
    rig.reloads(&with_token);
    let (first, second) = ("Bearer the-first-secret-of-ours", "Bearer the-second-secret-of-ours");
    assert_eq!(rig.post(&[OURS]).status, 401);
    assert_eq!(rig.post(&[OURS, ("authorization", second)]).status, 401);
    std::fs::write(&secret, "the-second-secret-of-ours\n").unwrap();
    let answer = rig.post(&[OURS, ("authorization", first)]);
    assert_eq!((answer.status, &*answer.text()), (200, "admin.token_file: another token\n"));
    assert_eq!(rig.post(&[OURS, ("authorization", first)]).status, 401);
    assert_eq!(rig.post(&[OURS, ("authorization", second)]).status, 200);
    let log = std::fs::read_to_string(&rig.gateway.process.log).unwrap();
    assert!(!log.contains("-secret-of-ours"), "{log}");
    assert_eq!(Client::new(rig.gateway.admin).get("/metrics").unwrap().status, 200, "reading needs none");
    rig.gateway.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_in_memory_reloads_and_loses_nothing() {
    let (a, b) = (Collector::absent(), Collector::start().await);
    let mut rig = Rig::start(&drain("zipkin", &[&a], ""), &["--channel-kind", "memory"]);
    let mut sender = Sender::from(1);
    assert!(sender.post(&mut http(&rig.gateway), 50));
    rig.reloads(&format!("[drain.archive]\nroll_idle = \"200ms\"\n{}", drain("zipkin", &[&b], "")));
    wait_until_all("collected", &sender.acknowledged, || collected(&[&b]));
    wait_until_all("archived", &sender.acknowledged, || archived(&rig.gateway));
    rig.gateway.stop();
}

#[test]
fn a_hang_up_of_whoever_read_the_log_leaves_the_gateway_running() {
    let dir = TempDir::new().unwrap();
    let (port, none) = (free_port(), "127.0.0.1:0");
    let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
    command.args(["--scribe-address", none, "--http-address", none, "--admin-address", &format!("127.0.0.1:{port}")]);
    command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut gateway = Process { child: command.spawn().unwrap(), log: dir.path().join("none") };
    let ready = || Client::new(port).get("/ready").ok().filter(|answer| answer.status == 200);
    wait_for("it is ready", LIMIT, ready);
    // As when a terminal is closed: what is written to it fails from now on.
    drop(gateway.child.stderr.take());
    kill_process(gateway.pid(), Signal::HUP).unwrap();
    for _ in 0..3 {
        let answer = Client::new(port).request("POST", "/reload", &[OURS], b"").unwrap();
        assert_eq!((answer.status, &*answer.text()), (200, "nothing differs\n"));
    }
    assert!(ready().is_some());
    let ended = gateway.stop(Signal::TERM, LIMIT);
    assert!(ended.success(), "{ended}");
}
