//! [`Selector`]: what is registered, and the wait.
//!
//! All bookkeeping is here, so that a mechanism is told only what to watch and asked only to wait.

mod changes;
mod map;
mod nesting;
mod rebuild;
mod wait;

use std::time::Duration;
use std::{fmt, io};

use rustix::fd::AsFd;
use slab::Slab;

use crate::backend::{Backend, Mechanism, check_open};
use crate::descriptor::{Descriptor, DescriptorTable};
use crate::error::{self, RegisterError};
use crate::fork::HomeProcess;
use crate::interest::{Interest, Watch};
use crate::key::{Key, Token, next_generation};
use crate::registration::Registration;
use crate::waker::Waker;
use nesting::Nest;

pub use map::{Drain, Iter, IterMut};

/// Watches sources and says which of them are ready: Python's `selectors.DefaultSelector`.
///
/// `S` is the kind of source, `D` the data that goes with each. What `S` is decides who owns:
/// `TcpStream` (the selector does), `Rc<TcpStream>` (it is shared), `&TcpStream` (it is borrowed,
/// and the compiler sees to it that it lives long enough), `socket2::Socket` or an enum (many kinds
/// in one selector), `Box<dyn MyStream>` where `trait MyStream: AsFd`. On Unix a source is what is
/// [`AsFd`], on Windows what is `AsSocket`.
///
/// While a source is registered it is lent by shared reference only, so safe code cannot close it
/// behind the selector's back; [`unregister`](Self::unregister) gives it back, and dropping the
/// selector drops it.
///
/// A server that echoes, the callback of each source being its data, as in Python:
///
/// ```no_run
/// # #[cfg(unix)] {
/// use polyselect::{Event, Events, Interest, Selector, WriteQueue};
/// use socket2::Socket;
/// use std::io::{self, Read};
///
/// type Sel = Selector<Socket, Data>;
/// struct Data { callback: fn(&mut Sel, Event) -> io::Result<()>, outgoing: WriteQueue }
///
/// fn accept(sel: &mut Sel, event: Event) -> io::Result<()> {
///     let (conn, _addr) = sel[event.key].source().accept()?;
///     conn.set_nonblocking(true)?;
///     sel.register(conn, Interest::READABLE, Data { callback: read, outgoing: WriteQueue::new() })?;
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
/// [rebuilt](Self::rebuild) or dropped; everything else that asks the kernel is an error there.
pub struct Selector<S, D = ()> {
    // Fields are dropped in this order: the kernel's object before the sources it watches.
    mechanism: Box<dyn Mechanism>,
    nest: Option<Nest>,
    registrations: Slab<Registration<S, D>>,
    /// From a descriptor to the slot of its registration.
    descriptors: DescriptorTable,
    /// Slots whose watch the mechanism has not been told of yet.
    changes: Vec<u32>,
    /// Those whose change the kernel refused, and who have not been told.
    refused: Vec<Key>,
    waker: Option<Waker>,
    backend: Backend,
    home: HomeProcess,
    /// How many registrations are one-shot.
    oneshots: usize,
    /// Whether the kernel may still report a registration that is gone.
    stale_events: bool,
    interruptible: bool,
    busy_poll: Duration,
}

impl<S, D> Selector<S, D> {
    /// A selector on the best mechanism of this system, or on the one that the environment variable
    /// `POLYSELECT_BACKEND` names.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the variable names no backend, `Unsupported` if it names one that this
    /// system lacks; the message lists those there are. And what opening the mechanism gives:
    /// too many descriptors are open (`EMFILE`, `ENFILE`), there is no memory (`ENOMEM`).
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
        let (backend, mechanism) = Backend::open_preferred()?;
        Ok(Self::on(backend, mechanism))
    }

    /// A selector on this mechanism.
    ///
    /// # Errors
    ///
    /// `Unsupported` if this system lacks it; the message lists those it has. Else as
    /// [`new`](Self::new).
    ///
    /// ```
    /// use polyselect::{Backend, Selector};
    ///
    /// let selector: Selector<std::net::TcpStream> = Selector::with_backend(Backend::Poll)?;
    /// assert_eq!(selector.backend(), Backend::Poll);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_backend(backend: Backend) -> io::Result<Self> {
        Ok(Self::on(backend, backend.open()?))
    }

    pub(crate) fn on(backend: Backend, mechanism: Box<dyn Mechanism>) -> Self {
        log::debug!("selector on {backend}");
        Self {
            mechanism,
            nest: None,
            registrations: Slab::new(),
            descriptors: DescriptorTable::default(),
            changes: Vec::new(),
            refused: Vec::new(),
            waker: None,
            backend,
            home: HomeProcess::here(),
            oneshots: 0,
            stale_events: false,
            interruptible: false,
            busy_poll: Duration::ZERO,
        }
    }

    /// The mechanism in use.
    ///
    /// See [`with_backend`](Self::with_backend) for an example.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Starts watching a source, and takes it over. In effect at once.
    ///
    /// `watch` is an [`Interest`], or with a mode other than level-triggered a [`Watch`]. An empty
    /// interest registers a source that is watched for nothing yet. Does not block; on epoll it is
    /// one `epoll_ctl`.
    ///
    /// The source need not be non-blocking, but what is done with it after an event should be: another
    /// process may be quicker.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] lists them, and hands source and data back. Nothing is registered then.
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
    // Inlined with the system call in it: see `backend/direct.rs`.
    #[inline(always)]
    pub fn register(
        &mut self,
        source: S,
        watch: impl Into<Watch>,
        data: D,
    ) -> Result<Key, RegisterError<S, D>>
    where
        S: AsFd,
    {
        let (descriptor, watch) = (Descriptor::of(&source), watch.into());
        match self.admit(descriptor, watch) {
            Ok(key) => {
                let slot = self.registrations.insert(Registration {
                    source,
                    data,
                    descriptor,
                    generation: key.generation(),
                    watch,
                    applied: watch.interest(),
                    changed: false,
                    spent: false,
                });
                debug_assert_eq!(slot, key.slot());
                self.oneshots += usize::from(watch.is_oneshot());
                self.refresh_nest();
                log::trace!("{key} registered: descriptor {descriptor}, {watch:?}");
                Ok(key)
            }
            Err(error) => Err(RegisterError::new(error, source, data)),
        }
    }

    /// Everything of `register` that can fail: what is left is to fill the slot of the key.
    #[inline(always)]
    fn admit(&mut self, descriptor: Descriptor, watch: Watch) -> io::Result<Key> {
        self.home.check()?;
        if let Some(slot) = self.descriptors.get(descriptor) {
            return Err(error::already_registered(descriptor, self.key_at(slot)));
        }
        self.backend.check(descriptor, watch)?;
        let slot = self.registrations.vacant_key();
        if slot > Token::MAX_SLOT {
            return Err(io::Error::other("a selector holds at most 536,870,910 registrations"));
        }
        let key = Key::new(slot as u32, next_generation());
        if watch.interest().is_empty() {
            check_open(descriptor)?;
        } else {
            let token = Token::new(key, watch.interest());
            self.mechanism.update_directly(descriptor, token, Interest::empty(), watch)?;
        }
        self.descriptors.insert(descriptor, slot);
        Ok(key)
    }

    /// Stops watching, and gives source and data back. In effect at once: when it returns, the kernel
    /// holds no reference to the file, and events of this key that were collected already find
    /// nothing. Does not block; on epoll it is one `epoll_ctl`.
    ///
    /// # Errors
    ///
    /// `NotFound` if the key names no registration here; `Other` after a fork. What the kernel may
    /// say to the removal (the descriptor was closed behind the selector's back) is no error: the
    /// source comes back all the same.
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
    // Inlined with the system call in it: see `backend/direct.rs`.
    #[inline(always)]
    pub fn unregister(&mut self, key: Key) -> io::Result<Registration<S, D>> {
        self.home.check()?;
        match self.get(key) {
            Some(_) => Ok(self.remove(key.slot())),
            None => Err(error::stale_key(key)),
        }
    }

    /// Ends the registration in this slot, which is occupied.
    #[inline(always)]
    fn remove(&mut self, slot: usize) -> Registration<S, D> {
        let registration = self.registrations.remove(slot);
        let Registration { descriptor, watch, applied, .. } = registration;
        let key = Key::new(slot as u32, registration.generation);
        if !applied.is_empty() {
            let nothing = watch.with_interest(Interest::empty());
            let token = Token::new(key, Interest::empty());
            if let Err(error) = self.mechanism.update_directly(descriptor, token, applied, nothing)
            {
                log::debug!("{key}: removal of descriptor {descriptor} was refused: {error}");
                self.stale_events = true;
            }
        }
        self.descriptors.remove(descriptor);
        self.oneshots -= usize::from(watch.is_oneshot());
        self.refresh_nest();
        log::trace!("{key} unregistered: descriptor {descriptor}");
        registration
    }

    /// Something to end the wait with from other threads; see [`Waker`] for an example.
    ///
    /// The first call opens what carries the wakes (an eventfd, a pipe, or on Windows a connection
    /// over loopback); later calls hand out the same. Does not block.
    ///
    /// # Errors
    ///
    /// `Other` after a fork; too many descriptors are open (`EMFILE`, `ENFILE`), or there is no
    /// memory (`ENOMEM`).
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
        let waker = Waker::new()?;
        watch_waker(&mut *self.mechanism, &waker)?;
        self.waker = Some(waker.clone());
        self.refresh_nest();
        Ok(waker)
    }
}

fn watch_waker(mechanism: &mut dyn Mechanism, waker: &Waker) -> io::Result<()> {
    let watch = Interest::READABLE.into();
    mechanism.update(waker.descriptor(), Token::WAKER, Interest::empty(), watch)
}

impl<S, D> fmt::Debug for Selector<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector")
            .field("backend", &self.backend)
            .field("registrations", &self.registrations.len())
            .finish_non_exhaustive()
    }
}

/// Having this makes the compiler check that a borrowed source outlives the selector.
impl<S, D> Drop for Selector<S, D> {
    fn drop(&mut self) {
        log::trace!(
            "selector on {} dropped, {} registered",
            self.backend,
            self.registrations.len()
        );
    }
}
