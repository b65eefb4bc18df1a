//! Several directories at one time: each span in one object of its own, whatever happens in between.

use spangate::archive::note::Note;

use super::*;

/// The service of a span: most are of `b`.
fn service_of(id: u64) -> &'static str {
    match id % 10 {
        0 => "a",
        9 => "c",
        _ => "b",
    }
}

/// A span's own time: an hour for each service, all of them before they come in.
fn time_of(id: u64) -> u64 {
    u64::from(service_of(id).as_bytes()[0] - b'a') * HOUR_US + 1
}

/// One frame of spans that have a time.
fn timed(ids: std::ops::Range<u64>, time_of: impl Fn(u64) -> u64) -> Draft {
    let mut batch = Batch::default();
    for id in ids.clone() {
        let trace_id = TraceId { high: 0, low: trace_of(id) };
        let name = Some("get /".into());
        batch.push(&mut Span { trace_id, id: id + 1, name, timestamp_us: time_of(id), ..Span::default() });
    }
    let mut frame = draft(ids);
    frame.items.iter_mut().zip(&batch.items).for_each(|(item, timed)| item.len = timed.len);
    frame.body = batch.body.into();
    frame
}

/// Frames of ten spans of three services, which came from a peer.
fn frames(ids: std::ops::Range<u64>) -> Vec<Draft> {
    let frame = |first: u64| {
        let mut frame = timed(first..(first + 10).min(ids.end), time_of);
        frame.received_us = 3 * HOUR_US;
        frame.labels = ["a", "b", "c"].map(str::to_owned).into();
        for (item, id) in frame.items.iter_mut().zip(first..) {
            item.label = u16::from(service_of(id).as_bytes()[0] - b'a');
        }
        frame.origin = Arc::new(Origin(vec![("peer".into(), "10.0.0.1".into())]));
        frame
    };
    ids.clone().step_by(10).map(frame).collect()
}

impl Rig {
    /// As one message.
    async fn append_all(&self, frames: Vec<Draft>) {
        self.channel.append(frames).wait().await.expect("accepted");
    }
}

/// A span's service is in the path of its object, where that has directories of services.
fn assert_in_their_lanes(found: &[Found], by: &str) {
    for found in found {
        let path = found.path.to_str().unwrap();
        assert!(
            found.ids.iter().all(|id| path.contains(&format!("{by}{}/", service_of(*id)))),
            "{path}: {:?}",
            found.ids
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_each_service_stand_in_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path()).path("{host}/%H/s={service}/%{peer}");
    setup.archive.path = setup.archive.path.on_host("gate.example");
    let rig = setup.start();
    rig.append_all(frames(0..1000)).await;
    rig.stop().await;
    let found = setup.objects();
    assert_each_once(&found, 0..1000);
    assert_in_their_lanes(&found, "s=");
    let objects = dir.path().join("objects");
    let dirs: Vec<_> = found.iter().map(|found| found.path.strip_prefix(&objects).unwrap().parent().unwrap()).collect();
    let expected = ["a", "b", "c"].map(|service| format!("gate.example/03/s={service}/10.0.0.1"));
    assert_eq!(dirs, expected.iter().map(Path::new).collect::<Vec<_>>());
    let account = ledger(&setup);
    assert_eq!((account.outcomes[&Outcome::Delivered], account.waiting, account.low), (1000, 0, 1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_an_object_may_be_in_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    for (run, path) in [(0, "{first}-{last}"), (1, "{service}/{first}-{last}")] {
        let setup = Setup::new(&dir.path().join(run.to_string())).path(path);
        std::fs::create_dir(&setup.data).unwrap();
        let rig = setup.start();
        rig.append_all(frames(0..100)).await;
        rig.stop().await;
        let found = setup.objects();
        assert_each_once(&found, 0..100);
        for Found { path, object, .. } in &found {
            let dir = path.parent().unwrap().file_name().unwrap();
            assert_eq!(dir.to_str(), Some(&*format!("{:020}-{:020}", object.first, object.last)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peers_word_stays_within_the_archive() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path()).path("{service}");
    let rig = setup.start();
    let words = ["../../x", "..", "/etc/passwd", "_spangate", ".hidden", "a\nb", "", "é"];
    let frame = |(n, word): (usize, &&str)| {
        let mut frame = draft(n as u64..n as u64 + 1);
        (frame.labels, frame.items[0].label) = (vec![(*word).to_owned()], 0);
        frame
    };
    rig.append_all(words.iter().enumerate().map(frame).collect()).await;
    rig.stop().await;
    let found = setup.objects();
    assert_each_once(&found, 0..words.len() as u64);
    let parents: Vec<_> = found.iter().map(|found| found.path.parent().unwrap().file_name().unwrap()).collect();
    let expected = ["%2E.%2F..%2Fx", "%2E.", "%2Fetc%2Fpasswd", "%5Fspangate", "%2Ehidden", "a%0Ab", "none", "%C3%A9"];
    assert_eq!(parents, expected);
    let beside: Vec<_> = disk::real().list(dir.path()).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(beside, ["channel", "objects"], "and nothing stands elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_stand_by_their_own_time_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path()).path("dt=%Y-%m-%d/hour=%H");
    setup.archive.path = setup.archive.path.by_span_time(true);
    let rig = setup.start();
    let times = [LEAP_US - 2 * HOUR_US, LEAP_US + HOUR_US, 0, LEAP_US - 8 * 24 * HOUR_US, LEAP_US + 25 * HOUR_US];
    let mut frame = timed(0..5, |id| times[id as usize]);
    frame.received_us = LEAP_US;
    rig.append_all(vec![frame]).await;
    rig.stop().await;
    let stands = |found: &Found| (found.path.parent().unwrap().to_owned(), found.ids.clone());
    let found: BTreeMap<_, _> = setup.objects().iter().map(stands).collect();
    let expected = [("02-29/hour=21", vec![0]), ("02-29/hour=23", vec![2, 3, 4]), ("03-01/hour=00", vec![1])];
    let expected = expected.map(|(at, ids)| (dir.path().join(format!("objects/dt=2024-{at}")), ids));
    assert_eq!(found, expected.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_whose_time_cannot_be_read_any_more_are_settled_as_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path()).path("%H");
    setup.archive.path = setup.archive.path.by_span_time(true);
    setup.cache_bytes = 0;
    let (registry, tasks) = (Registry::new(TABLE), Tasks::new());
    let channel = setup.channel(&registry);
    channel.append(frames(0..50)).wait().await.expect("accepted");
    damage(&dir.path().join("channel"), 25);
    let status = setup.start_on(&channel, &registry, &tasks);
    let rig = Rig { channel, registry, status, tasks };
    rig.stop().await;
    let ids: Vec<_> = counts(&setup.objects()).into_iter().collect();
    assert_eq!(ids, (0..20).chain(30..50).map(|id| (id, 1)).collect::<Vec<_>>());
    let account = ledger(&setup);
    assert_eq!((account.outcomes[&Outcome::Delivered], account.outcomes[&Outcome::Damaged]), (40, 10));
    assert_eq!(account.waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_cannot_be_read_for_a_while_costs_no_span() {
    let sim = SimDisk::new();
    let mut setup = Setup::new(Path::new("/data")).path("%H").idle(Duration::from_millis(20));
    setup.archive.path = setup.archive.path.by_span_time(true);
    (setup.disk, setup.capacity_bytes, setup.cache_bytes) = (sim.disk(), 1 << 20, 0);
    let rig = setup.start();
    for n in 0..6 {
        sim.fail_reads(n % 2 == 0);
        rig.append_all(frames(n * 50..n * 50 + 50)).await;
        match n % 2 {
            0 => wait_for_trouble(&rig, "cannot read the channel").await,
            _ => until("all is archived", || rig.account().waiting == 0).await,
        }
    }
    rig.stop().await;
    assert_each_once(&setup.objects(), 0..300);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_services_than_lanes_cost_objects_and_no_span() {
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup::new(dir.path()).path("{service}");
    let rig = setup.start();
    for round in 0..3 {
        let mut frame = draft(round * 100..round * 100 + 100);
        frame.labels = (0..100).map(|n| format!("s{n}")).collect();
        frame.items.iter_mut().zip(0..).for_each(|(item, label)| item.label = label);
        rig.append_all(vec![frame]).await;
    }
    rig.stop().await;
    let found = setup.objects();
    assert_each_once(&found, 0..300);
    assert!(found.iter().all(|found| found.ids.iter().all(|id| {
        let dir = found.path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        dir == format!("s{}", id % 100)
    })));
    assert_eq!(ledger(&setup).waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_do_not_fill_a_small_channel() {
    let dir = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(dir.path()).path("{service}");
    (setup.capacity_bytes, setup.cache_bytes) = (1 << 20, 0);
    let rig = setup.start();
    for n in 0..60 {
        rig.append_all(frames(n * 500..n * 500 + 500)).await;
    }
    assert!(rig.metric("spangate_archive_objects_total") >= 3, "neither size, age nor idle time closes any");
    rig.stop().await;
    // A stop makes what one object of each lane holds.
    while ledger(&setup).waiting > 0 {
        setup.start().stop().await;
    }
    assert_each_once(&setup.objects(), 0..30_000);
}

/// A frame that is as large as may be.
fn large(first: u64) -> Draft {
    let mut frame = draft(first..first + 1);
    let mut batch = Batch::default();
    let name = "get /".to_owned();
    let tags = vec![("padding".into(), "x".repeat(400 << 10).into())];
    let id = first + 1;
    let trace_id = TraceId { high: 0, low: trace_of(first) };
    batch.push(&mut Span { trace_id, id, name: Some(name.into()), tags, ..Span::default() });
    frame.items[0].len = batch.items[0].len;
    frame.body = batch.body.into();
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_closed_where_a_message_waits_for_its_room() {
    for path in ["", "{service}"] {
        let dir = tempfile::tempdir().unwrap();
        let mut setup = Setup::new(dir.path()).path(path);
        setup.capacity_bytes = 1 << 20;
        let rig = setup.start();
        rig.append_all(frames(0..10)).await;
        until("heads taken", || rig.status.seen().oldest_us.is_some()).await;
        // Less than a quarter waits, and yet it leaves no room for this.
        let message = tokio::time::timeout(PATIENCE, rig.append_all(vec![large(10), large(11)]));
        message.await.expect("room is made");
        rig.stop().await;
        // A stop makes one object at least; what it leaves is the next one's.
        setup.start().stop().await;
        assert_each_once(&setup.objects(), 0..12);
    }
}

/// How an archive is configured.
#[derive(Clone)]
struct Shape {
    path: Template,
    format: Format,
    sieve: Sieve,
}

impl Shape {
    fn by(path: &str) -> Shape {
        let path = Template::parse(path).unwrap().on_host("one");
        Shape { path, format: Format::JsonLinesGzip1, sieve: Sieve::default() }
    }

    fn choose(&self, setup: &mut Setup) {
        let Shape { path, format, sieve } = self.clone();
        (setup.archive.path, setup.archive.format, setup.archive.sieve) = (path, format, sieve);
    }
}

/// What a crash left behind.
#[derive(Default)]
struct Left {
    crashed: bool,
    planned: bool,
    marked: bool,
}

const SPANS: u64 = 200;

/// Archives spans of three services, one of which is published again and again while the others are open; takes the
/// machine down at the `nth` call, starts again in another shape, and looks.
async fn crash_at(nth: u64, power: Option<Power>, from: &Shape, to: &Shape) -> Left {
    let sim = SimDisk::new();
    let mut setup = Setup::new(Path::new("/data")).idle(Duration::from_millis(30));
    (setup.disk, setup.capacity_bytes, setup.archive.roll_bytes) = (sim.disk(), 1 << 20, 500);
    from.choose(&mut setup);
    let (registry, tasks) = (Registry::new(TABLE), Tasks::new());
    let channel = setup.channel(&registry);
    drop(channel.tap("archive", Start::Oldest, Takes::Common).expect("the drain is attached"));
    channel.append(frames(0..SPANS)).wait().await.expect("accepted");
    let off = sim.calls() + nth;
    sim.fault_at(off, Fault::Off);
    let status = setup.start_on(&channel, &registry, &tasks);
    let rig = Rig { channel, registry, status, tasks };
    until("objects or the crash", || rig.account().waiting == 0 || sim.calls() >= off).await;
    let crashed = sim.calls() >= off;
    sim.fault_next(Fault::Off);
    rig.stop().await;

    setup.disk = after_crash(&sim, power).disk();
    let left = Note::parse(&note(&setup)).unwrap();
    to.choose(&mut setup);
    let rig = setup.start();
    rig.append_all(frames(SPANS..SPANS + 20)).await;
    until("all is archived", || rig.account().waiting == 0).await;
    rig.stop().await;

    let (found, account) = (setup.objects(), ledger(&setup));
    let what = format!("call {nth}, then {power:?}");
    let delivered: u64 = found.iter().map(|found| found.object.spans).sum();
    assert_eq!((account.outcomes[&Outcome::Delivered], account.waiting), (delivered, 0), "{what}");
    assert_eq!(delivered + account.outcomes[&Outcome::Filtered], account.accepted, "{what}");
    let copies = counts(&found);
    for id in 0..SPANS + 20 {
        let copies = copies.get(&id).copied().unwrap_or(0);
        let may_miss = from.sieve != to.sieve && service_of(id) == "c";
        assert!(copies == 1 || (may_miss && copies == 0), "{what}: {copies} copies of {id}");
    }
    if let Some(plan) = &left.plan {
        let same = found.iter().find(|found| found.path.ends_with(&plan.name)).expect("the planned object came to be");
        assert_eq!(same.object, plan.object, "{what}");
    }
    Left { crashed, planned: left.plan.is_some(), marked: !left.marks.is_empty() }
}

/// At each call, or at each of some.
async fn crash_everywhere(every: u64, power: Option<Power>, from: &Shape, to: &Shape) {
    let (mut nth, mut planned, mut marked) = (1, 0, 0);
    loop {
        let left = crash_at(nth, power, from, to).await;
        (planned, marked) = (planned + u32::from(left.planned), marked + u32::from(left.marked));
        if !left.crashed {
            break;
        }
        nth += every;
    }
    assert!(planned > 0 && (marked > 0 || !from.path.is_per_span()), "{planned} planned, {marked} marked of {nth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_through_a_kill_at_any_call_hold_each_span_once() {
    let shape = Shape::by("{service}");
    crash_everywhere(1, None, &shape, &shape).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_through_a_loss_of_power_at_any_call_hold_each_span_once() {
    let shape = Shape::by("%H/{service}/{peer}");
    crash_everywhere(1, Some(Power::Some(1)), &shape, &shape).await;
    crash_everywhere(3, Some(Power::Nothing), &shape, &shape).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_was_changed_after_a_crash_holds_each_span_once() {
    let (by_service, by_peer) = (Shape::by("{service}"), Shape::by("%Y/{peer}/{service}"));
    let (flat, sorted) = (Shape::by("%Y"), Shape { format: Format::Parquet1, ..by_service.clone() });
    for (from, to) in [(&by_service, &by_peer), (&by_service, &flat), (&flat, &by_service), (&by_peer, &sorted)] {
        crash_everywhere(3, None, from, to).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_name_or_filter_that_was_changed_after_a_crash_holds_each_span_once() {
    let one = Shape::by("{host}/{service}");
    let two = Shape { path: Template::parse("{host}/{service}").unwrap().on_host("two"), ..one.clone() };
    let filter = Filter { services_exclude: vec!["c".into()], ..Filter::default() };
    let filtered = Shape { sieve: Sieve::new(filter, 1.0), ..one.clone() };
    for (from, to) in [(&one, &two), (&one, &filtered), (&filtered, &one)] {
        crash_everywhere(3, None, from, to).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_by_span_time_through_a_kill_at_any_call_hold_each_span_once() {
    let received = Shape::by("%H");
    let own = Shape { path: received.path.clone().by_span_time(true), ..received.clone() };
    for (from, to) in [(&own, &own), (&own, &received), (&received, &own)] {
        crash_everywhere(2, None, from, to).await;
    }
}
