//! A sieve as one line of text, for the plans of an archive. What takes all is an empty line.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Filter, Sieve};

/// Longest text of a sieve: a plan holds it beside the longest directory (DURABILITY.md, the archive's plan).
pub const TEXT_BYTES_MAX: usize = 512;

/// The text's JSON: nothing is said of what takes all.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Form {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    listeners: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    services: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    services_exclude: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    /// As Rust prints and reads it: a JSON number would be read as another width first.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_rate: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    leave_replayed: bool,
}

/// A text that is no sieve of this version's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TextError(String);

impl fmt::Display for Sieve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.takes_all() {
            return Ok(());
        }
        let filter = self.filter.clone();
        let Filter { listeners, categories, services, services_exclude, labels, leave_replayed } = filter;
        let sample_rate = (self.rate < 1.0).then(|| self.rate.to_string());
        let form = Form { listeners, categories, services, services_exclude, labels, sample_rate, leave_replayed };
        f.write_str(&serde_json::to_string(&form).expect("words are JSON"))
    }
}

impl FromStr for Sieve {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Ok(Sieve::default());
        }
        // A list would be read as a form's values in their order.
        if !text.starts_with('{') {
            return Err(TextError("expected a JSON object".to_owned()));
        }
        let form: Form = serde_json::from_str(text).map_err(|error| TextError(error.to_string()))?;
        let Form { listeners, categories, services, services_exclude, labels, sample_rate, leave_replayed } = form;
        let typed = sample_rate.unwrap_or_else(|| "1".to_owned());
        let rate = typed.parse::<f32>().ok().filter(|rate| (0.0..=1.0).contains(rate));
        let rate = rate.ok_or_else(|| TextError(format!("sample_rate is {typed:?}, expected 0.0 to 1.0")))?;
        let filter = Filter { listeners, categories, services, services_exclude, labels, leave_replayed };
        Ok(Sieve::new(filter, rate))
    }
}
