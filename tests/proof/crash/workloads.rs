//! The named workloads, each for one thing that a channel does; and random ones.

use std::time::Duration;

use spangate::channel::{Settings, Sync};

use super::world::{ARCHIVE, LETTERS, Step, settings};

pub struct Workload {
    pub name: &'static str,
    pub settings: Settings,
    pub steps: Vec<Step>,
}

use Step::{
    Answers, Append, Archive, Begin, Commit, Crash, Expire, Forget, Leave, Offer, Release, Reread, Restart, Return,
    Settle, Skip, Take, Wait, Withdraw,
};

const ZIPKIN: usize = 0;
const OTHER: usize = 2;

fn say(spans: u16, bytes: u16) -> Step {
    Append { spans, bytes, letters: false }
}

fn begin(drain: usize) -> Step {
    Begin { drain, oldest: false }
}

fn take(drain: usize, frames: u8) -> Step {
    Take { drain, frames }
}

fn settle(drain: usize, pick: u8) -> Step {
    Settle { drain, pick, part: 0, outcome: 0 }
}

fn commit(drain: usize) -> Step {
    Commit { drain, pick: 0, note: 40 }
}

fn times(n: usize, steps: &[Step]) -> Vec<Step> {
    steps.repeat(n)
}

/// Half a segment of a small channel.
const BIG: (u16, u16) = (4, 7_000);

fn big() -> Step {
    say(BIG.0, BIG.1)
}

fn small(name: &'static str, parts: &[&[Step]]) -> Workload {
    Workload { name, settings: settings(), steps: parts.concat() }
}

fn with(name: &'static str, change: impl FnOnce(&mut Settings), parts: &[&[Step]]) -> Workload {
    let mut workload = small(name, parts);
    change(&mut workload.settings);
    workload
}

const DELAY: Duration = Duration::from_millis(150);

pub fn named() -> Vec<Workload> {
    [appending(), settling(), drains(), restarts(), bounds(), archives()].into_iter().flatten().collect()
}

fn appending() -> Vec<Workload> {
    vec![
        small("append", &[&[begin(ZIPKIN)], &times(5, &[say(3, 100), say(1, 900)])]),
        small(
            "append without a drain",
            &[&times(3, &[say(3, 100)]), &[Begin { drain: ZIPKIN, oldest: true }, take(0, 9)]],
        ),
        small(
            "groups",
            &[&[begin(ZIPKIN)], &times(3, &[Offer { spans: 2, bytes: 300 }; 4]), &[Answers, take(ZIPKIN, 9)]],
        ),
        small("roll", &[&[begin(ZIPKIN)], &times(6, &[big()])]),
        small("roll under load", &[&[begin(ZIPKIN)], &times(3, &[big(), big(), take(ZIPKIN, 2), settle(ZIPKIN, 0)])]),
        with(
            "long messages",
            |s| s.capacity_bytes = 8 << 20,
            &[&[begin(ZIPKIN), say(90, 9_000), take(ZIPKIN, 3), commit(ZIPKIN), say(70, 9_000)]],
        ),
        with(
            "without a cache",
            |s| s.cache_bytes = 0,
            &[
                &[begin(ZIPKIN)],
                &times(4, &[say(2, 900), take(ZIPKIN, 1), settle(ZIPKIN, 0)]),
                &[Reread { drain: ZIPKIN }, Wait { ms: 90 }, big()],
            ],
        ),
        with(
            "delayed sync",
            |s| s.sync = Sync::Every(DELAY),
            &[&[begin(ZIPKIN)], &times(3, &[say(2, 400), Wait { ms: 60 }, take(ZIPKIN, 2), settle(ZIPKIN, 0), big()])],
        ),
        with(
            "delayed sync and a crash",
            |s| s.sync = Sync::Every(DELAY),
            &[&[
                begin(ZIPKIN),
                say(2, 400),
                Wait { ms: 160 },
                say(2, 400),
                Crash { kill: true, seed: 0 },
                say(3, 40),
                take(ZIPKIN, 9),
                Wait { ms: 200 },
                commit(ZIPKIN),
            ]],
        ),
    ]
}

fn settling() -> Vec<Workload> {
    let fill = times(6, &[say(4, 60)]);
    vec![
        small(
            "settle",
            &[
                &[begin(ZIPKIN)],
                &fill,
                &times(3, &[take(ZIPKIN, 2), settle(ZIPKIN, 0), settle(ZIPKIN, 0), Wait { ms: 90 }]),
            ],
        ),
        small(
            "settle out of order",
            &[
                &[begin(ZIPKIN)],
                &fill,
                &[take(ZIPKIN, 6)],
                &times(
                    2,
                    &[
                        Settle { drain: ZIPKIN, pick: 3, part: 1, outcome: 1 },
                        Settle { drain: ZIPKIN, pick: 1, part: 2, outcome: 0 },
                        Wait { ms: 90 },
                    ],
                ),
                &[commit(ZIPKIN)],
            ],
        ),
        small(
            "sieve",
            &[
                &[begin(ZIPKIN)],
                &fill,
                &[take(ZIPKIN, 6)],
                &times(
                    4,
                    &[
                        Settle { drain: ZIPKIN, pick: 2, part: 1, outcome: 2 },
                        Settle { drain: ZIPKIN, pick: 0, part: 1, outcome: 3 },
                        settle(ZIPKIN, 1),
                        Wait { ms: 90 },
                    ],
                ),
            ],
        ),
        small(
            "commit",
            &[
                &[begin(ZIPKIN)],
                &fill,
                &times(4, &[take(ZIPKIN, 1), commit(ZIPKIN)]),
                &[Commit { drain: ZIPKIN, pick: 0, note: 3_000 }],
            ],
        ),
        small(
            "expire",
            &[
                &[begin(ZIPKIN)],
                &fill,
                &[Wait { ms: 300 }],
                &fill,
                &[
                    take(ZIPKIN, 12),
                    Expire { drain: ZIPKIN, ms: 200 },
                    Wait { ms: 90 },
                    settle(ZIPKIN, 0),
                    Wait { ms: 90 },
                ],
            ],
        ),
        small(
            "remove",
            &[
                &[begin(ZIPKIN)],
                &times(5, &[big(), take(ZIPKIN, 1), settle(ZIPKIN, 0), Wait { ms: 90 }]),
                &[Wait { ms: 200 }],
            ],
        ),
        small(
            "remove behind the slower of two",
            &[
                &[begin(ZIPKIN), begin(ARCHIVE)],
                &times(5, &[big(), take(ZIPKIN, 1), settle(ZIPKIN, 0)]),
                &[take(ARCHIVE, 5)],
                &times(5, &[settle(ARCHIVE, 0), Wait { ms: 90 }]),
            ],
        ),
    ]
}

fn drains() -> Vec<Workload> {
    vec![
        small(
            "drains begin",
            &[&[
                begin(ZIPKIN),
                say(2, 50),
                begin(ARCHIVE),
                say(2, 50),
                Begin { drain: OTHER, oldest: true },
                begin(LETTERS),
                say(1, 10),
                take(OTHER, 9),
                settle(OTHER, 1),
                Wait { ms: 90 },
            ]],
        ),
        small(
            "drains go",
            &[
                &[begin(ZIPKIN), begin(ARCHIVE)],
                &times(4, &[big(), take(ZIPKIN, 1), settle(ZIPKIN, 0)]),
                &[
                    Leave { drain: ARCHIVE },
                    Forget { drain: ARCHIVE },
                    Wait { ms: 200 },
                    begin(ARCHIVE),
                    say(1, 10),
                    take(ARCHIVE, 1),
                    commit(ARCHIVE),
                ],
            ],
        ),
        small(
            "a drain is let go",
            &[
                &[begin(ZIPKIN), begin(OTHER), say(2, 50)],
                &times(2, &[take(OTHER, 9), settle(OTHER, 0), Release { drain: OTHER }, say(1, 50), take(OTHER, 1)]),
                &[Leave { drain: OTHER }, say(1, 50), Return { drain: OTHER }, take(OTHER, 9)],
                &times(3, &[settle(OTHER, 0)]),
                &[Release { drain: OTHER }, say(1, 50), Leave { drain: OTHER }, Forget { drain: OTHER }],
                &[say(1, 50), take(ZIPKIN, 9), settle(ZIPKIN, 0), Wait { ms: 200 }],
            ],
        ),
        small(
            "hand-over",
            &[
                &[begin(ZIPKIN)],
                &times(
                    4,
                    &[
                        say(3, 60),
                        take(ZIPKIN, 2),
                        Settle { drain: ZIPKIN, pick: 0, part: 1, outcome: 0 },
                        Leave { drain: ZIPKIN },
                        say(1, 60),
                        Return { drain: ZIPKIN },
                    ],
                ),
            ],
        ),
        small(
            "addressed frames",
            &[
                &[begin(ZIPKIN), begin(LETTERS)],
                &times(
                    4,
                    &[
                        Append { spans: 2, bytes: 60, letters: true },
                        say(2, 60),
                        take(LETTERS, 1),
                        settle(LETTERS, 0),
                        take(ZIPKIN, 1),
                        Wait { ms: 50 },
                    ],
                ),
                &[settle(ZIPKIN, 1), Wait { ms: 90 }],
            ],
        ),
        small(
            "letters without their drain",
            &[&[
                begin(ZIPKIN),
                Append { spans: 2, bytes: 60, letters: true },
                say(1, 60),
                Begin { drain: LETTERS, oldest: true },
                take(LETTERS, 2),
                commit(LETTERS),
                take(ZIPKIN, 2),
                commit(ZIPKIN),
            ]],
        ),
    ]
}

fn restarts() -> Vec<Workload> {
    let busy = [say(3, 60), take(ZIPKIN, 1), settle(ZIPKIN, 0), Offer { spans: 2, bytes: 700 }];
    let kill = Crash { kill: true, seed: 0 };
    vec![
        small("restart", &[&[begin(ZIPKIN)], &times(3, &[&busy[..], &[Answers, Restart]].concat())]),
        small("recovery", &[&[begin(ZIPKIN)], &busy, &[big(), kill], &busy, &[Answers, take(ZIPKIN, 3)]]),
        small(
            "recovery twice in a row",
            &[&[begin(ZIPKIN)], &busy, &[kill, kill], &busy, &[Crash { kill: false, seed: 5 }, kill, say(1, 9)]],
        ),
        small(
            "rescue",
            &[
                &[begin(ZIPKIN), say(1, 60)],
                &times(3, &[Offer { spans: 3, bytes: 900 }, Wait { ms: 0 }, kill]),
                &[take(ZIPKIN, 9), commit(ZIPKIN)],
            ],
        ),
        small(
            "recovery after a roll",
            &[
                &[begin(ZIPKIN)],
                &times(3, &[big(), big(), take(ZIPKIN, 2), settle(ZIPKIN, 1), kill]),
                &[settle(ZIPKIN, 0), Wait { ms: 200 }],
            ],
        ),
    ]
}

fn bounds() -> Vec<Workload> {
    vec![
        small(
            "capacity",
            &[
                &[begin(ZIPKIN)],
                &times(19, &[big()]),
                &[Offer { spans: 4, bytes: 7_000 }, Withdraw, take(ZIPKIN, 9)],
                &times(9, &[settle(ZIPKIN, 0)]),
                &[Wait { ms: 300 }, big(), big()],
            ],
        ),
        with(
            "capacity in spans",
            |s| s.capacity_spans = Some(12),
            &[
                &[begin(ZIPKIN)],
                &times(4, &[say(4, 50)]),
                &[take(ZIPKIN, 2), settle(ZIPKIN, 1), say(4, 50), settle(ZIPKIN, 0), say(4, 50), Wait { ms: 90 }],
            ],
        ),
        small(
            "skip",
            &[
                &[begin(ZIPKIN), take(ZIPKIN, 1)],
                &times(20, &[Offer { spans: 4, bytes: 7_000 }, take(ZIPKIN, 2), Skip { drain: ZIPKIN }]),
                &[Wait { ms: 200 }, Answers],
            ],
        ),
        with(
            "all settled and yet full",
            |s| s.capacity_bytes = 160 * 1024,
            &[&[begin(ZIPKIN)], &times(8, &[big(), take(ZIPKIN, 1), settle(ZIPKIN, 0), Wait { ms: 60 }])],
        ),
    ]
}

fn archives() -> Vec<Workload> {
    let run = |ms| Archive { ms };
    let kill = Crash { kill: true, seed: 0 };
    let (letter, offer) = (Append { spans: 1, bytes: 20, letters: true }, Offer { spans: 2, bytes: 200 });
    let beside = [say(1, 300), letter, big(), take(ZIPKIN, 3), settle(ZIPKIN, 0), run(300)];
    let cut = [say(3, 300), run(1), say(1, 20), kill, run(60), Crash { kill: false, seed: 9 }];
    vec![
        small("archive", &[&[begin(ARCHIVE)], &times(3, &[say(2, 200), run(80)])]),
        small("archive beside a drain", &[&[begin(ARCHIVE), begin(ZIPKIN)], &times(3, &beside)]),
        small("archive cut short", &[&[begin(ARCHIVE)], &times(3, &cut)]),
        with(
            "archive with a delayed sync",
            |s| s.sync = Sync::Every(DELAY),
            &[&[begin(ARCHIVE)], &times(3, &[say(2, 200), run(80), say(1, 300), run(200)])],
        ),
        small("archive handed over", &[&[begin(ARCHIVE)], &times(4, &[offer, run(0), run(120), Restart])]),
    ]
}

/// A workload of its own for each seed.
pub fn random(seed: u64) -> Workload {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut settings = settings();
    settings.cache_bytes = random.choice([0, 2_000, 64 * 1024]).unwrap();
    settings.capacity_spans = random.choice([None, None, None, Some(40)]).unwrap();
    if random.u8(0..4) == 0 {
        settings.sync = Sync::Every(Duration::from_millis(random.u64(1..300)));
    }
    let mut steps = vec![begin(ZIPKIN)];
    for _ in 0..random.usize(5..40) {
        steps.push(step(&mut random));
    }
    Workload { name: "random", settings, steps }
}

/// With some steps between.
pub fn varied(mut workload: Workload, seed: u64) -> Workload {
    let mut random = fastrand::Rng::with_seed(seed);
    let archives = workload.steps.iter().any(|step| matches!(step, Archive { .. }));
    for _ in 0..random.usize(1..6) {
        let (at, step) = (random.usize(0..=workload.steps.len()), step(&mut random));
        // The plans of the archive are its own to write.
        if !(archives && matches!(step, Commit { drain: ARCHIVE, .. })) {
            workload.steps.insert(at, step);
        }
    }
    workload
}

fn step(random: &mut fastrand::Rng) -> Step {
    let drain = random.choice([ZIPKIN, ZIPKIN, ZIPKIN, ARCHIVE, OTHER, LETTERS]).unwrap();
    let (spans, bytes) = random.choice([(1, 20), (3, 60), (5, 400), BIG, (2, 20_000)]).unwrap();
    let (pick, part, outcome) = (random.u8(..), random.choice([0, 0, 1, 2]).unwrap(), random.u8(0..4));
    match random.u8(0..41) {
        0..=9 => Append { spans, bytes, letters: drain == LETTERS },
        10..=12 => Offer { spans, bytes },
        13 => Withdraw,
        14 => Answers,
        15..=16 => Begin { drain, oldest: random.bool() },
        17 => Leave { drain },
        18 => Return { drain },
        19 => Forget { drain },
        20..=25 => Take { drain, frames: random.u8(1..5) },
        26..=29 => Settle { drain, pick, part, outcome },
        30..=31 => Commit { drain, pick, note: random.u16(1..200) },
        32 => Skip { drain },
        33 => Expire { drain, ms: random.u16(0..300) },
        34 => Reread { drain },
        35..=36 => Wait { ms: random.u16(0..200) },
        37 => Restart,
        38 => Release { drain },
        _ => Crash { kill: random.bool(), seed: random.u64(..) },
    }
}
