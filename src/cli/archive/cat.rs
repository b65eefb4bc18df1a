//! `spangate archive cat`: spans as Zipkin's JSON v2, one a line, the same whichever format they are kept in.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::super::{Exit, complain};
use super::Losses;
use crate::archive::read::{About, Piece, Walk};
use crate::clock;
use crate::span::canonical;
use crate::wire::json_v2;

/// Prints what a walk finds; with `origin`, each span within what is known of it.
pub fn cat(mut walk: Walk, origin: bool) -> Exit {
    let mut losses = Losses::default();
    let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
    for next in walk.by_ref() {
        let printed = match next {
            Ok(piece) => print(&piece, origin, &mut out),
            Err(trouble) => match losses.count(trouble) {
                Ok(()) => Ok(()),
                Err(what) => return complain(&what, Exit::Fault),
            },
        };
        match printed {
            Ok(()) => {}
            // A reader that has seen enough (`| head`) is content.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Done,
            Err(error) => return complain(&format!("stdout: {error}"), Exit::Fault),
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => complain(&format!("stdout: {error}"), Exit::Fault),
        _ => losses.exit(&walk, Exit::Done),
    }
}

fn print(piece: &Piece, origin: bool, out: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    for (about, span) in piece.about.iter().zip(canonical::elements(&piece.spans.body)) {
        line.clear();
        if origin {
            line.extend_from_slice(&before(piece, about));
        }
        let written = span.and_then(|span| json_v2::encode_span(span, &mut line));
        written.expect("a batch holds canonical spans");
        line.extend_from_slice(if origin { b"}\n" } else { b"\n" });
        out.write_all(&line)?;
    }
    Ok(())
}

/// `{"object":..,"row":..,"received":..,"origin":{..},"span":`
fn before(piece: &Piece, about: &About) -> Vec<u8> {
    let origin = about.origin.as_ref().map(|origin| {
        let pairs = origin.0.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
        pairs.collect::<Map<String, Value>>()
    });
    let known = json!({
        "object": piece.object.name,
        "row": about.row,
        "received": about.received_us.map(clock::rfc3339),
        "origin": origin,
    });
    let mut text = known.to_string().into_bytes();
    text.pop();
    text.extend_from_slice(b",\"span\":");
    text
}
