//! `spangate channel verify`: every byte read, every CRC, total, link and cursor checked.
//!
//! Exit code 0: nothing is damaged; 4: something is. A line for each finding: the file, the offset,
//! the positions, what is wrong, and what that means.

use std::sync::Arc;

use serde_json::{Value, json};

use super::inspect::IN_MOTION;
use super::survey;
use crate::channel::survey::{Depth, Finding, Grade, Survey};
use crate::cli::{Exit, answer};
use crate::config::Settings;
use crate::disk::Disk;

pub fn verify(disk: &Arc<dyn Disk>, settings: &Settings, json: bool) -> Exit {
    let survey = match survey(disk, settings, Depth::Whole) {
        Ok(survey) => survey,
        Err(exit) => return exit,
    };
    let said = if json { format!("{:#}\n", as_json(&survey)) } else { as_text(&survey) };
    match answer(&said) {
        Exit::Done if survey.is_damaged() => Exit::Damaged,
        exit => exit,
    }
}

fn as_text(survey: &Survey) -> String {
    let mut text = format!(
        "{}: spans in the log: {}, segments: {}, drains: {}; {IN_MOTION}\n",
        survey.dir.display(),
        survey.items(),
        survey.segments.len(),
        survey.drains.len()
    );
    for finding in &survey.findings {
        text += &line(finding);
    }
    text += match (survey.is_damaged(), survey.refuses()) {
        (false, _) => "nothing is damaged\n",
        (true, false) => "damaged; a gateway starts on it and counts what is lost\n",
        (true, true) => "damaged; a gateway refuses to start on it: `spangate channel repair`\n",
    };
    text
}

pub(super) fn line(finding: &Finding) -> String {
    let Finding { grade, file, offset, positions, what, means, .. } = finding;
    let grade = if *grade == Grade::Damage { "DAMAGED" } else { "note" };
    let at = offset.map(|at| format!(" at {at}")).unwrap_or_default();
    let positions = match positions {
        Some(range) if range.is_empty() => format!(", position {}", range.start),
        Some(range) => format!(", positions {} to {}", range.start, range.end),
        None => String::new(),
    };
    format!("{grade}  {}{at}{positions}: {what}; {means}\n", file.display())
}

fn as_json(survey: &Survey) -> Value {
    let finding = |finding: &Finding| {
        let lost = finding.lost.iter().map(|(drain, spans)| (drain.clone(), json!(spans)));
        json!({
            "damage": finding.grade == Grade::Damage,
            "file": finding.file.display().to_string(),
            "offset": finding.offset,
            "positions": finding.positions.as_ref().map(|range| [range.start, range.end]),
            "what": finding.what,
            "means": finding.means,
            "lost": lost.collect::<serde_json::Map<_, _>>(),
            "refuses": finding.refuses,
        })
    };
    json!({
        "dir": survey.dir.display().to_string(),
        "spans": survey.items(),
        "damaged": survey.is_damaged(),
        "refuses": survey.refuses(),
        "findings": survey.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}
