//! Changes of a watch: queued when they are made, sent to the backend when the wait begins.

use std::{fmt, io, mem};

use super::Selector;
use crate::descriptor::Descriptor;
use crate::error;
use crate::interest::{Interest, Watch};
use crate::key::Key;

impl<S, D> Selector<S, D> {
    /// Changes the interest of a registration; its mode stays. An empty interest pauses it: nothing is
    /// reported then, not even a hang-up.
    ///
    /// The change is sent to the kernel at the beginning of the next wait, so changes that cancel out before
    /// it cost nothing. If the kernel rejects it then, the registration gets a [`Ready::INVALID`] event. An
    /// edge-triggered registration reports present readiness again, and a one-shot is re-armed, also if
    /// the interest is the same. Does not block and makes no system call before the wait (except after
    /// [`descriptor`](Self::descriptor): then the change takes effect immediately).
    ///
    /// # Errors
    ///
    /// `NotFound` if the key names no registration of this selector; `Unsupported` if the backend cannot
    /// watch for `PRIORITY`; `InvalidInput` for `PRIORITY` on an exclusive registration;
    /// [`ForkedError`](crate::ForkedError). Nothing is changed then.
    ///
    /// [`Ready::INVALID`]: crate::Ready::INVALID
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Events, Interest, Selector};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// let mut selector = Selector::new()?;
    /// let key = selector.register(left, Interest::READABLE, ())?;
    /// selector.modify(key, Interest::READABLE | Interest::WRITABLE)?;
    ///
    /// let mut events = Events::with_capacity(8);
    /// selector.select(&mut events, None)?;
    /// assert!(events.iter().any(|event| event.key == key && event.is_writable()));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn modify(&mut self, key: Key, interest: Interest) -> io::Result<()> {
        self.change(key, |watch| watch.with_interest(interest))
    }

    /// Changes the interest and the mode of a registration. Takes effect as [`modify`](Self::modify) does.
    ///
    /// # Errors
    ///
    /// `NotFound` if the key names no registration of this selector; `Unsupported` if the backend lacks the
    /// mode; `InvalidInput` for a combination that no kernel has; [`ForkedError`](crate::ForkedError).
    /// Nothing is changed then.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// let mut selector = Selector::new()?;
    /// let key = selector.register(left, Interest::READABLE, ())?;
    /// selector.set_watch(key, Interest::WRITABLE.oneshot())?;
    /// assert!(selector[key].watch().is_oneshot());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_watch(&mut self, key: Key, watch: impl Into<Watch>) -> io::Result<()> {
        let watch = watch.into();
        self.change(key, |_| watch)
    }

    #[inline]
    fn change(&mut self, key: Key, next: impl FnOnce(Watch) -> Watch) -> io::Result<()> {
        self.home.check()?;
        if let Some(watch) = self.note_change(key, next)? {
            log::trace!("{key} modified: {watch:?}");
            if self.is_nested {
                self.apply_changes();
            }
        }
        Ok(())
    }

    /// Queues a change, and returns the new watch if there is something to send to the backend.
    #[inline]
    pub(super) fn note_change(
        &mut self,
        key: Key,
        next: impl FnOnce(Watch) -> Watch,
    ) -> io::Result<Option<Watch>> {
        let Some(registration) = self
            .registrations
            .get_mut(key.slot())
            .filter(|registration| registration.generation == key.generation())
        else {
            return Err(error::stale_key(key));
        };
        let (old, watch) = (registration.watch, next(registration.watch));
        // After a rejected change the same watch is tried again.
        let is_settled = registration.is_changed || registration.applied == old;
        if watch == old && is_settled && !watch.repeats() {
            return Ok(None);
        }
        self.backend.check(watch)?;
        registration.watch = watch;
        self.oneshots += usize::from(watch.is_oneshot());
        self.oneshots -= usize::from(old.is_oneshot());
        if !mem::replace(&mut registration.is_changed, true) {
            self.changes.push(key.slot() as u32);
        }
        Ok(Some(watch))
    }

    /// Sends the changes to the backend.
    pub(super) fn apply_changes(&mut self) {
        for index in 0..self.changes.len() {
            self.apply_change(self.changes[index] as usize);
        }
        self.changes.clear();
    }

    fn apply_change(&mut self, slot: usize) {
        let Some(registration) = self.registrations.get_mut(slot) else { return };
        if !mem::take(&mut registration.is_changed) {
            return; // Another registration has taken the slot.
        }
        let (watch, applied) = (registration.watch, registration.applied);
        if watch == applied && !watch.repeats() {
            return; // The changes have cancelled out.
        }
        let (descriptor, token) = (registration.descriptor, registration.token(slot));
        match self.poller.update(descriptor, token, applied.interest(), watch) {
            Ok(()) => {
                registration.applied = watch;
                registration.has_fired = false;
            }
            Err(error) => {
                registration.applied = watch.with_interest(Interest::empty());
                let key = registration.key(slot);
                // A failure here has the same cause as the rejection, which reports it.
                let _ = self.withdraw(key, descriptor, applied);
                self.rejected.push(Rejection { key, descriptor, error });
            }
        }
    }
}

/// A change that the kernel rejected.
pub(super) struct Rejection {
    pub(super) key: Key,
    pub(super) descriptor: Descriptor,
    pub(super) error: io::Error,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, descriptor, error } = self;
        write!(f, "{key}: a change of descriptor {descriptor} was rejected: {error}")
    }
}
