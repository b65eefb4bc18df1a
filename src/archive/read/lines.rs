//! JSON lines read back: a stream, some hundred lines at a time.
//!
//! Each line has to be one span, and there have to be as many as the object says.

use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;

use super::source::{Source, Stream};
use super::{About, Rows, Selection, Trouble};
use crate::archive::format::Format;
use crate::archive::object::Object;
use crate::span::{Batch, canonical};
use crate::wire::{Limits, json_v2};

/// Lines decoded at once, and their bytes, but for a line that is longer.
const PIECE_LINES: u64 = 1_000;
const PIECE_BYTES: usize = 1 << 20;
/// A span of 1 MiB whose every byte is escaped by six, with room to spare.
const LINE_BYTES_MAX: u64 = 8 << 20;
/// The window of an encoder of ours is a quarter of this; a stranger's may not take more.
const WINDOW_LOG_MAX: u32 = 23;

pub(super) struct Lines {
    input: BufReader<Box<dyn Read + Send>>,
    source: Source,
    facts: Object,
    /// Lines read.
    row: u64,
    /// Spans of a piece before they are chosen.
    decoded: Batch,
}

impl Lines {
    pub fn open(format: Format, source: Source, facts: Object) -> Result<Lines, Trouble> {
        let stream = Stream::new(source.clone());
        let input: Box<dyn Read + Send> = match format {
            Format::JsonLinesZstd1 => Box::new(zstd(stream).map_err(|error| source.trouble(error))?),
            _ => Box::new(MultiGzDecoder::new(stream)),
        };
        Ok(Lines { input: BufReader::new(input), source, facts, row: 0, decoded: Batch::default() })
    }

    /// What is meant of the next lines; nothing at the end.
    pub fn next(&mut self, selection: &Selection) -> Result<Option<Rows>, Trouble> {
        let (list, lines) = self.list().map_err(|error| self.source.trouble(error))?;
        let first = self.row;
        self.row += lines;
        let whole = self.row <= self.facts.spans && (lines > 0 || self.row == self.facts.spans);
        if !whole {
            return Err(self.source.damaged(format!("it has {} lines or more, not {}", self.row, self.facts.spans)));
        }
        if lines == 0 {
            return Ok(None);
        }
        self.decoded.clear();
        // What is in an archive was within the bounds when it came in.
        let limits = Limits { spans: usize::MAX, entries: usize::MAX, span_bytes: usize::MAX, ..Limits::default() };
        let decoded = json_v2::decode(&list, &limits, &mut self.decoded);
        decoded.map_err(|error| self.source.damaged(format!("of lines from {} on: {error}", first + 1)))?;
        if self.decoded.items.len() as u64 != lines {
            return Err(self.source.damaged(format!("a line behind the {first}th is not one span")));
        }
        self.choose(first, selection).map(Some)
    }

    /// Lines as a JSON list, and how many they are.
    fn list(&mut self) -> io::Result<(Vec<u8>, u64)> {
        let (mut list, mut lines) = (vec![b'['], 0);
        while lines < PIECE_LINES && list.len() < PIECE_BYTES {
            let len = self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut list)?;
            if len == 0 {
                break;
            }
            if list.pop() != Some(b'\n') {
                let what = format!("line {} has no end, or is too long", self.row + lines + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            list.push(b',');
            lines += 1;
        }
        // The last comma's place, or behind the bracket of an empty list.
        if lines > 0 {
            list.pop();
        }
        list.push(b']');
        Ok((list, lines))
    }

    fn choose(&mut self, first: u64, selection: &Selection) -> Result<Rows, Trouble> {
        let mut rows = Rows { end: self.row, ..Rows::default() };
        for (row, span) in (first..).zip(canonical::elements(&self.decoded.body)) {
            let mut span = span.and_then(canonical::read).expect("it was decoded just now");
            if selection.takes(&self.facts, row, &span, None, None) {
                rows.spans.push(&mut span);
                rows.about.push(About { row, received_us: None, origin: None });
            }
        }
        Ok(rows)
    }
}

fn zstd(stream: Stream) -> io::Result<impl Read + Send> {
    let mut decoder = zstd::Decoder::new(stream)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}
