//! What became of what was sent, in spans, and how long a yes took.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

/// Buckets for each doubling: a quantile is at most 1/16 too high.
const STEPS: u64 = 16;
/// All beyond is one bucket: seven weeks in microseconds.
const US_MAX: u64 = (1 << 42) - 1;

/// Times in buckets that grow with them; of one size however many are counted.
#[derive(Debug)]
pub struct Times {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Times { buckets: vec![0; Times::bucket(US_MAX) + 1], count: 0, longest: Duration::ZERO }
    }
}

impl Times {
    /// The bucket of so many microseconds: exact below [`STEPS`], then 16 for each doubling.
    fn bucket(us: u64) -> usize {
        let us = us.min(US_MAX);
        let doublings = us.max(STEPS).ilog2() - STEPS.ilog2();
        (u64::from(doublings) * STEPS + (us >> doublings)) as usize
    }

    /// The largest value of a bucket.
    fn upper_us(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        let doublings = (bucket / STEPS).saturating_sub(1);
        ((bucket - doublings * STEPS + 1) << doublings) - 1
    }

    pub fn add(&mut self, time: Duration) {
        self.buckets[Times::bucket(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))] += 1;
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    /// The time within which so many of a thousand were; `None` if there were none.
    pub fn quantile(&self, thousandths: u64) -> Option<Duration> {
        let rank = (self.count * thousandths).div_ceil(1000).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(Times::upper_us(bucket)).min(self.longest))
    }
}

/// Spans by what became of them.
#[derive(Debug, Default)]
pub struct Tally {
    /// Spans that went out, each counted once.
    pub sent: u64,
    pub messages: u64,
    pub bytes: u64,
    pub acknowledged: u64,
    /// Spans answered no, each time.
    pub refused: u64,
    /// Messages by what was answered instead of yes.
    pub refusals: BTreeMap<String, u64>,
    /// Spans whose answer never came, each time.
    pub unanswered: u64,
    /// Spans sent again.
    pub retried: u64,
    /// From the first byte of a message (or, at a rate, from when it was due) to its yes.
    pub times: Times,
}

impl Tally {
    pub fn lost(&self) -> u64 {
        self.sent - self.acknowledged
    }

    /// The report at the end.
    pub fn report(&self, took: Duration) -> String {
        let mut text = String::new();
        self.write(took, &mut text).expect("a String takes everything");
        text
    }

    fn write(&self, took: Duration, out: &mut String) -> fmt::Result {
        let seconds = took.as_secs_f64().max(0.001);
        let rate = (self.acknowledged as f64 / seconds) as u64;
        writeln!(
            out,
            "sent            {} spans in {} messages, {:.1} MB, in {seconds:.2} s",
            grouped(self.sent),
            grouped(self.messages),
            self.bytes as f64 / 1e6
        )?;
        writeln!(out, "acknowledged    {}, {} a second", grouped(self.acknowledged), grouped(rate))?;
        let whats: Vec<String> =
            self.refusals.iter().map(|(what, n)| format!("{what} {} times", grouped(*n))).collect();
        let whats = if whats.is_empty() { String::new() } else { format!(" ({})", whats.join(", ")) };
        writeln!(out, "refused         {}{whats}", grouped(self.refused))?;
        writeln!(out, "unanswered      {}", grouped(self.unanswered))?;
        writeln!(out, "retried         {}", grouped(self.retried))?;
        writeln!(out, "never           {}", grouped(self.lost()))?;
        if let Some(median) = self.times.quantile(500) {
            let ms = |time: Option<Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
            let at = |thousandths| ms(self.times.quantile(thousandths));
            writeln!(
                out,
                "took            p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, longest {:.2} ms to be acknowledged",
                ms(Some(median)),
                at(900),
                at(990),
                ms(Some(self.times.longest))
            )?;
        }
        Ok(())
    }
}

/// `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[path = "tests/tally.rs"]
mod tests;
