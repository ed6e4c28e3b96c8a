//! The real clock: the one place that reads time.
//!
//! It reads tokio's, so that a paused runtime pauses every decision with it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::ports::Clock;

/// tokio's monotonic time and the machine's wall time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[allow(clippy::disallowed_methods)]
    fn unix_time(&self) -> Duration {
        // A machine whose clock stands before 1970 shows 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}
