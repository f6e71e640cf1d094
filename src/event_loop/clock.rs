//! What the timers take the time from.

use std::time::Instant;

/// Time as nanoseconds since some start; it never goes back.
pub(super) trait Clock {
    fn now(&self) -> u64;

    /// When this clock will say (or said) that moment; a moment before the start is the start.
    fn at(&self, moment: Instant) -> u64;
}

/// The system's monotonic clock.
pub(super) struct SystemClock(Instant);

impl SystemClock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    fn at(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.0);
        // 584 years: for ever, as far as a process is concerned.
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}
