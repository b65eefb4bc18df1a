//! The integration tests, in the span's order: one binary, so that it links once.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../proof/mod.rs"]
mod proof;

mod admin;
mod archive;
mod channel;
mod compose;
mod config;
mod drain;
mod gateway;
mod getback;
mod listener;
mod proofs;
mod send;
mod systemd;
mod wire;
