use std::io::Write;

use super::super::inflate::RATIO_FLOOR_BYTES;
use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn members_that_follow_one_another_are_one_body() {
    let body = [gzip(b"one"), gzip(b""), gzip(b"two")].concat();
    assert_eq!(decode(&body, 6, 1).unwrap(), b"onetwo");
}

#[test]
fn a_body_just_within_its_bound_passes_and_one_byte_more_does_not() {
    let body = gzip(&[7; 1000]);
    assert_eq!(decode(&body, 1000, 100).unwrap().len(), 1000);
    assert_eq!(decode(&body, 999, 100), Err(InflateError::TooLarge { max: 999 }));
}

#[test]
fn a_bomb_is_refused_by_its_ratio_and_a_small_one_passes() {
    let small = gzip(&vec![0; RATIO_FLOOR_BYTES]);
    assert_eq!(decode(&small, usize::MAX, 2).unwrap().len(), RATIO_FLOOR_BYTES);
    let bomb = gzip(&vec![0; RATIO_FLOOR_BYTES + 1]);
    assert_eq!(decode(&bomb, usize::MAX, 2), Err(InflateError::RatioTooHigh { max: 2, wire: bomb.len() }));
}

#[test]
fn a_body_cut_anywhere_is_corrupt() {
    let body = gzip(b"[{\"traceId\":\"1\",\"id\":\"2\"}]");
    for at in 0..body.len() {
        assert_eq!(decode(&body[..at], 1000, 100), Err(InflateError::Corrupt), "cut at {at}");
    }
}

#[test]
fn what_is_no_gzip_and_what_follows_one_is_corrupt() {
    assert_eq!(decode(b"hello, I am not gzip at all", 1000, 100), Err(InflateError::Corrupt));
    assert_eq!(decode(&[&gzip(b"one")[..], b"tail"].concat(), 1000, 100), Err(InflateError::Corrupt));
}
