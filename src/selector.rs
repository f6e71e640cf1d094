//! [`Selector`] and its iterators.

// All bookkeeping is here, so that a backend only updates and waits.

mod lookup;
mod modify;
mod nesting;
mod rebuild;
pub(crate) mod shareable;
pub(crate) mod timeout;
mod wait;

use std::time::Duration;
use std::{fmt, io};

use slab::Slab;

use crate::backend::{AnyPoller, Backend, check_open};
use crate::clock::Clock;
use crate::descriptor::{Descriptor, DescriptorTable};
use crate::error::{self, RegisterError};
use crate::fork::HomeProcess;
use crate::interest::{Interest, Watch};
use crate::key::{Key, Token, next_generation};
use crate::registration::Registration;
use crate::source::Source;
use crate::waker::Waker;
use modify::Rejection;

pub use crate::event::EventsIter;
pub use lookup::{Drain, Iter, IterMut};

/// Watches sources and reports which of them are ready: Python's `selectors.DefaultSelector`.
///
/// `S` is the type of the sources, `D` the data that belongs to each. `S` decides the ownership:
/// `TcpStream` (the selector owns it), `Rc<TcpStream>` (shared), `&TcpStream` (borrowed, and the compiler
/// checks that it lives long enough), `socket2::Socket` or an enum (several kinds in one selector),
/// `Box<dyn MyStream>` where `trait MyStream: AsFd`. See [`Source`].
///
/// While a source is registered it is lent by shared reference only, so safe code cannot close it;
/// [`unregister`](Self::unregister) returns it, and dropping the selector drops it.
///
/// An echo server, in which the data of each source is its callback, as in Python:
///
/// ```no_run
/// # #[cfg(unix)] {
/// use polyselect::{Event, Events, Interest, Selector, WriteQueue, accept::Batch};
/// use socket2::Socket;
/// use std::io::{self, Read};
///
/// type Sel = Selector<Socket, Data>;
/// struct Data { callback: fn(&mut Sel, Event) -> io::Result<()>, outgoing: WriteQueue }
///
/// fn accept(sel: &mut Sel, event: Event) -> io::Result<()> {
///     let mut batch = Batch::new();
///     while let Some((conn, _addr)) = batch.next(|| sel[event.key].source().accept())? {
///         conn.set_nonblocking(true)?;
///         let data = Data { callback: read, outgoing: WriteQueue::new() };
///         sel.register(conn, Interest::READABLE, data)?;
///     }
///     Ok(())
/// }
///
/// fn read(sel: &mut Sel, event: Event) -> io::Result<()> {
///     let Some(mut this) = sel.get_mut(event.key) else { return Ok(()) };
///     let mut buffer = [0; 1024];
///     if this.data.outgoing.is_empty() {
///         match (&mut this.source).read(&mut buffer)? {
///             0 => return sel.unregister(event.key).map(drop),
///             n => this.data.outgoing.push(&buffer[..n]),
///         }
///     }
///     let all_gone = this.data.outgoing.flush(this.source)?;
///     sel.modify(event.key, if all_gone { Interest::READABLE } else { Interest::WRITABLE })
/// }
///
/// # fn listener() -> Socket { unimplemented!() }
/// let mut sel = Sel::new()?;
/// let data = Data { callback: accept, outgoing: WriteQueue::new() };
/// sel.register(listener(), Interest::READABLE, data)?;
/// let mut events = Events::with_capacity(1024);
/// loop {
///     sel.select(&mut events, None)?;
///     for event in &events {
///         let Some(registration) = sel.get(event.key) else { continue };
///         let callback = registration.data().callback;
///         callback(&mut sel, event)?;
///     }
/// }
/// # }
/// # #[allow(unreachable_code)]
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A selector may move between threads. In a child of `fork` it can only be
/// [rebuilt](Self::rebuild) or dropped; every other call that needs the kernel returns a
/// [`ForkedError`](crate::ForkedError).
pub struct Selector<S, D = ()> {
    // Fields are dropped in this order: the kernel object before the sources that it watches.
    poller: AnyPoller,
    registrations: Slab<Registration<S, D>>,
    /// From a descriptor to the slot of its registration.
    descriptors: DescriptorTable,
    /// Slots whose change has not been sent to the backend yet.
    changes: Vec<u32>,
    /// Changes that the kernel rejected; each registration is still owed an `INVALID` event.
    rejected: Vec<Rejection>,
    waker: Option<Waker>,
    backend: Backend,
    home: HomeProcess,
    /// How many registrations are one-shot.
    oneshots: usize,
    /// Whether the kernel may still report a registration that is gone.
    has_stale_events: bool,
    /// Whether another loop may watch the kernel object, so that changes cannot be deferred.
    is_nested: bool,
    interruptible: bool,
    busy_poll: Duration,
    clock: Clock,
    /// Whether a loop owns it, which knows better what waits.
    #[cfg(feature = "testing")]
    is_of_loop: bool,
}

impl<S, D> Selector<S, D> {
    /// Opens a selector on the best backend of this system, or on the one that the environment variable
    /// `POLYSELECT_BACKEND` names.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the variable is not the name of a backend, `Unsupported` if this system lacks the
    /// backend; the message lists those that exist. And the errors of opening the backend: too many
    /// descriptors are open (`EMFILE`, `ENFILE`), or memory is exhausted (`ENOMEM`).
    ///
    /// ```
    /// use polyselect::{Interest, Selector};
    /// use std::net::TcpListener;
    ///
    /// let listener = TcpListener::bind(("127.0.0.1", 0))?;
    /// let mut selector = Selector::new()?;
    /// selector.register(listener, Interest::READABLE, ())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Self::open(None, Clock::current())
    }

    /// Opens a selector on `backend`.
    ///
    /// # Errors
    ///
    /// `Unsupported` if this system lacks the backend; the message lists those it has. And the errors of
    /// opening it, as in [`new`](Self::new).
    ///
    /// ```
    /// use polyselect::{Backend, Selector};
    ///
    /// let selector: Selector<std::net::TcpStream> = Selector::with_backend(Backend::Poll)?;
    /// assert_eq!(selector.backend(), Backend::Poll);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_backend(backend: Backend) -> io::Result<Self> {
        Self::open(Some(backend), Clock::current())
    }

    /// Opens a selector in a lab, by whose clock its timeouts run, and whose disorder its events show.
    ///
    /// `backend` is that of [`with_backend`](Self::with_backend); `None` takes the one that [`new`](Self::new) takes.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new) and [`with_backend`](Self::with_backend).
    ///
    /// ```
    /// use polyselect::testing::{Disorder, Lab};
    /// use polyselect::{Events, Selector};
    /// use std::time::Duration;
    ///
    /// let lab = Lab::new(1, Disorder::none());
    /// let mut selector: Selector<std::net::TcpStream> = Selector::in_lab(&lab, None)?;
    /// selector.select(&mut Events::with_capacity(8), Duration::from_secs(3600))?;
    /// assert_eq!(lab.elapsed(), Duration::from_secs(3600));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "testing")]
    pub fn in_lab(
        lab: &crate::testing::Lab,
        backend: impl Into<Option<Backend>>,
    ) -> io::Result<Self> {
        Self::open(backend.into(), Clock::of(lab))
    }

    pub(crate) fn open(backend: Option<Backend>, clock: Clock) -> io::Result<Self> {
        let (backend, poller) = match backend {
            Some(backend) => (backend, backend.open()?),
            None => Backend::open_preferred()?,
        };
        Ok(Self::on(backend, poller, clock))
    }

    pub(crate) fn on(backend: Backend, poller: AnyPoller, clock: Clock) -> Self {
        log::debug!("selector on {backend}");
        Self {
            poller: clock.wrap(backend, poller),
            registrations: Slab::new(),
            descriptors: DescriptorTable::default(),
            changes: Vec::new(),
            rejected: Vec::new(),
            waker: None,
            backend,
            home: HomeProcess::here(),
            oneshots: 0,
            has_stale_events: false,
            is_nested: false,
            interruptible: false,
            busy_poll: Duration::ZERO,
            clock,
            #[cfg(feature = "testing")]
            is_of_loop: false,
        }
    }

    /// Returns the backend.
    ///
    /// See [`with_backend`](Self::with_backend) for an example.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Registers a source, which the selector owns from then on. Takes effect immediately.
    ///
    /// `watch` is an [`Interest`], or with a mode other than level-triggered a [`Watch`]. An empty
    /// interest registers a source that is not watched yet. Does not block; on epoll it is one
    /// `epoll_ctl`.
    ///
    /// The source can be blocking, but then a read or write after an event may block, because another thread
    /// or process may have consumed the readiness.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] lists them, and returns source and data. Nothing is registered then.
    ///
    /// ```
    /// use polyselect::{Interest, Selector};
    /// use std::net::{TcpListener, UdpSocket};
    ///
    /// let mut selector = Selector::new()?;
    /// let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    /// let key = selector.register(socket, Interest::READABLE, "questions")?;
    /// assert_eq!(selector[key].data(), &"questions");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    // Inlined with epoll's system call: see `backend/epoll.rs`.
    #[inline(always)]
    pub fn register(
        &mut self,
        source: S,
        watch: impl Into<Watch>,
        data: D,
    ) -> Result<Key, RegisterError<S, D>>
    where
        S: Source,
    {
        let (descriptor, watch) = (Descriptor::of(&source), watch.into());
        let key = self.insert(descriptor, watch, source, data)?;
        log::trace!("{key} registered: descriptor {descriptor}, {watch:?}");
        Ok(key)
    }

    #[inline(always)]
    fn insert(
        &mut self,
        descriptor: Descriptor,
        watch: Watch,
        source: S,
        data: D,
    ) -> Result<Key, RegisterError<S, D>> {
        match self.admit(descriptor, watch) {
            Ok(key) => {
                let slot = self.registrations.insert(Registration {
                    source,
                    data,
                    descriptor,
                    generation: key.generation(),
                    watch,
                    applied: watch,
                    is_changed: false,
                    has_fired: false,
                });
                debug_assert_eq!(slot, key.slot());
                self.oneshots += usize::from(watch.is_oneshot());
                Ok(key)
            }
            Err(error) => Err(RegisterError::new(error, source, data)),
        }
    }

    /// The part of `register` that can fail; what remains is to fill the slot of the key.
    #[inline(always)]
    fn admit(&mut self, descriptor: Descriptor, watch: Watch) -> io::Result<Key> {
        self.home.check()?;
        if !descriptor.is_valid() {
            return Err(error::not_open(descriptor));
        }
        if let Some(slot) = self.descriptors.get(descriptor) {
            return Err(error::already_registered(descriptor, self.key_at(slot)));
        }
        self.backend.check(watch)?;
        let slot = self.registrations.vacant_key();
        if slot > Token::MAX_SLOT {
            return Err(io::Error::other("a selector holds at most 536,870,910 registrations"));
        }
        let key = Key::new(slot as u32, next_generation());
        if watch.interest().is_empty() {
            check_open(descriptor)?;
        } else {
            let token = Token::new(key, watch.interest());
            self.poller.update(descriptor, token, Interest::empty(), watch)?;
        }
        self.descriptors.insert(descriptor, slot);
        Ok(key)
    }

    /// Unregisters a source and returns it with its data. Takes effect immediately: when it returns, the
    /// kernel holds no reference to the file, and events of this key that are still in a batch find nothing.
    ///
    /// Does not block; on epoll it is one `epoll_ctl`. Exception: on io_uring, after the selector has moved
    /// to another thread, it can block for some milliseconds, until the kernel has released the files of the
    /// former thread's ring; at most 50 if the process has forked since, because a child may hold the ring.
    ///
    /// # Errors
    ///
    /// `NotFound` if the key names no registration of this selector; [`ForkedError`](crate::ForkedError).
    /// An error of the kernel (because the descriptor was closed, for example) is not returned: the source
    /// is.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{Interest, Selector};
    /// # use std::io::ErrorKind;
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// let mut selector = Selector::new()?;
    /// let key = selector.register(left, Interest::READABLE, "data")?;
    /// let (left, data) = selector.unregister(key)?.into_parts();
    /// assert_eq!(selector.unregister(key).unwrap_err().kind(), ErrorKind::NotFound);
    /// # drop((left, data)); }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    // Inlined with epoll's system call: see `backend/epoll.rs`.
    #[inline(always)]
    pub fn unregister(&mut self, key: Key) -> io::Result<Registration<S, D>> {
        self.home.check()?;
        match self.get(key) {
            Some(_) => Ok(self.remove(key.slot())),
            None => Err(error::stale_key(key)),
        }
    }

    /// Removes the registration of an occupied slot.
    #[inline(always)]
    fn remove(&mut self, slot: usize) -> Registration<S, D> {
        let (registration, removal) = self.take_out(slot);
        registration.log_removal(slot, removal);
        registration
    }

    /// Removes the registration of an occupied slot; the result is the kernel's.
    #[inline(always)]
    fn take_out(&mut self, slot: usize) -> (Registration<S, D>, io::Result<()>) {
        let registration = self.registrations.remove(slot);
        let Registration { descriptor, watch, applied, .. } = registration;
        let removal = self.withdraw(registration.key(slot), descriptor, applied);
        self.descriptors.remove(descriptor);
        self.oneshots -= usize::from(watch.is_oneshot());
        (registration, removal)
    }

    /// Removes a descriptor from the backend, even if the kernel reports an error.
    #[inline(always)]
    fn withdraw(&mut self, key: Key, descriptor: Descriptor, applied: Watch) -> io::Result<()> {
        let (old, nothing) = (applied.interest(), Interest::empty());
        if !old.is_empty() {
            let token = Token::new(key, nothing);
            let removal = applied.with_interest(nothing);
            if let Err(error) = self.poller.update(descriptor, token, old, removal) {
                self.has_stale_events = true;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Returns a handle with which other threads end the wait; see [`Waker`] for an example.
    ///
    /// The first call opens a channel (an eventfd, a pipe, or on Windows a connection over loopback);
    /// later calls return the same. Does not block.
    ///
    /// # Errors
    ///
    /// [`ForkedError`](crate::ForkedError); too many descriptors are open (`EMFILE`, `ENFILE`), or memory is
    /// exhausted (`ENOMEM`).
    ///
    /// ```
    /// # use polyselect::Selector;
    /// # let mut selector: Selector<std::net::TcpStream> = Selector::new()?;
    /// let waker = selector.waker()?;
    /// std::thread::spawn(move || waker.wake());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn waker(&mut self) -> io::Result<Waker> {
        if let Some(waker) = &self.waker {
            return Ok(waker.clone());
        }
        self.home.check()?;
        let waker = Waker::new(self.clock.clone())?;
        watch_waker(&mut self.poller, &waker)?;
        #[cfg(windows)]
        waker.set_port(self.poller.port());
        self.waker = Some(waker.clone());
        Ok(waker)
    }
}

/// Lets a backend wait for a waker. On Windows `Waker::set_port` follows, when nothing can fail any more.
fn watch_waker(poller: &mut AnyPoller, waker: &Waker) -> io::Result<()> {
    #[cfg(windows)]
    {
        if poller.port().is_some() {
            return Ok(());
        }
        waker.prepare_sockets()?;
    }
    let watch = Interest::READABLE.into();
    poller.update(waker.descriptor()?, Token::WAKER, Interest::empty(), watch)
}

impl<S, D> fmt::Debug for Selector<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector")
            .field("backend", &self.backend)
            .field("registrations", &self.registrations.len())
            .finish_non_exhaustive()
    }
}

/// Because of this the compiler checks that a borrowed source outlives the selector.
impl<S, D> Drop for Selector<S, D> {
    fn drop(&mut self) {
        self.silence_duplicates();
        log::trace!("selector on {} dropped, {} registered", self.backend, self.len());
    }
}
