//! A new kernel object for a selector that goes on: after a fork, or on another mechanism.

use std::io;

use super::{Selector, watch_waker};
use crate::backend::{Backend, Mechanism};
use crate::fork::HomeProcess;
use crate::interest::Interest;
use crate::key::{Key, Token};

impl<S, D> Selector<S, D> {
    /// Opens the mechanism anew and registers everything there; for a child of `fork`.
    ///
    /// After a fork, parent and child share the kernel object, and what one does with it the other
    /// gets to feel. So in the child nothing works that asks the kernel until this was called (or
    /// the selector is dropped, which leaves the parent's alone). Wakers that were cloned before
    /// the fork wake this selector from then on; they no longer have to do with the parent's.
    /// A descriptor for nesting must be asked for again.
    ///
    /// Keys stay valid. One-shots that have fired stay so, edges that are ready are reported once
    /// more. Costs one system call or more for each registration, and does not block.
    ///
    /// # Errors
    ///
    /// As [`with_backend`](Self::with_backend) and [`register`](Self::register). Everything is as
    /// it was then. A descriptor that was closed behind the selector's back is no error: it gets an
    /// `INVALID` event.
    ///
    /// ```
    /// # use polyselect::Selector;
    /// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// selector.rebuild()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn rebuild(&mut self) -> io::Result<()> {
        self.rebuild_with(self.backend)
    }

    /// Moves to another mechanism, with all that is registered, all or nothing. Else it does what
    /// [`rebuild`](Self::rebuild) does.
    ///
    /// # Errors
    ///
    /// As [`rebuild`](Self::rebuild); and `Unsupported` if this system lacks the mechanism, or the
    /// mechanism what one of the registrations needs, or nesting when
    /// [`descriptor`](Self::descriptor) was asked for. Everything is as it was then.
    ///
    /// ```
    /// use polyselect::{Backend, Selector};
    ///
    /// let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// selector.rebuild_with(Backend::Poll)?;
    /// assert_eq!(selector.backend(), Backend::Poll);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn rebuild_with(&mut self, backend: Backend) -> io::Result<()> {
        for (_, registration) in &self.registrations {
            backend.check(registration.descriptor, registration.watch)?;
        }
        let forked = !self.home.is_here();
        // In a child the nest is the parent's.
        let nest = self.nest.as_ref().filter(|_| !forked);
        if nest.is_some() && !backend.abilities().nesting {
            return Err(backend.unable("nesting", |abilities| abilities.nesting));
        }
        let mut mechanism = backend.open()?;
        if let Some(waker) = &self.waker {
            #[cfg(unix)]
            if forked {
                waker.renew()?;
            }
            watch_waker(&mut *mechanism, waker)?;
        }
        let not_open = self.hand_over(&mut *mechanism)?;
        if let Some(nest) = nest {
            nest.attach(&mut *mechanism)?;
        }

        // Nothing fails from here on.
        self.nest.take_if(|_| forked);
        self.changes.clear();
        for (_, registration) in &mut self.registrations {
            registration.spent &= !registration.changed;
            registration.changed = false;
            let watched = !registration.spent;
            registration.applied =
                if watched { registration.watch.interest() } else { Interest::empty() };
        }
        for key in not_open {
            self.registrations[key.slot()].applied = Interest::empty();
            self.refused.push(key);
        }
        self.mechanism = mechanism;
        self.backend = backend;
        self.home = HomeProcess::here();
        self.stale_events = false;
        self.refresh_nest();
        log::debug!("selector rebuilt on {backend}");
        Ok(())
    }

    /// Registers everything that is watched; returns what turned out not to be open.
    fn hand_over(&self, mechanism: &mut dyn Mechanism) -> io::Result<Vec<Key>> {
        let mut not_open = Vec::new();
        for (slot, registration) in &self.registrations {
            let armed = !registration.spent || registration.changed;
            if !armed || registration.watch.interest().is_empty() {
                continue;
            }
            let key = Key::new(slot as u32, registration.generation);
            let token = Token::new(key, registration.watch.interest());
            let nothing = Interest::empty();
            match mechanism.update(registration.descriptor, token, nothing, registration.watch) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => not_open.push(key),
                Err(error) => return Err(error),
            }
        }
        Ok(not_open)
    }
}
