//! [`SharedSelector`]: a selector that several threads use.

mod changes;
mod environment;
pub(crate) mod protocol;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fmt, io};

use crate::backend::Backend;
use crate::clock::Clock;
use crate::event::Events;
use crate::key::Key;
use crate::registration::RegistrationMut;
use crate::selector::Selector;
use crate::selector::shareable::SharedState;
use crate::waker::Waker;
use protocol::Protocol;

/// A [`Selector`] that several threads use: one waits, and all can register, modify and unregister.
///
/// A clone is another handle of the same selector. Every method takes `&self`, can be called from any thread,
/// and takes effect immediately, also while another thread is inside [`select`](Self::select): a source that
/// it registers is watched by that wait, and when [`unregister`](Self::unregister) returns the kernel holds no
/// reference to the file. Ownership, keys and events are those of [`Selector`].
///
/// It is for programs with several threads that need *one* set of sources: a reactor for the tasks of a
/// multi-threaded executor, or callbacks of a C library that come on any thread. A thread that
/// only has work for a loop is better served by [`EventLoop`](crate::EventLoop) and its
/// [`Remote`](crate::Remote), and a program that can divide its sources by one selector for each thread.
///
/// ```
/// use polyselect::{Events, Interest, SharedSelector};
/// use std::net::{TcpListener, TcpStream};
/// use std::thread;
///
/// let selector = SharedSelector::new()?;
/// let listener = TcpListener::bind(("127.0.0.1", 0))?;
/// let address = listener.local_addr()?;
///
/// let waiting = thread::spawn({
///     let selector = selector.clone();
///     move || -> std::io::Result<&'static str> {
///         let mut events = Events::with_capacity(64);
///         loop {
///             selector.select(&mut events, None)?;
///             if let Some(event) = events.iter().next() {
///                 return Ok(selector.with(event.key, |_listener, name| *name).unwrap_or("gone"));
///             }
///         }
///     }
/// });
///
/// selector.register(listener, Interest::READABLE, "the listener")?;
/// TcpStream::connect(address)?;
/// assert_eq!(waiting.join().unwrap()?, "the listener");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # How a change reaches a waiting thread
///
/// On epoll the kernel's set is changed while the other thread sleeps, and that thread is not woken. Every other
/// backend is an argument of the system call, or belongs to the thread that makes it. There `register`,
/// `unregister` and [`rebuild_with`](Self::rebuild_with) wake the waiting thread, wait for it to leave the system
/// call, and make the change; then it goes back into its call. `modify` and `set_watch` wake it, too, but do not
/// wait for it. `select` does not return because of this. io_uring is not supported
/// ([`Capabilities::shared`](crate::Capabilities::shared)), because a ring belongs to the thread that opened it.
///
/// A waiting thread that was woken for a change does not return before the change is made, whatever its timeout:
/// it depends on the scheduler running the other thread.
///
/// # Fork
///
/// In a child of `fork` every call returns a [`ForkedError`](crate::ForkedError), and the selector has no
/// registrations, because the thread that held its lock or its backend may not exist there. It can
/// be dropped, which leaves the parent's registrations alone, and the child can open another one.
pub struct SharedSelector<S, D = ()>(Arc<Inner<S, D>>);

struct Inner<S, D> {
    protocol: Protocol<SharedState<S, D>>,
    /// The backend's index in [`Backend::ALL`].
    backend: AtomicUsize,
}

impl<S, D> SharedSelector<S, D> {
    /// Opens a selector on the best backend of this system, or on the one that the environment variable
    /// `POLYSELECT_BACKEND` names.
    ///
    /// # Errors
    ///
    /// The errors of [`Selector::new`] and of [`with_backend`](Self::with_backend).
    ///
    /// ```
    /// use polyselect::{Interest, SharedSelector};
    /// use std::net::UdpSocket;
    ///
    /// let selector = SharedSelector::new()?;
    /// selector.register(UdpSocket::bind(("127.0.0.1", 0))?, Interest::READABLE, ())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Self::on(Selector::open(None, Clock::system())?)
    }

    /// Opens a selector on `backend`, and a channel for wakes (an eventfd, a pipe, or on Windows a connection over
    /// loopback).
    ///
    /// # Errors
    ///
    /// `Unsupported` if this system lacks the backend, or the backend cannot be shared; the message lists
    /// those that can. And the errors of opening it: too many descriptors are open (`EMFILE`, `ENFILE`), or
    /// memory is exhausted (`ENOMEM`).
    ///
    /// ```
    /// use polyselect::{Backend, SharedSelector};
    /// use std::net::TcpStream;
    ///
    /// let selector: SharedSelector<TcpStream> = SharedSelector::with_backend(Backend::Poll)?;
    /// assert_eq!(selector.backend(), Backend::Poll);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_backend(backend: Backend) -> io::Result<Self> {
        check_shared(backend)?;
        Self::on(Selector::open(Some(backend), Clock::system())?)
    }

    fn on(mut selector: Selector<S, D>) -> io::Result<Self> {
        let backend = selector.backend();
        check_shared(backend)?;
        let waker = selector.waker()?;
        Ok(Self(Arc::new(Inner {
            protocol: Protocol::new(SharedState::new(selector), waker),
            backend: AtomicUsize::new(backend.index()),
        })))
    }

    /// Returns the backend.
    ///
    /// See [`with_backend`](Self::with_backend) for an example.
    #[must_use]
    pub fn backend(&self) -> Backend {
        Backend::ALL[self.0.backend.load(Ordering::Relaxed)]
    }

    /// Lends the source and the data that a key names to a closure, and returns its result; `None` if the key
    /// names no registration of this selector, or in a child of `fork`.
    ///
    /// The selector is locked meanwhile, so the closure should be short: other threads wait for it, and so does
    /// the end of a `select`. For data that is used for longer, let `D` be an `Arc`, and return a clone of
    /// it.
    ///
    /// # Panics
    ///
    /// If the closure calls a method of the same selector other than [`waker`](Self::waker) and
    /// [`backend`](Self::backend). A panic of the closure is passed on; the selector stays usable.
    ///
    /// ```
    /// # use polyselect::{Interest, SharedSelector};
    /// # use std::net::UdpSocket;
    /// # let selector = SharedSelector::new()?;
    /// # let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    /// let key = selector.register(socket, Interest::READABLE, 16)?;
    /// assert_eq!(selector.with(key, |_socket, data| { *data += 1; *data }), Some(17));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn with<R>(&self, key: Key, closure: impl FnOnce(&S, &mut D) -> R) -> Option<R> {
        self.0.protocol.lend(|state| {
            let RegistrationMut { source, data, .. } = state.get_mut(key)?;
            Some(closure(source, data))
        })
    }

    /// Returns the number of registrations; zero in a child of `fork`. The waker does not count.
    ///
    /// ```
    /// # use polyselect::SharedSelector;
    /// let selector: SharedSelector<std::net::TcpStream> = SharedSelector::new()?;
    /// assert_eq!(selector.len(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.protocol.read(|state| state.selector().len()).unwrap_or(0)
    }

    /// Returns whether nothing is registered.
    ///
    /// ```
    /// # use polyselect::SharedSelector;
    /// let selector: SharedSelector<std::net::TcpStream> = SharedSelector::new()?;
    /// assert!(selector.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a handle with which other threads end the wait. See [`Waker`]. Does not block.
    ///
    /// ```
    /// # use polyselect::{Events, SharedSelector};
    /// let selector: SharedSelector<std::net::TcpStream> = SharedSelector::new()?;
    /// selector.waker().wake()?;
    /// let mut events = Events::with_capacity(8);
    /// assert_eq!(selector.select(&mut events, None)?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.0.protocol.waker().clone()
    }

    /// Waits until a source is ready, a [`Waker`] is used, or `timeout` has passed; returns the number of
    /// events, which are in `events`. See [`Selector::select`].
    ///
    /// One thread can wait at a time. Changes that other threads make do not end the wait.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` if another thread is inside `select`; it returns immediately then, so that threads can
    /// take turns in waiting. [`ForkedError`](crate::ForkedError), and the errors of the system call.
    ///
    /// ```
    /// use polyselect::{Events, SharedSelector};
    /// use std::time::Duration;
    ///
    /// let selector: SharedSelector<std::net::TcpStream> = SharedSelector::new()?;
    /// let mut events = Events::with_capacity(64);
    /// assert_eq!(selector.select(&mut events, Duration::from_millis(1))?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    // Inlined with epoll's system call: see `backend/epoll.rs`.
    #[inline(always)]
    pub fn select(
        &self,
        events: &mut Events,
        timeout: impl Into<Option<Duration>>,
    ) -> io::Result<usize> {
        events.clear();
        self.0.protocol.select(events, timeout.into())?;
        log::trace!("{} events", events.len());
        Ok(events.len())
    }
}

fn check_shared(backend: Backend) -> io::Result<()> {
    if backend.capabilities().shared {
        return Ok(());
    }
    let what = "SharedSelector, because it belongs to the thread that waits";
    Err(backend.unsupported(what, |can| can.shared))
}

impl<S, D> Clone for SharedSelector<S, D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S, D> fmt::Debug for SharedSelector<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSelector").field("backend", &self.backend()).finish_non_exhaustive()
    }
}
