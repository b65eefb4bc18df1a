//! `process_*` metrics, from `/proc/self`; where there is none (not Linux) they stay absent.
//!
//! Rendered here rather than by the registry, whose counters are whole numbers: CPU time in
//! whole seconds would hide what a scrape every few seconds looks for.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::disk::{self, Disk};
use crate::metrics;

/// Longest `/proc/self/stat`: 52 numbers and a name of at most 16 bytes.
const STAT_BYTES_MAX: usize = 2048;

/// The process's own figures.
pub struct Process {
    disk: Arc<dyn Disk>,
    started_us: u64,
}

impl Process {
    pub fn new(disk: Arc<dyn Disk>, clock: &Clock) -> Self {
        Process { disk, started_us: clock.now_us() }
    }

    /// The Prometheus text of the `process_*` families.
    pub fn render(&self) -> String {
        let mut out = String::new();
        family(&mut out, "process_start_time_seconds", self.started_us as f64 / 1e6);
        if let Some(stat) = self.stat() {
            family(&mut out, "process_cpu_seconds_total", stat.cpu_seconds);
            family(&mut out, "process_resident_memory_bytes", stat.resident_bytes as f64);
        }
        if let Some(fds) = self.open_fds() {
            family(&mut out, "process_open_fds", fds as f64);
        }
        out
    }

    /// From Linux 6.2 on the directory's size says it; to list 10,000 connections takes 20 ms and more.
    fn open_fds(&self) -> Option<u64> {
        let dir = Path::new("/proc/self/fd");
        let said = self.disk.open(dir, disk::Open::Read).and_then(|dir| dir.len()).ok()?;
        let with_our_own = if said > 0 { said } else { self.disk.list(dir).ok()?.len() as u64 };
        Some(with_our_own.saturating_sub(1))
    }

    fn stat(&self) -> Option<Stat> {
        let file = self.disk.open(Path::new("/proc/self/stat"), disk::Open::Read).ok()?;
        let mut bytes = [0; STAT_BYTES_MAX];
        let len = file.read_at(&mut bytes, 0).ok()?;
        parse(std::str::from_utf8(&bytes[..len]).ok()?)
    }
}

fn family(out: &mut String, name: &str, value: f64) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{}{name} {value}\n\n", metrics::head(name));
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    resident_bytes: u64,
}

/// proc_pid_stat(5): fields 14 and 15 are user and system ticks, 24 the resident pages. The
/// name, field 2, may hold spaces and parentheses, so counting begins after the last `)`.
fn parse(stat: &str) -> Option<Stat> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_seconds: (field(14)? + field(15)?) as f64 / rustix::param::clock_ticks_per_second() as f64,
        resident_bytes: field(24)? * rustix::param::page_size() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn descriptors_are_counted_as_they_are_opened() {
        let process = Process::new(disk::real(), &Clock::system());
        let before = process.open_fds().expect("Linux has it");
        let opened: Vec<_> = (0..1_000).map(|_| disk::real().open(Path::new("/dev/null"), disk::Open::Read)).collect();
        // Other tests of this process open some, too.
        let more = process.open_fds().expect("it was there") - before;
        assert!(opened.iter().all(Result::is_ok) && (900..2_000).contains(&more), "{more} more");
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let mut fields = vec!["0"; 50];
        (fields[11], fields[12], fields[21]) = ("500", "250", "7");
        let stat = format!("42 (a) b (c)) {}", fields.join(" "));
        let ticks = rustix::param::clock_ticks_per_second();
        let expected =
            Stat { cpu_seconds: 750.0 / ticks as f64, resident_bytes: 7 * rustix::param::page_size() as u64 };
        assert_eq!(parse(&stat), Some(expected));
    }
}
