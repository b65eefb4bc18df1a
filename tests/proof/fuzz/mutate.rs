//! One input from others: bits, boundary numbers, lengths, words of the format, pieces of neighbours.

use std::ops::Range;

use fastrand::Rng;

use super::fit::{self, Form};
use super::targets::Target;

/// Longer inputs say nothing that shorter ones do not.
const BYTES_MAX: usize = 4096;
/// Numbers at which lengths, counts and conversions go wrong.
const NUMBERS: [u64; 18] = [
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x10000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
];

/// A file of the corpus after one to eight changes: one leaves whole what is around it, many meet as nobody thought of.
pub fn mutated(random: &mut Rng, corpus: &[Vec<u8>], target: &Target) -> Vec<u8> {
    let mut input = random.choice(corpus).expect("a corpus has files").clone();
    for _ in 0..1 << random.u32(0..4) {
        mutate(random, &mut input, corpus, target);
    }
    input.truncate(BYTES_MAX);
    if random.u8(0..4) > 0 {
        fit::seal(target.form, &mut input);
    }
    input
}

fn mutate(random: &mut Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>], target: &Target) {
    let at = random.usize(0..=input.len());
    let form = if random.bool() { target.form } else { Form::Plain };
    match random.u8(0..16) {
        0 => flip(random, input),
        1 => replace(input, at, &[random.u8(..)]),
        2 => fit::splice(form, input, at..at, &[random.u8(..)]),
        3 => {
            let piece = piece(random, input.len(), at);
            fit::splice(form, input, piece, &[]);
        }
        4 => input.truncate(at),
        5 => {
            let again = input[piece(random, input.len(), at)].to_vec();
            let at = random.usize(0..=input.len());
            fit::splice(form, input, at..at, &again);
        }
        6..=8 if !target.tokens.is_empty() => {
            let token = random.choice(target.tokens).expect("there are some");
            if random.bool() { fit::splice(form, input, at..at, token) } else { replace(input, at, token) }
        }
        // Without words an input is a list of edits, of three bytes each: where, and what.
        6..=8 => drop(input.splice(at..at, [random.u8(..), random.u8(..), random.u8(..)])),
        9 => cross(random, input, at, corpus),
        10 => {
            let other = random.choice(corpus).expect("a corpus has files");
            let from = random.usize(0..=other.len());
            let (there, here) = (piece(random, other.len(), from), piece(random, input.len(), at));
            fit::splice(form, input, here, &other[there]);
        }
        11 => number(random, input, at),
        12 => varint(random, input, at, form),
        13 => decimal(random, input, at),
        // A length that is a little wrong is worse than one that is very wrong.
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = if random.bool() { byte.wrapping_add(1) } else { byte.wrapping_sub(1) };
            }
        }
    }
}

fn flip(random: &mut Rng, input: &mut [u8]) {
    if !input.is_empty() {
        let at = random.usize(0..input.len());
        input[at] ^= 1 << random.u8(0..8);
    }
}

/// Goes on as a neighbour does, where there is one behind the same byte.
fn cross(random: &mut Rng, input: &mut Vec<u8>, at: usize, corpus: &[Vec<u8>]) {
    let other = random.choice(corpus).expect("a corpus has files");
    let from = random.usize(0..=other.len());
    let same = other[from..].iter().position(|byte| input.get(at) == Some(byte));
    input.truncate(at);
    input.extend_from_slice(&other[from + same.unwrap_or(0)..]);
}

/// A number of 1, 2, 4 or 8 bytes at a boundary, in either order, in the place of what is there.
fn number(random: &mut Rng, input: &mut Vec<u8>, at: usize) {
    let number = boundary(random);
    let width = 1 << random.u32(0..4);
    let bytes =
        if random.bool() { number.to_le_bytes()[..width].to_vec() } else { number.to_be_bytes()[8 - width..].to_vec() };
    replace(input, at, &bytes);
}

/// The same as protobuf writes it.
fn varint(random: &mut Rng, input: &mut Vec<u8>, at: usize, form: Form) {
    let bytes = fit::varint(boundary(random));
    if random.bool() { fit::splice(form, input, at..at, &bytes) } else { replace(input, at, &bytes) }
}

/// The same as people write it, in the place of the next one.
fn decimal(random: &mut Rng, input: &mut Vec<u8>, at: usize) {
    let Some(from) = (at..input.len()).find(|n| input[*n].is_ascii_digit()) else { return };
    let end = (from..input.len()).find(|n| !input[*n].is_ascii_digit()).unwrap_or(input.len());
    let number = boundary(random).wrapping_add(random.u64(0..3)).wrapping_sub(1);
    input.splice(from..end, number.to_string().into_bytes());
}

fn boundary(random: &mut Rng) -> u64 {
    *random.choice(&NUMBERS).expect("there are some")
}

/// A stretch from `at`, mostly short.
fn piece(random: &mut Rng, len: usize, at: usize) -> Range<usize> {
    let most = if random.u8(0..8) == 0 { len } else { 16 };
    at..(at + random.usize(0..=most)).min(len)
}

fn replace(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = (at + bytes.len()).min(input.len());
    input.splice(at..end, bytes.iter().copied());
}
