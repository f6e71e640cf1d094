//! A selector inside another event loop: a descriptor that is readable when `select` would return.

use super::Selector;
use crate::backend::Mechanism;

#[cfg(not(any(epoll, kqueue)))]
pub(super) use absent::Nest;
#[cfg(any(epoll, kqueue))]
pub(super) use around::Nest;

impl<S, D> Selector<S, D> {
    /// A descriptor that is readable while `select` would return at once: to register this selector
    /// with another one, or with any other loop.
    ///
    /// It may be readable once more than that: a `select` that finds nothing settles it. Nothing but
    /// waiting for readability may be done with it. It stays the same until the
    /// selector is rebuilt in a forked child; there it must be asked for again. From the first call
    /// on changes take effect at once, for somebody may already be waiting; that costs the
    /// cancelling out of changes.
    ///
    /// # Errors
    ///
    /// `Unsupported` if this mechanism has no object in the kernel that could be watched
    /// ([`Abilities::nesting`](crate::Abilities::nesting)); the message names those that do. `Other`
    /// after a fork. Too many descriptors are open (`EMFILE`, `ENFILE`), or there is no memory.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use polyselect::{Backend, Events, Interest, Selector};
    /// use std::{io::Write, os::{fd::AsFd, unix::net::UnixStream}};
    ///
    /// let (mut left, right) = UnixStream::pair()?;
    /// let mut inner = Selector::with_backend(Backend::Epoll)?;
    /// inner.register(right, Interest::READABLE, ())?;
    ///
    /// let inside = inner.descriptor()?;
    /// let mut outer = Selector::with_backend(Backend::Poll)?;
    /// outer.register(inside, Interest::READABLE, "the inner selector")?;
    /// left.write_all(b"!")?;
    /// assert_eq!(outer.select(&mut Events::with_capacity(8), None)?, 1);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(unix)]
    pub fn descriptor(&mut self) -> std::io::Result<rustix::fd::BorrowedFd<'_>> {
        self.home.check()?;
        if self.nest.is_none() {
            if !self.backend.abilities().nesting {
                return Err(self.backend.unable("nesting", |abilities| abilities.nesting));
            }
            let nest = Nest::open()?;
            nest.attach(&mut *self.mechanism)?;
            self.nest = Some(nest);
            self.apply_changes();
            self.refresh_nest();
        }
        Ok(self.nest.as_ref().expect("opened above").descriptor())
    }

    /// Tells the nest whether there is something that the mechanism's own descriptor does not show.
    #[inline]
    pub(super) fn refresh_nest(&mut self) {
        if let Some(nest) = &mut self.nest {
            if let Err(error) = self.mechanism.flush() {
                // The next wait tries again, and returns the error.
                log::debug!("{}: {error}", self.backend);
            }
            nest.show(self.mechanism.has_hidden_event() || !self.refused.is_empty());
        }
    }
}

/// A kernel object around the mechanism's own, so that the number stays when that is renewed, and a
/// beacon in it for what the mechanism finds without the kernel.
#[cfg(any(epoll, kqueue))]
mod around {
    use std::io;

    use rustix::fd::{AsFd, BorrowedFd};

    use super::{Mechanism, outer::Outer};
    use crate::waker::Channel;

    #[derive(Debug)]
    pub(crate) struct Nest {
        outer: Outer,
        beacon: Channel,
        lit: bool,
    }

    impl Nest {
        pub(crate) fn open() -> io::Result<Self> {
            let nest = Self { outer: Outer::open()?, beacon: Channel::new()?, lit: false };
            nest.outer.watch(nest.beacon.reader().as_fd())?;
            Ok(nest)
        }

        /// Shows the events of this mechanism. Those of an earlier one end when that is dropped.
        pub(crate) fn attach(&self, mechanism: &mut dyn Mechanism) -> io::Result<()> {
            mechanism.descriptor()?.map_or(Ok(()), |inner| self.outer.watch(inner))
        }

        pub(crate) fn show(&mut self, lit: bool) {
            if lit == self.lit {
                return;
            }
            if !lit {
                self.beacon.drain();
            } else if let Err(error) = self.beacon.signal() {
                log::error!("a nested selector could not show an event: {error}");
                return;
            }
            self.lit = lit;
        }

        pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
            self.outer.as_fd()
        }
    }
}

#[cfg(epoll)]
mod outer {
    use std::io;

    use rustix::event::epoll;
    use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

    #[derive(Debug)]
    pub(super) struct Outer(OwnedFd);

    impl Outer {
        pub(super) fn open() -> io::Result<Self> {
            Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
        }

        pub(super) fn watch(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
            let data = epoll::EventData::new_u64(0);
            Ok(epoll::add(&self.0, descriptor, data, epoll::EventFlags::IN)?)
        }

        pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(kqueue)]
mod outer {
    pub(super) use crate::backend::Queue as Outer;
}

/// Systems on which no mechanism nests.
#[cfg(not(any(epoll, kqueue)))]
mod absent {
    use std::io;

    use super::Mechanism;

    #[derive(Debug)]
    pub(crate) enum Nest {}

    impl Nest {
        #[cfg(unix)]
        pub(crate) fn open() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn attach(&self, _: &mut dyn Mechanism) -> io::Result<()> {
            match *self {}
        }

        pub(crate) fn show(&mut self, _: bool) {
            match *self {}
        }

        #[cfg(unix)]
        pub(crate) fn descriptor(&self) -> rustix::fd::BorrowedFd<'_> {
            match *self {}
        }
    }
}
