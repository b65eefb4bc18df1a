//! Names that are followed: a sink for each of a name's addresses (`dns+http://`).
//!
//! One task a drain asks for its names every [`EVERY`], tells the drain which sinks there are when
//! that has changed, and leaves alone what has not. A name without a good answer yet has no sink:
//! its spans wait. A drain that takes over another's name and URLs takes over their last good answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::drain::{Roster, Seat, Terms};
use crate::gateway::Error;
use crate::sink::dns::{Name, Resolver, Told};
use crate::sink::zipkin::{self, Zipkin};
use crate::sink::{self, Sink};

/// How often a name is asked for. The machine's resolver does not tell how long an answer holds; collectors that are
/// replaced are in the record within seconds.
const EVERY: Duration = Duration::from_secs(10);
/// A name server that is silent for longer has no answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a URL that is followed begins with.
const FOLLOWED: &str = "dns+";
/// Bytes of a name that its places are counted on: what is longer is no label.
const NAME_BYTES_MAX: usize = 60;

/// The sinks of a drain, and who keeps them up to date, where there is a name to follow.
pub fn roster(sinks: &[sink::Settings], terms: &[Terms], own_id: &str) -> Result<(Roster, Option<Follow>), Error> {
    let entry = |(settings, terms): (&sink::Settings, &Terms)| Entry::new(settings, terms, own_id);
    let entries = sinks.iter().zip(terms).map(entry).collect::<Result<Vec<_>, _>>()?;
    let follows = entries.iter().any(|entry| matches!(entry, Entry::Name(_)));
    let (sender, roster) = Roster::new(seats(&entries));
    Ok((roster, follows.then(|| Follow { entries, own_id: own_id.to_owned(), sender })))
}

fn seats(entries: &[Entry]) -> Vec<Seat> {
    entries.iter().flat_map(Entry::seats).collect()
}

/// What names said last, by drain: one that takes another's place begins there. Cheap to clone.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<BTreeMap<String, Vec<Known>>>>);

/// A name as it is asked for, and its last good answer.
type Known = (String, u16, Name);

impl Answers {
    fn of(&self, drain: &str) -> Vec<Known> {
        self.lock().get(drain).cloned().unwrap_or_default()
    }

    fn keep(&self, drain: &str, known: Vec<Known>) {
        self.lock().insert(drain.to_owned(), known);
    }

    /// The drain is gone for good.
    pub fn forget(&self, drain: &str) {
        self.lock().remove(drain);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Known>>> {
        // Answers are replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the sinks of a drain up to date.
pub struct Follow {
    entries: Vec<Entry>,
    own_id: String,
    sender: watch::Sender<Vec<Seat>>,
}

/// What the configuration calls a sink.
enum Entry {
    Sink(Seat),
    Name(Followed),
}

struct Followed {
    /// With the URL as it is sent to: without its prefix.
    settings: zipkin::Settings,
    host: String,
    port: u16,
    terms: Terms,
    name: Name,
    seats: BTreeMap<SocketAddr, Seat>,
}

impl Entry {
    fn new(settings: &sink::Settings, terms: &Terms, own_id: &str) -> Result<Entry, Error> {
        let wrong = |what: String| Error::Config(format!("collector {}: {what}", settings.name()));
        let (settings, url) = match settings {
            sink::Settings::Zipkin(zipkin) if zipkin.url.starts_with(FOLLOWED) => {
                (zipkin, &zipkin.url[FOLLOWED.len()..])
            }
            _ => {
                let sink = sink::build(settings, own_id).map_err(|error| wrong(error.to_string()))?;
                return Ok(Entry::Sink(Seat { sink, terms: terms.clone() }));
            }
        };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        let (host, port) = (parsed.host_str(), parsed.port_or_known_default());
        let (Some(host), Some(port)) = (host, port) else { return Err(wrong("no host".to_owned())) };
        Ok(Entry::Name(Followed {
            settings: zipkin::Settings { url: url.to_owned(), ..settings.clone() },
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            terms: terms.clone(),
            name: Name::default(),
            seats: BTreeMap::new(),
        }))
    }

    fn seats(&self) -> Vec<Seat> {
        match self {
            Entry::Sink(seat) => vec![seat.clone()],
            Entry::Name(followed) => followed.seats.values().cloned().collect(),
        }
    }

    fn followed(&mut self) -> Option<&mut Followed> {
        match self {
            Entry::Sink(_) => None,
            Entry::Name(followed) => Some(followed),
        }
    }
}

impl Follow {
    /// Runs until `stop`. Begins with what the drain of this name was told last.
    pub async fn run(mut self, drain: String, resolver: Arc<dyn Resolver>, answers: Answers, stop: CancellationToken) {
        if self.recall(&drain, answers.of(&drain)) {
            self.sender.send_replace(seats(&self.entries));
        }
        let mut tick = tokio::time::interval(EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if stop.run_until_cancelled(self.ask(&drain, &*resolver)).await == Some(true) {
                self.sender.send_replace(seats(&self.entries));
                let followed = self.entries.iter_mut().filter_map(Entry::followed);
                answers.keep(&drain, followed.map(|f| (f.host.clone(), f.port, f.name.clone())).collect());
            }
        }
    }

    /// Takes over what is known of names that are followed here, too; whether anything is.
    fn recall(&mut self, drain: &str, known: Vec<Known>) -> bool {
        let mut recalled = false;
        for followed in self.entries.iter_mut().filter_map(Entry::followed) {
            let same = known.iter().find(|(host, port, _)| (host, port) == (&followed.host, &followed.port));
            if let Some((_, _, name)) = same {
                followed.name = name.clone();
                followed.sit(drain, &self.own_id);
                recalled = true;
            }
        }
        recalled
    }

    /// Asks for every name; whether sinks came or went.
    async fn ask(&mut self, drain: &str, resolver: &dyn Resolver) -> bool {
        let mut changed = false;
        for followed in self.entries.iter_mut().filter_map(Entry::followed) {
            changed |= followed.ask(drain, resolver, &self.own_id).await;
        }
        changed
    }
}

impl Followed {
    async fn ask(&mut self, drain: &str, resolver: &dyn Resolver, own_id: &str) -> bool {
        let asked = tokio::time::timeout(PATIENCE, resolver.resolve(&self.host, self.port)).await;
        let answer = asked.unwrap_or_else(|late| Err(late.into()));
        let told = self.name.answer(&answer);
        let (name, stay) = (self.host.as_str(), self.seats.len());
        match told {
            Told::Nothing => return false,
            Told::Failing => {
                let error = answer.err().map_or_else(|| "no address".to_owned(), |error| error.to_string());
                tracing::warn!(drain, name, error, stay, "a name has no answer; the sinks of the last one stay");
                return false;
            }
            Told::Back => {
                tracing::info!(drain, name, stay, "a name has an answer again");
                return false;
            }
            Told::Changed => {}
        }
        self.sit(drain, own_id);
        let addresses = self.seats.keys().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
        tracing::info!(drain, name = self.host, addresses, "the sinks of a name");
        true
    }

    /// Makes the sinks that the name's addresses lack, and lets go those that are not among them.
    fn sit(&mut self, drain: &str, own_id: &str) {
        let before = std::mem::take(&mut self.seats);
        let addresses: Vec<_> = self.name.addresses().collect();
        for (place, address) in addresses {
            match before.get(&address).cloned().map_or_else(|| self.sink(place, address, own_id), Ok) {
                Ok(seat) => drop(self.seats.insert(address, seat)),
                Err(error) => tracing::error!(drain, %address, %error, "a sink could not be made"),
            }
        }
    }

    /// The sink at an address; its name ends with its place.
    fn sink(&self, place: usize, address: SocketAddr, own_id: &str) -> Result<Seat, zipkin::BuildError> {
        let base: String = self.settings.name.chars().take(NAME_BYTES_MAX).collect();
        let settings = zipkin::Settings { name: format!("{base}-{place}"), ..self.settings.clone() };
        let sink = Zipkin::at(settings, &[address], own_id)?;
        Ok(Seat { sink: Arc::new(sink) as Arc<dyn Sink>, terms: self.terms.clone() })
    }
}

#[cfg(test)]
mod tests;
