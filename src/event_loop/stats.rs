//! Counters of a loop, and the report of slow callbacks.

use std::ops::AddAssign;
use std::time::Duration;

use super::EventLoop;

/// Counters of a loop since its creation, and of its pending work; [`EventLoop::stats`] returns it.
///
/// ```
/// use polyselect::EventLoop;
///
/// let mut event_loop = EventLoop::new(())?;
/// event_loop.call_soon(|_loop| {});
/// assert_eq!(event_loop.stats().pending_calls, 1);
/// event_loop.run()?;
/// let stats = event_loop.stats();
/// assert_eq!((stats.turns, stats.calls, stats.pending_calls), (1, 1, 0));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Iterations that were completed.
    pub turns: u64,
    /// Events that the backend reported.
    pub events: u64,
    /// Timers that ran.
    pub timers: u64,
    /// Calls that ran: of `call_soon`, of other threads, and of [`Local`](crate::Local).
    pub calls: u64,
    /// Callbacks of signals that ran.
    pub signals: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Errors of callbacks.
    pub errors: u64,
    /// Callbacks that took longer than [`EventLoop::set_slow_callback_threshold`] allows.
    pub slow_callbacks: u64,
    /// Registered sources.
    pub sources: usize,
    /// Timers that are set.
    pub pending_timers: usize,
    /// Queued calls; those of other threads count from the next iteration on.
    pub pending_calls: usize,
    /// Tasks that have not ended.
    pub tasks: usize,
}

/// Counters of one or several iterations; [`EventLoop::turn`] and [`EventLoop::run_until_idle`] return it.
///
/// ```
/// use polyselect::EventLoop;
/// use std::time::Duration;
///
/// let mut event_loop = EventLoop::new(())?;
/// event_loop.call_later(Duration::ZERO, |_loop| {});
/// assert_eq!(event_loop.turn(Duration::ZERO)?.timers, 1);
/// assert!(event_loop.turn(Duration::ZERO)?.is_idle());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Events that the backend reported.
    pub events: u64,
    /// Timers that ran.
    pub timers: u64,
    /// Calls that ran: of `call_soon`, of other threads, and of [`Local`](crate::Local).
    pub calls: u64,
    /// Callbacks of signals that ran.
    pub signals: u64,
    /// Polls of tasks.
    pub polls: u64,
}

impl Turn {
    /// If a callback has replaced its loop, the counters are the sum of both loops.
    #[inline]
    pub(super) fn between(before: &Stats, after: &Stats) -> Self {
        Self {
            events: after.events.saturating_sub(before.events),
            timers: after.timers.saturating_sub(before.timers),
            calls: after.calls.saturating_sub(before.calls),
            signals: after.signals.saturating_sub(before.signals),
            polls: after.polls.saturating_sub(before.polls),
        }
    }

    /// Returns whether nothing was done.
    ///
    /// See [`Turn`] for an example.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Turn {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.timers += other.timers;
        self.calls += other.calls;
        self.signals += other.signals;
        self.polls += other.polls;
    }
}

impl<T: 'static> EventLoop<T> {
    /// Returns the counters of the loop.
    ///
    /// See [`Stats`] for an example.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            sources: self.len(),
            pending_timers: self.timers.len(),
            pending_calls: self.calls.len() + self.local.len(),
            #[cfg(feature = "async")]
            tasks: self.tasks.len(),
            ..self.stats
        }
    }

    /// Reports callbacks that take longer than `threshold`, with the place where each was
    /// registered: `log::warn!`, and [`Stats::slow_callbacks`]. `None`, the default, reports nothing.
    ///
    /// It takes effect with the next iteration, and costs two reads of the clock for each callback.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::{thread, time::Duration};
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// event_loop.set_slow_callback_threshold(Duration::from_millis(1));
    /// event_loop.call_soon(|_loop| thread::sleep(Duration::from_millis(2)));
    /// event_loop.run()?;
    /// assert_eq!(event_loop.stats().slow_callbacks, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_slow_callback_threshold(&mut self, threshold: impl Into<Option<Duration>>) {
        self.slow_callback_threshold = threshold.into();
    }
}
