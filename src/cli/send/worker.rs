//! One connection's work: take a message, send it until it is acknowledged, take the next.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::STOP_GRACE;
use super::ledger::Ledger;
use super::link::{Answer, Link};
use super::message::{Message, Source};
use super::tally::Tally;

/// The first wait before a message is sent again; it doubles up to [`WAIT_MAX`].
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Why the run ends before all is sent.
#[derive(Debug)]
pub struct Failure(pub String);

/// What all connections share.
pub struct Load {
    source: RefCell<Source>,
    prepared: RefCell<VecDeque<Message>>,
    ledger: RefCell<Option<Ledger>>,
    pub tally: RefCell<Tally>,
    pace: Option<Pace>,
    patience: Duration,
    stop: CancellationToken,
}

/// When messages are due.
struct Pace {
    rate: f64,
    /// When the first one is, and spans taken since.
    taken: RefCell<(Option<Instant>, u64)>,
}

impl Pace {
    /// When a message of so many spans is due.
    fn due(&self, spans: u64) -> Instant {
        let mut taken = self.taken.borrow_mut();
        let first = *taken.0.get_or_insert_with(Instant::now);
        let due = first + Duration::from_secs_f64(taken.1 as f64 / self.rate);
        taken.1 += spans;
        due
    }
}

impl Load {
    /// `rate` in spans a second.
    pub fn new(source: Source, ledger: Option<Ledger>, rate: Option<u64>, patience: Duration) -> Load {
        Load {
            source: RefCell::new(source),
            prepared: RefCell::default(),
            ledger: RefCell::new(ledger),
            tally: RefCell::default(),
            pace: rate.map(|rate| Pace { rate: rate as f64, taken: RefCell::default() }),
            patience,
            stop: CancellationToken::new(),
        }
    }

    /// Makes all messages now.
    pub fn prepare(&self) {
        let mut message = Message::default();
        while self.source.borrow_mut().fill(&mut message) {
            self.prepared.borrow_mut().push_back(std::mem::take(&mut message));
        }
    }

    /// Says stop; until when answers are waited for. A second time it is over at once.
    pub fn stop(&self, deadline: Option<Instant>) -> Instant {
        self.stop.cancel();
        if deadline.is_some() { Instant::now() } else { Instant::now() + STOP_GRACE }
    }

    pub fn write_ledger(&self) -> Result<(), Failure> {
        self.ledger.borrow_mut().as_mut().map_or(Ok(()), Ledger::write).map_err(|error| unwritten(&error))
    }

    fn take(&self, message: &mut Message) -> bool {
        match self.prepared.borrow_mut().pop_front() {
            Some(prepared) => *message = prepared,
            None => return self.source.borrow_mut().fill(message),
        }
        true
    }

    /// Waits until `time`; false if the stop came first.
    async fn wait_until(&self, time: Instant) -> bool {
        tokio::select! {
            () = sleep_until(time) => true,
            () = self.stop.cancelled() => false,
        }
    }

    /// Waits until a message of so many spans is due, and returns since when its yes is waited for: from when it was
    /// due if that is past, so that a slow listener does not hide behind the messages it kept from being sent.
    async fn turn(&self, spans: u64) -> Option<Instant> {
        let Some(pace) = &self.pace else { return Some(Instant::now()) };
        let (now, due) = (Instant::now(), pace.due(spans));
        if due <= now {
            return Some(due);
        }
        self.wait_until(due).await.then(Instant::now)
    }
}

fn unwritten(error: &io::Error) -> Failure {
    Failure(format!("the ledger: {error}"))
}

/// Works until there is nothing left, or the stop.
pub async fn work(load: &Load, mut link: Link) -> Result<(), Failure> {
    let mut message = Message::default();
    while !load.stop.is_cancelled() && load.take(&mut message) {
        let Some(since) = load.turn(message.spans).await else { return Ok(()) };
        deliver(load, &mut link, &message, since).await?;
    }
    Ok(())
}

/// Sends a message until it is acknowledged, at most as long as there is patience.
async fn deliver(load: &Load, link: &mut Link, message: &Message, since: Instant) -> Result<(), Failure> {
    {
        let mut tally = load.tally.borrow_mut();
        tally.sent += message.spans;
        tally.messages += 1;
        tally.bytes += message.body.len() as u64;
    }
    let give_up = Instant::now() + load.patience;
    let mut wait = WAIT_MIN;
    loop {
        let answered = link.exchange(message).await;
        let what = match settle(load, message, since, answered)? {
            None => return Ok(()),
            Some(again) => again,
        };
        let at = Instant::now() + what.after.unwrap_or(wait).clamp(WAIT_MIN, WAIT_MAX.max(load.patience / 2));
        if at > give_up {
            return Err(Failure(format!("gave up: no yes within {:?}: {}", load.patience, what.text)));
        }
        if !load.wait_until(at).await {
            return Ok(());
        }
        load.tally.borrow_mut().retried += message.spans;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// Why a message is sent again, and after what time if the answer named one.
struct Again {
    text: String,
    after: Option<Duration>,
}

/// Counts what became of a message; `None` if it is acknowledged.
fn settle(
    load: &Load,
    message: &Message,
    since: Instant,
    answered: io::Result<Answer>,
) -> Result<Option<Again>, Failure> {
    let mut tally = load.tally.borrow_mut();
    match answered {
        Ok(Answer::Yes) => {
            tally.acknowledged += message.spans;
            tally.times.add(since.elapsed());
            if let Some(ledger) = load.ledger.borrow_mut().as_mut() {
                ledger.enter(&message.names).map_err(|error| unwritten(&error))?;
            }
            Ok(None)
        }
        Ok(Answer::Later(text, after)) => {
            tally.refused += message.spans;
            *tally.refusals.entry(text.clone()).or_default() += 1;
            Ok(Some(Again { text, after }))
        }
        // Our spans are good ones: what refuses them for ever is not what it was taken for.
        Ok(Answer::No(text)) => {
            tally.refused += message.spans;
            *tally.refusals.entry(text.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
            Err(Failure(format!("refused for good: {text}")))
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Failure(format!("not sent: {error}"))),
        Err(error) => {
            tally.unanswered += message.spans;
            Ok(Some(Again { text: error.to_string(), after: None }))
        }
    }
}
