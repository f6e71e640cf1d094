//! The record of a registration, as the selector keeps it and as it lends it.

use std::fmt;

use crate::descriptor::Descriptor;
use crate::interest::{Interest, Watch};

/// A source, the data that goes with it, and what is watched: Python's `SelectorKey`.
///
/// A selector lends it by shared reference ([`get`](crate::Selector::get),
/// [`iter`](crate::Selector::iter)) and gives it away when the registration ends
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
    /// What is asked for.
    pub(crate) watch: Watch,
    /// What the mechanism has been told; differs from `watch` until the next wait.
    pub(crate) applied: Interest,
    /// Whether the selector's list of changes has this.
    pub(crate) changed: bool,
    /// Whether this is a one-shot that fired and has not been armed again.
    pub(crate) spent: bool,
}

impl<S, D> Registration<S, D> {
    /// The source.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # use std::{io::Write, os::unix::net::UnixStream};
    /// # let (left, _right) = UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// # let key = selector.register(left, Interest::READABLE, ())?;
    /// // `&UnixStream` is `Read` and `Write`, so a shared reference is enough to talk.
    /// let mut stream = selector[key].source();
    /// stream.write_all(b"hello")?;
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The data; [`get_mut`](crate::Selector::get_mut) lends it to be changed.
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

    /// The interest that was last asked for.
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

    /// The interest together with the mode of delivery.
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

    /// The source and the data.
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

/// A registration lent to be changed: the data by unique reference, the source by shared reference.
///
/// The source stays out of reach for a change because a record with another source in it would
/// break what the selector promises: what it watches is open for as long as it is watched.
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
    /// The interest that was last asked for; [`modify`](crate::Selector::modify) changes it.
    pub interest: Interest,
}

impl<S, D> fmt::Debug for RegistrationMut<'_, S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationMut").field("interest", &self.interest).finish_non_exhaustive()
    }
}
