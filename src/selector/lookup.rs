//! Looking up and walking registrations: Python's `get_key` and `get_map`.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::ops::Index;

use super::Selector;
use crate::descriptor::Descriptor;
use crate::key::Key;
use crate::registration::{Registration, RegistrationMut};
use crate::source::Source;

impl<S, D> Selector<S, D> {
    /// Returns the registration that a key names; `None` if it was unregistered or belongs to another
    /// selector.
    ///
    /// The handling of an event begins with this, because an earlier event of the batch may have removed the
    /// registration.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// let key = selector.register(left, Interest::READABLE, 17)?;
    /// assert_eq!(selector.get(key).map(|registration| *registration.data()), Some(17));
    /// selector.unregister(key)?;
    /// assert!(selector.get(key).is_none());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn get(&self, key: Key) -> Option<&Registration<S, D>> {
        self.registrations
            .get(key.slot())
            .filter(|registration| registration.generation == key.generation())
    }

    /// Returns the registration that a key names, with a unique reference to its data.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// let key = selector.register(left, Interest::READABLE, 17)?;
    /// if let Some(registration) = selector.get_mut(key) {
    ///     *registration.data += 1;
    /// }
    /// assert_eq!(*selector[key].data(), 18);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<RegistrationMut<'_, S, D>> {
        self.registrations
            .get_mut(key.slot())
            .filter(|registration| registration.generation == key.generation())
            .map(Registration::as_view)
    }

    /// Returns several registrations; `None` if a key names no registration, or two keys are equal.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// let one = selector.register(left, Interest::READABLE, 1)?;
    /// let two = selector.register(right, Interest::READABLE, 2)?;
    /// if let Some([one, two]) = selector.get_disjoint_mut([one, two]) {
    ///     std::mem::swap(one.data, two.data);
    /// }
    /// assert_eq!((*selector[one].data(), *selector[two].data()), (2, 1));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_disjoint_mut<const N: usize>(
        &mut self,
        keys: [Key; N],
    ) -> Option<[RegistrationMut<'_, S, D>; N]> {
        if !keys.iter().all(|&key| self.contains(key)) {
            return None;
        }
        let found = self.registrations.get_disjoint_mut(keys.map(Key::slot)).ok()?;
        Some(found.map(Registration::as_view))
    }

    /// Returns whether the key names a registration of this selector.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// let key = selector.register(left, Interest::READABLE, ())?;
    /// assert!(selector.contains(key));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// Returns the key of a registered source, found by its descriptor.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// let key = selector.register(&left, Interest::READABLE, ())?;
    /// assert_eq!(selector.key_of(&left), Some(key));
    /// assert_eq!(selector.key_of(&right), None);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn key_of(&self, source: &impl Source) -> Option<Key> {
        self.descriptors.get(Descriptor::of(source)).map(|slot| self.key_at(slot))
    }

    /// The key of the registration in this slot, which is occupied.
    pub(super) fn key_at(&self, slot: usize) -> Key {
        self.registrations[slot].key(slot)
    }

    /// Returns the number of registrations. The waker does not count.
    ///
    /// ```
    /// # use polyselect::Selector;
    /// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// selector.waker()?;
    /// assert_eq!(selector.len(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.registrations.len()
    }

    /// Returns whether nothing is registered.
    ///
    /// ```
    /// # use polyselect::Selector;
    /// # let selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registrations.is_empty()
    }

    /// Walks all registrations with their keys, in no particular order.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// # selector.register(left, Interest::READABLE, 1)?;
    /// # selector.register(right, Interest::READABLE, 2)?;
    /// let sum: i32 = selector.iter().map(|(_key, registration)| registration.data()).sum();
    /// assert_eq!(sum, 3);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, S, D> {
        Iter(self.registrations.iter())
    }

    /// Walks all registrations, with unique references to their data, in no particular order.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// # let key = selector.register(left, Interest::READABLE, 1)?;
    /// for (_key, registration) in selector.iter_mut() {
    ///     *registration.data += 1;
    /// }
    /// assert_eq!(*selector[key].data(), 2);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn iter_mut(&mut self) -> IterMut<'_, S, D> {
        IterMut(self.registrations.iter_mut())
    }

    /// Unregisters and drops all registrations for which `keep` returns `false`.
    ///
    /// # Errors
    ///
    /// [`ForkedError`](crate::ForkedError); `keep` has not been called then.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// # selector.register(left, Interest::READABLE, 1)?;
    /// # selector.register(right, Interest::READABLE, 2)?;
    /// selector.retain(|_key, registration| *registration.data > 1)?;
    /// assert_eq!(selector.len(), 1);
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn retain(
        &mut self,
        mut keep: impl FnMut(Key, RegistrationMut<'_, S, D>) -> bool,
    ) -> io::Result<()> {
        self.home.check()?;
        let (mut slot, mut left) = (0, self.len());
        while left > 0 {
            if let Some(registration) = self.registrations.get_mut(slot) {
                left -= 1;
                let key = registration.key(slot);
                if !keep(key, registration.as_view()) {
                    self.remove(slot);
                }
            }
            slot += 1;
        }
        Ok(())
    }

    /// Unregisters all sources and returns them one by one; those that are not taken are unregistered and
    /// dropped with the iterator, also if dropping one of them panics.
    ///
    /// # Errors
    ///
    /// [`ForkedError`](crate::ForkedError).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut selector = Selector::new()?;
    /// # selector.register(left, Interest::READABLE, 1)?;
    /// # selector.register(right, Interest::READABLE, 2)?;
    /// for (_key, registration) in selector.drain()? {
    ///     let (stream, _data) = registration.into_parts();
    ///     stream.shutdown(std::net::Shutdown::Both)?;
    /// }
    /// assert!(selector.is_empty());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain(&mut self) -> io::Result<Drain<'_, S, D>> {
        self.home.check()?;
        Ok(Drain { selector: self, slot: 0 })
    }
}

/// Returns the registration of a key that is known to be valid; [`get`](Selector::get) is for other keys.
///
/// # Panics
///
/// If the key names no registration of this selector.
impl<S, D> Index<Key> for Selector<S, D> {
    type Output = Registration<S, D>;

    #[inline]
    #[track_caller]
    fn index(&self, key: Key) -> &Registration<S, D> {
        match self.get(key) {
            Some(registration) => registration,
            None => panic!("{}", crate::error::stale_key(key)),
        }
    }
}

impl<'a, S, D> IntoIterator for &'a Selector<S, D> {
    type Item = (Key, &'a Registration<S, D>);
    type IntoIter = Iter<'a, S, D>;

    fn into_iter(self) -> Iter<'a, S, D> {
        self.iter()
    }
}

impl<'a, S, D> IntoIterator for &'a mut Selector<S, D> {
    type Item = (Key, RegistrationMut<'a, S, D>);
    type IntoIter = IterMut<'a, S, D>;

    fn into_iter(self) -> IterMut<'a, S, D> {
        self.iter_mut()
    }
}

/// An iterator over the registrations: [`Selector::iter`].
///
/// ```
/// # use polyselect::Selector;
/// # let selector: Selector<std::net::TcpStream> = Selector::new()?;
/// assert_eq!(selector.iter().len(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Iter<'a, S, D>(slab::Iter<'a, Registration<S, D>>);

/// An iterator over the registrations with unique references to their data: [`Selector::iter_mut`].
///
/// ```
/// # use polyselect::Selector;
/// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
/// assert_eq!(selector.iter_mut().len(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct IterMut<'a, S, D>(slab::IterMut<'a, Registration<S, D>>);

/// An iterator that unregisters: [`Selector::drain`].
///
/// ```
/// # use polyselect::Selector;
/// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
/// assert_eq!(selector.drain()?.len(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Drain<'a, S, D> {
    selector: &'a mut Selector<S, D>,
    slot: usize,
}

impl<'a, S, D> Iterator for Iter<'a, S, D> {
    type Item = (Key, &'a Registration<S, D>);

    fn next(&mut self) -> Option<Self::Item> {
        let (slot, registration) = self.0.next()?;
        Some((registration.key(slot), registration))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<'a, S, D> Iterator for IterMut<'a, S, D> {
    type Item = (Key, RegistrationMut<'a, S, D>);

    fn next(&mut self) -> Option<Self::Item> {
        let (slot, registration) = self.0.next()?;
        Some((registration.key(slot), registration.as_view()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<S, D> Iterator for Drain<'_, S, D> {
    type Item = (Key, Registration<S, D>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.selector.is_empty() {
            let slot = self.slot;
            self.slot += 1;
            if self.selector.registrations.contains(slot) {
                return Some((self.selector.key_at(slot), self.selector.remove(slot)));
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.selector.len(), Some(self.selector.len()))
    }
}

impl<S, D> Drop for Drain<'_, S, D> {
    fn drop(&mut self) {
        /// Continues with the remaining registrations when the drop of a source panics.
        struct Rest<'a, 'b, S, D>(&'a mut Drain<'b, S, D>);

        impl<S, D> Drop for Rest<'_, '_, S, D> {
            fn drop(&mut self) {
                self.0.for_each(drop);
            }
        }

        let rest = Rest(self);
        rest.0.for_each(drop);
    }
}

impl<S, D> Clone for Iter<'_, S, D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

macro_rules! walks_registrations {
    ($($name:ident)*) => {
        $(
            impl<S, D> ExactSizeIterator for $name<'_, S, D> {}
            impl<S, D> FusedIterator for $name<'_, S, D> {}

            impl<S, D> fmt::Debug for $name<'_, S, D> {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!(stringify!($name), "({} left)"), self.len())
                }
            }
        )*
    };
}

walks_registrations!(Iter IterMut Drain);
