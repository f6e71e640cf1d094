//! Registering sources with a loop, and reaching them.

use std::any::TypeId;
use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;

use super::call_user::Registrant;
use super::handler::{Handler, Next, Registered};
use super::table::Sources;
use super::{EventLoop, errors};
use crate::error::RegisterError;
use crate::event::Event;
use crate::interest::{Interest, Watch};
use crate::key::Key;
use crate::source::Source;

impl<T: 'static> EventLoop<T> {
    /// Registers `source` and calls `callback` for each event of `watch`, until the registration ends. The loop owns
    /// the source from now on.
    ///
    /// The source should be non-blocking, or its callback can block the loop. `watch` is an
    /// [`Interest`], level-triggered, or a [`Watch`]. The callback gets the loop, its source, and the
    /// event, and returns the fate of the registration; for its errors see
    /// [`EventLoop`](Self#errors-and-panics-of-callbacks). A closure that is kept in a variable before it is registered
    /// needs the types of all its arguments: `|event_loop: &mut EventLoop<T>, source: &S, event: Event|`.
    ///
    /// Does not block, like [`Selector::register`](crate::Selector::register).
    ///
    /// # Errors
    ///
    /// Returns a [`RegisterError`], which gives back source and callback, if the source cannot be registered.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::{EventLoop, Interest, Next};
    /// use std::{io::{Read, Write}, os::unix::net::UnixStream};
    ///
    /// let (mut left, right) = UnixStream::pair()?;
    /// let mut event_loop = EventLoop::new(String::new())?;
    /// event_loop.register(right, Interest::READABLE, |event_loop, mut right, _event| {
    ///     let mut buffer = [0; 64];
    ///     let n = right.read(&mut buffer)?;
    ///     event_loop.state.push_str(&String::from_utf8_lossy(&buffer[..n]));
    ///     Ok(Next::Remove)
    /// })?;
    /// left.write_all(b"hello")?;
    /// event_loop.run()?;
    /// assert_eq!(event_loop.state, "hello");
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn register<S, F>(
        &mut self,
        source: S,
        watch: impl Into<Watch>,
        callback: F,
    ) -> Result<Key, RegisterError<S, F>>
    where
        S: Source + 'static,
        F: FnMut(&mut Self, &S, Event) -> io::Result<Next> + 'static,
    {
        self.add(source, watch.into(), callback, Location::caller())
            .map_err(|(error, source, callback)| RegisterError::new(error, source, callback))
    }

    /// Registers a source whose callback must know its own key before the first event: `make_callback`
    /// gets the key and returns the callback. Otherwise like [`register`](Self::register).
    ///
    /// # Errors
    ///
    /// A [`RegisterError`] with the source and `make_callback`, which has not been called then.
    ///
    /// # Panics
    ///
    /// If `make_callback` panics; the source is dropped then.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::{EventLoop, Interest, Key, Next};
    /// use std::{collections::HashMap, os::unix::net::UnixStream};
    ///
    /// let (left, right) = UnixStream::pair()?;
    /// let mut event_loop = EventLoop::new(HashMap::<Key, &str>::new())?;
    /// let key = event_loop.register_with(right, Interest::READABLE, |key| {
    ///     move |event_loop: &mut EventLoop<HashMap<Key, &'static str>>, _right: &UnixStream, _event| {
    ///         event_loop.state.remove(&key);
    ///         Ok(Next::Remove)
    ///     }
    /// })?;
    /// event_loop.state.insert(key, "right");
    /// drop(left);
    /// event_loop.run()?;
    /// assert!(event_loop.state.is_empty());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn register_with<S, F, M>(
        &mut self,
        source: S,
        watch: impl Into<Watch>,
        make_callback: M,
    ) -> Result<Key, RegisterError<S, M>>
    where
        S: Source + 'static,
        F: FnMut(&mut Self, &S, Event) -> io::Result<Next> + 'static,
        M: FnOnce(Key) -> F,
    {
        let made = Rc::new(RefCell::new(None::<F>));
        let callback = {
            let made = Rc::clone(&made);
            move |event_loop: &mut Self, source: &S, event| match &mut *made.borrow_mut() {
                Some(callback) => callback(event_loop, source, event),
                None => Ok(Next::Remove),
            }
        };
        let key = match self.add(source, watch.into(), callback, Location::caller()) {
            Ok(key) => key,
            Err((error, source, _)) => {
                return Err(RegisterError::new(error, source, make_callback));
            }
        };
        // Nothing of the loop is borrowed while the user's code runs.
        match catch_unwind(AssertUnwindSafe(|| make_callback(key))) {
            Ok(callback) => {
                *made.borrow_mut() = Some(callback);
                Ok(key)
            }
            Err(panic) => {
                self.end(Registrant::Source(key));
                resume_unwind(panic)
            }
        }
    }

    /// Registers a source of the user; an error gives back source and callback.
    pub(super) fn add<S, F>(
        &mut self,
        source: S,
        watch: Watch,
        callback: F,
        location: &'static Location<'static>,
    ) -> Result<Key, (io::Error, S, F)>
    where
        S: Source + 'static,
        F: FnMut(&mut Self, &S, Event) -> io::Result<Next> + 'static,
    {
        let callback = RefCell::new(callback);
        let registered = Rc::new(Registered { source, callback, location });
        self.sources.insert(Handler(Rc::clone(&registered) as _), watch).map_err(|error| {
            let registered = Rc::into_inner(registered).expect("the selector has dropped its own");
            (error, registered.source, registered.callback.into_inner())
        })
    }

    /// Changes the interest of a registration; its mode (edge, one-shot, exclusive) stays.
    ///
    /// Does not block. It takes effect in the iteration in progress: an event that was collected before is delivered
    /// only as far as the new interest includes it. Like [`Selector::modify`](crate::Selector::modify), it also re-arms
    /// a one-shot, and an edge is reported again.
    ///
    /// # Errors
    ///
    /// `NotFound` if the key does not name a registration of this loop, or names one that has ended; otherwise the
    /// errors of [`Selector::modify`](crate::Selector::modify).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, Interest, Next};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut event_loop = EventLoop::new(())?;
    /// let key = event_loop.register(left, Interest::WRITABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// event_loop.modify(key, Interest::empty())?; // quiet, until it is modified again
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn modify(&mut self, key: Key, interest: Interest) -> io::Result<()> {
        self.sources().modify(key, interest)
    }

    /// Ends a registration, and drops its source and its callback.
    ///
    /// The registration gets no further event, not even one that was collected before. A callback may end its own
    /// registration; source and callback are dropped when it returns.
    ///
    /// # Errors
    ///
    /// `NotFound` if the key does not name a registration of this loop, or names one that has ended; a
    /// [`ForkedError`](crate::ForkedError) in a forked child before [`rebuild`](Self::rebuild).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, Interest, Next};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut event_loop = EventLoop::new(())?;
    /// let key = event_loop.register(left, Interest::WRITABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// event_loop.unregister(key)?;
    /// assert!(!event_loop.contains(key));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unregister(&mut self, key: Key) -> io::Result<()> {
        self.sources().unregister(key)
    }

    /// Ends a registration, drops its callback, and returns its source.
    ///
    /// # Errors
    ///
    /// `NotFound` like [`unregister`](Self::unregister); `InvalidInput` if the source has another type;
    /// `ResourceBusy` in its own callback, which has borrowed the source: use
    /// [`call_soon`](Self::call_soon). The registration stays then.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::{EventLoop, Interest, Next};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (left, _right) = UnixStream::pair()?;
    /// let mut event_loop = EventLoop::new(())?;
    /// let key = event_loop.register(left, Interest::WRITABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// let left = event_loop.take::<UnixStream>(key)?;
    /// # drop(left); }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn take<S: 'static>(&mut self, key: Key) -> io::Result<S> {
        let handler = self.sources.user_handler(key)?;
        if !handler.has_source(TypeId::of::<S>()) {
            let asked = std::any::type_name::<S>();
            return Err(errors::invalid(format!("the source of {key} is not of the type {asked}")));
        }
        if Rc::strong_count(&handler.0) > 1 {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "the callback of {key} is running and has borrowed its source; take it in call_soon"
                ),
            ));
        }
        let handler = self.sources.remove(key)?.into_parts().0;
        let source = handler.0.into_source().and_then(|source| source.downcast().ok());
        Ok(*source.expect("of this type, with one owner"))
    }

    /// Returns the source of a registration, if it has this type.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, Interest, Next};
    /// # use std::os::unix::net::UnixStream;
    /// # let (left, _right) = UnixStream::pair()?;
    /// # let mut event_loop = EventLoop::new(())?;
    /// let key = event_loop.register(left, Interest::WRITABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// assert!(event_loop.get::<UnixStream>(key).is_some());
    /// assert!(event_loop.get::<std::net::TcpStream>(key).is_none());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn get<S: 'static>(&self, key: Key) -> Option<&S> {
        self.sources.selector.get(key)?.source().source()
    }

    /// Returns whether the key names a registration of this loop.
    ///
    /// See [`unregister`](Self::unregister) for an example.
    #[must_use]
    pub fn contains(&self, key: Key) -> bool {
        self.sources.selector.contains(key)
    }

    /// Returns the number of registered sources.
    ///
    /// ```
    /// let event_loop = polyselect::EventLoop::new(())?;
    /// assert_eq!(event_loop.len(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.users()
    }

    /// Returns whether no source is registered.
    ///
    /// ```
    /// assert!(polyselect::EventLoop::new(())?.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends all registrations of sources, and drops the sources and their callbacks. Timers, calls,
    /// signals, children and tasks stay.
    ///
    /// # Errors
    ///
    /// A [`ForkedError`](crate::ForkedError) in a forked child before [`rebuild`](Self::rebuild).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, Interest, Next};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut event_loop = EventLoop::new(())?;
    /// event_loop.register(left, Interest::WRITABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// event_loop.clear()?;
    /// assert!(event_loop.is_empty());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn clear(&mut self) -> io::Result<()> {
        let keys: Vec<_> = self.sources.user_keys().collect();
        let remove = |key| self.sources.remove(key);
        // All have ended before the first is dropped, so that a panicking destructor keeps none.
        keys.into_iter().map(remove).collect::<io::Result<Vec<_>>>().map(drop)
    }

    /// Returns the sources, without the state.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, Interest, Next};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut event_loop = EventLoop::new(())?;
    /// let key = event_loop.register(left, Interest::WRITABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// assert_eq!(event_loop.sources().interest(key), Some(Interest::WRITABLE));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn sources(&mut self) -> Sources<'_, T> {
        self.parts().1
    }

    /// Returns the state and the sources as separate borrows, so that a loop over the state can change sources.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::{EventLoop, Interest, Key, Next, WriteQueue};
    /// use std::collections::HashMap;
    ///
    /// type Clients = HashMap<Key, WriteQueue>;
    ///
    /// fn send_to_all(event_loop: &mut EventLoop<Clients>, line: &[u8]) -> std::io::Result<()> {
    ///     let (clients, mut sources) = event_loop.parts();
    ///     for (&key, outgoing) in clients {
    ///         outgoing.push(line);
    ///         sources.modify(key, Interest::READABLE | Interest::WRITABLE)?;
    ///     }
    ///     Ok(())
    /// }
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut event_loop = EventLoop::new(Clients::new())?;
    /// # let key = event_loop.register(left, Interest::READABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// # event_loop.state.insert(key, WriteQueue::new());
    /// # send_to_all(&mut event_loop, b"hello")?;
    /// # assert_eq!(event_loop.sources().interest(key), Some(Interest::READABLE | Interest::WRITABLE));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn parts(&mut self) -> (&mut T, Sources<'_, T>) {
        (&mut self.state, Sources::new(&mut self.sources, &mut self.resting))
    }
}
