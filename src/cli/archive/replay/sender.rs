//! One batch at a time, until the destination took it, refused it for good, or the patience is over.
//!
//! What is too large or refused is halved, until a span stands alone: that one is written to a file. A destination
//! that refuses everything is wrong, and not they: the replay stops.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::Options;
use super::batch::Batch;
use super::progress::Progress;
use super::refused::Refused;
use crate::drain::backoff::Backoff;
use crate::sink::{self, Sink, Verdict, zipkin::Encoding};

/// A large batch on a busy store behind the collector takes a while; nobody waits for it but us.
const TIMEOUT: Duration = Duration::from_secs(30);
const REST_MIN: Duration = Duration::from_millis(200);
const REST_MAX: Duration = Duration::from_secs(30);
/// As a drain's sink: more than one in twenty, and at least a thousand.
const REFUSED_MIN: u64 = 1_000;
const REFUSED_SHARE: u64 = 20;
/// Its place in `spangate-via`: no gateway is called so.
const VIA: &str = "archive-replay";

/// Why a replay ends before its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// By a signal.
    Told,
    Failed(String),
    /// The destination is wrong.
    Misconfigured(String),
}

/// What became of spans so far.
#[derive(Debug, Default)]
pub struct Tally {
    pub sent: u64,
    pub refused: u64,
    /// Requests that were repeated.
    pub tries: u64,
}

pub struct Sender {
    sink: Arc<dyn Sink>,
    /// The time of one span.
    pace: Duration,
    /// When the next batch may go.
    next: Instant,
    patience: Duration,
    backoff: Backoff,
    /// When something last got through, or the trouble began.
    since: Instant,
    pub refused: Refused,
    pub tally: Tally,
}

impl Sender {
    pub fn new(options: &Options) -> Result<Sender, String> {
        let name = "replay".to_owned();
        let settings = match options.into.strip_prefix("scribe://") {
            Some(address) => {
                let (address, category) = (address.to_owned(), "zipkin".to_owned());
                sink::Settings::Scribe(sink::scribe::Settings { name, address, category, timeout: TIMEOUT })
            }
            None => {
                let (url, encoding) = (options.into.clone(), Encoding::Proto3);
                sink::Settings::Zipkin(sink::zipkin::Settings { name, url, encoding, gzip: false, timeout: TIMEOUT })
            }
        };
        let sink = sink::build(&settings, VIA).map_err(|error| error.to_string())?;
        Ok(Sender::over(sink, options))
    }

    /// One that sends there, whatever the options name.
    pub fn over(sink: Arc<dyn Sink>, options: &Options) -> Sender {
        Sender {
            sink,
            pace: Duration::from_secs(1) / u32::try_from(options.rate).unwrap_or(u32::MAX),
            next: Instant::now(),
            patience: options.patience,
            backoff: Backoff::new(REST_MIN, REST_MAX),
            since: Instant::now(),
            refused: Refused::beside(&options.state),
            tally: Tally::default(),
        }
    }

    /// Returns when nothing of the batch is left to be sent.
    pub async fn send(&mut self, batch: &Batch, progress: &mut Progress) -> Result<(), Stop> {
        self.since = Instant::now();
        let mut parts: Vec<Range<usize>> = std::iter::once(0..batch.spans()).collect();
        while let Some(part) = parts.pop() {
            self.keep_pace(part.len()).await;
            let verdict = self.sink.send(&batch.load(&part)).await;
            self.judge(verdict, part, batch, &mut parts, progress).await?;
            progress.show(&self.tally);
        }
        Ok(())
    }

    async fn keep_pace(&mut self, spans: usize) {
        sleep_until(self.next).await;
        let took = self.pace.saturating_mul(u32::try_from(spans).unwrap_or(u32::MAX));
        self.next = self.next.max(Instant::now()) + took;
    }

    async fn judge(
        &mut self,
        verdict: Verdict,
        part: Range<usize>,
        batch: &Batch,
        parts: &mut Vec<Range<usize>>,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        match verdict {
            Verdict::Delivered => {
                self.tally.sent += part.len() as u64;
                self.backoff.reset();
                self.since = Instant::now();
                progress.well();
                Ok(())
            }
            Verdict::TooLarge(_) | Verdict::Refused(_) if part.len() > 1 => {
                let middle = part.start + part.len() / 2;
                parts.extend([middle..part.end, part.start..middle]);
                Ok(())
            }
            Verdict::TooLarge(reason) | Verdict::Refused(reason) => self.bury(batch, &part, &reason),
            Verdict::Misconfigured(reason) => Err(Stop::Misconfigured(reason)),
            Verdict::Wait(wait, reason) => {
                let rest = self.backoff.fail().max(self.backoff.bounded(wait));
                self.again(rest, reason, part, parts, progress).await
            }
            Verdict::Absent(reason) | Verdict::Again(reason) | Verdict::Elsewhere { reason, .. } => {
                let rest = self.backoff.fail();
                self.again(rest, reason, part, parts, progress).await
            }
        }
    }

    /// Rests, and has the part sent again.
    async fn again(
        &mut self,
        rest: Duration,
        reason: String,
        part: Range<usize>,
        parts: &mut Vec<Range<usize>>,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        if self.since.elapsed() + rest > self.patience {
            return Err(Stop::Failed(format!("nothing got through for {}s: {reason}", self.patience.as_secs())));
        }
        self.tally.tries += 1;
        progress.waits(&reason);
        sleep(rest).await;
        parts.push(part);
        Ok(())
    }

    fn bury(&mut self, batch: &Batch, part: &Range<usize>, reason: &str) -> Result<(), Stop> {
        let span = &batch.load(part).pieces[0];
        let written = self.refused.write(span, reason);
        written.map_err(|error| Stop::Failed(format!("{}: {error}", self.refused.path().display())))?;
        self.tally.refused += 1;
        let Tally { sent, refused, .. } = self.tally;
        if refused >= REFUSED_MIN && refused * REFUSED_SHARE > sent + refused {
            let what =
                format!("{refused} spans were refused and {sent} taken: the destination is wrong, not they: {reason}");
            return Err(Stop::Misconfigured(what));
        }
        Ok(())
    }
}
