//! A shot, sent many times in its way, until each was refused as it should be.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Instant;

use rustix::process::setpriority_process;

use super::shots::{Shot, Way};
use super::{BYTE, LONG, Target};
use crate::support::process::{Gateway, wait_for};

/// Of a flood.
const FEW: u64 = 4;
/// Of what costs much there are so many fewer.
const HEFT: u64 = 20;
/// Of slow ones, too.
const SLOWNESS: u64 = 10;

/// Sends it `times`, or as many as it may be, where many are asked for by so many peers; how many, and what was not
/// refused as it should be.
pub fn volley(shot: &Shot, times: u64, many: u64, target: &Target) -> (u64, Vec<String>) {
    let gateway = &target.gateway;
    let counted = || gateway.metric(shot.counter.0, shot.counter.1) as u64;
    let before = counted();
    let slow = times.div_ceil(SLOWNESS);
    let (times, mut odd) = match shot.way {
        Way::Flood => by_turns(shot, FEW, times / FEW, gateway),
        Way::AtOnce => by_turns(shot, many, times.div_ceil(many * HEFT), gateway),
        Way::ByteByByte if shot.is_call() => by_turns(shot, slow, 1, gateway),
        Way::ByteByByte => byte_by_byte(shot, slow, gateway),
    };
    if !odd.is_empty() {
        odd.truncate(3);
        return (times, odd);
    }
    let after = before + times * shot.counts;
    // A connection's end is counted after the peer has seen it.
    wait_for(&format!("{}: {:?} is {after}", shot.what, shot.counter), LONG, || (counted() == after).then_some(()));
    let log = std::fs::read_to_string(&gateway.process.log).expect("it has a log");
    if !log.contains(shot.log) {
        odd.push(format!("{}: the log does not say {:?}", shot.what, shot.log));
    }
    spares_others(shot, target);
    (times, odd)
}

/// Promise 5: what was good beside it arrives, what was bad is a dead letter.
fn spares_others(shot: &Shot, target: &Target) {
    let good = shot.good_spans();
    wait_for(&format!("{}: {} good spans are at the collector", shot.what, good.len()), LONG, || {
        let taken = target.collector.taken();
        good.iter().all(|name| taken.contains_key(name)).then_some(())
    });
    wait_for(&format!("{}: letters say {:?}", shot.what, shot.letters), LONG, || {
        let letters = if shot.letters.is_empty() { String::new() } else { target.undecodable() };
        shot.letters.iter().all(|reason| letters.contains(reason)).then_some(())
    });
}

fn by_turns(shot: &Shot, peers: u64, of_each: u64, gateway: &Gateway) -> (u64, Vec<String>) {
    let odd = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..peers {
            scope.spawn(|| {
                stand_back();
                for _ in 0..of_each {
                    if let Err(answer) = shot.fire(gateway) {
                        odd.lock().unwrap().push(format!("{}: answered {answer:?}", shot.what));
                    }
                }
            });
        }
    });
    (peers * of_each, odd.into_inner().unwrap())
}

/// Others would be on other machines: what they cost themselves is not to be measured. For this thread alone (Linux).
fn stand_back() {
    setpriority_process(None, 10).expect("whoever asks for less is given it");
}

fn byte_by_byte(shot: &Shot, peers: u64, gateway: &Gateway) -> (u64, Vec<String>) {
    let mut open: Vec<(TcpStream, Vec<u8>)> = (0..peers).map(|_| (shot.begin(gateway), Vec::new())).collect();
    let (mut odd, begun) = (Vec::new(), Instant::now());
    while !open.is_empty() {
        assert!(begun.elapsed() < LONG, "{}: {} stay open", shot.what, open.len());
        open.retain_mut(|(stream, answer)| {
            let stays = goes_on(stream, answer);
            if !stays && let Err(answer) = shot.heard(answer) {
                odd.push(format!("{}: answered {answer:?}", shot.what));
            }
            stays
        });
        std::thread::sleep(BYTE);
    }
    (peers, odd)
}

/// One byte more, and what was answered; false once it was closed.
fn goes_on(stream: &mut TcpStream, answer: &mut Vec<u8>) -> bool {
    match stream.read_to_end(answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => stream.write_all(b"x").is_ok(),
        _ => false,
    }
}
