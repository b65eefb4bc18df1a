//! The listeners over real sockets, in front of a real channel in a directory of its own.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod forms;
mod grpc;
mod hostile;
mod http;
mod rig;
mod scribe;
