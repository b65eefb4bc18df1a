//! Formats, from outside: vectors of the reference codec, generated types, random spans.

mod v1;
mod v2;
