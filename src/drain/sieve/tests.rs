//! What is kept and what is left out; the same decisions as Zipkin's sampler.
#![expect(clippy::single_range_in_vec_init, reason = "runs of items are ranges, also where there is one")]

use std::sync::Arc;

use super::*;
use crate::channel::{FrameAt, Kind};

const NO_SERVICE: &str = "";

fn origin(pairs: &[(&str, &str)]) -> Arc<Origin> {
    Arc::new(Origin(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()))
}

/// A frame of one item a service.
fn head(pairs: &[(&str, &str)], services: &[&str]) -> Head {
    let mut labels: Vec<String> = Vec::new();
    let mut items = Vec::new();
    for service in services {
        let known = labels.iter().position(|label| label == service);
        let label = match (*service, known) {
            (NO_SERVICE, _) => u16::MAX,
            (_, Some(known)) => known as u16,
            _ => {
                labels.push((*service).to_owned());
                labels.len() as u16 - 1
            }
        };
        items.push(Item { key: 1, len: 10, label, flags: 0 });
    }
    Head {
        at: FrameAt { segment: 0, offset: 0, first: 100, items: items.len() as u32 },
        kind: Kind::Spans,
        received_us: 0,
        origin: origin(pairs),
        labels,
        body_len: 10 * items.len() as u32,
        items,
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn kept(filter: &Filter, head: &Head) -> Vec<Range<u32>> {
    let parted = Sieve::new(filter.clone(), 1.0).part(head, &[0..head.at.items]);
    assert!(parted.left_out.iter().all(|(_, outcome)| *outcome == Outcome::Filtered));
    let sum = |ranges: &mut dyn Iterator<Item = &Range<u32>>| ranges.map(|range| range.end - range.start).sum::<u32>();
    let parts = sum(&mut parted.kept.iter()) + sum(&mut parted.left_out.iter().map(|(range, _)| range));
    assert_eq!(parts, head.at.items, "each item is kept or left out");
    parted.kept
}

fn takes(filter: &Filter, pairs: &[(&str, &str)]) -> bool {
    !kept(filter, &head(pairs, &["front"])).is_empty()
}

#[test]
fn without_a_word_all_is_kept() {
    let head = head(&[("listener", "http")], &["front", NO_SERVICE, "shop"]);
    assert_eq!(kept(&Filter::default(), &head), [0..3]);
    assert_eq!(Sieve::default().part(&head, &[0..1, 2..3]).kept, [0..1, 2..3]);
    assert!(Sieve::default().takes_all());
}

#[test]
fn a_frame_is_told_by_its_listener_its_category_and_its_labels() {
    let filter = Filter { listeners: words(&["http", "grpc"]), ..Filter::default() };
    assert!(takes(&filter, &[("listener", "grpc"), ("peer", "scribe")]));
    assert!(!takes(&filter, &[("listener", "scribe"), ("peer", "http")]) && !takes(&filter, &[]));
    let filter = Filter { categories: words(&["zipkin"]), ..Filter::default() };
    assert!(takes(&filter, &[("listener", "scribe"), ("category", "zipkin")]));
    assert!(!takes(&filter, &[("listener", "scribe"), ("category", "Zipkin")]));
    assert!(!takes(&filter, &[("listener", "http")]), "only Scribe has categories");
    let labels = [("zone".to_owned(), "a".to_owned()), ("team".to_owned(), "x".to_owned())];
    let filter = Filter { labels: labels.into(), ..Filter::default() };
    assert!(takes(&filter, &[("team", "x"), ("more", "y"), ("zone", "a")]));
    assert!(!takes(&filter, &[("zone", "a")]) && !takes(&filter, &[("zone", "a"), ("team", "y")]));
}

#[test]
fn services_are_taken_by_name_or_by_beginning_and_excluded_first() {
    let frame = head(&[], &["front", "shop-eu", "shop-us", NO_SERVICE, "shop", "front"]);
    let services = |services: &[&str], services_exclude: &[&str]| {
        let (services, services_exclude) = (words(services), words(services_exclude));
        kept(&Filter { services, services_exclude, ..Filter::default() }, &frame)
    };
    assert_eq!(services(&["front"], &[]), [0..1, 5..6]);
    assert_eq!(services(&["shop-*"], &[]), [1..3]);
    assert_eq!(services(&["shop*", "front"], &["shop-us"]), [0..2, 4..6]);
    assert_eq!(services(&[], &["shop*"]), [0..1, 3..4, 5..6], "one without a name is not excluded");
    assert_eq!(services(&["*"], &[]), [0..3, 4..6], "nor is it named by a star");
}

#[test]
fn what_was_settled_before_is_neither_kept_nor_left_out() {
    let frame = head(&[], &["a", "b", "a", "b"]);
    let sieve = Sieve::new(Filter { services: words(&["a"]), ..Filter::default() }, 1.0);
    let parted = sieve.part(&frame, &[1..3]);
    assert_eq!((parted.kept, parted.left_out), (vec![2..3], vec![(1..2, Outcome::Filtered)]));
}

#[test]
fn what_is_filtered_is_not_sampled_and_counted_as_filtered() {
    let frame = head(&[], &["a", "b", "b", "a"]);
    let sieve = Sieve::new(Filter { services: words(&["a"]), ..Filter::default() }, 0.0);
    let left_out = [(0..1, Outcome::SampledOut), (1..3, Outcome::Filtered), (3..4, Outcome::SampledOut)];
    assert_eq!(sieve.part(&frame, std::slice::from_ref(&(0..4))).left_out, left_out);
}

#[test]
fn each_trace_is_kept_or_left_out_as_by_zipkins_own_sampler() {
    let vectors = include_str!("../../../tests/data/sampler/decisions.tsv");
    let mut checked = 0;
    for line in vectors.lines() {
        let [rate, id, debug, expected] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let low = u64::from_str_radix(&id[id.len() - 16..], 16).unwrap();
        let mut frame = head(&[], &["a"]);
        frame.items[0].key = low;
        frame.items[0].flags = if debug == "true" { ALWAYS_KEEP } else { 0 };
        let sieve = Sieve::new(Filter::default(), rate.parse().unwrap());
        assert_eq!(!sieve.part(&frame, std::slice::from_ref(&(0..1))).kept.is_empty(), expected == "true", "{line}");
        checked += 1;
    }
    assert_eq!(checked, 864);
}

#[test]
fn what_was_archived_before_is_left_out_where_that_is_asked() {
    let (fresh, again) =
        (head(&[("listener", "http")], &["a"]), head(&[("listener", "http"), ("replayed", "yes")], &["a"]));
    let open = [0..1];
    for (leave_replayed, of_again) in [(true, vec![]), (false, vec![0..1])] {
        let sieve = Sieve::new(Filter { leave_replayed, ..Filter::default() }, 1.0);
        assert_eq!(sieve.part(&fresh, &open).kept, open);
        let parted = sieve.part(&again, &open);
        assert_eq!(parted.kept, of_again);
        assert!(parted.left_out.iter().all(|(_, outcome)| *outcome == Outcome::Filtered));
    }
}

#[test]
fn a_sieve_comes_back_from_its_text() {
    let filter = Filter {
        listeners: words(&["http"]),
        categories: words(&["a \"b\"\n"]),
        services: words(&["shop*", "é"]),
        services_exclude: words(&["x"]),
        labels: [("zone".to_owned(), "a=b".to_owned())].into(),
        leave_replayed: true,
    };
    for (filter, rate) in [(Filter::default(), 1.0), (Filter::default(), 0.1), (filter.clone(), 0.3), (filter, 1.0)] {
        let sieve = Sieve::new(filter, rate);
        let text = sieve.to_string();
        assert!(!text.contains('\n'), "{text}");
        assert_eq!(text.parse::<Sieve>().unwrap(), sieve);
    }
    assert_eq!(Sieve::default().to_string(), "");
    let once = Sieve::new(Filter { leave_replayed: true, ..Filter::default() }, 1.0);
    assert_eq!(once.to_string(), r#"{"leave_replayed":true}"#);
    assert!(once.takes_all_once() && !once.takes_all());
    assert_eq!(Sieve::new(Filter::default(), 0.1).to_string(), r#"{"sample_rate":"0.1"}"#);
}

#[test]
fn a_text_of_another_version_is_no_sieve() {
    for text in ["service=a", "{\"colour\":1}", "{\"sample_rate\":\"1.5\"}", "{\"sample_rate\":\"NaN\"}", "[]"] {
        assert!(text.parse::<Sieve>().is_err(), "{text}");
    }
}
