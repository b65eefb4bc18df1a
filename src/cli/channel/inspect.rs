//! `spangate channel inspect`: segments, drains, what was set aside; for people or as JSON.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Value, json};

use super::survey;
use crate::channel::survey::{Depth, Drain, RowState, SegmentFile, Standing, Survey};
use crate::channel::{Account, Outcome, Takes};
use crate::cli::{Exit, answer};
use crate::clock::rfc3339;
use crate::config::Settings;
use crate::disk::Disk;

/// Said wherever no lock was taken.
pub(super) const IN_MOTION: &str = "read without a lock: where a gateway runs, the end of the log was in motion";

pub fn inspect(disk: &Arc<dyn Disk>, settings: &Settings, json: bool) -> Exit {
    match survey(disk, settings, Depth::Heads) {
        Ok(survey) if json => answer(&format!("{:#}\n", as_json(&survey))),
        Ok(survey) => answer(&as_text(&survey)),
        Err(exit) => exit,
    }
}

fn as_text(survey: &Survey) -> String {
    let mut text = String::new();
    let add = |text: &mut String, line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a string takes all");
    let id = survey.channel_id().unwrap_or_else(|| "of no identity that can be read".to_owned());
    add(&mut text, format_args!("{}: channel {id}", survey.dir.display()));
    add(&mut text, format_args!("{IN_MOTION}\n"));
    add(
        &mut text,
        format_args!("{:<16}  {:>10}  {:>10}  {:>9}  {:>10}  received", "segment", "end", "spans", "damaged", "bytes"),
    );
    for segment in &survey.segments {
        let SegmentFile { first, end, items, damaged, bytes, .. } = segment;
        let what = standing(segment).unwrap_or_else(|| received(segment).unwrap_or_default());
        add(&mut text, format_args!("{first:016x}  {end:>10}  {items:>10}  {damaged:>9}  {bytes:>10}  {what}"));
    }
    for drain in &survey.drains {
        text.push_str(&drain_text(drain));
    }
    for entry in &survey.set_aside {
        add(&mut text, format_args!("\nset aside in damaged/: {}, {} bytes", entry.name, entry.len));
    }
    let wrong = survey.findings.len();
    if wrong > 0 {
        add(&mut text, format_args!("\n{wrong} findings; `spangate channel verify` says them"));
    }
    text
}

/// Why a segment is not read.
fn standing(segment: &SegmentFile) -> Option<String> {
    match segment.standing {
        Standing::Readable => None,
        Standing::HeadUnreadable => Some("head unreadable".to_owned()),
        Standing::SetAside => Some("set aside in damaged/, its head unreadable".to_owned()),
        Standing::Foreign(_) => Some("of another channel".to_owned()),
        Standing::Version { major, minor } => Some(format!("of format {major}.{minor}")),
    }
}

fn received(segment: &SegmentFile) -> Option<String> {
    segment.received_us.map(|(from, to)| format!("{} to {}", rfc3339(from), rfc3339(to)))
}

fn drain_text(drain: &Drain) -> String {
    let name = if drain.name.is_empty() { "(name unreadable)" } else { &drain.name };
    let Some(account) = &drain.account else {
        return format!("\ndrain {name}, row {}: {}\n", drain.row, state(drain.state));
    };
    let Account { low, waiting, oldest_us, .. } = account;
    let own = if drain.takes() == Some(Takes::Addressed) { ", takes its own only" } else { "" };
    let mut text = format!("\ndrain {name}{own}: settled below {low}, {waiting} wait");
    if let Some(us) = oldest_us {
        text += &format!(", the oldest since {}", rfc3339(*us));
    }
    text.push('\n');
    let counts: Vec<String> = account
        .outcomes
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(outcome, n)| format!("{} {n}", word(*outcome)))
        .collect();
    if !counts.is_empty() {
        text += &format!("  ledger: {}\n", counts.join(", "));
    }
    if !drain.settled.is_empty() {
        let ranges: Vec<String> =
            drain.settled.iter().map(|range| format!("{} to {}", range.start, range.end)).collect();
        text += &format!("  settled above: {}\n", ranges.join(", "));
    }
    for line in note(drain).lines() {
        text += &format!("  note: {line}\n");
    }
    text
}

/// The note, which is text, without what a terminal would take for a command.
fn note(drain: &Drain) -> String {
    let text = String::from_utf8_lossy(&drain.note);
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

fn state(state: RowState) -> &'static str {
    match state {
        RowState::Live => "live",
        RowState::Empty => "empty",
        RowState::Unreadable => "both slots unreadable",
        RowState::Foreign => "of another channel",
        RowState::Version { .. } => "of another version",
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Filtered => "filtered",
        Outcome::SampledOut => "sampled_out",
        Outcome::DeadLettered => "dead_lettered",
        Outcome::Expired => "expired",
        Outcome::Skipped => "skipped",
        Outcome::Damaged => "damaged",
    }
}

fn as_json(survey: &Survey) -> Value {
    let set_aside = survey.set_aside.iter().map(|entry| json!({ "name": entry.name, "bytes": entry.len }));
    json!({
        "dir": survey.dir.display().to_string(),
        "channel": survey.channel_id(),
        "end": survey.end(),
        "damaged": survey.damaged,
        "segments": survey.segments.iter().map(segment_json).collect::<Vec<_>>(),
        "drains": survey.drains.iter().map(drain_json).collect::<Vec<_>>(),
        "set_aside": set_aside.collect::<Vec<_>>(),
        "findings": survey.findings.len(),
    })
}

fn segment_json(segment: &SegmentFile) -> Value {
    json!({
        "first": segment.first,
        "end": segment.end,
        "file": segment.path.display().to_string(),
        "bytes": segment.bytes,
        "spans": segment.items,
        "frames": segment.frames,
        "damaged": segment.damaged,
        "received": segment.received_us.map(|(from, to)| [rfc3339(from), rfc3339(to)]),
        "unread": standing(segment),
    })
}

fn drain_json(drain: &Drain) -> Value {
    let account = drain.account.as_ref();
    let outcomes = account.map(|account| {
        account
            .outcomes
            .iter()
            .map(|(outcome, n)| (word(*outcome).to_owned(), json!(n)))
            .collect::<serde_json::Map<_, _>>()
    });
    json!({
        "drain": drain.name,
        "row": drain.row,
        "state": state(drain.state),
        "low": account.map(|account| account.low),
        "waiting": account.map(|account| account.waiting),
        "oldest": account.and_then(|account| account.oldest_us).map(rfc3339),
        "ledger": outcomes,
        "settled_above": drain.settled.iter().map(|range| [range.start, range.end]).collect::<Vec<_>>(),
        "note": note(drain),
    })
}
