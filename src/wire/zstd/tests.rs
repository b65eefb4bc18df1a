use super::super::inflate::{Coding, RATIO_FLOOR_BYTES};
use super::*;

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

#[test]
fn frames_that_follow_one_another_are_one_body() {
    let body = [zstd(b"one"), zstd(b""), zstd(b"two")].concat();
    assert_eq!(decode(&body, 6, 1).unwrap(), b"onetwo");
}

#[test]
fn a_body_just_within_its_bound_passes_and_one_byte_more_does_not() {
    let body = zstd(&[7; 1000]);
    assert_eq!(decode(&body, 1000, 100).unwrap().len(), 1000);
    assert_eq!(decode(&body, 999, 100), Err(InflateError::TooLarge { max: 999 }));
}

#[test]
fn a_bomb_is_refused_by_its_ratio_and_a_small_one_passes() {
    let small = zstd(&vec![0; RATIO_FLOOR_BYTES]);
    assert_eq!(decode(&small, usize::MAX, 2).unwrap().len(), RATIO_FLOOR_BYTES);
    let bomb = zstd(&vec![0; RATIO_FLOOR_BYTES + 1]);
    assert_eq!(decode(&bomb, usize::MAX, 2), Err(InflateError::RatioTooHigh { max: 2, wire: bomb.len() }));
}

#[test]
fn a_body_cut_or_changed_anywhere_never_passes_for_another_and_never_panics() {
    let plain = b"[{\"traceId\":\"1\",\"id\":\"2\",\"name\":\"get get get get\"}]";
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::Write::write_all(&mut encoder, plain).unwrap();
    let body = encoder.finish().unwrap();
    assert_eq!(decode(&body, 1000, 100).unwrap(), plain);
    for at in 0..body.len() {
        assert_eq!(decode(&body[..at], 1000, 100), Err(InflateError::Corrupt), "cut at {at}");
        for bit in 0..8 {
            let mut changed = body.clone();
            changed[at] ^= 1 << bit;
            if let Ok(inflated) = decode(&changed, 1000, 100) {
                // A skippable frame's magic, or a header bit without a meaning.
                assert!(inflated == plain || inflated.is_empty(), "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn what_is_no_zstd_and_what_follows_one_is_corrupt() {
    for body in [&b""[..], b"hello, I am not zstd at all", &[&zstd(b"one")[..], b"tail"].concat()] {
        assert_eq!(decode(body, 1000, 100), Err(InflateError::Corrupt));
    }
}

#[test]
fn a_window_beyond_8_mib_is_refused() {
    let with_window = |log: u32| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(b"spans").unwrap();
        encoder.finish().unwrap()
    };
    use std::io::Write;
    assert_eq!(decode(&with_window(WINDOW_LOG_MAX), 1000, 100).unwrap(), b"spans");
    assert_eq!(decode(&with_window(WINDOW_LOG_MAX + 1), 1000, 100), Err(InflateError::Corrupt));
}

#[test]
fn what_a_body_claims_is_read_from_its_frame_and_guessed_where_it_does_not_say() {
    assert_eq!(Coding::Zstd.claimed(&zstd(&[7; 1000])), 1000);
    let mut streamed = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    std::io::Write::write_all(&mut streamed, b"spans").unwrap();
    let streamed = streamed.finish().unwrap();
    assert_eq!(Coding::Zstd.claimed(&streamed), streamed.len() * 8);
    assert_eq!(Coding::of_name(b"ZSTD"), Some(Coding::Zstd));
    assert_eq!(Coding::of_name(b"br"), None);
}
