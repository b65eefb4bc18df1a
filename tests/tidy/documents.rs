//! Checks of what is read by people: links, the README's table of metrics, the reasons in Cargo.toml.

use std::path::Path;

use spangate::metrics::{Family, Kind};

use super::source;

/// Relative links whose file or heading is not there.
pub fn dead_links(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in prose(text) {
        for link in links(line) {
            if !link.contains("://") && !link.starts_with("mailto:") && !leads_somewhere(path, text, link) {
                found.push(format!("{path}:{}: {link} leads nowhere", index + 1));
            }
        }
    }
    found
}

/// Lines outside fenced code, with their indexes.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| line[at + 2..].split(')').next())
}

fn leads_somewhere(path: &str, text: &str, link: &str) -> bool {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = Path::new(path).parent().expect("a file has a directory").join(file);
    if file.is_empty() {
        return has_heading(text, anchor);
    }
    let whole = source::root().join(&target);
    match std::fs::read_to_string(&whole) {
        Ok(other) => anchor.is_empty() || has_heading(&other, anchor),
        Err(_) => whole.exists() && anchor.is_empty(),
    }
}

/// Anchors as code forges make them: lower case, spaces to hyphens, other marks gone.
fn has_heading(text: &str, anchor: &str) -> bool {
    let slug = |heading: &str| -> String {
        let kept = heading.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
    };
    prose(text).any(|(_, line)| line.starts_with('#') && slug(line.trim_start_matches('#')) == anchor)
}

/// The rows that the README must hold, in the table's order.
pub fn metric_rows(table: &[Family]) -> Vec<String> {
    let row = |family: &Family| {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {kind} | {} | {} |", family.name, labels.join(", "), family.help).replace("|  |", "| |")
    };
    table.iter().map(row).collect()
}

/// Rows of the README that the table has not, and the other way round.
pub fn metric_differences(readme: &str, table: &[Family]) -> Vec<String> {
    let wanted = metric_rows(table);
    let is_row = |line: &&str| line.starts_with("| `spangate_") || line.starts_with("| `process_");
    let found: Vec<&str> = readme.lines().filter(is_row).collect();
    let missing = wanted.iter().filter(|row| !found.contains(&row.as_str())).map(|row| format!("README lacks: {row}"));
    let surplus = found.iter().filter(|row| !wanted.iter().any(|want| want == *row));
    missing.chain(surplus.map(|row| format!("README has and the table has not: {row}"))).collect()
}

/// Dependencies without a comment right above them.
pub fn unexplained_dependencies(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut inside, mut explained) = (false, false);
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies]");
        } else if line.starts_with('#') {
            explained = true;
            continue;
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| inside && !explained) {
            found.push(format!("Cargo.toml: {name} has no reason above it"));
        }
        explained = false;
    }
    found
}
