//! [`EventLoopBuilder`]: the settings of a loop.

use std::io;
use std::time::Duration;

use super::EventLoop;
use crate::accept;
use crate::backend::Backend;
use crate::clock::Clock;
use crate::selector::Selector;

/// The settings that a loop keeps until it is dropped.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) batch_size: usize,
    pub(super) accept_budget: usize,
    pub(super) accept_rest: Duration,
    #[cfg(feature = "async")]
    pub(super) operation_budget: u32,
    pub(super) slow_callback_threshold: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_size: 1024,
            accept_budget: accept::BATCH,
            accept_rest: accept::REST,
            #[cfg(feature = "async")]
            operation_budget: crate::asyncio::OPERATION_BUDGET,
            slow_callback_threshold: None,
        }
    }
}

/// Creates an [`EventLoop`] with other settings than the defaults; [`EventLoop::builder`] returns it.
///
/// ```
/// use polyselect::{Backend, EventLoop};
/// use std::time::Duration;
///
/// let event_loop = EventLoop::builder()
///     .backend(Backend::Poll)
///     .batch_size(256)
///     .accept_budget(16)
///     .slow_callback_threshold(Duration::from_millis(50))
///     .build("state")?;
/// assert_eq!((event_loop.backend(), event_loop.state), (Backend::Poll, "state"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder creates nothing before `build`"]
pub struct EventLoopBuilder {
    backend: Option<Backend>,
    busy_poll: Duration,
    #[cfg(feature = "testing")]
    lab: Option<crate::testing::Lab>,
    settings: Settings,
}

impl EventLoop<()> {
    /// Returns a builder, which creates a loop with other settings than the defaults.
    ///
    /// See [`EventLoopBuilder`] for an example.
    pub fn builder() -> EventLoopBuilder {
        EventLoopBuilder {
            backend: None,
            busy_poll: Duration::ZERO,
            #[cfg(feature = "testing")]
            lab: None,
            settings: Settings::default(),
        }
    }
}

impl EventLoopBuilder {
    /// Sets the backend. By default it is the best of this system, or the one that the environment variable
    /// `POLYSELECT_BACKEND` names.
    ///
    /// See [`EventLoopBuilder`] for an example.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Sets the number of events that the kernel may return in a wait: 1,024 by default; zero counts as one.
    /// The next wait returns the others, so that a smaller batch lets timers and calls run more often.
    ///
    /// See [`EventLoopBuilder`] for an example.
    pub fn batch_size(mut self, events: usize) -> Self {
        self.settings.batch_size = events;
        self
    }

    /// Sets the number of connections that a listener accepts in an iteration: 64 by default; zero counts as one.
    ///
    /// See [`EventLoop::accept`].
    ///
    /// See [`EventLoopBuilder`] for an example.
    pub fn accept_budget(mut self, connections: usize) -> Self {
        self.settings.accept_budget = connections.max(1);
        self
    }

    /// Sets the pause of a listener when descriptors or memory have run out: 100 ms by default.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let event_loop = EventLoop::builder().accept_rest(Duration::from_millis(10)).build(())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept_rest(mut self, rest: Duration) -> Self {
        self.settings.accept_rest = rest;
        self
    }

    /// Sets the number of operations of a source that may succeed in a row before their task yields: 32 by default;
    /// zero counts as one.
    ///
    /// ```
    /// let event_loop = polyselect::EventLoop::builder().operation_budget(8).build(())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "async")]
    pub fn operation_budget(mut self, operations: u32) -> Self {
        self.settings.operation_budget = operations.max(1);
        self
    }

    /// Sets the threshold of [`EventLoop::set_slow_callback_threshold`]; `None` by default.
    ///
    /// See [`EventLoopBuilder`] for an example.
    pub fn slow_callback_threshold(mut self, threshold: impl Into<Option<Duration>>) -> Self {
        self.settings.slow_callback_threshold = threshold.into();
        self
    }

    /// Sets the duration of [`EventLoop::set_busy_poll`]; zero by default.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let event_loop = EventLoop::builder().busy_poll(Duration::from_micros(50)).build(())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn busy_poll(mut self, duration: Duration) -> Self {
        self.busy_poll = duration;
        self
    }

    /// Puts the loop into a lab, as [`EventLoop::in_lab`] does.
    ///
    /// ```
    /// use polyselect::testing::{Disorder, Lab};
    /// use polyselect::{Backend, EventLoop};
    ///
    /// let lab = Lab::new(1, Disorder::none());
    /// let event_loop = EventLoop::builder().backend(Backend::Poll).lab(&lab).build(())?;
    /// assert_eq!(event_loop.now(), lab.now());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "testing")]
    pub fn lab(mut self, lab: &crate::testing::Lab) -> Self {
        self.lab = Some(lab.clone());
        self
    }

    #[cfg(feature = "testing")]
    fn clock(&self) -> Clock {
        self.lab.as_ref().map_or_else(Clock::current, Clock::of)
    }

    #[cfg(not(feature = "testing"))]
    #[allow(clippy::unused_self)]
    fn clock(&self) -> Clock {
        Clock::current()
    }

    /// Creates the loop.
    ///
    /// # Errors
    ///
    /// The errors of [`Selector::new`], or of [`Selector::with_backend`] if the backend was set.
    ///
    /// See [`EventLoopBuilder`] for an example.
    pub fn build<T: 'static>(self, state: T) -> io::Result<EventLoop<T>> {
        let selector = Selector::open(self.backend, self.clock())?;
        let mut event_loop = EventLoop::on(selector, state, &self.settings);
        event_loop.set_busy_poll(self.busy_poll);
        Ok(event_loop)
    }
}
