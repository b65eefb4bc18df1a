//! `spangate archive list`: the objects that may hold what is asked for, one a line.

use std::io::{self, Write};

use futures_util::{StreamExt, stream};
use serde_json::json;

use super::super::{Exit, complain};
use crate::archive::Format;
use crate::archive::read::Selection;
use crate::archive::store::{Listed, Look, Store};
use crate::clock;

/// Looks at a time: a store is asked for the facts of each object.
const LOOKS: usize = 16;

/// Prints them as they are looked at, in order.
pub async fn list(store: &dyn Store, selection: &Selection, objects: Vec<Listed>, json: bool) -> Exit {
    let meant: Vec<Listed> = objects.into_iter().filter(|object| selection.may_hold(object)).collect();
    let looks = meant.iter().map(|object| async move { (object, store.look(&object.name).await) });
    let mut looks = stream::iter(looks).buffered(LOOKS);
    let mut out = io::BufWriter::new(io::stdout());
    let mut strangers = 0;
    while let Some((object, look)) = looks.next().await {
        let spans = match look {
            Ok(Look::Object(facts)) => Some((facts.spans, facts.bytes)),
            // It was there when it was listed.
            Ok(Look::Absent) => continue,
            Ok(Look::Stranger(why)) => {
                strangers += 1;
                complain(&format!("{}: {why}", object.name), Exit::Done);
                None
            }
            Err(error) => return complain(&error.to_string(), Exit::Fault),
        };
        match writeln!(out, "{}", if json { as_json(object, spans) } else { line(object, spans) }) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Done,
            Err(error) => return complain(&format!("stdout: {error}"), Exit::Fault),
            Ok(()) => {}
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => complain(&format!("stdout: {error}"), Exit::Fault),
        _ if strangers > 0 => complain(&format!("{strangers} objects are damaged; see above"), Exit::Damaged),
        _ => Exit::Done,
    }
}

/// When it was written, spans, bytes, channel, first and last position, path, between tabs.
fn line(object: &Listed, spans: Option<(u64, u64)>) -> String {
    let Listed { name, parsed, bytes, written_us } = object;
    let time =
        written_us.map_or("-".to_owned(), |us| clock::rfc3339(us / 1_000_000 * 1_000_000).replace(".000000", ""));
    let spans = spans.map_or("-".to_owned(), |(spans, _)| spans.to_string());
    format!("{time}\t{spans}\t{bytes}\t{}\t{}\t{}\t{name}", parsed.channel, parsed.first, parsed.last)
}

fn as_json(object: &Listed, spans: Option<(u64, u64)>) -> String {
    let Listed { name, parsed, bytes, written_us } = object;
    json!({
        "path": name,
        "format": Format::of_name(name).map(Format::extension),
        "written": written_us.map(clock::rfc3339),
        "channel": parsed.channel,
        "partition": parsed.partition,
        "first": parsed.first,
        "last": parsed.last,
        "spans": spans.map(|(spans, _)| spans),
        "canonical_bytes": spans.map(|(_, bytes)| bytes),
        "bytes": bytes,
    })
    .to_string()
}
