//! The time of a lab: when it stands still, when it jumps, and when it goes as it does outside.

use std::time::{Duration, Instant};

use crate::clock::nanoseconds;

/// The longest delay, stall and late end of a wait: 10 ms.
pub(super) const SHORTLY: u64 = 10_000_000;

/// How many waits may begin at one moment before the program is stuck.
const WAITS: u32 = 200_000;

/// How long a lab runs by default: a day.
const LIMIT: u64 = 24 * 60 * 60 * 1_000_000_000;

/// Nanoseconds since the lab was made.
pub(super) struct Time {
    elapsed: u64,
    /// The moment since which time goes as it does outside.
    real_since: Option<Instant>,
    limit: u64,
    /// How many waits have begun at this moment.
    waits: u32,
}

impl Time {
    pub(super) fn new() -> Self {
        Self { elapsed: 0, real_since: None, limit: LIMIT, waits: 0 }
    }

    pub(super) fn now(&self) -> u64 {
        let real = self.real_since.map_or(0, |since| nanoseconds(since.elapsed()));
        self.elapsed.saturating_add(real)
    }

    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = nanoseconds(limit);
    }

    /// Lets time go as it does outside, or stops that.
    pub(super) fn go_really(&mut self, really: bool) {
        self.elapsed = self.now();
        self.real_since = really.then(Instant::now);
        self.waits = 0;
    }

    pub(super) fn advance(&mut self, duration: u64) {
        if duration > 0 {
            self.elapsed = self.elapsed.saturating_add(duration);
            self.waits = 0;
        }
    }

    pub(super) fn jump_to(&mut self, moment: u64) {
        self.advance(moment.saturating_sub(self.now()));
    }

    /// Fails if the program goes on for too long.
    pub(super) fn begin_wait(&mut self) -> Result<(), String> {
        self.waits += 1;
        if self.now() > self.limit {
            let limit = Duration::from_nanos(self.limit);
            return Err(format!(
                "more than {limit:?} of the lab's time have passed (see `Lab::set_limit`)"
            ));
        }
        if self.waits > WAITS && self.real_since.is_none() {
            return Err(format!(
                "{WAITS} waits began at one moment: the program does not sleep, and so time does not pass"
            ));
        }
        Ok(())
    }
}
