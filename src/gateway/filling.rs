//! How full the channel is, and how soon it will be: for the metric, and one line at 50, 80 and 95 %.
//!
//! A mark is told once when it is reached, and again only after the channel was well below it: a
//! channel that stays where it is, up and down by a segment, says nothing.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::report::furthest_behind;
use crate::channel::Snapshot;

/// The window over which growth is measured.
const WINDOW: Duration = Duration::from_secs(30);
/// Per cent of the capacity at which a line is written.
const MARKS: [u64; 3] = [50, 80, 95];
/// Per cent below a mark at which it may be told again.
const WELL_BELOW: u64 = 10;

/// The channel's size over the last half minute, and what was told of it.
#[derive(Default)]
pub struct Filling {
    sizes: VecDeque<(Instant, [u64; 2])>,
    /// Marks that were told and stand.
    told: usize,
}

impl Filling {
    /// Takes a sample; a line where a mark is reached.
    pub fn sample(&mut self, now: Instant, snapshot: &Snapshot) -> Option<String> {
        self.sizes.push_back((now, bounded(snapshot).map(|(size, _)| size)));
        while self.sizes.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.sizes.pop_front();
        }
        let percents =
            bounded(snapshot).map(|(size, capacity)| (u128::from(size) * 100 / u128::from(capacity.max(1))) as u64);
        let percent = percents[0].max(percents[1]);
        let reached = MARKS.partition_point(|mark| *mark <= percent);
        let standing = MARKS.partition_point(|mark| mark.saturating_sub(WELL_BELOW) < percent);
        let line = (reached > self.told).then(|| self.line(now, percent, snapshot));
        self.told = reached.max(self.told.min(standing));
        line
    }

    /// Seconds until bytes or spans reach their capacity at the rate of the window; infinite while they do not grow.
    pub fn full_in(&self, now: Instant, snapshot: &Snapshot) -> f64 {
        let Some((at, then)) = self.sizes.front() else { return f64::INFINITY };
        let seconds = now.duration_since(*at).as_secs_f64();
        let left = bounded(snapshot).into_iter().zip(then).map(|((size, capacity), then)| {
            let grown = size.saturating_sub(*then) as f64;
            if grown <= 0.0 || seconds <= 0.0 || capacity == u64::MAX {
                return f64::INFINITY;
            }
            capacity.saturating_sub(size) as f64 * seconds / grown
        });
        left.fold(f64::INFINITY, f64::min)
    }

    fn line(&self, now: Instant, percent: u64, snapshot: &Snapshot) -> String {
        let behind = furthest_behind(snapshot);
        let holder =
            behind.map(|account| format!("; drain {} fills it, {} spans wait", account.drain, account.waiting));
        let then = if behind.is_some_and(|account| account.skips) { "it skips its oldest" } else { "intake stops" };
        let when = match self.full_in(now, snapshot) {
            never if never.is_infinite() => "it does not grow at present".to_owned(),
            seconds => format!("at the present rate {then} in {}", about(seconds)),
        };
        format!("the channel is {percent} % full{}; {when}", holder.unwrap_or_default())
    }
}

/// What has a bound, with it: bytes, and spans that wait.
fn bounded(snapshot: &Snapshot) -> [(u64, u64); 2] {
    [(snapshot.bytes, snapshot.capacity_bytes), (snapshot.items, snapshot.capacity_spans.unwrap_or(u64::MAX))]
}

/// A time as people say it.
fn about(seconds: f64) -> String {
    match seconds.round() as u64 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Account, Intake};

    fn at(bytes: u64) -> Snapshot {
        let account = |drain: &str, low, skips| Account {
            drain: drain.to_owned(),
            accepted: 90,
            outcomes: Default::default(),
            waiting: 90 - low,
            waiting_bytes: 0,
            oldest_us: None,
            low,
            attached: true,
            skips,
        };
        Snapshot {
            intake: Intake::Open,
            tail: 0,
            bytes,
            capacity_bytes: 1000,
            items: 0,
            capacity_spans: None,
            accounts: vec![account("archive", 70, false), account("zipkin", 7, bytes >= 950)],
            disk_free_bytes: 0,
        }
    }

    #[test]
    fn the_time_until_full_follows_the_rate_of_the_window() {
        let (mut filling, start) = (Filling::default(), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        assert_eq!(filling.full_in(start, &at(100)), f64::INFINITY);
        filling.sample(start, &at(100));
        assert_eq!(filling.full_in(second(10), &at(100)), f64::INFINITY);
        assert_eq!(filling.full_in(second(10), &at(200)), 80.0);
        filling.sample(second(31), &at(900));
        assert_eq!(filling.full_in(second(41), &at(950)), 10.0);
    }

    #[test]
    fn a_mark_is_told_once_with_the_drain_and_the_time_that_is_left() {
        let (mut filling, start) = (Filling::default(), Instant::now());
        let mut said = |second, bytes| filling.sample(start + Duration::from_secs(second), &at(bytes));
        assert_eq!(said(0, 490), None);
        let half =
            "the channel is 50 % full; drain zipkin fills it, 83 spans wait; at the present rate intake stops in 50 s";
        assert_eq!(said(1, 500), Some(half.to_owned()));
        for second in 2..20 {
            assert_eq!(said(second, if second % 2 == 0 { 410 } else { 510 }), None, "it hovers");
        }
        assert!(said(20, 960).unwrap().starts_with("the channel is 96 % full"), "one line for two marks");
        assert_eq!(said(21, 860), None);
        assert_eq!(said(22, 960), None);
        assert_eq!(said(23, 700), None);
        let again = said(70, 970).unwrap();
        assert_eq!(
            again,
            "the channel is 97 % full; drain zipkin fills it, 83 spans wait; it does not grow at present"
        );
        assert_eq!(said(71, 100), None);
        assert!(said(72, 980).unwrap().ends_with("at the present rate it skips its oldest in 4 s"));
    }

    #[test]
    fn a_channel_of_few_spans_is_full_of_them() {
        let (mut filling, start) = (Filling::default(), Instant::now());
        let of = |items| Snapshot { items, capacity_spans: Some(200), ..at(10) };
        assert_eq!(filling.sample(start, &of(90)), None);
        let line = filling.sample(start + Duration::from_secs(1), &of(100)).unwrap();
        assert!(line.starts_with("the channel is 50 % full") && line.ends_with("intake stops in 10 s"), "{line}");
    }

    #[test]
    fn times_are_told_as_people_say_them() {
        let told: Vec<_> = [0.4, 119.0, 120.0, 7_199.0, 7_200.0, 172_800.0].into_iter().map(about).collect();
        assert_eq!(told, ["0 s", "119 s", "2 min", "119 min", "2 h", "2 days"]);
    }
}
