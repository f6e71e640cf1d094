//! A loop inside another loop.

use std::time::Instant;

use super::EventLoop;
use super::signals::Signals;

impl<T: 'static> EventLoop<T> {
    /// Returns a descriptor that is readable while the loop has something to do for a source, a signal, a child or
    /// another thread. With it the loop can run inside another one: of a graphical toolkit, for example.
    ///
    /// The other loop waits until it is readable, or until [`next_deadline`](Self::next_deadline) at the latest, and
    /// then calls [`turn`](Self::turn) with [`Duration::ZERO`](std::time::Duration::ZERO). For its limits, such as
    /// [`rebuild`](Self::rebuild), which makes it stale, see [`Selector::descriptor`](crate::Selector::descriptor).
    ///
    /// # Errors
    ///
    /// The errors of [`Selector::descriptor`](crate::Selector::descriptor): `Unsupported` on some backends.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use polyselect::{Backend, EventLoop, Events, Interest, Selector};
    /// use std::time::{Duration, Instant};
    ///
    /// let mut inner = EventLoop::with_backend(Backend::Epoll, 0)?;
    /// inner.call_later(Duration::from_millis(1), |inner| inner.state += 1);
    ///
    /// // In the place of any other loop.
    /// let mut outer = Selector::new()?;
    /// outer.register(inner.descriptor()?, Interest::READABLE, ())?;
    /// let mut events = Events::with_capacity(8);
    /// while let Some(deadline) = inner.next_deadline() {
    ///     outer.select(&mut events, deadline.saturating_duration_since(Instant::now()))?;
    ///     inner.turn(Duration::ZERO)?;
    /// }
    /// assert_eq!(inner.state, 1);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(unix)]
    pub fn descriptor(&mut self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.sources.selector.descriptor()
    }

    /// Returns the moment by which [`turn`](Self::turn) should be called even if nothing becomes ready: the deadline of
    /// the first timer, or a moment that has passed if calls are queued or tasks are woken. Otherwise `None`.
    ///
    /// Call it before each wait of the outer loop, because code on the same thread can queue and
    /// wake without making the loop's descriptor readable.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// assert_eq!(event_loop.next_deadline(), None);
    /// event_loop.call_later(Duration::from_secs(60), |_loop| {});
    /// assert!(event_loop.next_deadline() > Some(event_loop.now()));
    /// event_loop.call_soon(|_loop| {});
    /// assert!(event_loop.next_deadline() <= Some(event_loop.now()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next_deadline(&mut self) -> Option<Instant> {
        let is_due = self.has_errands()
            || self.has_work_due()
            || self.delivered < self.events.len()
            || self.must_stop;
        if is_due { Some(self.now()) } else { self.timers.next_deadline() }
    }

    /// Whether something runs in the next iteration whatever becomes ready.
    #[inline]
    pub(super) fn has_work_due(&self) -> bool {
        #[cfg(unix)]
        if self.children.is_due() {
            return true;
        }
        #[cfg(feature = "async")]
        if self.tasks.has_woken() {
            return true;
        }
        !self.calls.is_empty() || self.signals.as_ref().is_some_and(Signals::is_due)
    }
}
