//! Kills of the real process, and that their oracle finds what is planted before it.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use crate::proof::kills::oracle::{Found, Settled};
use crate::proof::kills::wire::Wire;
use crate::proof::{Budget, kills};
use crate::support::process::wait_for;

#[test]
fn kills_under_load_lose_nothing_and_archive_each_span_once() {
    let tally = kills::kills(Budget::of(1, 1));
    println!("{tally}");
    tally.assert_whole();
    assert!(tally.counts["kills"] >= 3, "{tally}");
}

#[test]
fn kills_among_faults_of_a_store_archive_each_span_once() {
    let tally = kills::store_kills(Budget::of(1, 1));
    println!("{tally}");
    tally.assert_whole();
    assert!(tally.counts["store-kills"] >= 3 && tally.counts["store-kills: faults of the store"] > 0, "{tally}");
}

/// Three spans that were sent, acknowledged, delivered and archived.
fn well() -> Found {
    let names = ["a", "b", "c"].map(str::to_owned);
    let all: HashSet<_> = names.clone().into();
    Found {
        sent: all.clone(),
        acknowledged: all,
        collected: names.clone().map(|name| (name, 1)).into(),
        archived: names.map(|name| (name, 1)).into(),
        settled: Settled { archived: 3, dead: 0 },
        ..Found::default()
    }
}

#[test]
fn whatever_is_lost_doubled_or_made_up_is_named_with_its_promise() {
    type Plant = fn(&mut Found);
    let dead = |found: &mut Found| {
        found.dead.insert("a".into());
        found.settled.dead = 1;
    };
    assert_eq!(well().verdict(), Vec::<String>::new());
    let plants: [(Plant, &str); 8] = [
        (|found| _ = found.collected.remove("b"), "promises 1 and 2: acknowledged, at no collector"),
        (|found| _ = found.archived.remove("b"), "promises 1 and 3: acknowledged, not in the archive: 1 spans"),
        (|found| _ = found.archived.insert("b".into(), 2), "in the archive twice: 1 spans"),
        (|found| _ = found.sent.remove("b"), "never sent"),
        (|found| _ = found.collected.insert("b2".into(), 1), "never sent: 1 spans, such as (trace, id, kind) b2"),
        (dead, "promise 5: dead, and refused by no collector"),
        (|found| found.settled.archived = 4, "3 spans in the archive's objects, 4 by the accounts"),
        (|found| found.settled.dead = 1, "0 dead letters, 0 of them taken after all; 1 by the accounts"),
    ];
    for (plant, told) in plants {
        let mut found = well();
        plant(&mut found);
        let verdict = found.verdict();
        assert!(verdict.iter().any(|fault| fault.contains(told)), "{told}: {verdict:?}");
    }
    let mut refused = well();
    dead(&mut refused);
    refused.refusable.insert("a".into());
    refused.collected.remove("a");
    assert_eq!(refused.verdict(), Vec::<String>::new(), "a dead letter is as good as a delivery where it was refused");
}

#[test]
fn a_message_is_in_flight_at_a_kill_where_its_bytes_are_gone_and_no_answer_ever_came() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let wire = Wire::to(listener.local_addr().unwrap().port(), runtime.handle());
    let mut sender = TcpStream::connect((Ipv4Addr::LOCALHOST, wire.port)).unwrap();
    let (mut gateway, _) = listener.accept().unwrap();
    let under_way = |count: usize| {
        let look = || Some(wire.under_way()).filter(|found| found.len() == count);
        wait_for("as many messages under way", Duration::from_secs(60), look)
    };
    let mut bytes = [0; 100];
    assert_eq!(under_way(0).unanswered(), 0, "nothing was asked");
    sender.write_all(&bytes).unwrap();
    gateway.read_exact(&mut bytes).unwrap();
    let asked = under_way(1);
    assert_eq!(asked.unanswered(), 1, "it is under way");
    gateway.write_all(&bytes[..1]).unwrap();
    sender.read_exact(&mut bytes[..1]).unwrap();
    assert_eq!((asked.unanswered(), under_way(0).unanswered()), (0, 0), "it was answered after that moment");
    sender.write_all(&bytes[..10]).unwrap();
    gateway.read_exact(&mut bytes[..10]).unwrap();
    assert_eq!(wire.under_way().len(), 0, "so little is no message");
}
