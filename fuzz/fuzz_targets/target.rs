//! Every target: which one it is, the name of the binary says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spangate_fuzz::run(env!("CARGO_BIN_NAME"), data));
