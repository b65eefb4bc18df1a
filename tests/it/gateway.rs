//! The whole process: the real program, scripted collectors, everything between.
//!
//! Each test has its own directory and ports. What must be found is what was answered yes, and
//! nothing that was never sent.
#![expect(clippy::disallowed_methods, reason = "looks at the files as a person would")]

mod account;
mod crash;
mod directories;
mod disk;
mod failures;
mod flume;
mod lanes;
mod letters;
mod memory;
mod overflow;
mod path;
mod reload;
mod rig;
mod scribe;
mod several;
mod sinks;
mod start;
mod stop;
