use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::archive::object::ObjectName;
use crate::archive::read::About;
use crate::sink::{Load, Sending, Sink, Verdict};
use crate::span::{Batch, Span, TraceId, canonical};

/// A destination that takes all but the ids given, and answers first as it is told.
#[derive(Default)]
struct Scripted {
    first: Mutex<VecDeque<Verdict>>,
    refuses: Vec<u64>,
    most: usize,
    /// Ids taken, and when.
    taken: Mutex<Vec<(u64, Instant)>>,
}

impl Sink for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn url(&self) -> &str {
        "scripted"
    }

    fn send<'a>(&'a self, load: &'a Load) -> Sending<'a> {
        assert!(load.replayed && load.bytes == load.pieces[0].len());
        let ids: Vec<u64> =
            canonical::elements(&load.pieces[0]).map(|span| canonical::read(span.unwrap()).unwrap().id).collect();
        assert_eq!(ids.len(), load.spans as usize);
        let first = self.first.lock().unwrap().pop_front();
        let verdict = match first {
            Some(verdict) => verdict,
            None if ids.len() > self.most => Verdict::TooLarge("too large".into()),
            None if ids.iter().any(|id| self.refuses.contains(id)) => Verdict::Refused("a bad span".into()),
            None => Verdict::Delivered,
        };
        if verdict == Verdict::Delivered {
            self.taken.lock().unwrap().extend(ids.into_iter().map(|id| (id, Instant::now())));
        }
        Box::pin(std::future::ready(verdict))
    }
}

fn options(dir: &TempDir) -> Options {
    Options {
        into: "http://nobody".into(),
        rate: 1_000_000,
        batch: 10,
        patience: Duration::from_secs(60),
        state: dir.path().join("state"),
        resumes: false,
        arguments: vec!["--into=http://nobody".into()],
    }
}

fn listed(first: u64, name: &str) -> Listed {
    let parsed = ObjectName { channel: "c".into(), partition: 0, first, last: first + 9 };
    Listed { name: name.into(), parsed, bytes: 1, written_us: None }
}

/// Spans whose ids are their rows, plus one.
fn piece(rows: std::ops::Range<u64>) -> Piece {
    let mut spans = Batch::default();
    for row in rows.clone() {
        spans.push(&mut Span { trace_id: TraceId { high: 0, low: 1 }, id: row + 1, ..Span::default() });
    }
    let about = rows.clone().map(|row| About { row, received_us: None, origin: None }).collect();
    Piece { object: Arc::new(listed(0, "o")), spans, about, end: rows.end, last: false }
}

/// What becomes of a piece of thirty spans, in batches of ten.
async fn sent(sink: Arc<Scripted>, options: &Options) -> (Sender, Result<(), Stop>) {
    let mut sender = Sender::over(sink, options);
    let mut progress = Progress::new(1);
    for batch in Cut::new(piece(0..30), 0, options.batch) {
        if let Err(stop) = sender.send(&batch, &mut progress).await {
            return (sender, Err(stop));
        }
    }
    (sender, Ok(()))
}

fn taken(sink: &Scripted) -> Vec<u64> {
    sink.taken.lock().unwrap().iter().map(|(id, _)| *id).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_halved_until_it_stands_alone_and_is_written_down() {
    let dir = TempDir::new().unwrap();
    let (options, refuses) = (options(&dir), vec![7, 8, 21]);
    let sink = Arc::new(Scripted { refuses: refuses.clone(), most: 4, ..Scripted::default() });
    let (sender, ended) = sent(sink.clone(), &options).await;
    assert_eq!(ended, Ok(()));
    let expected: Vec<u64> = (1..=30).filter(|id| !refuses.contains(id)).collect();
    assert_eq!(taken(&sink), expected, "each once, in order");
    assert_eq!((sender.tally.sent, sender.tally.refused), (27, 3));
    let file = disk_text(sender.refused.path());
    let lines: Vec<serde_json::Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = lines.iter().map(|line| line["span"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["0000000000000007", "0000000000000008", "0000000000000015"]);
    assert!(lines.iter().all(|line| line["reason"] == "a bad span"));
}

fn disk_text(path: &std::path::Path) -> String {
    let file = crate::disk::real().open(path, crate::disk::Open::Read).unwrap();
    let mut text = vec![0; file.len().unwrap() as usize];
    crate::disk::read_full(&*file, &mut text, 0).unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_put_off_is_sent_again_after_the_wait_that_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let first = [
        Verdict::Wait(Duration::from_secs(7), "429".into()),
        Verdict::Absent("TRY_LATER".into()),
        Verdict::Again("closed".into()),
        Verdict::Elsewhere { reason: "500".into(), maybe_taken: true },
    ];
    let sink = Arc::new(Scripted { first: Mutex::new(first.into()), most: 99, ..Scripted::default() });
    let begun = Instant::now();
    let (sender, ended) = sent(sink.clone(), &options(&dir)).await;
    assert_eq!((ended, taken(&sink).len(), sender.tally.tries), (Ok(()), 30, 4));
    assert!((7..30).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn spans_go_no_faster_than_the_rate() {
    let dir = TempDir::new().unwrap();
    let sink = Arc::new(Scripted { most: 99, ..Scripted::default() });
    let begun = Instant::now();
    let (_, ended) = sent(sink.clone(), &Options { rate: 10, ..options(&dir) }).await;
    assert_eq!(ended, Ok(()));
    let times: Vec<u64> = sink.taken.lock().unwrap().iter().map(|(_, at)| (*at - begun).as_millis() as u64).collect();
    for (batch, time) in times.iter().step_by(10).enumerate() {
        assert!((1_000 * batch as u64..1_010 * batch as u64 + 10).contains(time), "batch {batch} at {time} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_stops_when_the_destination_is_wrong_or_gone_for_long() {
    let dir = TempDir::new().unwrap();
    let ends = |first: Vec<Verdict>| {
        let sink = Arc::new(Scripted { first: Mutex::new(first.into()), most: 99, ..Scripted::default() });
        let options = options(&dir);
        async move { sent(sink, &options).await.1.unwrap_err() }
    };
    assert_eq!(ends(vec![Verdict::Misconfigured("404".into())]).await, Stop::Misconfigured("404".into()));
    let gone = ends(vec![Verdict::Absent("refused".into()); 1_000]).await;
    assert_eq!(gone, Stop::Failed("nothing got through for 60s: refused".into()));
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_refuses_everything_stops_the_replay() {
    let dir = TempDir::new().unwrap();
    let sink = Arc::new(Scripted { refuses: (1..=5_000).collect(), most: 99, ..Scripted::default() });
    let mut sender = Sender::over(sink, &options(&dir));
    let mut progress = Progress::new(1);
    let mut ended = Ok(());
    for batch in Cut::new(piece(0..5_000), 0, 99) {
        ended = sender.send(&batch, &mut progress).await;
        if ended.is_err() {
            break;
        }
    }
    assert_eq!(sender.tally.refused, 1_000);
    assert!(matches!(ended, Err(Stop::Misconfigured(what)) if what.contains("1000 spans were refused and 0 taken")));
}

#[test]
fn batches_begin_at_the_row_that_is_asked_for_and_hold_all_behind_it() {
    for from in [0, 1, 9, 10, 29, 30, 99] {
        let batches: Vec<_> = Cut::new(piece(0..30), from, 4).collect();
        let ids: Vec<u64> = batches
            .iter()
            .flat_map(|batch| {
                canonical::elements(&batch.load(&(0..batch.spans())).pieces[0])
                    .map(|s| s.unwrap().to_vec())
                    .collect::<Vec<_>>()
            })
            .map(|span| canonical::read(&span).unwrap().id)
            .collect();
        assert!(ids.into_iter().eq(from.min(30) + 1..=30), "from {from}");
        assert!(batches.iter().all(|batch| batch.spans() <= 4));
        assert_eq!(batches.last().map(|batch| batch.end), (from < 30).then_some(30));
    }
}

#[tokio::test]
async fn a_state_says_how_far_it_came_and_is_nobody_elses() {
    let dir = TempDir::new().unwrap();
    let (options, here) = (options(&dir), dir.path().to_owned());
    let mut state = State::begin(&options, here.clone()).unwrap();
    assert!(State::begin(&options, here.clone()).err().unwrap().contains("--resume"), "another is under way");
    let objects = [listed(0, "a"), listed(10, "b"), listed(20, "c")];
    assert!(objects.iter().all(|object| state.is_open(object)) && state.is_new());
    state.reached(&objects[0], u64::MAX).unwrap();
    state.reached(&objects[1], 7).unwrap();
    state.reached(&objects[1], 3).unwrap();
    state.save().unwrap();
    let (state, arguments) = State::read(&options.state, &here).unwrap();
    assert_eq!(arguments, options.arguments);
    assert_eq!(objects.iter().map(|object| state.is_open(object)).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(objects.iter().skip(1).map(|object| state.row_of(object)).collect::<Vec<_>>(), [7, 0]);
    let other = Listed { parsed: ObjectName { channel: "d".into(), ..objects[0].parsed.clone() }, ..listed(0, "a") };
    assert!(state.is_open(&other), "another channel has a place of its own");
    assert!(State::read(&options.state, "/elsewhere".as_ref()).err().unwrap().contains("go on there"));
    state.remove().unwrap();
    assert!(State::read(&options.state, &here).is_err());
}
