//! Generated code: `thrift/README.md` and `proto/README.md` say from what, how, and what was
//! changed by hand.
//!
//! It serves fb303, replies, outgoing calls and, as an oracle, the tests; bytes of strangers
//! are read by our own parsers (`wire::thrift`, `wire::scribe`).

#![allow(warnings, clippy::all, clippy::unwrap_used, reason = "nobody edits these files: they are generated again")]

pub mod fb303;
pub mod scribe;
pub mod zipkin_core;
pub mod zipkin_proto3;
