//! Names whose records a test writes.

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;

use super::*;
use crate::sink::dns::Resolving;
use crate::sink::zipkin::Encoding;

/// Answers one after the other, `None` for a failure; the last one stays.
struct Script(Mutex<VecDeque<Option<Vec<SocketAddr>>>>);

impl Resolver for Script {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        assert_eq!((host, port), ("zipkin", 9411));
        let mut script = self.0.lock().unwrap();
        let answer = if script.len() > 1 { script.pop_front().flatten() } else { script[0].clone() };
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no server")) })
    }
}

fn settings(name: &str, url: &str) -> sink::Settings {
    sink::Settings::Zipkin(zipkin::Settings {
        name: name.to_owned(),
        url: url.to_owned(),
        encoding: Encoding::Proto3,
        gzip: false,
        timeout: Duration::from_secs(1),
    })
}

fn record(ends: &[u8]) -> Option<Vec<SocketAddr>> {
    Some(ends.iter().map(|end| SocketAddr::from(([10, 0, 0, *end], 9411))).collect())
}

fn shown(seats: &[Seat]) -> Vec<(String, String)> {
    seats.iter().map(|seat| (seat.sink.name().to_owned(), seat.sink.url().to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn each_address_is_a_sink_and_one_that_stays_is_the_same() {
    crate::sink::install_tls();
    let sinks =
        [settings("other", "http://other:9411/api/v2/spans"), settings("z", "dns+http://zipkin:9411/api/v2/spans")];
    let (_, follow) = roster(&sinks, &[Terms::default(), Terms { weight: 3, ..Terms::default() }], "own").unwrap();
    let follow = follow.expect("a name is followed");
    let mut seen = follow.sender.subscribe();
    assert_eq!(seen.borrow_and_update().len(), 1, "nothing is known of the name yet");
    let script = [None, record(&[1, 2]), record(&[2, 1]), None, record(&[]), record(&[2, 3])];
    let resolver = Arc::new(Script(Mutex::new(script.into())));
    let stop = CancellationToken::new();
    let test = async {
        seen.changed().await.unwrap();
        let first = seen.borrow_and_update().clone();
        let at = |end: u8| format!("http://10.0.0.{end}:9411/api/v2/spans");
        let other = ("other".to_owned(), "http://other:9411/api/v2/spans".to_owned());
        assert_eq!(shown(&first), [other.clone(), ("z-1".to_owned(), at(1)), ("z-2".to_owned(), at(2))]);
        assert_eq!(first[1].terms.weight, 3);
        let before = tokio::time::Instant::now();
        seen.changed().await.unwrap();
        assert_eq!(before.elapsed(), 4 * EVERY, "neither another order nor a failure changes anything");
        let second = seen.borrow_and_update().clone();
        assert_eq!(shown(&second), [other, ("z-2".to_owned(), at(2)), ("z-1".to_owned(), at(3))]);
        assert!(Arc::ptr_eq(&first[2].sink, &second[1].sink) && Arc::ptr_eq(&first[0].sink, &second[0].sink));
        stop.cancel();
    };
    tokio::join!(follow.run("zipkin".to_owned(), resolver, Answers::default(), stop.clone()), test);
}

/// Follows a drain's name for a minute; the sinks at its end.
async fn followed_for_a_minute(drain: &str, script: Script, answers: &Answers) -> Vec<(String, String)> {
    let sinks = [settings("z", "dns+http://zipkin:9411/api/v2/spans")];
    let follow = roster(&sinks, &[Terms::default()], "own").unwrap().1.unwrap();
    let seats = follow.sender.subscribe();
    let run = follow.run(drain.to_owned(), Arc::new(script), answers.clone(), CancellationToken::new());
    assert!(tokio::time::timeout(Duration::from_secs(60), run).await.is_err(), "nobody stopped it");
    shown(&seats.borrow())
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_takes_anothers_place_begins_with_the_last_good_answer_while_names_are_not_known() {
    crate::sink::install_tls();
    let answers = Answers::default();
    let script = |answers: &[Option<Vec<SocketAddr>>]| Script(Mutex::new(answers.to_vec().into()));
    let first = followed_for_a_minute("zipkin", script(&[record(&[1, 2, 3]), record(&[2, 3]), None]), &answers).await;
    assert_eq!(first.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["z-2", "z-3"]);
    assert_eq!(followed_for_a_minute("zipkin", script(&[None]), &answers).await, first);
    assert_eq!(followed_for_a_minute("other", script(&[None]), &answers).await, [], "it was told nothing");
    answers.forget("zipkin");
    assert_eq!(followed_for_a_minute("zipkin", script(&[None]), &answers).await, []);
}

#[test]
fn without_a_name_to_follow_nobody_follows() {
    crate::sink::install_tls();
    let sinks = [settings("other", "http://other:9411/api/v2/spans")];
    assert!(roster(&sinks, &[Terms::default()], "own").unwrap().1.is_none());
}
