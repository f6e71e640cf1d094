//! A new kernel object for a selector: after a fork, or on another backend.

use std::io;

use super::modify::Rejection;
use super::{Selector, watch_waker};
use crate::backend::{AnyPoller, Backend};
use crate::fork::HomeProcess;
use crate::interest::Interest;

impl<S, D> Selector<S, D> {
    /// Opens the backend again and registers all sources there; for a child of `fork`.
    ///
    /// After a fork, parent and child share the kernel object, and the changes of one affect the other. So
    /// in the child every call that needs the kernel fails until this is called (or the selector is
    /// dropped, which leaves the parent's registrations alone). Wakers that were cloned before the fork
    /// then wake this selector, and no longer the parent's. A descriptor that
    /// [`descriptor`](Self::descriptor) returned earlier is stale.
    ///
    /// Keys stay valid. One-shots that have fired stay so, and so do registrations that were `INVALID`; edges
    /// that are ready are reported again. Costs at least one system call for each registration. Does not
    /// block, except on io_uring, where it can block for some milliseconds, until the kernel has released the
    /// files of the former ring; at most 50 if the process has forked since.
    ///
    /// # Errors
    ///
    /// The errors of [`with_backend`](Self::with_backend) and [`register`](Self::register); the selector is
    /// unchanged then. A descriptor that was closed behind the selector's back is not an error: its
    /// registration gets an `INVALID` event.
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

    /// Moves all registrations to another backend, or none of them. Otherwise like
    /// [`rebuild`](Self::rebuild).
    ///
    /// # Errors
    ///
    /// The errors of [`rebuild`](Self::rebuild), and `Unsupported` if this system lacks the backend, or the
    /// backend lacks the mode of a registration. The selector is unchanged then.
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
        self.move_to(backend)?;
        log::debug!("selector rebuilt on {backend}");
        Ok(())
    }

    pub(super) fn move_to(&mut self, backend: Backend) -> io::Result<()> {
        for (_, registration) in &self.registrations {
            backend.check(registration.watch)?;
        }
        let mut poller = self.clock.wrap(backend, backend.open()?);
        if let Some(waker) = &self.waker {
            #[cfg(unix)]
            if !self.home.is_here() {
                waker.renew()?;
            }
            watch_waker(&mut poller, waker)?;
        }
        let not_open = self.hand_over(&mut poller)?;

        // Nothing fails from here on.
        self.silence_duplicates();
        self.is_nested = false;
        self.changes.clear();
        for (_, registration) in &mut self.registrations {
            let is_silent = registration.is_silent();
            registration.has_fired &= !registration.is_changed;
            registration.is_changed = false;
            registration.applied = registration.watch;
            if is_silent {
                registration.applied = registration.watch.with_interest(Interest::empty());
            }
        }
        for Rejection { key, .. } in &not_open {
            let registration = &mut self.registrations[key.slot()];
            registration.applied = registration.watch.with_interest(Interest::empty());
        }
        self.rejected.extend(not_open);
        #[cfg(windows)]
        if let Some(waker) = &self.waker {
            waker.set_port(poller.port());
        }
        self.poller = poller;
        self.backend = backend;
        self.home = HomeProcess::here();
        self.has_stale_events = false;
        Ok(())
    }

    /// Registers everything that is watched with `poller`; returns a rejection for each descriptor
    /// that is not open.
    fn hand_over(&self, poller: &mut AnyPoller) -> io::Result<Vec<Rejection>> {
        let mut not_open = Vec::new();
        for (slot, registration) in &self.registrations {
            if registration.is_silent() || registration.watch.interest().is_empty() {
                continue;
            }
            let (descriptor, token) = (registration.descriptor, registration.token(slot));
            match poller.update(descriptor, token, Interest::empty(), registration.watch) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    not_open.push(Rejection { key: registration.key(slot), descriptor, error });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(not_open)
    }
}
