//! Canonical bytes: splitting a `ListOfSpans` and looking at its elements without decoding.
