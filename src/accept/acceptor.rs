//! [`Acceptor`]: the listeners of a [`Selector`].

use std::io;
use std::time::{Duration, Instant};

use super::{Batch, REST, is_exhausted};
use crate::event::Events;
use crate::interest::Interest;
use crate::key::Key;
use crate::registration::Registration;
use crate::selector::Selector;

/// Accepts connections from the listeners of a [`Selector`], in batches, and pauses a listener when
/// descriptors or memory are exhausted.
///
/// A program has one, for all its listeners, which are non-blocking and level-triggered.
///
/// ```
/// use polyselect::{Events, Interest, Listener, Selector, accept::Acceptor};
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind(("127.0.0.1", 0))?;
/// listener.set_nonblocking(true)?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
///
/// let mut selector = Selector::new()?;
/// selector.register(listener, Interest::READABLE, ())?;
/// let mut acceptor = Acceptor::new();
/// let mut events = Events::with_capacity(64);
/// acceptor.select(&mut selector, &mut events, None)?;
/// for event in &events {
///     while let Some((connection, address)) =
///         acceptor.next(&mut selector, event.key, Listener::accept)?
///     {
///         assert_eq!(address, client.local_addr()?);
///         # drop(connection);
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Acceptor {
    batch: Batch,
    /// The listeners that are paused for [`REST`], each with the end of its pause.
    resting: Vec<(Key, Instant)>,
}

impl Acceptor {
    /// Creates an acceptor for the listeners of one selector.
    ///
    /// See [`Acceptor`] for an example.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits as [`Selector::select`] does, and resumes listeners that have been paused for [`REST`].
    ///
    /// Blocks for up to `timeout`, or until the pause of a listener is over: then it returns 0 early.
    ///
    /// # Errors
    ///
    /// The errors of [`Selector::select`] and [`Selector::modify`].
    ///
    /// See [`Acceptor`] for an example.
    pub fn select<S, D>(
        &mut self,
        selector: &mut Selector<S, D>,
        events: &mut Events,
        timeout: impl Into<Option<Duration>>,
    ) -> io::Result<usize> {
        let mut timeout = timeout.into();
        if !self.resting.is_empty() {
            let now = selector.now();
            self.resume_rested(selector, now)?;
            let rests = self.resting.iter().map(|&(_, end)| end.saturating_duration_since(now));
            timeout = rests.chain(timeout).min();
        }
        selector.select(events, timeout)
    }

    /// Accepts the next connection for an event of `listener`, or returns `None`: no connection waits, the
    /// batch of [`BATCH`](super::BATCH) is complete, descriptors or memory are exhausted, or the listener
    /// is paused or unregistered.
    ///
    /// Calls `accept` with the source: [`Listener::accept`](crate::Listener::accept), whose connections
    /// are non-blocking, or for sources of several types a closure that finds the listener.
    /// A connection that fails while it is accepted is logged (`log::debug!`) and skipped; a pause for
    /// [`REST`] is logged too (`log::warn!`). Does not block if the listener is non-blocking.
    ///
    /// # Errors
    ///
    /// The error of `accept` if the source does not listen (`EBADF`, `EINVAL`, `ENOTSOCK`, `EOPNOTSUPP`);
    /// the errors of [`Selector::modify`] if the listener cannot be paused.
    ///
    /// See [`Acceptor`] for an example.
    pub fn next<S, D, T>(
        &mut self,
        selector: &mut Selector<S, D>,
        listener: Key,
        mut accept: impl FnMut(&S) -> io::Result<T>,
    ) -> io::Result<Option<T>> {
        let accepted = match selector.get(listener) {
            Some(it) if it.interest().contains(Interest::READABLE) => {
                self.batch.next(|| accept(it.source()))
            }
            _ => Ok(None),
        };
        if !matches!(accepted, Ok(Some(_))) {
            self.batch = Batch::new();
        }
        match accepted {
            Err(error) if is_exhausted(&error) => {
                log::warn!("{listener}: no connection is accepted for {REST:?}: {error}");
                self.pause(selector, listener)?;
                self.resting.push((listener, selector.now() + REST));
                Ok(None)
            }
            accepted => accepted,
        }
    }

    /// Pauses a listener until [`resume`](Self::resume) is called, for example because as many clients are
    /// connected as the server can hold. Connections wait in the kernel's queue meanwhile.
    ///
    /// In contrast to a [`modify`](Selector::modify) to no interest it also ends a pause for [`REST`], after
    /// which the listener would be resumed. Does not block.
    ///
    /// # Errors
    ///
    /// Fails as [`Selector::modify`] does.
    ///
    /// ```
    /// # use polyselect::{Interest, Selector, accept::Acceptor};
    /// # let mut selector = Selector::new()?;
    /// # let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    /// # let key = selector.register(listener, Interest::READABLE, ())?;
    /// let mut acceptor = Acceptor::new();
    /// acceptor.pause(&mut selector, key)?;
    /// assert!(selector[key].interest().is_empty());
    /// acceptor.resume(&mut selector, key)?;
    /// assert_eq!(selector[key].interest(), Interest::READABLE);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pause<S, D>(&mut self, selector: &mut Selector<S, D>, listener: Key) -> io::Result<()> {
        self.set_accepting(selector, listener, false)
    }

    /// Resumes a listener that was paused, whatever the reason. Does not block.
    ///
    /// # Errors
    ///
    /// Fails as [`Selector::modify`] does.
    ///
    /// See [`pause`](Self::pause) for an example.
    pub fn resume<S, D>(&mut self, selector: &mut Selector<S, D>, listener: Key) -> io::Result<()> {
        self.set_accepting(selector, listener, true)
    }

    fn set_accepting<S, D>(
        &mut self,
        selector: &mut Selector<S, D>,
        listener: Key,
        accepts: bool,
    ) -> io::Result<()> {
        // A stale key has no interest, and `modify` returns `NotFound` for it.
        let mut interest = selector.get(listener).map_or(Interest::empty(), Registration::interest);
        interest.set(Interest::READABLE, accepts);
        selector.modify(listener, interest)?;
        self.resting.retain(|&(key, _)| key != listener);
        Ok(())
    }

    fn resume_rested<S, D>(
        &mut self,
        selector: &mut Selector<S, D>,
        now: Instant,
    ) -> io::Result<()> {
        self.resting.retain(|&(listener, _)| selector.contains(listener));
        while let Some(&(listener, _)) = self.resting.iter().find(|&&(_, end)| end <= now) {
            self.resume(selector, listener)?;
        }
        Ok(())
    }
}
