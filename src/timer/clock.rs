//! The clock of the timers.

use std::time::{Duration, Instant};

use crate::clock::{Clock, nanoseconds};

/// A clock that counts nanoseconds since it was started; it never goes back.
pub(crate) struct TimerClock {
    clock: Clock,
    start: Instant,
}

impl TimerClock {
    /// What the clock shows when it starts: far enough from zero that earlier moments have their place too, and keep
    /// their order. Half of what 64 bits count is 292 years.
    const START: u64 = 1 << 63;

    pub(crate) fn start(clock: Clock) -> Self {
        let start = clock.now();
        Self { clock, start }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn now(&self) -> u64 {
        self.at(self.clock.now())
    }

    /// The time that this clock shows at `moment`.
    pub(crate) fn at(&self, moment: Instant) -> u64 {
        match moment.checked_duration_since(self.start) {
            Some(after) => Self::START.saturating_add(nanoseconds(after)),
            None => {
                let before = self.start.saturating_duration_since(moment);
                Self::START.saturating_sub(nanoseconds(before))
            }
        }
    }

    /// The moment at which this clock shows `time`; `None` if the system's clock does not reach so far.
    pub(crate) fn moment(&self, time: u64) -> Option<Instant> {
        match time.checked_sub(Self::START) {
            Some(after) => self.start.checked_add(Duration::from_nanos(after)),
            None => self.start.checked_sub(Duration::from_nanos(Self::START - time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_and_after_the_start_keep_their_order() {
        let clock = TimerClock::start(Clock::current());
        // On Windows moments that differ by less than the resolution of its counter count as the same.
        let step = Duration::from_micros(1);
        let moments = [clock.start.checked_sub(2 * step), clock.start.checked_sub(step)];
        let moments = moments.into_iter().flatten().chain([clock.start, clock.start + step]);
        let moments: Vec<_> = moments.collect();
        let times: Vec<_> = moments.iter().map(|&moment| clock.at(moment)).collect();
        assert!(times.windows(2).all(|pair| pair[0] + 1000 == pair[1]), "{times:?}");
        assert!(clock.now() >= TimerClock::START);
        for (time, moment) in times.into_iter().zip(moments) {
            assert_eq!(clock.moment(time), Some(moment));
        }
    }
}
