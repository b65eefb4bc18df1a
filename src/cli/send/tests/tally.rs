use super::*;

#[test]
fn a_quantile_is_at_most_a_sixteenth_too_high_and_never_too_low() {
    let mut times = Times::default();
    for ms in 1..=1000 {
        times.add(Duration::from_millis(ms));
    }
    for thousandths in [1, 10, 500, 900, 990, 999, 1000] {
        let (found, exact) = (times.quantile(thousandths).unwrap(), Duration::from_millis(thousandths));
        assert!(found >= exact && found <= exact + exact / 16, "{thousandths}: {found:?}");
    }
    assert_eq!(times.quantile(1000), Some(Duration::from_secs(1)));
}

#[test]
fn buckets_follow_each_other_without_gap_and_without_overlap() {
    for us in (0..5_000).chain((5_000..1 << 30).step_by(9_973)) {
        let bucket = Times::bucket(us);
        assert!(us <= Times::upper_us(bucket), "{us}");
        assert!(bucket == 0 || us > Times::upper_us(bucket - 1), "{us}");
    }
    assert_eq!(Times::bucket(u64::MAX), Times::bucket(US_MAX));
}

#[test]
fn no_times_have_no_quantiles() {
    assert_eq!(Times::default().quantile(500), None);
    assert!(!Tally::default().report(Duration::ZERO).contains("p50"));
}

#[test]
fn the_report_names_what_was_refused_and_what_is_lost() {
    let mut tally = Tally { sent: 1_500, messages: 15, bytes: 1_000_000, acknowledged: 1_400, ..Tally::default() };
    (tally.refused, tally.unanswered, tally.retried) = (300, 100, 300);
    tally.refusals.insert("TRY_LATER".into(), 3);
    tally.times.add(Duration::from_millis(2));
    let report = tally.report(Duration::from_secs(2));
    assert_eq!(
        report.lines().collect::<Vec<_>>(),
        [
            "sent            1,500 spans in 15 messages, 1.0 MB, in 2.00 s",
            "acknowledged    1,400, 700 a second",
            "refused         300 (TRY_LATER 3 times)",
            "unanswered      100",
            "retried         300",
            "never           100",
            "took            p50 2.00 ms, p90 2.00 ms, p99 2.00 ms, longest 2.00 ms to be acknowledged",
        ]
    );
}
