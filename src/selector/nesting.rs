//! A selector inside another loop.

#[cfg(unix)]
use std::io;

use super::Selector;
use crate::interest::Interest;
use crate::key::Token;

impl<S, D> Selector<S, D> {
    /// Returns a duplicate of the backend's kernel object: a descriptor that is readable while a registration
    /// is ready. With it this selector can be registered with another selector or any other loop.
    ///
    /// When it is readable, call [`select`](Self::select) with a timeout of zero. It may be readable once
    /// more than there are events: a `select` that returns none resets it. Only waiting for readability is
    /// allowed. From the first call on, changes are applied immediately, because an outer loop may be
    /// waiting; that costs a system call for each, also for those that cancel out.
    ///
    /// Files that are always ready (regular files, `/dev/null`) do not show in it, nor does the `INVALID` event
    /// of a rejected change: the next `select` returns them. A [`rebuild`](Self::rebuild) makes it stale: it is
    /// never readable again, and a new one must be registered. Dropping the selector has the same effect. One
    /// `dup`; does not block.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the backend has no kernel object that can be watched
    /// ([`Capabilities::nesting`](crate::Capabilities::nesting)); the message names the backends that have.
    /// [`ForkedError`](crate::ForkedError). Too many descriptors are open (`EMFILE`), or memory is exhausted
    /// (`ENOMEM`).
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use polyselect::{Backend, Events, Interest, Selector};
    /// use std::{io::Write, os::unix::net::UnixStream, time::Duration};
    ///
    /// let (mut left, right) = UnixStream::pair()?;
    /// let mut inner = Selector::with_backend(Backend::Epoll)?;
    /// inner.register(right, Interest::READABLE, ())?;
    ///
    /// let mut outer = Selector::with_backend(Backend::Poll)?;
    /// outer.register(inner.descriptor()?, Interest::READABLE, "the inner selector")?;
    /// left.write_all(b"!")?;
    /// let mut events = Events::with_capacity(8);
    /// assert_eq!(outer.select(&mut events, None)?, 1);
    /// assert_eq!(inner.select(&mut events, Duration::ZERO)?, 1);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(unix)]
    pub fn descriptor(&mut self) -> io::Result<std::os::fd::OwnedFd> {
        self.home.check()?;
        if !self.backend.capabilities().nesting {
            return Err(self.backend.unsupported("nesting", |can| can.nesting));
        }
        let descriptor = self.poller.descriptor()?;
        self.is_nested = true;
        self.apply_changes();
        Ok(descriptor)
    }

    /// Empties the kernel object, which lives on in duplicates that other loops may watch.
    pub(super) fn silence_duplicates(&mut self) {
        if !self.is_nested || !self.home.is_here() {
            return;
        }
        let nothing = Interest::empty();
        for (slot, registration) in &self.registrations {
            let (token, old) = (registration.token(slot), registration.applied);
            if !old.interest().is_empty() {
                let removal = old.with_interest(nothing);
                // A closed descriptor cannot be removed.
                let _ = self.poller.update(registration.descriptor, token, old.interest(), removal);
            }
        }
        if let Some(waker) = &self.waker {
            let (read, removal) = (Interest::READABLE, nothing.into());
            if let Ok(descriptor) = waker.descriptor() {
                let _ = self.poller.update(descriptor, Token::WAKER, read, removal);
            }
        }
    }
}
