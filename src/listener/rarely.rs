//! One line a minute for what peers can provoke at will.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// A log line of one kind may be due once in this time: enough to be seen, too little to fill a disk.
const EVERY: Duration = Duration::from_secs(60);

/// Says when a line of one kind is due, and how many were left out since the last.
#[derive(Debug, Default)]
pub(super) struct Rarely(Mutex<(Option<Instant>, u64)>);

impl Rarely {
    /// `Some(lines left out since the last)` where a line is due now; else counts one left out.
    pub fn due(&self) -> Option<u64> {
        let mut state = self.0.lock().expect("nothing panics while holding it");
        let now = Instant::now();
        if state.0.is_some_and(|last| now.duration_since(last) < EVERY) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_due_once_a_minute_with_the_count_of_those_left_out() {
        let rarely = Rarely::default();
        assert_eq!(rarely.due(), Some(0));
        assert_eq!((rarely.due(), rarely.due()), (None, None));
        tokio::time::advance(EVERY).await;
        assert_eq!(rarely.due(), Some(2));
        assert_eq!(rarely.due(), None);
    }
}
