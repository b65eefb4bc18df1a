//! Against programs that we did not write (`make real`).

#[path = "../support/mod.rs"]
mod support;
