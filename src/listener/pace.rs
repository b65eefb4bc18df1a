//! How fast a message must come in: a least rate on average, once it took longer than [`GRACE`].
//!
//! Without it a peer that sends a byte now and then would hold its permits until its timeout. Together with permits
//! that are taken as bytes arrive it makes whoever wants to hold them all send, again and again, a good part of what he
//! holds.

use std::time::Duration;

use tokio::time::Instant;

/// A lost packet or a busy sender is no slow line; nearly every message is whole by then.
const GRACE: Duration = Duration::from_secs(5);

/// Of one message.
pub(super) struct Pace {
    began: Instant,
    bytes_per_second: u64,
}

impl Pace {
    pub fn begin(bytes_per_second: u64) -> Pace {
        Pace { began: Instant::now(), bytes_per_second: bytes_per_second.max(1) }
    }

    /// Time for which we kept the peer waiting.
    pub fn pause(&mut self, time: Duration) {
        self.began += time;
    }

    /// When more than `have` bytes must be there.
    pub fn deadline(&self, have: usize) -> Instant {
        let enough_for = Duration::from_secs_f64(have as f64 / self.bytes_per_second as f64);
        self.began + enough_for.max(GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_may_rest_for_as_long_as_it_is_ahead_of_its_rate_and_for_the_grace() {
        let mut pace = Pace::begin(1_000);
        let left = |pace: &Pace, have| pace.deadline(have) - Instant::now();
        assert_eq!((left(&pace, 0), left(&pace, 5_000)), (GRACE, GRACE));
        assert_eq!(left(&pace, 20_000), Duration::from_secs(20));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(left(&pace, 1), Duration::from_secs(2));
        pace.pause(Duration::from_secs(1));
        assert_eq!(left(&pace, 1), Duration::from_secs(3));
    }
}
