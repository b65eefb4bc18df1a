//! A window before sinks of known capacity.

use super::*;

/// Answers `rounds` rounds of a sink that serves `at_once` batches at a time in 10 ms each, and lets the others wait.
fn play(window: &mut Window, at_once: usize, rounds: u32, now: Instant) {
    for _ in 0..rounds * ROUND {
        let waits = (window.limit() as f64 / at_once as f64).max(1.0);
        window.taken(true, Duration::from_millis(10).mul_f64(waits), now);
    }
}

#[test]
fn it_starts_small_and_grows_to_what_the_sink_serves_at_once() {
    let (mut window, now) = (Window::new(64), Instant::now());
    assert_eq!(window.limit(), 2);
    play(&mut window, 12, 60, now);
    assert!((10..=13).contains(&window.limit()), "{}", window.limit());
    assert_eq!(Window::new(1).limit(), 1);
}

#[test]
fn it_ends_at_its_bound() {
    let (mut window, now) = (Window::new(4), Instant::now());
    play(&mut window, 1_000, 60, now);
    assert_eq!(window.limit(), 4);
}

#[test]
fn a_step_that_does_not_pay_is_taken_back_and_tried_again_after_a_while() {
    let (mut window, now) = (Window::new(64), Instant::now());
    play(&mut window, 2, 1, now);
    assert_eq!(window.limit(), 3, "it tries");
    play(&mut window, 2, 1, now);
    assert_eq!(window.limit(), 2);
    play(&mut window, 2, 20, now + HOLD - Duration::from_secs(1));
    assert_eq!(window.limit(), 2);
    play(&mut window, 2, 1, now + HOLD);
    assert_eq!(window.limit(), 3);
}

#[test]
fn what_is_not_used_up_does_not_grow() {
    let (mut window, now) = (Window::new(64), Instant::now());
    for _ in 0..1_000 {
        window.taken(false, Duration::from_millis(1), now);
    }
    assert_eq!(window.limit(), 2);
}

#[test]
fn a_failure_halves_it_down_to_one() {
    let mut window = Window::starting_at(16, 64);
    let limits: Vec<usize> = std::iter::repeat_with(|| {
        window.failed();
        window.limit()
    })
    .take(6)
    .collect();
    assert_eq!(limits, [8, 4, 2, 1, 1, 1]);
}
