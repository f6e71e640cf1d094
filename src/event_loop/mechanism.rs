//! The mechanism under a loop: which it is, and what can be done with it from outside.

use std::io;
use std::time::Duration;

use super::EventLoop;
use crate::backend::Backend;

impl<T: 'static> EventLoop<T> {
    /// The mechanism in use.
    ///
    /// See [`with_backend`](Self::with_backend) for an example.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.selector.backend()
    }

    /// Looks for events without sleeping for so long, before each sleep. As
    /// [`Selector::set_busy_poll`](crate::Selector::set_busy_poll).
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// event_loop.set_busy_poll(Duration::from_micros(50));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_busy_poll(&mut self, duration: Duration) {
        self.selector.set_busy_poll(duration);
    }

    /// Makes the loop usable in a forked child, where before that everything but dropping it is an
    /// error. As [`Selector::rebuild`](crate::Selector::rebuild).
    ///
    /// Sources, timers, calls and callbacks of signals go on in the child; the children that are
    /// watched are the parent's, and their callbacks get an error (`ECHILD`) there.
    ///
    /// # Errors
    ///
    /// As there; nothing has changed then.
    ///
    /// ```
    /// let mut event_loop = polyselect::EventLoop::new(())?;
    /// event_loop.rebuild()?; // also without a fork, if somebody closed what it stands on
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn rebuild(&mut self) -> io::Result<()> {
        self.selector.rebuild()
    }

    /// Moves the running loop to another mechanism. As
    /// [`Selector::rebuild_with`](crate::Selector::rebuild_with).
    ///
    /// # Errors
    ///
    /// As there; nothing has changed then.
    ///
    /// ```
    /// use polyselect::{Backend, EventLoop};
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// event_loop.rebuild_with(Backend::Poll)?;
    /// assert_eq!(event_loop.backend(), Backend::Poll);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn rebuild_with(&mut self, backend: Backend) -> io::Result<()> {
        #[cfg(feature = "async")]
        return self.across_mechanisms(|event_loop| event_loop.selector.rebuild_with(backend));
        #[cfg(not(feature = "async"))]
        return self.selector.rebuild_with(backend);
    }
}
