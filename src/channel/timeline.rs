//! How long positions have been in the log, by a clock that cannot jump.
//!
//! Marks of (moment, durable end), the moments monotonic and of this process: what it found at its
//! start began to wait then. So an age is never more than the truth, whatever the wall clock does
//! and says on frames; it is less by the time before the start, and by the distance of two marks.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Between two marks, at least.
const APART: Duration = Duration::from_millis(250);
/// Beyond it every other mark goes, and the next ones are twice as far apart: ages are then short by a two-thousandth
/// of the longest wait at most.
const MARKS_MAX: usize = 4096;

/// When which positions were there. Moments ascend.
#[derive(Debug)]
pub struct Timeline {
    marks: VecDeque<(Instant, u64)>,
    apart: Duration,
}

impl Timeline {
    pub fn new(now: Instant, end: u64) -> Timeline {
        Timeline { marks: [(now, end)].into(), apart: APART }
    }

    /// Notes that the log's durable end is `end` now, and forgets what lies before `low`, where nobody waits.
    pub fn mark(&mut self, now: Instant, end: u64, low: u64) {
        while self.marks.get(1).is_some_and(|(_, position)| *position <= low) {
            self.marks.pop_front();
        }
        if self.marks.len() < MARKS_MAX / 4 {
            self.apart = (self.apart / 2).max(APART);
        }
        if self.marks.back().is_none_or(|(last, _)| now.saturating_duration_since(*last) >= self.apart) {
            self.marks.push_back((now, end));
        }
        if self.marks.len() > MARKS_MAX {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
            self.apart *= 2;
        }
    }

    /// The position below which everything has been there for `age`; 0 where nothing has.
    pub fn older_than(&self, now: Instant, age: Duration) -> u64 {
        let old = self.marks.partition_point(|(at, _)| now.saturating_duration_since(*at) >= age);
        old.checked_sub(1).map_or(0, |last| self.marks[last].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_a_start_finds_begins_to_wait_then() {
        let start = Instant::now();
        let timeline = Timeline::new(start, 700);
        assert_eq!(timeline.older_than(start + MINUTE - APART, MINUTE), 0);
        assert_eq!(timeline.older_than(start + MINUTE, MINUTE), 700);
    }

    #[test]
    fn a_position_is_as_old_as_the_first_mark_beyond_it() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start, 0);
        for second in 1..=600 {
            timeline.mark(start + Duration::from_secs(second), second * 10, 0);
        }
        let now = start + Duration::from_secs(600);
        assert_eq!(timeline.older_than(now, MINUTE), 5_400);
        assert_eq!(timeline.older_than(now, 2 * MINUTE), 4_800);
        assert_eq!(timeline.older_than(now, 11 * MINUTE), 0);
    }

    #[test]
    fn marks_are_few_and_an_age_is_never_too_great() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start, 0);
        for n in 1..=100_000_u64 {
            timeline.mark(start + APART * n as u32, n, 0);
            assert!(timeline.marks.len() <= MARKS_MAX);
        }
        let now = start + APART * 100_000;
        for age in [0, 1, 10, 1_000, 50_000, 99_000] {
            let truth = 100_000 - age;
            let found = timeline.older_than(now, APART * age as u32);
            assert!(found <= truth && truth - found <= 100_000 / 2_000 + 1, "{age}: {found} of {truth}");
        }
    }

    #[test]
    fn what_nobody_waits_for_is_forgotten() {
        let start = Instant::now();
        let mut timeline = Timeline::new(start, 0);
        for n in 1..=1_000 {
            timeline.mark(start + APART * n, u64::from(n), u64::from(n.saturating_sub(2)));
        }
        assert!(timeline.marks.len() <= 4, "{} marks", timeline.marks.len());
    }
}
