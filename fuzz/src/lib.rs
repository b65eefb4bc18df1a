//! The targets of `tests/proof/fuzz`, for an engine that is guided by coverage.
#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(dead_code, reason = "each caller uses a part")]

#[path = "../../tests/proof/fuzz/against_json.rs"]
mod against_json;
#[path = "../../tests/proof/fuzz/against_proto3.rs"]
mod against_proto3;
#[path = "../../tests/proof/fuzz/against_thrift.rs"]
mod against_thrift;
#[path = "../../tests/proof/fuzz/fit.rs"]
mod fit;
#[path = "../../tests/proof/fuzz/framer.rs"]
mod framer;
#[path = "../../tests/proof/fuzz/kept.rs"]
mod kept;
#[path = "../../tests/proof/fuzz/layers.rs"]
mod layers;
#[path = "../../tests/proof/fuzz/rest.rs"]
mod rest;
#[path = "../../tests/proof/fuzz/targets.rs"]
mod targets;
#[path = "../../tests/proof/fuzz/wire.rs"]
mod wire;

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let target = targets::TARGETS.iter().find(|target| target.name == name).expect("a binary for each target");
    (target.run)(data);
}
