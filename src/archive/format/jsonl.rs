//! JSON lines, gzip or zstd: one Zipkin v2 object a line, readable by `zcat` and `zstdcat`.
//!
//! The object's facts stand before the content, found by reading the first few hundred bytes and ignored by every tool:
//! in the gzip header's file name (RFC 1952, FNAME: DuckDB takes a file with any other optional field for no gzip), or
//! in a skippable frame of zstd (RFC 8878, 3.1.2). No time is written, so that the same plan gives the same bytes.
//! Spans go through in pieces; memory is the compressor's and one piece's lines.

use std::io::{self, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::{FactsError, Format};
use crate::archive::object::Object;
use crate::span::canonical;
use crate::wire::json_v2;

/// Part of encoder 1: another level is another encoder. On spans of 577 bytes of JSON, level 1 takes
/// 1.9 us and leaves 164 bytes, level 2 takes 3.0 us and leaves 118, level 6 takes 6.7 us and leaves 96.
const GZIP_LEVEL: u32 = 2;
/// Part of encoder 1.
const ZSTD_LEVEL: i32 = 3;
/// The first of the sixteen skippable magic numbers (RFC 8878, 3.1.2), and the length of number and size.
const SKIPPABLE: u32 = 0x184D_2A50;
const SKIPPABLE_HEAD: usize = 8;
/// What the content is called in a gzip header: `gunzip -N` makes such a file.
const CONTENT: &str = "jsonl";

/// Facts take under 300 bytes; a stranger's may be longer and is not ours.
pub const START_BYTES_MAX: usize = 4096;

/// Lines on their way into a compressor.
pub(super) struct Lines<W: Write> {
    out: Out<W>,
    lines: Vec<u8>,
}

enum Out<W: Write> {
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Lines<W> {
    pub fn gzip(object: &Object, out: W) -> Self {
        let facts = object.long_name(CONTENT);
        let gzip = flate2::GzBuilder::new().filename(facts).write(out, Compression::new(GZIP_LEVEL));
        Lines { out: Out::Gzip(gzip), lines: Vec::new() }
    }

    pub fn zstd(object: &Object, mut out: W) -> io::Result<Self> {
        let facts = object.to_string();
        out.write_all(&SKIPPABLE.to_le_bytes())?;
        out.write_all(&(facts.len() as u32).to_le_bytes())?;
        out.write_all(facts.as_bytes())?;
        let mut zstd = zstd::Encoder::new(out, ZSTD_LEVEL)?;
        zstd.include_checksum(true)?;
        Ok(Lines { out: Out::Zstd(zstd), lines: Vec::new() })
    }

    /// Appends a span's line; on failure the lines are as they were.
    pub fn add(&mut self, element: &[u8]) -> Option<()> {
        let start = self.lines.len();
        let span = canonical::span_bytes(element).ok()?;
        if json_v2::encode_span(span, &mut self.lines).is_err() {
            self.lines.truncate(start);
            return None;
        }
        self.lines.push(b'\n');
        Some(())
    }

    /// Gives what was added to the compressor.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Gzip(gzip) => gzip.write_all(&self.lines)?,
            Out::Zstd(zstd) => zstd.write_all(&self.lines)?,
        }
        self.lines.clear();
        Ok(())
    }

    /// Ends the stream and gives the writer back.
    pub fn finish(self) -> io::Result<W> {
        match self.out {
            Out::Gzip(gzip) => gzip.finish(),
            Out::Zstd(zstd) => zstd.finish(),
        }
    }
}

/// Reads an object's facts from the first bytes of its file (at most [`START_BYTES_MAX`] are needed).
pub(super) fn gzip_facts(start: &[u8]) -> Result<Object, FactsError> {
    let none = FactsError::None { format: Format::JsonLinesGzip1 };
    let decoder = GzDecoder::new(start);
    let name = decoder.header().and_then(|header| header.filename()).and_then(|name| std::str::from_utf8(name).ok());
    name.and_then(|name| Object::from_long_name(name, CONTENT)).ok_or(none)
}

/// The same of a zstd file.
pub(super) fn zstd_facts(start: &[u8]) -> Result<Object, FactsError> {
    let none = FactsError::None { format: Format::JsonLinesZstd1 };
    let Some((head, rest)) = start.split_first_chunk::<SKIPPABLE_HEAD>() else { return Err(none) };
    let (magic, len) = (u32::from_le_bytes([head[0], head[1], head[2], head[3]]), [head[4], head[5], head[6], head[7]]);
    let facts = rest.get(..u32::from_le_bytes(len) as usize).filter(|_| magic == SKIPPABLE).ok_or(none)?;
    Ok(String::from_utf8_lossy(facts).parse::<Object>()?)
}
