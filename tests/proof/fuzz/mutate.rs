//! One input from others: bits, boundary numbers, lengths, words of the format, pieces of neighbours.

use fastrand::Rng;

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

/// A file of the corpus after one to eight mutations; now and then as it is.
pub fn mutated(random: &mut Rng, corpus: &[Vec<u8>], tokens: &[&[u8]]) -> Vec<u8> {
    let mut input = random.choice(corpus).expect("a corpus has files").clone();
    for _ in 0..random.u32(0..=8) {
        mutate(random, &mut input, corpus, tokens);
    }
    input.truncate(BYTES_MAX);
    input
}

fn mutate(random: &mut Rng, input: &mut Vec<u8>, corpus: &[Vec<u8>], tokens: &[&[u8]]) {
    let at = random.usize(0..=input.len());
    match random.u8(0..12) {
        0 => flip(random, input),
        1 => replace(input, at, &[random.u8(..)]),
        2 => insert(input, at, &[random.u8(..)]),
        3 => drop(input.drain(piece(random, input.len(), at))),
        4 => input.truncate(at),
        5 => {
            let again = input[piece(random, input.len(), at)].to_vec();
            insert(input, random.usize(0..=input.len()), &again);
        }
        6 | 7 if !tokens.is_empty() => {
            let token = random.choice(tokens).expect("there are some");
            if random.bool() { insert(input, at, token) } else { replace(input, at, token) }
        }
        8 => {
            let other = random.choice(corpus).expect("a corpus has files");
            let from = random.usize(0..=other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        9 => number(random, input, at),
        10 => varint(random, input, at),
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

/// A number of 1, 2, 4 or 8 bytes at a boundary, in either order, in the place of what is there.
fn number(random: &mut Rng, input: &mut Vec<u8>, at: usize) {
    let number = *random.choice(&NUMBERS).expect("there are some");
    let width = 1 << random.u32(0..4);
    let bytes =
        if random.bool() { number.to_le_bytes()[..width].to_vec() } else { number.to_be_bytes()[8 - width..].to_vec() };
    replace(input, at, &bytes);
}

/// The same as protobuf writes it.
fn varint(random: &mut Rng, input: &mut Vec<u8>, at: usize) {
    let mut number = *random.choice(&NUMBERS).expect("there are some");
    let mut bytes = Vec::new();
    while number > 0x7F {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    if random.bool() { insert(input, at, &bytes) } else { replace(input, at, &bytes) }
}

/// A stretch from `at`, mostly short.
fn piece(random: &mut Rng, len: usize, at: usize) -> std::ops::Range<usize> {
    let most = if random.u8(0..8) == 0 { len } else { 16 };
    at..(at + random.usize(0..=most)).min(len)
}

fn replace(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = (at + bytes.len()).min(input.len());
    input.splice(at..end, bytes.iter().copied());
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}
