//! The listeners over real sockets, in front of a real channel in a directory of its own.

mod http;
mod rig;
mod scribe;
