//! The clock of the timers.

use std::time::{Duration, Instant};

/// Time in nanoseconds since an origin; it never goes back.
pub(crate) trait Clock {
    fn now(&self) -> u64;

    /// The time that this clock shows at `moment`.
    fn at(&self, moment: Instant) -> u64;

    /// The moment at which this clock shows `time`; `None` if the system's clock does not reach so far.
    fn moment(&self, time: u64) -> Option<Instant>;
}

/// The system's monotonic clock.
pub(crate) struct SystemClock(Instant);

impl SystemClock {
    /// What the clock shows when it starts: far enough from zero that earlier moments have their place too, and keep
    /// their order. Half of what 64 bits count is 292 years.
    const START: u64 = 1 << 63;

    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    fn at(&self, moment: Instant) -> u64 {
        let nanoseconds = |since: u128| u64::try_from(since).unwrap_or(u64::MAX);
        match moment.checked_duration_since(self.0) {
            Some(after) => Self::START.saturating_add(nanoseconds(after.as_nanos())),
            None => {
                let before = self.0.saturating_duration_since(moment);
                Self::START.saturating_sub(nanoseconds(before.as_nanos()))
            }
        }
    }

    fn moment(&self, time: u64) -> Option<Instant> {
        match time.checked_sub(Self::START) {
            Some(after) => self.0.checked_add(Duration::from_nanos(after)),
            None => self.0.checked_sub(Duration::from_nanos(Self::START - time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_and_after_the_start_keep_their_order() {
        let clock = SystemClock::start();
        let step = Duration::from_nanos(1);
        let moments = [clock.0.checked_sub(2 * step), clock.0.checked_sub(step)];
        let moments = moments.into_iter().flatten().chain([clock.0, clock.0 + step]);
        let moments: Vec<_> = moments.collect();
        let times: Vec<_> = moments.iter().map(|&moment| clock.at(moment)).collect();
        assert!(times.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{times:?}");
        assert!(clock.now() >= SystemClock::START);
        for (time, moment) in times.into_iter().zip(moments) {
            assert_eq!(clock.moment(time), Some(moment));
        }
    }
}
