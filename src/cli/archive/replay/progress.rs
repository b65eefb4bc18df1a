//! How far a replay is: a bar on a terminal, a line now and then anywhere else; on stderr.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::super::super::send::tally::grouped;
use super::sender::Tally;

/// Width of the bar in characters.
const BAR: u64 = 24;
/// Between two looks at a terminal, and between two lines of a log.
const DRAWN_EACH: Duration = Duration::from_millis(250);
const TOLD_EACH: Duration = Duration::from_secs(30);

pub struct Progress {
    terminal: bool,
    objects: u64,
    done: u64,
    /// Sent by then, for the present rate.
    last: (u64, Instant),
    waits: bool,
}

impl Progress {
    pub fn new(objects: u64) -> Progress {
        let last = (0, Instant::now());
        Progress { terminal: io::stderr().is_terminal(), objects, done: 0, last, waits: false }
    }

    /// So many objects are done.
    pub fn objects(&mut self, done: u64) {
        self.done += done;
    }

    pub fn show(&mut self, tally: &Tally) {
        let (before, then) = self.last;
        let each = if self.terminal { DRAWN_EACH } else { TOLD_EACH };
        if then.elapsed() < each {
            return;
        }
        let rate = (tally.sent - before) as f64 / then.elapsed().as_secs_f64();
        self.last = (tally.sent, Instant::now());
        let line = line(self.done, self.objects, tally, rate as u64);
        // A terminal that went away is nobody's to tell.
        let _ = match self.terminal {
            true => write!(io::stderr().lock(), "\r\x1b[K{line}"),
            false => writeln!(io::stderr().lock(), "{line}"),
        };
    }

    /// Said once, until something gets through.
    pub fn waits(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.waits, true) {
            self.end();
            let _ = writeln!(io::stderr().lock(), "waiting: {reason}");
        }
    }

    pub fn well(&mut self) {
        self.waits = false;
    }

    /// Removes the bar.
    pub fn end(&mut self) {
        if self.terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// `[======>     ]  50 %  1 of 2 objects, 1,000 spans sent, 2,000 a second, 3 refused`.
fn line(done: u64, objects: u64, tally: &Tally, rate: u64) -> String {
    let part = |of: u64| done * of / objects.max(1);
    let full = part(BAR).min(BAR) as usize;
    let rest = BAR as usize - full;
    let (bar, rest) = ("=".repeat(full), " ".repeat(rest));
    let (done, objects) = (grouped(done), grouped(objects));
    let mut text = format!("[{bar}{rest}] {:3} %  {done} of {objects} objects", part(100));
    text += &format!(", {} spans sent, {} a second", grouped(tally.sent), grouped(rate));
    if tally.refused > 0 {
        text += &format!(", {} refused", grouped(tally.refused));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is() {
        let tally = Tally { sent: 12_345, refused: 2, tries: 0 };
        assert_eq!(
            line(1, 4, &tally, 2_000),
            "[======                  ]  25 %  1 of 4 objects, 12,345 spans sent, 2,000 a second, 2 refused"
        );
        assert_eq!(
            line(0, 0, &Tally::default(), 0),
            "[                        ]   0 %  0 of 0 objects, 0 spans sent, 0 a second"
        );
    }
}
