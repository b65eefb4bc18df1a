//! A letter read back from its line, and which letters are meant.
//!
//! A line that is no letter (a person's edit, a bad sector) is passed over by readers and left
//! where it is by whoever takes letters out.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Class, line};

/// A letter as it was filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filed {
    /// When it was written, RFC 3339.
    pub time: String,
    /// When the gateway received what it holds, RFC 3339.
    pub received: String,
    pub class: Class,
    pub reason: String,
    pub drain: String,
    pub channel: String,
    pub position: u64,
    pub origin: Vec<(String, String)>,
    pub bytes: Bytes,
}

impl Filed {
    /// Reads a line; `None` for what is no letter.
    pub fn read(line: &[u8]) -> Option<Filed> {
        let Value::Object(fields) = serde_json::from_slice(line).ok()? else { return None };
        let text = |key: &str| fields.get(key)?.as_str().map(str::to_owned);
        Some(Filed {
            time: text("time")?,
            received: text("received")?,
            class: Class::named(&text("class")?)?,
            reason: text("reason")?,
            drain: text("drain")?,
            channel: text("channel")?,
            position: fields.get("position")?.as_u64()?,
            origin: origin(fields.get("origin")?.as_object()?)?,
            bytes: line::unbase64(&text("bytes")?)?.into(),
        })
    }

    /// What it is called: what was refused by whom. A letter that a crash wrote twice has one name.
    pub fn id(&self) -> String {
        let channel = self.channel.get(..8).unwrap_or(&self.channel);
        format!("{}:{channel}:{}", self.drain, self.position)
    }
}

/// A key that came several times has a list.
fn origin(fields: &Map<String, Value>) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for (key, value) in fields {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in values {
            pairs.push((key.clone(), value.as_str()?.to_owned()));
        }
    }
    Some(pairs)
}

/// Which letters are meant; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub class: Option<Class>,
    pub drain: Option<String>,
    /// Stands somewhere in the reason.
    pub reason: Option<String>,
    /// RFC 3339 in UTC, or the beginning of it, as in `2026-11-21`: written then or later.
    pub since: Option<String>,
    /// Written before then.
    pub until: Option<String>,
    /// See [`Filed::id`].
    pub id: Option<String>,
    /// At most so many, oldest first.
    pub limit: Option<u64>,
}

impl Filter {
    /// Whether a letter is meant, but for the limit.
    pub fn takes(&self, letter: &Filed) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        // Times are written in one form, so that their order is that of their texts.
        let time = letter.time.as_str();
        self.class.is_none_or(|class| class == letter.class)
            && is(&self.drain, &letter.drain)
            && self.reason.as_ref().is_none_or(|part| letter.reason.contains(part))
            && self.since.as_deref().is_none_or(|since| time >= since.trim_end_matches('Z'))
            && self.until.as_deref().is_none_or(|until| time < until.trim_end_matches('Z'))
            && (self.id.is_none() || is(&self.id, &letter.id()))
    }

    /// As the admin port is sent it.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        for (key, text) in self.texts() {
            fields.extend(text.map(|text| (key.to_owned(), Value::from(text))));
        }
        fields.extend(self.limit.map(|limit| ("limit".to_owned(), Value::from(limit))));
        Value::Object(fields)
    }

    fn texts(&self) -> [(&'static str, Option<&str>); 6] {
        [
            ("class", self.class.map(Class::name)),
            ("drain", self.drain.as_deref()),
            ("reason", self.reason.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
            ("id", self.id.as_deref()),
        ]
    }

    /// Reads what [`to_json`](Self::to_json) wrote; an error says what is not understood: a filter that was half
    /// understood would take letters that nobody meant.
    pub fn from_json(json: &[u8]) -> Result<Filter, String> {
        let value: Value = serde_json::from_slice(json).map_err(|error| format!("no JSON: {error}"))?;
        let mut filter = Filter::default();
        for (key, value) in value.as_object().ok_or("no JSON object")? {
            let text = || value.as_str().map(str::to_owned).ok_or(format!("{key}: expected a text"));
            match key.as_str() {
                "class" => filter.class = Some(Class::named(&text()?).ok_or(format!("{key}: there is no such class"))?),
                "drain" => filter.drain = Some(text()?),
                "reason" => filter.reason = Some(text()?),
                "since" => filter.since = Some(text()?),
                "until" => filter.until = Some(text()?),
                "id" => filter.id = Some(text()?),
                "limit" => filter.limit = Some(value.as_u64().ok_or(format!("{key}: expected a number"))?),
                _ => return Err(format!("{key}: not known")),
            }
        }
        Ok(filter)
    }
}
