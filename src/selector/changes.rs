//! Changes to what is watched: noted when they are made, told when the wait begins.

use std::{io, mem};

use super::Selector;
use crate::error;
use crate::interest::Interest;
use crate::key::{Key, Token};
use crate::registration::Registration;

impl<S, D> Selector<S, D> {
    /// Changes what a registration is watched for; its mode stays. An empty interest pauses it:
    /// nothing is reported then, not even a hang-up.
    ///
    /// The kernel is told at the beginning of the next wait, so that changes that cancel out before
    /// it cost nothing; if it refuses then, the registration gets a [`Ready::INVALID`] event. An
    /// edge-triggered registration reports present readiness again, and a one-shot is armed again,
    /// also if the interest is the same. Does not block and, before the wait, makes no system call
    /// (unless [`descriptor`](Self::descriptor) was asked for: then it takes effect at once).
    ///
    /// # Errors
    ///
    /// `NotFound` if the key names no registration here; `Unsupported` if the mechanism cannot
    /// watch for `PRIORITY`; `InvalidInput` for `PRIORITY` on an exclusive registration; `Other`
    /// after a fork. Nothing is changed then.
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
        self.home.check()?;
        let Some(registration) = self
            .registrations
            .get_mut(key.slot())
            .filter(|registration| registration.generation == key.generation())
        else {
            return Err(error::stale_key(key));
        };
        let watch = registration.watch.with_interest(interest);
        if watch == registration.watch && !watch.repeats() {
            return Ok(());
        }
        if interest.contains(Interest::PRIORITY) {
            self.backend.check(registration.descriptor, watch)?;
        }
        registration.watch = watch;
        if !registration.changed {
            registration.changed = true;
            self.changes.push(key.slot() as u32);
        }
        log::trace!("{key} modified: {watch:?}");
        if self.nest.is_some() {
            self.apply_changes();
            self.refresh_nest();
        }
        Ok(())
    }

    /// Tells the mechanism what has been modified.
    pub(super) fn apply_changes(&mut self) {
        let mut changes = mem::take(&mut self.changes);
        for slot in changes.drain(..) {
            let Some(registration) = self.registrations.get_mut(slot as usize) else { continue };
            if !mem::take(&mut registration.changed) {
                continue; // another registration has the slot by now
            }
            let Registration { descriptor, watch, applied, generation, .. } = *registration;
            let interest = watch.interest();
            if interest == applied && !watch.repeats() {
                continue; // it has cancelled out
            }
            let key = Key::new(slot, generation);
            let token = Token::new(key, interest);
            match self.mechanism.update_directly(descriptor, token, applied, watch) {
                Ok(()) => {
                    registration.applied = interest;
                    registration.spent = false;
                }
                Err(error) => {
                    log::debug!("{key}: a change of descriptor {descriptor} was refused: {error}");
                    registration.applied = Interest::empty();
                    let nothing = watch.with_interest(Interest::empty());
                    if self.mechanism.update(descriptor, token, applied, nothing).is_err() {
                        self.stale_events = true;
                    }
                    self.refused.push(key);
                }
            }
        }
        self.changes = changes;
    }
}
