//! What is sent between two kills: `spangate send --ledger`, as processes, until the gateway dies.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use spangate::cli::send::message::{Message, Plan, Source};
use spangate::cli::send::options::Format;
use spangate::clock::Clock;

use super::wire::Wire;
use crate::support::names::Name;
use crate::support::process::Process;

const SENDERS: usize = 2;
const CONNECTIONS: u64 = 4;
/// Spans a second of each: enough work for a debug build, and no more than a storm can check.
const RATE: u64 = 4_000;
/// A sender that was told to stop waits for answers for two seconds.
const END: Duration = Duration::from_secs(30);

/// The ways in: its flag, and what it carries.
const DOORS: [(&str, &str, Format); 6] = [
    ("--scribe", "", Format::Scribe),
    ("--grpc", "", Format::Proto3),
    ("--http", "json", Format::Json),
    ("--http", "proto3", Format::Proto3),
    ("--http", "json-v1", Format::JsonV1),
    ("--http", "thrift", Format::Thrift),
];

/// Senders that run.
pub struct Load(Vec<Sender>);

struct Sender {
    process: Process,
    ledger: PathBuf,
    plan: Plan,
}

/// What became of what was sent.
#[derive(Debug, Default)]
pub struct Sent {
    /// All that may have gone out.
    pub names: HashSet<Name>,
    pub acknowledged: HashSet<Name>,
    /// Spans that went out again, each time.
    pub again: u64,
}

impl Load {
    /// Through the wires of Scribe and of HTTP.
    pub fn start(dir: &Path, wires: &[Wire; 2], chance: &mut Rng) -> Load {
        std::fs::create_dir_all(dir).unwrap();
        Load((0..SENDERS).map(|nth| Sender::start(&dir.join(nth.to_string()), wires, chance)).collect())
    }

    /// Spans with a yes so far, as far as they are written down.
    pub fn acknowledged(&self) -> usize {
        self.0.iter().map(|sender| sender.lines().lines().count()).sum()
    }

    /// A span or two that are sent early: to be refused by collectors.
    pub fn some_of_the_first(&self, chance: &mut Rng) -> Vec<Name> {
        let mut some = |sender: &Sender| {
            let names = sender.names(5);
            (0..chance.usize(..3)).map(|_| names[chance.usize(..names.len())].clone()).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(&mut some).collect()
    }

    /// Told to stop and waited for: they send nothing again. The gateway is dead by now, or will be.
    pub fn end(mut self) -> Sent {
        for sender in &self.0 {
            rustix::process::kill_process(sender.process.pid(), Signal::TERM).expect("it runs until it is told");
        }
        let mut sent = Sent::default();
        self.0.iter_mut().for_each(|sender| sender.end(&mut sent));
        sent
    }
}

impl Sender {
    fn start(stem: &Path, [scribe, http]: &[Wire; 2], chance: &mut Rng) -> Sender {
        let (flag, name, format) = *chance.choice(DOORS.iter()).unwrap();
        let plan =
            Plan { format, seed: chance.u64(..), spans: None, batch: chance.u64(1..60), span_bytes: None, names: true };
        let target = match flag {
            "--scribe" => format!("127.0.0.1:{}", scribe.port),
            _ => format!("http://127.0.0.1:{}", http.port),
        };
        let ledger = stem.with_extension("ledger");
        let mut command = Command::new(env!("CARGO_BIN_EXE_spangate"));
        command.args(["send", flag, &target, "--spans", "endless", "--patience", "1m", "--ledger"]).arg(&ledger);
        if !name.is_empty() {
            command.args(["--format", name]);
        }
        for (flag, value) in
            [("--connections", CONNECTIONS), ("--rate", RATE), ("--batch", plan.batch), ("--seed", plan.seed)]
        {
            command.args([flag, &value.to_string()]);
        }
        Sender { process: Process::start(command, &stem.with_extension("log")), ledger, plan }
    }

    fn lines(&self) -> String {
        std::fs::read_to_string(&self.ledger).unwrap_or_default()
    }

    /// The names in its first messages, which its seed decides.
    fn names(&self, messages: u64) -> Vec<Name> {
        let mut source = Source::new(self.plan, Clock::system());
        let (mut names, mut message) = (Vec::new(), Message::default());
        for _ in 0..messages {
            assert!(source.fill(&mut message), "it is endless");
            let name = |name: &spangate::cli::send::message::Name| {
                format!("{} {:016x} {}", name.trace_id, name.id, name.kind.map_or("-", |kind| kind.name()))
            };
            names.extend(message.names.iter().map(name));
        }
        names
    }

    fn end(&mut self, sent: &mut Sent) {
        let begun = std::time::Instant::now();
        while self.process.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < END, "a sender goes on after SIGTERM:\n{}", self.process.tail());
            std::thread::sleep(Duration::from_millis(5));
        }
        let report = self.process.tail();
        let odd =
            ["refused for good", "gave up", "not sent", "nothing was sent"].iter().any(|odd| report.contains(odd));
        assert!(!odd, "{:?} was told: {report}", self.plan.format);
        let messages = number_after(&report, " spans in ");
        // A connection that was told to stop may hold one that it did not send, before others' that were.
        sent.names.extend(self.names(messages + CONNECTIONS));
        let acknowledged = self.lines();
        sent.acknowledged.extend(acknowledged.lines().map(str::to_owned));
        sent.again += number_after(&report, "retried ");
    }
}

/// The number of a report that stands behind these words.
fn number_after(report: &str, words: &str) -> u64 {
    let (_, rest) = report.split_once(words).unwrap_or_else(|| panic!("no {words:?} in a report:\n{report}"));
    let digits = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',');
    digits.collect::<String>().parse().unwrap_or_else(|_| panic!("no number behind {words:?}:\n{report}"))
}
