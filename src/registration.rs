//! [`Registration`]: an entry of the selector, owned and borrowed.

use std::{fmt, io};

use crate::descriptor::Descriptor;
use crate::interest::{Interest, Watch};
use crate::key::{Key, Token};

/// A source, the data that belongs to it, and its watch: Python's `SelectorKey`.
///
/// A selector lends it by shared reference ([`get`](crate::Selector::get),
/// [`iter`](crate::Selector::iter)) and returns it when the registration ends
/// ([`unregister`](crate::Selector::unregister), [`drain`](crate::Selector::drain)).
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::{Interest, Selector};
/// use std::os::unix::net::UnixStream;
///
/// let (left, _right) = UnixStream::pair()?;
/// let mut selector = Selector::new()?;
/// let key = selector.register(left, Interest::READABLE, 17)?;
/// let registration = selector.unregister(key)?;
/// assert_eq!(*registration.data(), 17);
/// let (left, data) = registration.into_parts();
/// # drop(left); assert_eq!(data, 17); }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Registration<S, D = ()> {
    pub(crate) source: S,
    pub(crate) data: D,
    pub(crate) descriptor: Descriptor,
    pub(crate) generation: u32,
    /// The watch that the user has set.
    pub(crate) watch: Watch,
    /// The watch that the backend has; differs from `watch` until the next wait.
    pub(crate) applied: Watch,
    /// Whether the selector's list of changes has this.
    pub(crate) is_changed: bool,
    /// Whether this is a one-shot that has fired and was not re-armed.
    pub(crate) has_fired: bool,
}

impl<S, D> Registration<S, D> {
    /// Whether this reports nothing until its watch is set again: a fired one-shot, or a rejected change.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_rejected() || self.has_fired && !self.is_changed
    }

    /// Whether the last change was rejected.
    pub(crate) fn is_rejected(&self) -> bool {
        let is_watched = !self.applied.interest().is_empty();
        !is_watched && !self.watch.interest().is_empty() && !self.is_changed
    }

    /// Returns the source.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # use std::{io::Write, os::unix::net::UnixStream};
    /// # let (left, _right) = UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// # let key = selector.register(left, Interest::READABLE, ())?;
    /// // `&UnixStream` is `Read` and `Write`, so a shared reference is enough.
    /// let mut stream = selector[key].source();
    /// stream.write_all(b"hello")?;
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Returns the data; [`get_mut`](crate::Selector::get_mut) lends it by unique reference.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// let key = selector.register(left, Interest::READABLE, "a name")?;
    /// assert_eq!(*selector[key].data(), "a name");
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn data(&self) -> &D {
        &self.data
    }

    /// Returns the interest that was set last.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// let key = selector.register(left, Interest::READABLE, ())?;
    /// selector.modify(key, Interest::WRITABLE)?;
    /// assert_eq!(selector[key].interest(), Interest::WRITABLE);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn interest(&self) -> Interest {
        self.watch.interest()
    }

    /// Returns the interest with the mode of delivery.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// let key = selector.register(left, Interest::READABLE.oneshot(), ())?;
    /// assert!(selector[key].watch().is_oneshot());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn watch(&self) -> Watch {
        self.watch
    }

    /// Returns the source and the data.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// # let key = selector.register(left, Interest::READABLE, String::new())?;
    /// let (stream, name) = selector.unregister(key)?.into_parts();
    /// # drop((stream, name)); }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_parts(self) -> (S, D) {
        (self.source, self.data)
    }

    pub(crate) fn key(&self, slot: usize) -> Key {
        Key::new(slot as u32, self.generation)
    }

    /// The token with which the backend is to watch.
    pub(crate) fn token(&self, slot: usize) -> Token {
        Token::new(self.key(slot), self.watch.interest())
    }

    /// Logs that this registration has been removed from its slot.
    #[inline(always)]
    pub(crate) fn log_removal(&self, slot: usize, removal: io::Result<()>) {
        let (key, descriptor) = (self.key(slot), self.descriptor);
        if let Err(error) = removal {
            log::debug!("{key}: the kernel refused to remove descriptor {descriptor}: {error}");
        }
        log::trace!("{key} unregistered: descriptor {descriptor}");
    }

    #[inline]
    pub(crate) fn as_view(&mut self) -> RegistrationMut<'_, S, D> {
        RegistrationMut {
            interest: self.watch.interest(),
            source: &self.source,
            data: &mut self.data,
        }
    }
}

impl<S, D> fmt::Debug for Registration<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("descriptor", &self.descriptor)
            .field("watch", &self.watch)
            .finish_non_exhaustive()
    }
}

/// A registration with its data lent by unique reference, and its source by shared reference.
///
/// The source cannot be replaced, because then the selector would watch a descriptor that it does not own.
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::{Interest, Selector, WriteQueue};
/// use std::os::unix::net::UnixStream;
///
/// let (left, _right) = UnixStream::pair()?;
/// left.set_nonblocking(true)?;
/// let mut selector = Selector::new()?;
/// let key = selector.register(left, Interest::READABLE, WriteQueue::new())?;
///
/// let registration = selector.get_mut(key).unwrap();
/// registration.data.push(b"hello");
/// let all_gone = registration.data.flush(registration.source)?;
/// assert!(all_gone);
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[non_exhaustive]
pub struct RegistrationMut<'a, S, D = ()> {
    /// The source.
    pub source: &'a S,
    /// The data.
    pub data: &'a mut D,
    /// The interest that was set last; [`modify`](crate::Selector::modify) changes it.
    pub interest: Interest,
}

impl<S, D> fmt::Debug for RegistrationMut<'_, S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationMut").field("interest", &self.interest).finish_non_exhaustive()
    }
}
