//! [`interval`]: a moment every period.

use std::time::{Duration, Instant};

use super::time::{now, sleep_until};

/// Returns ticks that are `period` apart; the first comes one `period` after the call.
///
/// See [`Interval`].
///
/// # Panics
///
/// If `period` is zero.
#[must_use]
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period");
    Interval { period, next: now().checked_add(period) }
}

/// Ticks at whole periods after its start; [`interval`] returns it.
///
/// It does not drift, even if a tick is awaited late. Missed ticks are not made up for: one comes immediately, and the
/// next at the first whole period after that, as with
/// [`EventLoop::call_every`](crate::EventLoop::call_every).
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::time::Duration;
///
/// EventLoop::new(())?.block_on(async {
///     let (start, period) = (asyncio::now(), Duration::from_millis(2));
///     let mut interval = asyncio::interval(period);
///     for ticks in 1..4 {
///         interval.tick().await;
///         assert!(asyncio::now() >= start + ticks * period);
///     }
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    /// `None` is later than the clock can represent.
    next: Option<Instant>,
}

impl Interval {
    /// Waits for the next tick, and returns its moment. A tick is not lost when this is cancelled.
    ///
    /// # Panics
    ///
    /// Panics as [`sleep_until`] does.
    ///
    /// See [`Interval`] for an example.
    pub async fn tick(&mut self) -> Instant {
        let Some(tick) = self.next else { return std::future::pending().await };
        sleep_until(tick).await;
        let missed = now().saturating_duration_since(tick).as_nanos() / self.period.as_nanos();
        let periods = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
        self.next = self.period.checked_mul(periods).and_then(|step| tick.checked_add(step));
        tick
    }

    /// Restarts the interval: the next tick comes one period after the call.
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio};
    /// use std::time::Duration;
    ///
    /// EventLoop::new(())?.block_on(async {
    ///     let mut interval = asyncio::interval(Duration::from_millis(2));
    ///     asyncio::sleep(Duration::from_millis(3)).await;
    ///     interval.reset();
    ///     let start = asyncio::now();
    ///     assert!(interval.tick().await > start);
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reset(&mut self) {
        self.next = now().checked_add(self.period);
    }
}
