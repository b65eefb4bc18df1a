//! One thing that is not as it should be.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// What a crash leaves and the next start sees to, or what was seen to before.
    Note,
    /// Bytes are not what was written.
    Damage,
}

/// What was found, where, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub grade: Grade,
    pub file: PathBuf,
    pub offset: Option<u64>,
    /// In the log.
    pub positions: Option<Range<u64>>,
    pub what: String,
    pub means: String,
    /// By drain, how many spans it waits for in vain.
    pub lost: Vec<(String, u64)>,
    /// A gateway does not start with it.
    pub refuses: bool,
}

impl Finding {
    pub(super) fn damage(file: &Path, what: impl Into<String>) -> Finding {
        Finding {
            grade: Grade::Damage,
            file: file.to_owned(),
            offset: None,
            positions: None,
            what: what.into(),
            means: String::new(),
            lost: Vec::new(),
            refuses: false,
        }
    }

    pub(super) fn note(file: &Path, what: impl Into<String>) -> Finding {
        Finding { grade: Grade::Note, ..Finding::damage(file, what) }
    }

    pub(super) fn version(file: &Path, major: u16, minor: u16) -> Finding {
        let means = "the start refuses; the version of spangate that wrote it can read it";
        Finding::damage(file, format!("has format {major}.{minor}; this version reads 1.x")).means(means)
    }

    pub(super) fn at(self, offset: u64) -> Finding {
        Finding { offset: Some(offset), ..self }
    }

    pub(super) fn positions(self, positions: Range<u64>) -> Finding {
        Finding { positions: Some(positions), ..self }
    }

    pub(super) fn means(self, means: impl Into<String>) -> Finding {
        Finding { means: means.into(), ..self }
    }

    /// With what each drain loses by it, said after what it means otherwise. `unknown`: not every cursor can be read.
    pub(super) fn losing(self, lost: Vec<(String, u64)>, unknown: bool) -> Finding {
        let loss = match lost.is_empty() {
            true if unknown => "whoever has lost its cursor may wait for it".to_owned(),
            true => "no drain waits for any of it".to_owned(),
            false => {
                let each: Vec<String> = lost.iter().map(|(drain, spans)| format!("{spans} for {drain}")).collect();
                format!("lost: {}", each.join(", "))
            }
        };
        let means = if self.means.is_empty() { loss } else { format!("{}; {loss}", self.means) };
        Finding { means, lost, ..self }
    }

    pub(super) fn refusing(self) -> Finding {
        Finding { refuses: true, ..self }
    }
}
