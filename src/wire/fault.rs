//! What a decoder found wrong, before it knows which span it was in.
//!
//! The texts begin with Zipkin's own words (`<cause> reading List<Span> from <format>`), which
//! clients may look for, and end with the place, which Zipkin does not tell.

use super::DecodeError;
use crate::span::proto::{Malformed, Problem};

/// Boxed: every read returns room for one, and nearly all return none.
#[derive(Debug)]
pub(super) struct Fault(Box<Wrong>);

#[derive(Debug)]
struct Wrong {
    field: &'static str,
    offset: usize,
    /// Zipkin's words where it has some.
    cause: String,
    /// What was expected instead, where `cause` does not say.
    expected: &'static str,
    /// Whether `cause` is all that is said.
    verbatim: bool,
}

impl Fault {
    #[cold]
    pub fn new(field: &'static str, offset: usize, cause: impl Into<String>) -> Fault {
        Fault(Box::new(Wrong { field, offset, cause: cause.into(), expected: "", verbatim: false }))
    }

    #[cold]
    pub fn malformed(field: &'static str, offset: usize, expected: &'static str) -> Fault {
        let mut fault = Fault::new(field, offset, "Malformed");
        fault.0.expected = expected;
        fault
    }

    /// A text of Zipkin's that stands alone.
    #[cold]
    pub fn verbatim(field: &'static str, offset: usize, cause: impl Into<String>) -> Fault {
        let mut fault = Fault::new(field, offset, cause);
        fault.0.verbatim = true;
        fault
    }

    /// The same with the field named, unless a part of it was named before.
    #[cold]
    pub fn within(mut self, field: &'static str) -> Fault {
        if self.0.field.is_empty() {
            self.0.field = field;
        }
        self
    }

    /// The error to tell the client. `span` is the index of the span that was being read, if one was.
    pub fn in_list(self, format: &'static str, span: Option<usize>) -> DecodeError {
        let Wrong { field, offset, cause, expected, verbatim } = *self.0;
        if verbatim {
            return DecodeError { span, field, offset: Some(offset), reason: cause };
        }
        let mut place: Vec<String> = span.map(|span| format!("span {span}")).into_iter().collect();
        if !field.is_empty() {
            place.push(field.to_owned());
        }
        place.push(format!("byte {offset}"));
        let expected = if expected.is_empty() { String::new() } else { format!(": expected {expected}") };
        let reason = format!("{cause} reading List<Span> from {format} ({}{expected})", place.join(", "));
        DecodeError { span, field, offset: Some(offset), reason }
    }
}

impl From<Malformed> for Fault {
    #[cold]
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
