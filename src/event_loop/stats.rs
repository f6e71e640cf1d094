//! What a loop has done, and which callbacks held it up.

use std::panic::Location;
use std::time::{Duration, Instant};

use super::EventLoop;

/// What a loop has done since it was made, and what it has to do: [`EventLoop::stats`].
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
    /// Turns that were completed.
    pub turns: u64,
    /// Events that the mechanism reported and that were dealt with.
    pub events: u64,
    /// Timers that ran.
    pub timers: u64,
    /// Calls that ran: those of `call_soon`, and those of other threads.
    pub calls: u64,
    /// Callbacks of signals that ran.
    pub signals: u64,
    /// Polls of coroutines.
    pub polls: u64,
    /// Errors of callbacks.
    pub errors: u64,
    /// Callbacks that took longer than [`EventLoop::warn_of_slow_callbacks`] allows.
    pub slow_callbacks: u64,
    /// Sources that are registered.
    pub sources: usize,
    /// Timers that are set.
    pub pending_timers: usize,
    /// Calls that are queued; those of other threads count from the next turn on.
    pub pending_calls: usize,
    /// Coroutines that have not ended.
    pub coroutines: usize,
}

/// Measures callbacks, where that was asked for.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    limit: Option<Duration>,
}

impl Watchdog {
    #[inline]
    pub(super) fn is_off(&self) -> bool {
        self.limit.is_none() && log::max_level() < log::LevelFilter::Trace
    }

    #[inline]
    pub(super) fn start(&self) -> Option<Instant> {
        self.limit.is_some().then(Instant::now)
    }

    #[inline]
    pub(super) fn check(
        &self,
        start: Option<Instant>,
        location: &'static Location<'static>,
        stats: &mut Stats,
    ) {
        if let (Some(start), Some(limit)) = (start, self.limit) {
            let taken = start.elapsed();
            if taken > limit {
                stats.slow_callbacks += 1;
                log::warn!("the callback registered at {location} held the loop for {taken:?}");
            }
        }
    }
}

impl<T: 'static> EventLoop<T> {
    /// What the loop has done, and what it has to do.
    ///
    /// See [`Stats`] for an example.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            sources: self.len(),
            pending_timers: self.timers.len(),
            pending_calls: self.calls.len(),
            #[cfg(feature = "async")]
            coroutines: self.coroutines.tasks(),
            ..self.stats
        }
    }

    /// Reports callbacks that hold up the loop for longer than `limit`, with the place where each was
    /// registered: `log::warn!`, and [`Stats::slow_callbacks`]. `None`, the default, reports nothing.
    ///
    /// It costs two reads of the clock for each callback.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::{thread, time::Duration};
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// event_loop.warn_of_slow_callbacks(Duration::from_millis(1));
    /// event_loop.call_soon(|_loop| thread::sleep(Duration::from_millis(2)));
    /// event_loop.run()?;
    /// assert_eq!(event_loop.stats().slow_callbacks, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn warn_of_slow_callbacks(&mut self, limit: impl Into<Option<Duration>>) {
        self.watchdog.limit = limit.into();
    }
}
