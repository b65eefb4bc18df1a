//! Formats, from outside: vectors of the reference codec, generated types, random spans.

mod random;
mod v1;
mod v1_encode;
mod v1_lists;
mod v2;
