//! File descriptors: as many as connections may need, and some always left for the disk.
//!
//! A shell gives a process 1,024 of them and a listener takes 10,000 connections: a crowd of
//! peers would take those that segments, objects and collectors need. So the limit is raised as
//! far as is allowed, and where that is not enough fewer connections are taken, and it is said.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Settings;

/// Kept back from connections: segments, cursors, objects, listeners, batches in flight. About 50
/// are in use with two collectors.
const RESERVED: u64 = 256;

/// Connections that each listener takes, whatever is left.
const LEAST: u64 = 16;

/// Raises the process's limit, and lowers the connection limits to what it leaves.
pub fn provide(settings: &mut Settings) {
    let wanted = [settings.scribe.connections_max, settings.http.connections_max].map(|max| max as u64);
    let limit = raise(wanted.iter().sum::<u64>() + RESERVED);
    let taken = shares(wanted, limit);
    if taken != wanted {
        let [scribe, http] = taken;
        tracing::warn!(
            limit,
            scribe,
            http,
            "too few file descriptors (ulimit -n) for connections_max: lowered to these"
        );
        (settings.scribe.connections_max, settings.http.connections_max) = (scribe as usize, http as usize);
    }
}

/// Raises the limit to `wanted` where that is allowed; returns what is in force.
fn raise(wanted: u64) -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    let goal = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    if goal <= soft {
        return soft;
    }
    limit.current = Some(goal);
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => goal,
        Err(error) => {
            tracing::debug!(%error, goal, "the limit of file descriptors cannot be raised");
            soft
        }
    }
}

/// What each listener gets of the connections that it wants.
fn shares(wanted: [u64; 2], limit: u64) -> [u64; 2] {
    let (all, left) = (wanted.iter().sum::<u64>(), limit.saturating_sub(RESERVED));
    if all <= left {
        return wanted;
    }
    // Not above what the table allows, so nothing overflows.
    wanted.map(|one| (one * left / all).max(LEAST).min(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_disk() {
        assert_eq!(shares([10_000, 10_000], 1 << 20), [10_000, 10_000]);
        assert_eq!(shares([10_000, 10_000], 20_256), [10_000, 10_000]);
        assert_eq!(shares([10_000, 10_000], 20_000), [9872, 9872]);
        assert_eq!(shares([10_000, 10_000], 1024), [384, 384]);
        assert_eq!(shares([3000, 1000], 1024), [576, 192]);
        assert_eq!(shares([10_000, 4], 100), [16, 4]);
    }
}
