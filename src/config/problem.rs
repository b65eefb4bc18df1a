//! What is wrong with a configuration: every problem in one report.
//!
//! A [`Problem`] says where it stands (file, line and column; variable; flag), which key it is
//! about, what was found and what was expected. A [`Report`] holds all of one configuration, in
//! the order in which a person would mend them: the file from the top, variables, flags.

use std::cmp::Reverse;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value was given. The greater one wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Default,
    /// Line and column count from 1, columns in characters.
    File {
        path: Arc<PathBuf>,
        line: usize,
        column: usize,
    },
    Variable(String),
    /// With its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Origin::Variable(name) => write!(f, "variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub at: Origin,
    /// The full key, such as `channel.sync`; empty where the text is not TOML.
    pub key: String,
    /// What was found and what was expected.
    pub what: String,
}

impl Problem {
    pub fn new(at: &Origin, key: impl Into<String>, what: impl Into<String>) -> Self {
        Problem { at: at.clone(), key: key.into(), what: what.into() }
    }

    /// A value that is not what its key takes.
    pub fn unexpected(at: &Origin, key: &str, found: &str, expected: &str) -> Self {
        Self::new(at, key, format!("found {found}, expected {expected}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A problem of the whole (no drain at all) stands nowhere: its key is where to look.
        match (&self.at, self.key.is_empty()) {
            (Origin::Default, _) => write!(f, "{}: {}", self.key, self.what),
            (at, true) => write!(f, "{at}: {}", self.what),
            (at, false) => write!(f, "{at}: {}: {}", self.key, self.what),
        }
    }
}

/// All problems of a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Report(Vec<Problem>);

impl Report {
    /// The report of these problems; `None` if there are none.
    pub fn of(mut problems: Vec<Problem>) -> Option<Report> {
        // Cross checks come last of their place; `sort_by_key` is stable.
        problems.sort_by_key(|p| (Reverse(matches!(p.at, Origin::File { .. })), p.at.clone()));
        problems.dedup();
        (!problems.is_empty()).then_some(Report(problems))
    }

    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let n = self.0.len();
        write!(f, "{n} problem{} in the configuration", if n == 1 { "" } else { "s" })
    }
}

/// The candidate that someone who typed `typed` may have meant: at most a third of it differs.
pub fn nearest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let errors_max = (typed.chars().count() / 3).clamp(1, DISTANCE_MAX);
    let close = candidates.map(|c| (distance(typed, c), c)).filter(|&(d, _)| d <= errors_max);
    close.min_by_key(|&(d, _)| d).map(|(_, c)| c)
}

/// More typing errors than this in one key are another key.
const DISTANCE_MAX: usize = 3;
/// Keys longer than this are nobody's typing error; bounds the table below.
const TYPED_MAX: usize = 128;

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(TYPED_MAX).collect(), b.chars().take(TYPED_MAX).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}
