//! `spangate channel send DIR --to URL`: empties the directory of a gateway that is dead.
//!
//! The drain itself does it, with a group of its own: batches, back-off, refusals and dead letters are those of a
//! gateway. What was answered is settled in that directory, so a run that was cut off goes on where it stopped, and
//! repeats what was under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{failed, lock};
use crate::channel::{Account, Channel, Outcome, Start, Takes, Tap};
use crate::cli::{Exit, answer, complain, source};
use crate::clock::Clock;
use crate::config::{self, Settings, Typed, table};
use crate::deadletter::Store;
use crate::disk::Disk;
use crate::drain::{self, Drain, Parts, Roster, Seat, Status, aside};
use crate::metrics::{Registry, TABLE};
use crate::sink;
use crate::tasks::{self, Tasks};

/// Half of what a small Zipkin takes, which has its own senders beside us.
pub const RATE: u64 = 5_000;
/// The drain that `--collector` makes: it feeds collectors, whatever configuration is here.
const ZIPKIN: &str = "zipkin";
/// How often it is looked whether anything waits, and how often that is said.
const LOOK: Duration = Duration::from_millis(100);
const SAY: Duration = Duration::from_secs(5);
/// What is under way at a Ctrl-C may be answered for this long: the sinks' own timeout.
const GRACE: Duration = Duration::from_secs(10);

/// What is sent, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub to: String,
    /// None: all that feed collectors.
    pub drains: Vec<String>,
    /// Spans a second.
    pub rate: u64,
}

pub fn send(disk: &Arc<dyn Disk>, settings: &Settings, order: &Order) -> Exit {
    let template = match template(order) {
        Ok(template) => template,
        Err(what) => return complain(&what, Exit::Configuration),
    };
    let _lock = match lock(&**disk, settings) {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("no threads to run on: {error}"), Exit::Fault),
    };
    let registry = Registry::new(TABLE);
    let channel = match Channel::open(settings.channel.clone(), disk.clone(), Clock::system(), &registry) {
        Ok((channel, _)) => channel,
        Err(error) => return failed(&error),
    };
    let sent = runtime.block_on(async {
        let signals = Signals::take()?;
        let mut sender = Sender { channel: &channel, disk, settings, template, registry, signals };
        sender.all(&order.drains).await
    });
    channel.stop();
    sent.unwrap_or_else(|(what, exit)| complain(&what, exit))
}

/// A drain as `--collector URL` makes it. Its listeners are nobody's, so that a gateway on this machine is no loop.
fn template(order: &Order) -> Result<config::Drain, String> {
    let given = |scope, key: &str, text: &str| (table::row(scope, key), vec![text.to_owned()]);
    let nowhere =
        ["scribe.address", "http.address", "admin.address"].map(|key| given(table::Scope::Gateway, key, "127.0.0.1:0"));
    let flags = [given(table::Scope::Shorthand, "collector", &order.to)].into_iter().chain(nowhere).collect();
    let typed = Typed { flags, working_dir: source::working_dir(), ..Typed::default() };
    let wrong = |report: config::Report| format!("--to: {}", report.to_string().trim_end());
    let mut drains = config::resolve(typed).map_err(wrong)?.settings.drains;
    let mut drain = drains.pop().expect("--collector makes a drain");
    drain.drain.rate_max = Some(order.rate);
    Ok(drain)
}

/// What is said where it ends before its time.
type Ended = (String, Exit);

struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn take() -> Result<Signals, Ended> {
        let take = |kind| signal(kind).map_err(|error| (format!("cannot take signals: {error}"), Exit::Fault));
        Ok(Signals { term: take(SignalKind::terminate())?, int: take(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

struct Sender<'a> {
    channel: &'a Channel,
    disk: &'a Arc<dyn Disk>,
    settings: &'a Settings,
    template: config::Drain,
    registry: Registry,
    signals: Signals,
}

impl Sender<'_> {
    async fn all(&mut self, named: &[String]) -> Result<Exit, Ended> {
        let chosen = self.chosen(named)?;
        sink::install_tls();
        let (settings, clock) = (self.settings.dead_letters.clone(), Clock::system());
        let letters = Store::open(settings, self.disk.clone(), clock, self.channel.id(), &self.registry)
            .map_err(|error| (format!("the dead letters: {error}"), Exit::Fault))?;
        let mut whole = true;
        for name in &chosen {
            let before = self.account(name);
            whole = self.empty(name, &letters).await?;
            let said = outcome(&before, &self.account(name));
            answer(&format!("{name}: {said}\n"));
            if !whole {
                break;
            }
        }
        answer(&self.left(&chosen));
        if whole {
            return Ok(Exit::Done);
        }
        Err(("stopped; the same command goes on from here".to_owned(), Exit::Fault))
    }

    /// The drains whose spans are sent.
    fn chosen(&self, named: &[String]) -> Result<Vec<String>, Ended> {
        let accounts = self.channel.snapshot().accounts;
        let has = |name: &str| name != aside::NAME && accounts.iter().any(|account| account.drain == name);
        if let Some(unknown) = named.iter().find(|name| !has(name)) {
            let names: Vec<&str> = accounts.iter().map(|a| a.drain.as_str()).filter(|name| has(name)).collect();
            return Err((format!("no drain {unknown}; the channel has {}", names.join(", ")), Exit::Configuration));
        }
        if !named.is_empty() {
            return Ok(named.to_vec());
        }
        let feeds = |name: &str| name == ZIPKIN || self.settings.drains.iter().any(|drain| drain.drain.name == name);
        let chosen: Vec<String> = accounts.into_iter().map(|a| a.drain).filter(|name| feeds(name)).collect();
        if chosen.is_empty() {
            let what = format!("none of its drains is known to feed collectors; --drain names one\n{}", self.left(&[]));
            return Err((what, Exit::Configuration));
        }
        Ok(chosen)
    }

    fn account(&self, name: &str) -> Account {
        let accounts = self.channel.snapshot().accounts;
        accounts.into_iter().find(|account| account.drain == name).expect("a drain that was chosen is there")
    }

    /// Sends what a drain has not settled; false if it was told to stop before its end.
    async fn empty(&mut self, name: &str, letters: &Store) -> Result<bool, Ended> {
        let own = self.settings.drains.iter().find(|drain| drain.drain.name == name);
        let mut settings = drain::Settings { name: name.to_owned(), ..self.template.drain.clone() };
        if let Some(own) = own {
            settings.sieve = own.drain.sieve.clone();
        }
        let drain = Drain::new(
            Parts {
                settings,
                tap: self.tap(name).await?,
                sinks: Roster::fixed(self.seats()?),
                letters: letters.clone(),
                clock: Clock::system(),
                kept_in: watch::Sender::new(None).subscribe(),
            },
            &self.registry,
        );
        let (tasks, status) = (Tasks::new(), drain.status());
        let part = tasks.part();
        tasks.vital_part("drain", part.clone(), drain.run(part, GRACE));
        let done = self.watch(name, &status, &tasks).await;
        tasks.stop(GRACE * 2).await;
        if tasks.failed() {
            return Err((format!("{name}: the drain failed; see above"), Exit::Fault));
        }
        Ok(done || self.account(name).waiting == 0)
    }

    async fn tap(&self, name: &str) -> Result<Tap, Ended> {
        let (channel, name) = (self.channel.clone(), name.to_owned());
        let tap = tasks::blocking(move || channel.tap(&name, Start::End, Takes::Common)).await;
        tap.map_err(|error| (error.to_string(), Exit::Fault))
    }

    fn seats(&self) -> Result<Vec<Seat>, Ended> {
        let config::Drain { sinks, terms, .. } = &self.template;
        let seat = |(settings, terms): (&sink::Settings, &drain::Terms)| {
            let sink = sink::build(settings, self.channel.id());
            let sink = sink.map_err(|error| (format!("--to {}: {error}", settings.name()), Exit::Configuration))?;
            Ok(Seat { sink, terms: terms.clone() })
        };
        sinks.iter().zip(terms).map(seat).collect()
    }

    /// Waits until nothing is left, and says how far it is; false if it was told to stop, or the drain failed.
    async fn watch(&mut self, name: &str, status: &Status, tasks: &Tasks) -> bool {
        let total = self.account(name).waiting;
        let (mut look, mut say) = (tokio::time::interval(LOOK), tokio::time::interval(SAY));
        loop {
            tokio::select! {
                () = self.signals.next() => return false,
                () = tasks.stopping().cancelled() => return false,
                _ = look.tick() => if self.account(name).waiting == 0 {
                    return true;
                },
                _ = say.tick() => {
                    let waiting = self.account(name).waiting;
                    complain(&progress(name, total, waiting, status), Exit::Done);
                }
            }
        }
    }

    /// What waits for drains that were not sent, and how it is had.
    fn left(&self, chosen: &[String]) -> String {
        let accounts = self.channel.snapshot().accounts;
        let others = accounts.into_iter().filter(|a| a.waiting > 0 && !chosen.contains(&a.drain));
        let said = others.map(|Account { drain, waiting, .. }| {
            let how = if drain == aside::NAME {
                "what listeners set aside is written to the dead letters by a gateway that is started on this directory"
            } else if self.settings.archives.iter().any(|archive| archive.name == drain) {
                "a gateway that is started on this directory with its archive takes them"
            } else {
                "--drain sends them, too, if it feeds collectors; an archive's take a gateway on this directory"
            };
            format!("{drain}: {waiting} still wait for it; {how}\n")
        });
        said.collect()
    }
}

fn progress(name: &str, total: u64, waiting: u64, status: &Status) -> String {
    let resting = status.sinks().into_iter().filter(|sink| sink.standing != drain::Standing::Up);
    let why = resting.filter_map(|sink| Some(format!("; {}: {}", sink.standing.name(), sink.last_error?)));
    let held = status.held();
    let held = held.refused + held.suspects;
    let held = if held > 0 { format!("; {held} were refused and wait apart") } else { String::new() };
    format!("{name}: {} of {total} sent{held}{}", total.saturating_sub(waiting), why.collect::<String>())
}

/// What became of a drain's spans since.
fn outcome(before: &Account, after: &Account) -> String {
    let count = |account: &Account, outcome| account.outcomes.get(&outcome).copied().unwrap_or(0);
    let words: BTreeMap<Outcome, &str> = [
        (Outcome::Delivered, "sent"),
        (Outcome::Filtered, "filtered"),
        (Outcome::SampledOut, "sampled out"),
        (Outcome::DeadLettered, "refused, now dead letters"),
        (Outcome::Damaged, "damaged"),
    ]
    .into();
    let counts = words.into_iter().filter_map(|(outcome, word)| {
        let count = count(after, outcome) - count(before, outcome);
        (count > 0 || outcome == Outcome::Delivered).then(|| format!("{count} {word}"))
    });
    let wait = if after.waiting > 0 { format!(", {} still wait", after.waiting) } else { String::new() };
    format!("{}{wait}", counts.collect::<Vec<_>>().join(", "))
}
