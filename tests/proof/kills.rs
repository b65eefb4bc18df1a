//! Kill storms: the real process under load, SIGKILL at random moments, collectors that come and go, and an archive
//! whose settings change with each start, and by reloads. A storm is a few kills of one seed; then collectors, archive, dead letters
//! and accounts are compared with the ledger of `spangate send` ([`oracle`]).
//!
//! No sender outlives a kill, so that none sends again what the killed process may have taken: a span is accepted
//! once at most, and what the archive holds twice is its own fault.
#![allow(clippy::disallowed_methods, reason = "a test's files are not the product's")]

mod account;
mod collectors;
mod load;
pub mod oracle;
mod place;
pub mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};

use super::{Budget, Tally, words};
use crate::support::http::Client;
use crate::support::process::{Gateway, wait_for};
use account::Account;
use collectors::Collectors;
use load::Load;
use oracle::Found;
use place::Place;
use wire::{UnderWay, Wire};

/// Kills of one storm.
const KILLS: u32 = 6;
/// A kill counts where so many spans were acknowledged since the last.
const ACKNOWLEDGED: usize = 1_000;
/// Nothing here takes longer, but where it hangs.
const LONG: Duration = Duration::from_secs(120);

/// The archive in files.
pub fn kills(budget: Budget) -> Tally {
    storms("kills", budget, Place::in_files)
}

/// The archive in an object store that fails in every way, with two data directories that write to one prefix in turn.
pub fn store_kills(budget: Budget) -> Tally {
    storms("store-kills", budget, Place::in_a_bucket)
}

fn storms(kind: &str, budget: Budget, place: fn(&mut Rng, &Path, &Runtime) -> Place) -> Tally {
    let mut tally = Tally::default();
    for seed in budget.seeds() {
        let dir = TempDir::new().unwrap();
        let ended = catch_unwind(AssertUnwindSafe(|| storm(seed, dir.path(), place)));
        let (counts, faults) = ended.unwrap_or_else(|panic| (Tally::default(), vec![words(&*panic)]));
        // Each kind by itself: a kill over a store is another than one over files.
        for (what, count) in counts.counts {
            tally.add(&if what == "kills" { kind.to_owned() } else { format!("{kind}: {what}") }, count);
        }
        if !faults.is_empty() {
            let (faults, kept) = (faults.join("\n    "), dir.keep());
            let again = format!("cargo test --release --test soak -- {kind} --seed {seed} --tries 1");
            tally.failed(format_args!("{faults}\n    its files: {}", kept.display()), again);
        }
    }
    tally
}

/// One storm: what it counted, and what of the promises did not hold.
fn storm(seed: u64, dir: &Path, place: fn(&mut Rng, &Path, &Runtime) -> Place) -> (Tally, Vec<String>) {
    let mut chance = Rng::with_seed(seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut storm = Storm {
        place: place(&mut chance, dir, &runtime),
        collectors: Collectors::start(&mut chance, &runtime),
        policy: chance.choice(["round_robin", "random", "least_loaded", "failover", "by_trace"]).unwrap(),
        found: Found::default(),
        tally: Tally::default(),
        chance,
        dir,
        runtime: runtime.handle().clone(),
    };
    let mut sites: Vec<Site> = (0..storm.place.gateways()).map(|_| Site::default()).collect();
    for kill in 0..KILLS {
        let which = storm.chance.usize(..sites.len());
        storm.strike(&mut sites[which], which, kill);
    }
    storm.collectors.calm(&runtime);
    storm.place.calm(&runtime);
    for site in &mut sites {
        storm.settle(site);
    }
    storm.close()
}

/// A data directory, and the gateway that has it; nothing is there before its first start.
#[derive(Default)]
struct Site {
    gateway: Option<Gateway>,
    /// As it was before the last kill.
    account: Option<Account>,
}

struct Storm<'a> {
    dir: &'a Path,
    runtime: Handle,
    chance: Rng,
    place: Place,
    collectors: Collectors,
    policy: &'static str,
    found: Found,
    tally: Tally,
}

impl Storm<'_> {
    /// Load, until there was enough of it; then the kill.
    fn strike(&mut self, site: &mut Site, which: usize, kill: u32) {
        let gateway = match &mut site.gateway {
            Some(gateway) => self.start_again(gateway, &mut site.account),
            none => none.insert(self.first_start(which)),
        };
        let wires = [gateway.scribe, gateway.http].map(|port| Wire::to(port, &self.runtime));
        let load = Load::start(&self.dir.join(format!("load-{kill}")), &wires, &mut self.chance);
        self.collectors.refuse(load.some_of_the_first(&mut self.chance));
        if self.chance.bool() {
            self.reload(gateway);
        }
        wait_for("a thousand acknowledged spans", LONG, || {
            gateway.process.must_run();
            (load.acknowledged() >= ACKNOWLEDGED).then_some(())
        });
        let account = Account::of(gateway);
        self.found.faults.extend(account.faults(None));
        site.account = Some(account);
        if self.chance.u8(..4) == 0 {
            // The kill may come while it is under way.
            self.write_settings();
            kill_process(gateway.process.pid(), Signal::HUP).expect("it runs until it is killed");
            self.tally.add("reloads right before a kill", 1);
        }
        std::thread::sleep(Duration::from_millis(self.chance.u64(..300)));
        let under_way = wires.each_ref().map(Wire::under_way);
        gateway.process.child.kill().expect("it runs until it is killed");
        let sent = load.end();
        gateway.process.kill();
        let in_flight: u64 = under_way.iter().map(UnderWay::unanswered).sum();
        let counts = in_flight > 0 && sent.acknowledged.len() >= ACKNOWLEDGED;
        self.tally.add("messages in flight at kills", in_flight);
        self.tally.add("kills", u64::from(counts));
        self.tally.add("kills that do not count", u64::from(!counts));
        self.found.sent(sent);
    }

    fn first_start(&mut self, which: usize) -> Gateway {
        self.write_settings();
        let settings = self.dir.join("spangate.toml");
        // A yes with a delayed sync, too, outlives the process.
        let sync = if self.chance.u8(..3) == 0 { "50ms" } else { "always" };
        // A refusal for want of time may be kept all the same; then its span is sent twice. A disk of the machine that
        // is nearly full is no fault of the gateway: the built-in archive would give way, and intake stop.
        let bounds = ["--intake-commit-wait", "20s", "--channel-free-min", "0"];
        let arguments = [&["-c", settings.to_str().unwrap(), "--channel-sync", sync], &bounds[..]].concat();
        let dir = self.dir.join(format!("gateway-{which}"));
        Gateway::start_with(&dir, &arguments, &self.place.variables())
    }

    /// With other settings than before, and the same account or a higher one.
    fn start_again<'g>(&mut self, gateway: &'g mut Gateway, before: &mut Option<Account>) -> &'g mut Gateway {
        self.write_settings();
        if self.chance.u8(..3) == 0 {
            self.strike_the_start(gateway);
        }
        gateway.start_again();
        self.found.faults.extend(Account::of(gateway).faults(before.take().as_ref()));
        gateway
    }

    /// Other settings, taken over while spans come in.
    fn reload(&mut self, gateway: &Gateway) {
        self.write_settings();
        let answer = Client::new(gateway.admin).request("POST", "/reload", &[("spangate-admin", "1")], b"");
        let answer = answer.unwrap_or_else(|error| panic!("/reload: {error}"));
        assert_eq!(answer.status, 200, "/reload: {}", answer.text());
        self.tally.add("reloads", 1);
    }

    /// What the next start or reload finds.
    fn write_settings(&mut self) {
        let drain = self.collectors.settings(&mut self.chance, self.policy);
        let archive = self.place.settings(&mut self.chance);
        std::fs::write(self.dir.join("spangate.toml"), drain + &archive).unwrap();
    }

    /// A kill while what is there is recovered.
    fn strike_the_start(&mut self, gateway: &mut Gateway) {
        gateway.launch();
        std::thread::sleep(Duration::from_millis(self.chance.u64(..60)));
        gateway.process.kill();
        self.tally.add("kills of a start", 1);
    }

    /// The last start: waits until nothing waits, and stops.
    fn settle(&mut self, site: &mut Site) {
        let Some(gateway) = &mut site.gateway else { return };
        let gateway = self.start_again(gateway, &mut site.account);
        let mut last = None;
        account::wait_until(|| {
            gateway.process.must_run();
            let account = last.insert(Account::of(gateway));
            if account.waiting() == 0 { Ok(()) } else { Err(account.to_string()) }
        });
        self.found.account(&last.expect("it was looked at"));
        gateway.stop();
        self.found.letters(&gateway.dir.join("data/dead-letters"));
        let staged = gateway.dir.join("data/staging/archive");
        let left = std::fs::read_dir(&staged).into_iter().flatten().map(|entry| entry.unwrap().path());
        self.found.faults.extend(left.map(|path| format!("promise 3: left staged: {}", path.display())));
    }

    /// Compares it all.
    fn close(mut self) -> (Tally, Vec<String>) {
        self.found.collected = self.collectors.taken();
        self.found.refusable = self.collectors.refusable();
        self.found.archived = self.place.names();
        self.found.faults.extend(self.place.faults());
        let faults = self.found.verdict();
        for (kind, count) in self.place.figures().into_iter().chain(self.found.figures()) {
            self.tally.add(kind, count);
        }
        (self.tally, faults)
    }
}
