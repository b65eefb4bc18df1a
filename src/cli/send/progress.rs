//! The line that shows how far it is, on a terminal, and nowhere else.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::tally::{Tally, grouped};

/// Width of the bar in characters.
const BAR: u64 = 24;

/// A line on stderr that is written over.
pub struct Progress {
    shown: bool,
    total: Option<u64>,
    begun: Instant,
    /// Acknowledged so far, and when that was, for the present rate.
    last: (u64, Duration),
}

impl Progress {
    pub fn new(total: Option<u64>) -> Progress {
        Progress { shown: io::stderr().is_terminal(), total, begun: Instant::now(), last: (0, Duration::ZERO) }
    }

    pub fn show(&mut self, tally: &Tally) {
        if self.shown {
            let at = self.begun.elapsed();
            let (before, then) = std::mem::replace(&mut self.last, (tally.acknowledged, at));
            let rate = (tally.acknowledged - before) as f64 / (at - then).as_secs_f64().max(0.001);
            // A terminal that went away is nobody's to tell.
            let _ = write!(io::stderr().lock(), "\r\x1b[K{}", line(tally, self.total, rate as u64));
        }
    }

    /// Removes the line.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// `[======>     ]  50 %  500 of 1,000 spans, 12,345 a second, 100 refused`.
fn line(tally: &Tally, total: Option<u64>, rate: u64) -> String {
    let done = tally.acknowledged;
    let mut text = match total {
        Some(total) => {
            let part = |of: u64| (u128::from(done) * u128::from(of) / u128::from(total.max(1))) as u64;
            let full = part(BAR).min(BAR) as usize;
            let rest = BAR as usize - full;
            format!(
                "[{}{}] {:3} %  {} of {}",
                "=".repeat(full),
                " ".repeat(rest),
                part(100),
                grouped(done),
                grouped(total)
            )
        }
        None => grouped(done),
    };
    text += &format!(" spans acknowledged, {} a second", grouped(rate));
    for (n, what) in [(tally.refused, "refused"), (tally.unanswered, "unanswered")] {
        if n > 0 {
            text += &format!(", {} {what}", grouped(n));
        }
    }
    text
}

#[cfg(test)]
#[path = "tests/progress.rs"]
mod tests;
