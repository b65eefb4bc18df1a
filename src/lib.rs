//! spangate: a gateway for Zipkin spans.
//!
//! The modules in the order in which a span meets them:
//!
//! 1. [`listener`] reads messages from Scribe and HTTP peers; [`wire`] decodes them into
//! 2. [`span`]s, canonical proto3 bytes, which `listener::intake` hands to
//! 3. the [`channel`], a segmented log that says when they are durable;
//! 4. each [`drain`] takes them from there in batches to its
//! 5. [`sink`]s, or to the [`archive`]; what nobody takes ends in the [`deadletter`] store.
//!
//! Around them: [`gateway`] builds and stops it all, [`config`] and [`cli`] are the front door, [`admin`] and
//! [`metrics`] the windows; [`disk`], [`clock`] and [`tasks`] are the seams to the machine.

pub mod admin;
pub mod archive;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deadletter;
pub mod disk;
pub mod drain;
pub mod gateway;
pub mod listener;
pub mod metrics;
pub mod planted;
pub mod sink;
pub mod span;
pub mod tasks;
pub mod wire;
