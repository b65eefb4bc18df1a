//! Spans filled up to a size, so that a measurement is of spans as large as real ones.
//!
//! One more tag with as many characters as are missing; of the span's own id, so that a seed repeats them, and of no
//! pattern, so that a compressor finds as little in them as in tags of real traces.

use std::borrow::Cow;

use fastrand::Rng;

use crate::span::Span;
use crate::wire::json_v2;

const KEY: &str = "padding";
/// What the tag takes beside its characters: comma, colon, four quotes.
const AROUND: usize = KEY.len() + 6;

pub struct Padding {
    /// Bytes of a span as JSON v2.
    bytes: usize,
    scratch: Vec<u8>,
}

impl Padding {
    pub fn new(bytes: usize) -> Padding {
        Padding { bytes, scratch: Vec::new() }
    }

    /// Fills `span` up; one that is large enough stays as it is. It has tags, in order.
    pub fn fill(&mut self, span: &mut Span<'static>) {
        self.scratch.clear();
        json_v2::write_span(span, &mut self.scratch);
        let Some(missing) = self.bytes.checked_sub(self.scratch.len() + AROUND) else { return };
        let mut random = Rng::with_seed(span.id);
        let text: String = (0..missing).map(|_| random.alphanumeric()).collect();
        let at = span.tags.partition_point(|(key, _)| &**key < KEY);
        span.tags.insert(at, (Cow::Borrowed(KEY), Cow::Owned(text)));
    }
}
