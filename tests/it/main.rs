//! The integration tests, in the span's order: one binary, so that it links once.

#[path = "../support/mod.rs"]
mod support;

mod archive;
mod channel;
mod config;
mod drain;
mod gateway;
mod listener;
mod wire;
