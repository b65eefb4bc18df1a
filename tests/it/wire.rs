//! The formats, against vectors of the reference codec and generated parsers.

mod v1;
