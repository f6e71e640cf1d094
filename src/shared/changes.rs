//! The changes: registering, modifying, unregistering, and moving to another backend.

use std::io;
use std::sync::atomic::Ordering;

use super::protocol::Needs;
use super::{SharedSelector, check_shared};
use crate::backend::Backend;
use crate::descriptor::Descriptor;
use crate::error::{self, RegisterError};
use crate::interest::{Interest, Watch};
use crate::key::Key;
use crate::registration::Registration;
use crate::selector::shareable::SharedState;
use crate::source::Source;

impl<S, D> SharedSelector<S, D> {
    /// Registers a source, which the selector owns from then on. Takes effect immediately, also for a
    /// thread that is inside [`select`](Self::select).
    ///
    /// `watch` is an [`Interest`], or with a mode other than level-triggered a [`Watch`]. On epoll it is one
    /// `epoll_ctl`. On other backends, and if another thread waits, it blocks until that thread has left its system
    /// call.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] lists them, and returns source and data. Nothing is registered then.
    ///
    /// ```
    /// use polyselect::{Interest, SharedSelector};
    /// use std::net::UdpSocket;
    ///
    /// let selector = SharedSelector::new()?;
    /// let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    /// let key = selector.register(socket, Interest::READABLE, "questions")?;
    /// assert_eq!(selector.with(key, |_socket, data| *data), Some("questions"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    // Inlined with epoll's system call: see `backend/epoll.rs`.
    #[inline(always)]
    pub fn register(
        &self,
        source: S,
        watch: impl Into<Watch>,
        data: D,
    ) -> Result<Key, RegisterError<S, D>>
    where
        S: Source,
    {
        // Before the lock, because both may be code of the user's.
        let (descriptor, watch) = (Descriptor::of(&source), watch.into());
        let needs = if watch.interest().is_empty() { Needs::Nothing } else { Needs::Backend };
        let result = self.0.protocol.change(
            (source, data),
            |_| needs,
            |state, (source, data)| state.insert(descriptor, watch, source, data),
        );
        let key = match result {
            Ok(result) => result?,
            Err((error, (source, data))) => return Err(RegisterError::new(error, source, data)),
        };
        log::trace!("{key} registered: descriptor {descriptor}, {watch:?}");
        Ok(key)
    }

    /// Unregisters a source and returns it with its data. Takes effect immediately: when it returns, the kernel
    /// holds no reference to the file, whatever thread waits. A `select` that has already returned may have
    /// an event of this key; it finds nothing.
    ///
    /// On epoll it is one `epoll_ctl`. On other backends, and if another thread waits, it blocks until that thread
    /// has left its system call.
    ///
    /// # Errors
    ///
    /// `NotFound` if the key names no registration of this selector, because another thread was quicker, for
    /// example; [`ForkedError`](crate::ForkedError). The source stays registered if the waiting thread cannot be
    /// woken, which is an error of the channel's system call.
    ///
    /// ```
    /// # use polyselect::{Interest, SharedSelector};
    /// # use std::{io::ErrorKind, net::UdpSocket};
    /// # let selector = SharedSelector::new()?;
    /// # let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    /// let key = selector.register(socket, Interest::READABLE, "data")?;
    /// let (socket, data) = selector.unregister(key)?.into_parts();
    /// assert_eq!(selector.unregister(key).unwrap_err().kind(), ErrorKind::NotFound);
    /// # drop((socket, data));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    // Inlined with epoll's system call: see `backend/epoll.rs`.
    #[inline(always)]
    pub fn unregister(&self, key: Key) -> io::Result<Registration<S, D>> {
        let needs = |state: &SharedState<S, D>| state.removal_needs(key);
        match self.0.protocol.change((), needs, |state, ()| state.take_out(key)) {
            Ok(Some((registration, removal))) => {
                registration.log_removal(key.slot(), removal);
                Ok(registration)
            }
            Ok(None) => Err(error::stale_key(key)),
            Err((error, ())) => Err(error),
        }
    }

    /// Changes the interest of a registration; its mode stays. An empty interest pauses it.
    ///
    /// If no thread waits, the change is sent to the kernel at the beginning of the next wait, so changes that
    /// cancel out before it cost nothing. If a thread waits, it takes effect immediately: on epoll by one
    /// `epoll_ctl`; on other backends the waiting thread is woken, which sends it. If the kernel rejects the
    /// change, the registration gets a [`Ready::INVALID`](crate::Ready::INVALID) event. An edge-triggered
    /// registration reports present readiness again, and a one-shot is re-armed, also if the interest is the
    /// same. Does not block.
    ///
    /// A wait that returns later reports no event of the interest before. A one-shot that is
    /// re-armed while a thread waits may be reported once more than it is ready.
    ///
    /// # Errors
    ///
    /// `NotFound` if the key names no registration of this selector; `Unsupported` if the backend cannot
    /// watch for `PRIORITY`; `InvalidInput` for `PRIORITY` on an exclusive registration;
    /// [`ForkedError`](crate::ForkedError). Nothing is changed then.
    ///
    /// ```
    /// # use polyselect::{Events, Interest, SharedSelector};
    /// # use std::net::UdpSocket;
    /// # let selector = SharedSelector::new()?;
    /// # let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    /// let key = selector.register(socket, Interest::READABLE, ())?;
    /// selector.modify(key, Interest::WRITABLE)?;
    ///
    /// let mut events = Events::with_capacity(8);
    /// selector.select(&mut events, None)?;
    /// assert!(events.iter().any(|event| event.key == key && event.is_writable()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn modify(&self, key: Key, interest: Interest) -> io::Result<()> {
        self.note_change(key, |watch| watch.with_interest(interest))
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
    /// # use polyselect::{Interest, SharedSelector};
    /// # use std::net::UdpSocket;
    /// # let selector = SharedSelector::new()?;
    /// # let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    /// let key = selector.register(socket, Interest::READABLE, ())?;
    /// selector.set_watch(key, Interest::WRITABLE.oneshot())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_watch(&self, key: Key, watch: impl Into<Watch>) -> io::Result<()> {
        let watch = watch.into();
        self.note_change(key, |_| watch)
    }

    fn note_change(&self, key: Key, next: impl FnOnce(Watch) -> Watch) -> io::Result<()> {
        let result = self.0.protocol.change(
            next,
            |_| Needs::Nothing,
            |state, next| state.note_change(key, next),
        );
        if let Some(watch) = result.unwrap_or_else(|(error, _)| Err(error))? {
            log::trace!("{key} modified: {watch:?}");
        }
        Ok(())
    }

    /// Moves all registrations to another backend, or none of them, also while another thread waits. Keys stay
    /// valid. Costs at least one system call for each registration, and blocks until a thread that waits has
    /// left its system call.
    ///
    /// # Errors
    ///
    /// The errors of [`with_backend`](Self::with_backend) and [`register`](Self::register), and `Unsupported`
    /// if the backend lacks the mode of a registration. The selector is unchanged then. A descriptor that was
    /// closed behind the selector's back is not an error: its registration gets an `INVALID` event.
    ///
    /// ```
    /// use polyselect::{Backend, SharedSelector};
    ///
    /// let selector: SharedSelector<std::net::TcpStream> = SharedSelector::new()?;
    /// selector.rebuild_with(Backend::Poll)?;
    /// assert_eq!(selector.backend(), Backend::Poll);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn rebuild_with(&self, backend: Backend) -> io::Result<()> {
        check_shared(backend)?;
        let result = self.0.protocol.change(
            (),
            |_| Needs::NoWait,
            |state, ()| {
                state.move_to(backend)?;
                self.0.backend.store(backend.index(), Ordering::Relaxed);
                Ok(())
            },
        );
        result.unwrap_or_else(|(error, ())| Err(error))?;
        log::debug!("selector rebuilt on {backend}");
        Ok(())
    }
}
