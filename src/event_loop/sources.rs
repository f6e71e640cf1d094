//! Registering sources with a loop, and reaching them.

use std::any::TypeId;
use std::cell::RefCell;
use std::panic::Location;
use std::rc::Rc;
use std::{fmt, io};

use rustix::fd::AsFd;

use super::registered::{Handler, Next, Registered, Registration};
use super::{EventLoop, errors};
use crate::error::{self, RegisterError};
use crate::event::Event;
use crate::interest::{Interest, Watch};
use crate::key::Key;
use crate::selector::Selector;

impl<T: 'static> EventLoop<T> {
    /// Calls `callback` whenever `source` is ready for what `watch` asks for, until the registration
    /// ends. The loop owns the source from now on.
    ///
    /// The source should be non-blocking, or its callback can hold up the loop. `watch` is an
    /// [`Interest`], level-triggered, or a [`Watch`]. The callback gets the loop, its source, and the
    /// event, and says what becomes of the registration; for its errors see
    /// [`EventLoop`](Self#errors-and-panics-of-callbacks).
    ///
    /// Does not block; as [`Selector::register`].
    ///
    /// # Errors
    ///
    /// A [`RegisterError`] with source and callback, for the reasons listed there.
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
        S: AsFd + 'static,
        F: FnMut(&mut Self, &S, Event) -> io::Result<Next> + 'static,
    {
        self.add(source, watch.into(), Some(callback), Location::caller(), false).map_err(
            |(error, source, callback)| {
                let callback = callback.expect("is given back as it was given");
                RegisterError::new(error, source, callback)
            },
        )
    }

    /// As [`register`](Self::register), for a callback that must know its own key before the first
    /// event: `make_callback` gets the key and returns the callback.
    ///
    /// # Errors
    ///
    /// A [`RegisterError`] with the source and `make_callback`, which has not been called then.
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
        S: AsFd + 'static,
        F: FnMut(&mut Self, &S, Event) -> io::Result<Next> + 'static,
        M: FnOnce(Key) -> F,
    {
        let registered = Rc::new(Registered {
            source,
            callback: RefCell::new(None),
            location: Location::caller(),
            is_own: false,
        });
        match self.insert(Rc::clone(&registered), watch.into()) {
            Ok(key) => {
                *registered.callback.borrow_mut() = Some(make_callback(key));
                Ok(key)
            }
            Err(error) => Err(RegisterError::new(error, alone(registered).source, make_callback)),
        }
    }

    /// Registers a source, whoever's it is; an error gives back what it was given.
    pub(super) fn add<S, F>(
        &mut self,
        source: S,
        watch: Watch,
        callback: Option<F>,
        location: &'static Location<'static>,
        is_own: bool,
    ) -> Result<Key, (io::Error, S, Option<F>)>
    where
        S: AsFd + 'static,
        F: FnMut(&mut Self, &S, Event) -> io::Result<Next> + 'static,
    {
        let callback = RefCell::new(callback);
        let registered = Rc::new(Registered { source, callback, location, is_own });
        self.insert(Rc::clone(&registered), watch).map_err(|error| {
            let registered = alone(registered);
            (error, registered.source, registered.callback.into_inner())
        })
    }

    pub(super) fn insert<R>(&mut self, registered: Rc<R>, watch: Watch) -> io::Result<Key>
    where
        R: Registration<T> + 'static,
    {
        let is_own = registered.is_own();
        let key = self.selector.register(Handler(registered), watch, ())?;
        self.own_sources += usize::from(is_own);
        Ok(key)
    }

    /// Ends a registration of the loop's own.
    #[cfg(any(unix, feature = "async"))]
    pub(super) fn remove_own(&mut self, key: Key) -> io::Result<()> {
        let registration = self.selector.unregister(key)?;
        self.own_sources -= 1;
        drop(registration);
        Ok(())
    }

    /// From now on asks for this interest; the mode (edge, one-shot, exclusive) stays.
    ///
    /// As [`Selector::modify`]: it also arms a one-shot again, and reports an edge again.
    ///
    /// # Errors
    ///
    /// As [`Selector::modify`]; `NotFound` if there is no such registration (any more, or here).
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
        self.parts().1.modify(key, interest)
    }

    /// Ends a registration, and drops its source and its callback. No event of it comes any more,
    /// not even one that has been collected already.
    ///
    /// A callback may end its own registration; what is dropped then is dropped when it returns.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such registration (any more, or here); `Other` after a fork.
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
        self.parts().1.unregister(key)
    }

    /// Ends a registration, drops its callback, and gives its source back.
    ///
    /// # Errors
    ///
    /// `NotFound` as [`unregister`](Self::unregister), `InvalidInput` if the source is of another
    /// type, `ResourceBusy` in its own callback, which has borrowed the source: use
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
        let (_, sources) = self.parts();
        let handler = sources.handler(key)?;
        if !handler.has_source(TypeId::of::<S>()) {
            let asked = std::any::type_name::<S>();
            return Err(errors::invalid(format!("the source of {key} is no {asked}")));
        }
        if Rc::strong_count(&handler.0) > 1 {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "the callback of {key} is running and has borrowed its source; take it in call_soon"
                ),
            ));
        }
        let handler = self.selector.unregister(key)?.into_parts().0;
        let source = handler.0.into_source().and_then(|source| source.downcast().ok());
        Ok(*source.expect("of this type, and nobody else's"))
    }

    /// The source of a registration, if it is of this type.
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
        self.selector.get(key)?.source().source()
    }

    /// Whether there is such a registration.
    ///
    /// See [`unregister`](Self::unregister) for an example.
    #[must_use]
    pub fn contains(&self, key: Key) -> bool {
        self.selector.contains(key)
    }

    /// How many sources are registered.
    ///
    /// ```
    /// let event_loop = polyselect::EventLoop::new(())?;
    /// assert_eq!(event_loop.len(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.selector.len() - self.own_sources
    }

    /// Whether no source is registered.
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
    /// signals and children stay.
    ///
    /// # Errors
    ///
    /// `Other` after a fork.
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
        let (_, mut sources) = self.parts();
        let keys: Vec<_> = sources.keys().collect();
        keys.into_iter().try_for_each(|key| sources.unregister(key))
    }

    /// The state and the sources side by side, so that a walk over the one can change the other.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::{EventLoop, Interest, Key, Next, WriteQueue};
    /// use std::collections::HashMap;
    ///
    /// type Clients = HashMap<Key, WriteQueue>;
    ///
    /// fn tell_everybody(event_loop: &mut EventLoop<Clients>, line: &[u8]) -> std::io::Result<()> {
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
    /// # tell_everybody(&mut event_loop, b"hello")?;
    /// # assert_eq!(event_loop.parts().1.interest(key), Some(Interest::READABLE | Interest::WRITABLE));
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn parts(&mut self) -> (&mut T, Sources<'_, T>) {
        (&mut self.state, Sources { selector: &mut self.selector, resting: &mut self.resting })
    }
}

fn alone<R>(registered: Rc<R>) -> R {
    Rc::into_inner(registered).expect("the selector has given its own back")
}

/// The sources of an [`EventLoop`], apart from its state: see [`EventLoop::parts`].
pub struct Sources<'a, T> {
    selector: &'a mut Selector<Handler<T>>,
    resting: &'a mut Vec<Key>,
}

impl<T> Sources<'_, T> {
    /// As [`EventLoop::modify`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// See [`EventLoop::parts`] for an example.
    pub fn modify(&mut self, key: Key, interest: Interest) -> io::Result<()> {
        self.handler(key)?;
        self.resting.retain(|&resting| resting != key);
        self.selector.modify(key, interest)
    }

    /// As [`EventLoop::unregister`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, Interest, Next};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let mut event_loop = EventLoop::new(())?;
    /// # event_loop.register(left, Interest::READABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// let (_state, mut sources) = event_loop.parts();
    /// let keys: Vec<_> = sources.keys().collect();
    /// for key in keys {
    ///     sources.unregister(key)?;
    /// }
    /// assert!(event_loop.is_empty());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unregister(&mut self, key: Key) -> io::Result<()> {
        self.handler(key)?;
        self.selector.unregister(key).map(drop)
    }

    /// As [`EventLoop::get`].
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, Interest, Next};
    /// # use std::os::unix::net::UnixStream;
    /// # let (left, _right) = UnixStream::pair()?;
    /// # let mut event_loop = EventLoop::new(())?;
    /// # let key = event_loop.register(left, Interest::READABLE, |_loop, _left, _event| Ok(Next::Keep))?;
    /// let (_state, sources) = event_loop.parts();
    /// assert!(sources.get::<UnixStream>(key).is_some());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn get<S: 'static>(&self, key: Key) -> Option<&S> {
        self.selector.get(key)?.source().source()
    }

    /// The interest that was last asked for.
    ///
    /// See [`EventLoop::parts`] for an example.
    #[must_use]
    pub fn interest(&self, key: Key) -> Option<Interest> {
        Some(self.selector.get(key)?.interest())
    }

    /// The keys of all registrations, in no particular order.
    ///
    /// See [`unregister`](Self::unregister) for an example.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        let users = self.selector.iter().filter(|(_, found)| !found.source().0.is_own());
        users.map(|(key, _)| key)
    }

    /// What stands behind a key, unless it is the loop's own.
    fn handler(&self, key: Key) -> io::Result<&Handler<T>> {
        let registration = self.selector.get(key).filter(|found| !found.source().0.is_own());
        Ok(registration.ok_or_else(|| error::stale_key(key))?.source())
    }
}

impl<T> fmt::Debug for Sources<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}
