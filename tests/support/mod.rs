//! What tests share: clients, collectors and disks that are not the product's own.
#![allow(clippy::unwrap_used, reason = "what only tests use")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod collector;
pub mod dashboard;
pub mod disk;
pub mod grpc;
pub mod http;
pub mod names;
pub mod process;
pub mod s3;
pub mod scribe;
pub mod scribe_server;
pub mod spans;
pub mod thrift;
pub mod vectors;
