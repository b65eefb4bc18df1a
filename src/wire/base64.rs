//! Base64 as Scribe clients write it.
//!
//! Java's MIME decoder, which is what Zipkin uses, is the model: characters outside of the
//! alphabet are passed over wherever they stand (76-column lines, a trailing newline), padding
//! may be missing. Beyond it, `-` and `_` are read as the url-safe alphabet: Java drops them,
//! which can only ruin a span. One line of padded text takes a fast path.
//!
//! Fails, naming the position, where Java's decoder does. Output is at most 3/4 of the input.
//! [`encode`] writes one line of padded text.

/// Why text is not base64; positions are offsets in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Base64Error {
    #[error("wrong 4-byte ending unit: padding at position {position} ends no unit")]
    Padding { position: usize },
    #[error("last unit does not have enough valid bits: one character is left over at position {position}")]
    Dangling { position: usize },
    #[error("incorrect ending byte: text at position {position} after the padding")]
    AfterPadding { position: usize },
}

impl Base64Error {
    /// Offset in the text at which decoding failed.
    pub fn position(self) -> usize {
        match self {
            Base64Error::Padding { position }
            | Base64Error::Dangling { position }
            | Base64Error::AfterPadding { position } => position,
        }
    }
}

/// Marks a character outside of the alphabet; above the 24 bits that four characters hold.
const INVALID: u32 = 1 << 31;

/// The alphabet, once for each place in a unit of four, shifted to where its six bits belong.
static UNIT: [[u32; 256]; 4] = [alphabet(18), alphabet(12), alphabet(6), alphabet(0)];

const fn alphabet(shift: u32) -> [u32; 256] {
    let mut table = [INVALID; 256];
    let mut at = 0;
    while at < 64 {
        table[LETTERS[at] as usize] = (at as u32) << shift;
        at += 1;
    }
    table[b'-' as usize] = 62 << shift;
    table[b'_' as usize] = 63 << shift;
    table
}

/// Replaces `out` by the decoded bytes of `text`. After an error `out` holds no more than what
/// was decoded before it.
pub fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), Base64Error> {
    let line = text.trim_ascii_end();
    if decode_line(line, out) { Ok(()) } else { decode_lenient(text, out) }
}

/// One line of whole units, padded or not. False where it is anything else.
fn decode_line(line: &[u8], out: &mut Vec<u8>) -> bool {
    let (units, []) = line.as_chunks::<4>() else { return false };
    let Some((last, body)) = units.split_last() else { return false };
    out.clear();
    out.resize(body.len() * 3, 0);
    let mut seen = 0;
    for (unit, bytes) in body.iter().zip(out.as_chunks_mut::<3>().0) {
        let bits = unit_bits(unit);
        seen |= bits;
        let [_, high, mid, low] = bits.to_be_bytes();
        *bytes = [high, mid, low];
    }
    let (kept, padding) = match last {
        [_, _, b'=', b'='] => (1, 2),
        [_, _, _, b'='] => (2, 1),
        _ => (3, 0),
    };
    let mut tail = *last;
    tail[4 - padding..].fill(b'A');
    let bits = unit_bits(&tail);
    out.extend_from_slice(&bits.to_be_bytes()[1..=kept]);
    (seen | bits) & INVALID == 0
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Each 12 bits as two letters: half the look-ups, in 8 KiB.
static PAIRS: [[u8; 2]; 4096] = pairs();

const fn pairs() -> [[u8; 2]; 4096] {
    let mut table = [[0; 2]; 4096];
    let mut bits = 0;
    while bits < 4096 {
        table[bits] = [LETTERS[bits >> 6], LETTERS[bits & 63]];
        bits += 1;
    }
    table
}

/// Appends `bytes` as one line of padded text, four characters for each three bytes begun.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let letters = |bits: u32| {
        let ([a, b], [c, d]) = (PAIRS[bits as usize >> 12], PAIRS[bits as usize & 0xfff]);
        [a, b, c, d]
    };
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    let units = out[start..].as_chunks_mut::<4>().0;
    let (whole, rest) = bytes.as_chunks::<3>();
    for (unit, [a, b, c]) in units.iter_mut().zip(whole) {
        *unit = letters(u32::from_be_bytes([0, *a, *b, *c]));
    }
    let last = match *rest {
        [a] => letters(u32::from_be_bytes([0, a, 0, 0])),
        [a, b] => letters(u32::from_be_bytes([0, a, b, 0])),
        _ => return,
    };
    units[whole.len()][..=rest.len()].copy_from_slice(&last[..=rest.len()]);
}

fn unit_bits(unit: &[u8; 4]) -> u32 {
    let [a, b, c, d] = *unit;
    UNIT[0][a as usize] | UNIT[1][b as usize] | UNIT[2][c as usize] | UNIT[3][d as usize]
}

/// Any text, by the rules of Java's `Base64.getMimeDecoder()`.
fn decode_lenient(text: &[u8], out: &mut Vec<u8>) -> Result<(), Base64Error> {
    out.clear();
    out.reserve(text.len() / 4 * 3 + 2);
    let (mut bits, mut held, mut last) = (0u32, 0, 0);
    let mut at = 0;
    while let Some(&character) = text.get(at) {
        if character == b'=' {
            at = after_padding(text, at, held)?;
            break;
        }
        let value = UNIT[3][character as usize];
        if value != INVALID {
            (bits, held, last) = (bits << 6 | value, held + 1, at);
            if held == 4 {
                out.extend_from_slice(&bits.to_be_bytes()[1..]);
                (bits, held) = (0, 0);
            }
        }
        at += 1;
    }
    match held {
        1 => return Err(Base64Error::Dangling { position: last }),
        2 => out.push((bits >> 4) as u8),
        3 => out.extend_from_slice(&((bits >> 2) as u16).to_be_bytes()),
        _ => {}
    }
    match text[at..].iter().position(|&byte| UNIT[3][byte as usize] != INVALID) {
        Some(more) => Err(Base64Error::AfterPadding { position: at + more }),
        None => Ok(()),
    }
}

/// The position after the padding that starts at `at`, with `held` characters of its unit read.
fn after_padding(text: &[u8], at: usize, held: u32) -> Result<usize, Base64Error> {
    match held {
        0 => Err(Base64Error::Padding { position: at }),
        2 if text.get(at + 1) != Some(&b'=') => Err(Base64Error::Padding { position: at }),
        2 => Ok(at + 2),
        _ => Ok(at + 1),
    }
}

#[cfg(test)]
mod tests;
