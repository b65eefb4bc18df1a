//! Spans in a time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The spans sent in `time`, in batches of `spans` as soon as they may be.
fn sent(bucket: &mut Bucket, spans: u32, start: Instant, time: Duration) -> u32 {
    let (mut sum, mut now) = (0, start);
    loop {
        now = bucket.free_at(now);
        if now >= start + time {
            return sum;
        }
        bucket.sent(spans, now);
        sum += spans;
    }
}

#[test]
fn over_time_no_more_is_sent_than_the_rate() {
    for (rate, spans) in [(1_000.0, 10), (1_000.0, 1_000), (50.0, 7), (100_000.0, 5_000)] {
        let (mut bucket, now) = (Bucket::new(rate), Instant::now());
        let sum = sent(&mut bucket, spans, now, 100 * SECOND);
        let exact = rate * 100.0;
        assert!((exact..=exact + f64::from(spans)).contains(&f64::from(sum)), "{sum} of {exact}");
    }
}

#[test]
fn a_pause_saves_up_a_tenth_of_a_second() {
    let (mut bucket, now) = (Bucket::new(1_000.0), Instant::now());
    bucket.sent(1, now);
    let later = now + 60 * SECOND;
    assert_eq!(sent(&mut bucket, 1, later, Duration::from_millis(1)), 101);
}

#[test]
fn a_batch_owes_a_second_at_most() {
    let limits = BatchSettings { spans: 5_000, bytes: 1, linger: SECOND };
    assert_eq!(Bucket::new(300.5).within(limits), BatchSettings { spans: 300, ..limits });
    assert_eq!(Bucket::new(0.5).within(limits).spans, 1);
    assert_eq!(Bucket::new(1e9).within(limits), limits);
}
