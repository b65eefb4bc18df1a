//! The mark of what `spangate archive replay` sends: it was archived before.
//!
//! Over HTTP and gRPC it is a header. Scribe has none, and a category of the entries' own would not be taken by a
//! collector that knows `zipkin` alone: the mark is an entry before them, empty, of a category that nobody takes.

/// Of a request; whatever its value is.
pub const HEADER: &str = "spangate-replay";

/// Of the first entry of a `Log` call, whose message is empty.
pub const CATEGORY: &str = "spangate-replay";
