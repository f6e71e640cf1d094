//! The registrations of a loop: the selector, and the number of the user's registrations.

use std::{fmt, io};

use super::errors;
use super::handler::Handler;
use crate::interest::{Interest, Watch};
use crate::key::Key;
use crate::registration::Registration;
use crate::selector::Selector;

/// Registrations begin and end only here, so that the count cannot differ from the table.
pub(super) struct SourceTable<T> {
    pub(super) selector: Selector<Handler<T>>,
    users: usize,
}

impl<T> SourceTable<T> {
    pub(super) fn new(selector: Selector<Handler<T>>) -> Self {
        #[allow(unused_mut)] // Changed in builds for tests.
        let mut table = Self { selector, users: 0 };
        #[cfg(feature = "testing")]
        table.selector.set_of_loop();
        table
    }

    pub(super) fn insert(&mut self, handler: Handler<T>, watch: Watch) -> io::Result<Key> {
        let is_own = handler.0.is_own();
        let key = self.selector.register(handler, watch, ())?;
        self.users += usize::from(!is_own);
        Ok(key)
    }

    /// Ends a registration. The caller drops what it owned, which is user code.
    pub(super) fn remove(&mut self, key: Key) -> io::Result<Registration<Handler<T>>> {
        let removed = self.selector.unregister(key)?;
        self.users -= usize::from(!removed.source().0.is_own());
        Ok(removed)
    }

    /// Returns the number of the user's registrations.
    pub(super) fn users(&self) -> usize {
        self.users
    }

    /// The keys of the user's registrations.
    pub(super) fn user_keys(&self) -> impl Iterator<Item = Key> {
        let users = self.selector.iter().filter(|(_, found)| !found.source().0.is_own());
        users.map(|(key, _)| key)
    }

    /// The handler behind a key of the user.
    pub(super) fn user_handler(&self, key: Key) -> io::Result<&Handler<T>> {
        let registration = self.selector.get(key).filter(|found| !found.source().0.is_own());
        let handler = registration.map(Registration::source);
        handler.ok_or_else(|| errors::not_found(format_args!("key {key} names no registration")))
    }
}

/// The sources of an [`EventLoop`](crate::EventLoop), apart from its state;
/// [`EventLoop::sources`](crate::EventLoop::sources) and [`EventLoop::parts`](crate::EventLoop::parts) return it.
///
/// ```
/// # #[cfg(unix)] {
/// # use polyselect::{EventLoop, Interest, Next};
/// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
/// # let mut event_loop = EventLoop::new(0)?;
/// # event_loop.register(left, Interest::READABLE, |_loop, _left, _event| Ok(Next::Keep))?;
/// let (count, sources) = event_loop.parts();
/// *count = sources.keys().count();
/// assert_eq!(event_loop.state, 1);
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Sources<'a, T> {
    table: &'a mut SourceTable<T>,
    resting: &'a mut Vec<Key>,
}

impl<'a, T> Sources<'a, T> {
    pub(super) fn new(table: &'a mut SourceTable<T>, resting: &'a mut Vec<Key>) -> Self {
        Self { table, resting }
    }

    /// Changes the interest of a registration, like [`EventLoop::modify`](crate::EventLoop::modify).
    ///
    /// # Errors
    ///
    /// The errors of [`EventLoop::modify`](crate::EventLoop::modify).
    ///
    /// See [`EventLoop::parts`](crate::EventLoop::parts) for an example.
    pub fn modify(&mut self, key: Key, interest: Interest) -> io::Result<()> {
        self.table.user_handler(key)?;
        self.resting.retain(|&resting| resting != key);
        self.table.selector.modify(key, interest)
    }

    /// Ends a registration, like [`EventLoop::unregister`](crate::EventLoop::unregister).
    ///
    /// # Errors
    ///
    /// The errors of [`EventLoop::unregister`](crate::EventLoop::unregister).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, Interest, Next};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut event_loop = EventLoop::new(())?;
    /// # event_loop.register(left, Interest::READABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// let mut sources = event_loop.sources();
    /// let keys: Vec<_> = sources.keys().collect();
    /// for key in keys {
    ///     sources.unregister(key)?;
    /// }
    /// assert!(event_loop.is_empty());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unregister(&mut self, key: Key) -> io::Result<()> {
        self.table.user_handler(key)?;
        self.table.remove(key).map(drop)
    }

    /// Returns the source of a registration, like [`EventLoop::get`](crate::EventLoop::get).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, Interest, Next};
    /// # use std::os::unix::net::UnixStream;
    /// # let (left, _right) = UnixStream::pair()?;
    /// # let mut event_loop = EventLoop::new(())?;
    /// # let key = event_loop.register(left, Interest::READABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// let sources = event_loop.sources();
    /// assert!(sources.get::<UnixStream>(key).is_some());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn get<S: 'static>(&self, key: Key) -> Option<&S> {
        self.table.selector.get(key)?.source().source()
    }

    /// Returns the interest of a registration, as it was set last.
    ///
    /// See [`EventLoop::sources`](crate::EventLoop::sources) for an example.
    #[must_use]
    pub fn interest(&self, key: Key) -> Option<Interest> {
        Some(self.table.selector.get(key)?.interest())
    }

    /// Returns the keys of all registrations, in no particular order.
    ///
    /// See [`unregister`](Self::unregister) for an example.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.table.user_keys()
    }
}

impl<T> fmt::Debug for Sources<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}
