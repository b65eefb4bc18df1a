//! The archive before an S3 server that fails as it is told: each span in one object, once, none of it overwritten.

use super::*;
use crate::support::s3::{Fault, Op, S3, Stored};
use spangate::archive::target::{Remote, Variables};

const PREFIX: &str = "a=b/50%";

/// An archive in the server's bucket; requests end soon, so that one that hangs does not hold a test up.
fn bucket(data: &Path, s3: &S3) -> Setup {
    spangate::sink::install_tls();
    let mut setup = Setup::new(data).idle(Duration::from_millis(20));
    let remote = Remote::parse(&format!("s3://spans/{PREFIX}")).unwrap().at(&s3.url()).unwrap();
    setup.archive.target = Target::Remote(remote);
    setup.archive.connect.timeout = Duration::from_millis(700);
    let secrets = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_BUCKET", "another")];
    let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
    setup.archive.connect.variables = Some(Variables(secrets.into()));
    setup
}

/// The same, with every object in parts of 100 bytes.
fn in_parts(mut setup: Setup) -> Setup {
    (setup.archive.connect.put_bytes_max, setup.archive.connect.part_bytes) = (0, 100);
    setup
}

/// The objects as a reader finds them, each of which says the same beside its bytes and inside.
fn stored(s3: &S3) -> Vec<Found> {
    let read = |(key, stored): (String, Stored)| {
        let name = key.strip_prefix(PREFIX).expect("under the prefix").trim_start_matches('/').to_owned();
        let found = read(name.into(), &stored.bytes);
        assert_eq!(stored.facts, Some(found.object.to_string()));
        found
    };
    s3.objects().into_iter().map(read).collect()
}

fn nothing_staged(setup: &Setup) {
    let left = disk::real().list(&setup.data.join("staging/archive")).unwrap();
    assert_eq!(left, [], "nothing unfinished is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_in_a_bucket_hold_each_span_once_and_say_what_they_are() {
    for parts in [false, true] {
        let (dir, s3) = (tempfile::tempdir().unwrap(), S3::start().await);
        let setup = bucket(dir.path(), &s3);
        let setup = if parts { in_parts(setup) } else { setup };
        let rig = setup.start();
        rig.append(0..300).await;
        until("an object", || rig.account().waiting == 0).await;
        rig.append(300..301).await;
        rig.stop().await;
        let found = stored(&s3);
        assert_each_once(&found, 0..301);
        assert_eq!(found.len(), 2);
        assert_eq!((s3.uploads(), s3.overwritten()), (0, 0));
        assert_eq!(s3.asked(Op::Put), if parts { 0 } else { 2 });
        assert!(!parts || s3.asked(Op::Part) > 4);
        nothing_staged(&setup);
    }
}

/// One request of a kind fails in one way, six times in a row: more often than the client library repeats it.
async fn survives(setup: impl Fn(&Path, &S3) -> Setup, op: Op, fault: Fault) {
    let (dir, s3) = (tempfile::tempdir().unwrap(), S3::start().await);
    // What hangs costs its whole time.
    let times = if matches!(fault, Fault::Hang | Fault::HangAfter) { 1 } else { 6 };
    s3.script(op, vec![Some(fault); times]);
    let setup = setup(dir.path(), &s3);
    let rig = setup.start();
    rig.append(0..50).await;
    until("the object", || rig.account().waiting == 0).await;
    rig.stop().await;
    assert_each_once(&stored(&s3), 0..50);
    assert_eq!(s3.overwritten(), 0, "{op:?} {fault:?}");
    // One whose name never came back is for the bucket's lifecycle rule.
    assert!(op == Op::Begin || s3.uploads() == 0, "{op:?} {fault:?}: an upload was left");
    nothing_staged(&setup);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_or_a_look_that_fails_in_any_way_costs_time_alone() {
    let tries = [Op::Put, Op::Head].into_iter().flat_map(|op| Fault::ALL.map(|fault| survives(bucket, op, fault)));
    futures_util::future::join_all(tries).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_that_fails_in_any_way_costs_time_alone() {
    let ops = [Op::Begin, Op::Part, Op::Head, Op::Complete];
    let setup = |dir: &Path, s3: &S3| in_parts(bucket(dir, s3));
    let tries = ops.into_iter().flat_map(|op| Fault::ALL.map(|fault| survives(setup, op, fault)));
    futures_util::future::join_all(tries).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_a_crash_cut_is_undone_before_another_is_begun() {
    for fault in [Fault::Hang, Fault::HangAfter] {
        for op in [Op::Part, Op::Head, Op::Complete] {
            let (dir, s3) = (tempfile::tempdir().unwrap(), S3::start().await);
            let mut setup = in_parts(bucket(dir.path(), &s3));
            setup.archive.connect.timeout = PATIENCE;
            // The first look is the one before there is an upload.
            s3.script(op, if op == Op::Head { vec![None, Some(fault)] } else { vec![Some(fault)] });
            let rig = setup.start_with_grace(Duration::ZERO);
            rig.append(0..50).await;
            let times = if op == Op::Head { 2 } else { 1 };
            until("the request that hangs", || s3.asked(op) == times).await;
            rig.stop().await;
            let begun = Plan::from_note(&note(&setup)).unwrap().expect("it was under way").upload;
            assert_eq!(begun.as_deref(), Some("upload-1"));
            let rig = setup.start();
            until("the object", || rig.account().waiting == 0).await;
            rig.stop().await;
            assert_each_once(&stored(&s3), 0..50);
            assert_eq!((s3.uploads(), s3.overwritten()), (0, 0), "{op:?} {fault:?}");
            assert!(s3.asked(Op::Abort) >= 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_crashes_among_faults_leave_each_span_once() {
    let (dir, s3) = (tempfile::tempdir().unwrap(), S3::start().await);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut sent = 0;
    for run in 0..100 {
        let mut setup = bucket(dir.path(), &s3).idle(Duration::from_millis(1));
        setup.archive.connect.timeout = Duration::from_millis(200);
        let setup = if chance.bool() { in_parts(setup) } else { setup };
        for op in [Op::Put, Op::Head, Op::Begin, Op::Part, Op::Complete, Op::Abort] {
            let fault = (chance.u8(..3) == 0).then(|| Fault::ALL[chance.usize(..Fault::ALL.len())]);
            s3.script(op, [fault]);
        }
        let rig = setup.start_with_grace(Duration::ZERO);
        rig.append(sent..sent + 20).await;
        sent += 20;
        tokio::time::sleep(Duration::from_millis(chance.u64(..60))).await;
        rig.stop().await;
        assert_eq!(s3.overwritten(), 0, "run {run}");
    }
    s3.forget_the_script();
    let rig = bucket(dir.path(), &s3).start();
    until("all of it", || rig.account().waiting == 0).await;
    rig.stop().await;
    assert_each_once(&stored(&s3), 0..sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_holds_another_object_stops_the_archive_with_both_named() {
    for facts in
        ["spangate/1 channel=00000000000000000000000000000000 partition=0 first=0 last=0 spans=1 bytes=9", "mine"]
    {
        let (dir, s3) = (tempfile::tempdir().unwrap(), S3::start().await);
        s3.script(Op::Put, [Some(Fault::Error); 4]);
        let setup = bucket(dir.path(), &s3);
        let rig = setup.start();
        rig.append(0..5).await;
        until("a first try", || s3.asked(Op::Put) == 4).await;
        let name = format!("{}-0-{:020}-{:020}.jsonl.gz", rig.channel.id(), 0, 4);
        let theirs = Stored { bytes: Bytes::from_static(b"theirs"), facts: Some(facts.into()) };
        s3.place(&format!("{PREFIX}/{}", name), theirs.clone());
        until("the archive stops", || matches!(rig.status.seen().state, State::Stopped { .. })).await;
        let State::Stopped { reason } = rig.status.seen().state else { panic!("it stopped") };
        let planned = format!("spangate/1 channel={} partition=0 first=0 last=4 spans=5", rig.channel.id());
        assert!(reason.contains(&name) && reason.contains(&planned), "{reason}");
        assert!(reason.contains(facts.split(' ').next().unwrap()), "{reason}");
        rig.stop().await;
        assert_eq!(s3.objects().into_values().collect::<Vec<_>>(), [theirs]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_metadata_a_copy_lost_is_known_by_what_is_in_it() {
    for format in Format::ALL {
        let (dir, s3) = (tempfile::tempdir().unwrap(), S3::start().await);
        s3.script(Op::Put, [Some(Fault::HangAfter)]);
        let mut setup = bucket(dir.path(), &s3);
        setup.archive.format = format;
        let rig = setup.start_with_grace(Duration::ZERO);
        rig.append(0..5).await;
        until("the put took effect", || s3.objects().len() == 1).await;
        rig.stop().await;
        let (key, whole) = s3.objects().into_iter().next().unwrap();
        s3.place(&key, Stored { facts: None, ..whole.clone() });
        let rig = setup.start();
        until("it is seen", || rig.account().waiting == 0).await;
        rig.stop().await;
        assert_eq!(s3.asked(Op::Put), 1, "{format}: it was seen, and not written again");
        assert!(s3.asked(Op::Get) >= 1);
        assert_eq!(s3.objects()[&key].bytes, whole.bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_carried_out_in_the_bucket_that_it_names() {
    let (dir, old, new) = (tempfile::tempdir().unwrap(), S3::start().await, S3::start().await);
    old.script(Op::Put, [Some(Fault::Hang)]);
    let setup = bucket(dir.path(), &old);
    let rig = setup.start_with_grace(Duration::ZERO);
    rig.append(0..5).await;
    until("the put", || old.asked(Op::Put) == 1).await;
    rig.stop().await;
    let moved = bucket(dir.path(), &new);
    let rig = moved.start();
    rig.append(5..9).await;
    until("both", || rig.account().waiting == 0).await;
    rig.stop().await;
    assert_each_once(&stored(&old), 0..5);
    assert_each_once(&stored(&new), 5..9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_everything_costs_the_archive_alone_and_is_named() {
    let (dir, s3) = (tempfile::tempdir().unwrap(), S3::start().await);
    s3.always(Some(Fault::Refuse));
    let setup = bucket(dir.path(), &s3);
    let rig = setup.start();
    rig.append(0..5).await;
    until("trouble", || matches!(rig.status.seen().state, State::Retrying { .. })).await;
    let State::Retrying { reason, .. } = rig.status.seen().state else { panic!("it tries again") };
    assert!(reason.contains("s3://spans/a=b/50%/") && reason.contains("403"), "{reason}");
    assert!(!reason.contains("secret"), "{reason}");
    rig.append(5..9).await;
    assert_eq!(rig.account().waiting, 9);
    s3.always(None);
    until("all of it", || rig.account().waiting == 0).await;
    assert_eq!(rig.status.seen().state, State::Ok);
    rig.stop().await;
    assert_each_once(&stored(&s3), 0..9);
}
