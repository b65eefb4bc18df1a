//! What a decoder found wrong, before it knows which span it was in.
//!
//! The texts begin with Zipkin's own words (`<cause> reading List<Span> from <format>`), which
//! clients may look for, and end with the place, which Zipkin does not tell.

use super::DecodeError;
use crate::span::proto::{Malformed, Problem};

#[derive(Debug)]
pub(super) struct Fault {
    pub field: &'static str,
    pub offset: usize,
    /// Zipkin's words where it has some.
    pub cause: String,
    /// What was expected instead, where `cause` does not say.
    pub expected: &'static str,
    /// Whether `cause` is all that is said.
    pub verbatim: bool,
}

impl Fault {
    pub fn new(field: &'static str, offset: usize, cause: impl Into<String>) -> Fault {
        Fault { field, offset, cause: cause.into(), expected: "", verbatim: false }
    }

    pub fn malformed(field: &'static str, offset: usize, expected: &'static str) -> Fault {
        Fault { expected, ..Fault::new(field, offset, "Malformed") }
    }

    /// A text of Zipkin's that stands alone.
    pub fn verbatim(field: &'static str, offset: usize, cause: impl Into<String>) -> Fault {
        Fault { verbatim: true, ..Fault::new(field, offset, cause) }
    }

    /// The same with the field named, unless a part of it was named before.
    pub fn within(mut self, field: &'static str) -> Fault {
        if self.field.is_empty() {
            self.field = field;
        }
        self
    }

    /// The error to tell the client. `span` is the index of the span that was being read, if one was.
    pub fn in_list(self, format: &'static str, span: Option<usize>) -> DecodeError {
        let (field, offset) = (self.field, Some(self.offset));
        if self.verbatim {
            return DecodeError { span, field, offset, reason: self.cause };
        }
        let mut place: Vec<String> = span.map(|span| format!("span {span}")).into_iter().collect();
        if !self.field.is_empty() {
            place.push(self.field.to_owned());
        }
        place.push(format!("byte {}", self.offset));
        let expected = if self.expected.is_empty() { String::new() } else { format!(": expected {}", self.expected) };
        let reason = format!("{} reading List<Span> from {format} ({}{expected})", self.cause, place.join(", "));
        DecodeError { span, field, offset, reason }
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Fault {
        let expected = match malformed.problem {
            problem @ (Problem::Truncated { .. } | Problem::Varint { .. }) => {
                return Fault::new("", malformed.offset, problem.to_string());
            }
            Problem::FieldNumber => "a field number above 0",
            Problem::WireType => "wireType 0, 1, 2 or 5",
            Problem::Text => "UTF-8",
            Problem::Span => "a canonical span",
        };
        Fault::malformed("", malformed.offset, expected)
    }
}
