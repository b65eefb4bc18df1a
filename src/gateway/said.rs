//! What the log says of the intake: that it stopped, at once; that it goes on, when it has for a while.
//!
//! A full channel that drains slowly takes a few messages with each segment that goes. That is no
//! news: the first stop is, and the time from which no message was refused any more.

use std::time::Duration;

use tokio::time::Instant;

use crate::channel::Intake;

/// How long intake is open before it is said.
const OPEN_FOR: Duration = Duration::from_secs(30);

/// What was said last.
#[derive(Debug)]
pub struct Said {
    intake: Intake,
    stopped: Option<Instant>,
    open: Option<Instant>,
}

/// What is to be said now.
#[derive(Debug, PartialEq)]
pub enum Say {
    Nothing,
    Stopped,
    /// After having been stopped, now and then at least, for this long.
    Resumed(Duration),
}

impl Said {
    pub fn new() -> Said {
        Said { intake: Intake::Open, stopped: None, open: None }
    }

    pub fn next(&mut self, intake: &Intake, now: Instant) -> Say {
        if *intake != Intake::Open {
            self.open = None;
            self.stopped.get_or_insert(now);
            if self.intake == *intake {
                return Say::Nothing;
            }
            self.intake = intake.clone();
            return Say::Stopped;
        }
        let Some(stopped) = self.stopped else { return Say::Nothing };
        let open = *self.open.get_or_insert(now);
        if now - open < OPEN_FOR {
            return Say::Nothing;
        }
        *self = Said::new();
        Say::Resumed(open - stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_said_at_once_and_its_end_when_it_lasts() {
        let (mut said, start) = (Said::new(), Instant::now());
        let mut next = |second, intake: &Intake| said.next(intake, start + Duration::from_secs(second));
        assert_eq!(next(0, &Intake::Open), Say::Nothing);
        assert_eq!(next(1, &Intake::Full), Say::Stopped);
        for second in 2..100 {
            let intake = if second % 20 < 15 { Intake::Open } else { Intake::Full };
            assert_eq!(next(second, &intake), Say::Nothing, "second {second}");
        }
        assert_eq!(next(100, &Intake::DiskLow), Say::Stopped, "another reason is news");
        assert_eq!(next(101, &Intake::Open), Say::Nothing);
        assert_eq!(next(130, &Intake::Open), Say::Nothing);
        assert_eq!(next(131, &Intake::Open), Say::Resumed(Duration::from_secs(100)));
        assert_eq!(next(132, &Intake::Open), Say::Nothing);
        assert_eq!(next(133, &Intake::DiskLow), Say::Stopped);
    }
}
