//! Against what we did not write (`make real`): Zipkin servers, Brave, Python's clients, a shell, full disks; and with
//! `make dashboard` Prometheus.
//!
//! Each test starts what it needs in a directory of its own and on ports of its own; nothing outlives it. Figures that
//! a person wants to see are printed. REAL_ZIPKIN_JAR, REAL_PYTHON, REAL_BRAVE and REAL_HDFS come
//! from the Makefile; without them the tests fail and say so.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod dashboard;
mod equality;
mod full_disk;
mod graph;
mod hdfs;
mod kills;
mod lake;
mod proto;
mod readme;
mod s3;
mod shapes;
mod v1;
mod zipkin;
