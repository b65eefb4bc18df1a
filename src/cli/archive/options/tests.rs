use super::*;

fn asked(verb: &str, more: &[&str]) -> Result<Options, String> {
    let told = |error: clap::Error| error.to_string();
    let config = ["config", "data", "archive"].map(|name| Arg::new(name).long(name));
    let matches = command(config.into()).try_get_matches_from([&["archive", verb], more].concat()).map_err(told)?;
    let (verb, inner) = matches.subcommand().expect("clap demands one");
    read(verb, inner).map_err(told)
}

#[test]
fn nothing_said_is_everything_meant() {
    let cat = asked("cat", &[]).unwrap();
    assert_eq!((cat.verb, cat.selection, cat.drain), (Verb::Cat { origin: false }, Selection::default(), None));
    assert_eq!(asked("list", &["--json"]).unwrap().verb, Verb::List { json: true });
}

#[test]
fn a_selection_is_read_in_full() {
    let more = "--from 2026-11-21 --to 2026-11-21T02:00+01:00 --service Shop --service st* --trace-id 0Ff --category zipkin \
                --label zone=a=b --channel c --first 5 --last 7";
    let Selection { from_us, to_us, services, trace, positions, categories, labels } =
        asked("cat", &more.split_whitespace().collect::<Vec<_>>()).unwrap().selection;
    assert_eq!(to_us.unwrap() - from_us.unwrap(), 3_600_000_000);
    assert_eq!((services, categories), (vec!["shop".into(), "st*".into()], vec!["zipkin".into()]));
    assert_eq!(trace, Some(Trace::Low(255)));
    assert_eq!(positions, Some(Positions { channel: Some("c".into()), range: 5..=7 }));
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), [("zone".into(), "a=b".into())]);
}

#[test]
fn a_time_may_be_so_long_ago() {
    let now = Clock::system().now_us();
    let found = asked("list", &["--from", "2h"]).unwrap().selection.from_us.unwrap();
    assert!((now - 7_200_000_000..=now - 7_000_000_000).contains(&found));
    for wrong in ["2", "h", "2 weeks", "99999999d"] {
        assert!(asked("list", &["--from", wrong]).unwrap_err().contains("expected a time such as"), "{wrong}");
    }
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for more in [&["--url", "file:///x", "--drain", "a"][..], &["--region", "eu"], &["--label", "a"]] {
        assert!(asked("cat", more).is_err(), "{more:?}");
    }
}
