//! [`Async`]: a source for tasks.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use rustix::fd::{AsFd, BorrowedFd};
use rustix::net;

use super::readiness::Direction;
use super::requests::{Order, TaskSource};
use super::short_read::ShortRead;
use super::state::State;
use super::time::yield_now;
use super::waiters::{Entry, Waiter};
use crate::backend::Backend;
use crate::event::Event;
use crate::interest::{Interest, Watch};
use crate::key::Key;

pub(super) struct Source<S> {
    pub(super) inner: S,
    pub(super) state: State,
    /// The number of handles. The loop's own hold on the source does not count.
    handles: Cell<usize>,
    /// Is dropped after the source, when that is closed.
    on_close: Cell<Option<Rc<dyn Any>>>,
}

/// A connection, as its server sees it.
pub(super) trait Connection {
    /// Makes every later wait fail, and ends those in progress.
    fn abort(&self);

    /// Ends both directions of the socket, for all its handles.
    fn shut_down(&self);
}

impl<S: AsFd> Connection for Source<S> {
    fn abort(&self) {
        self.state.abort();
    }

    fn shut_down(&self) {
        if let Err(error) = net::shutdown(self.inner.as_fd(), net::Shutdown::Both) {
            log::debug!("the connection from {} is not shut down: {error}", self.state.location);
        }
    }
}

impl<S: AsFd> TaskSource for Source<S> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    fn location(&self) -> &'static Location<'static> {
        self.state.location
    }

    fn waiting(&self, waker: &Waker) -> Interest {
        let mut interest = Interest::empty();
        interest.set(Interest::READABLE, self.state.reading.has_waiter(waker));
        interest.set(Interest::WRITABLE, self.state.writing.has_waiter(waker));
        interest
    }

    fn take_order(&self, backend: Backend) -> Order {
        self.state.take_order(backend)
    }

    fn registered(&self, key: Key, watch: Watch) {
        self.state.registered(key, watch);
    }

    fn modified(&self, interest: Interest) {
        self.state.modified(interest);
    }

    fn fail(&self, error: io::Error) {
        self.state.fail(error);
    }

    fn unregistered(&self) {
        self.state.unregistered();
    }

    fn suspend(&self) -> bool {
        self.state.suspend()
    }

    fn resume(&self) {
        self.state.resume();
    }

    fn deliver(&self, event: &Event) -> bool {
        self.state.deliver(event)
    }
}

/// A source that tasks wait for: a socket, a pipe, whatever the loop can watch.
///
/// It owns the source, which [`new`](Self::new) makes non-blocking. One task may read while another
/// writes. For that, clone it: a clone is another handle of the same source. The registration ends, and
/// the source is dropped, with the last handle, in the iteration in which that is dropped.
///
/// Sources that can be read and written by shared reference, as the sockets of `std` can, have
/// [`read`](Self::read) and [`write`](Self::write) and are
/// [`AsyncRead`](futures_io::AsyncRead) and [`AsyncWrite`](futures_io::AsyncWrite). Everything else is
/// done with [`read_with`](Self::read_with) and [`write_with`](Self::write_with). The traits of
/// `futures-io` serve one task for each direction at a time; if another one polls, they wake the first.
///
/// # The loop that it belongs to
///
/// A source is registered by the first operation that has to wait, with the loop that polls the task.
/// While that loop lives, every operation in a task of another loop is an `InvalidInput` error;
/// [`into_inner`](Self::into_inner) takes the source out. When the loop is dropped, the source works in
/// the next loop that awaits it.
///
/// # Reading to the end of what is there
///
/// With edge-triggered backends, a read that did not fill its buffer is followed by another one, which
/// returns `WouldBlock`, before the task waits. That costs a system call, and only on TCP sockets under
/// Linux a short read proves enough to save it. The proof ends for a source with its first urgent byte,
/// and with the first [`read_with`](Self::read_with) or [`try_read_with`](Self::try_read_with): take
/// urgent bytes (`MSG_OOB`) and the control records of `TCP_ULP` by those, and not by
/// [`get_ref`](Self::get_ref).
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::{EventLoop, asyncio::Async};
/// use std::os::unix::net::UnixStream;
///
/// let (left, right) = UnixStream::pair()?;
/// let (left, right) = (Async::new(left)?, Async::new(right)?);
/// let mut event_loop = EventLoop::new(())?;
/// event_loop.spawn(async move { left.write_all(b"hello").await }).detach();
/// event_loop.block_on(async {
///     let mut text = [0; 5];
///     right.read_exact(&mut text).await?;
///     assert_eq!(&text, b"hello");
///     std::io::Result::Ok(())
/// })??;
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Async<S: AsFd + 'static> {
    pub(super) source: Rc<Source<S>>,
}

impl<S: AsFd + 'static> Async<S> {
    /// Makes the source non-blocking, and ready for tasks. Registers nothing yet, and can be called
    /// outside of tasks.
    ///
    /// # Errors
    ///
    /// The error of the system if the source cannot be made non-blocking.
    ///
    /// See [`Async`] for an example.
    #[track_caller]
    pub fn new(source: S) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(source.as_fd(), true)?;
        Ok(Self::of_nonblocking(source, Location::caller()))
    }

    pub(super) fn of_nonblocking(inner: S, location: &'static Location<'static>) -> Self {
        let state = State::new(location, ShortRead::of_type::<S>());
        Self {
            source: Rc::new(Source {
                inner,
                state,
                handles: Cell::new(1),
                on_close: Cell::default(),
            }),
        }
    }

    /// The source.
    ///
    /// ```
    /// use polyselect::asyncio::Async;
    /// use std::net::UdpSocket;
    ///
    /// let socket = Async::new(UdpSocket::bind(("127.0.0.1", 0))?)?;
    /// assert_ne!(socket.get_ref().local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.source.inner
    }

    /// Ends the registration and returns the source, which stays non-blocking. It waits for the loop to
    /// end the registration, in this iteration, if the source was ever waited for.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` if there are other handles, `InvalidInput` if the source is registered with another
    /// loop. This handle is dropped then.
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio::Async};
    /// use std::net::UdpSocket;
    ///
    /// let socket = Async::new(UdpSocket::bind(("127.0.0.1", 0))?)?;
    /// let socket: UdpSocket = EventLoop::new(())?.block_on(socket.into_inner())??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn into_inner(self) -> io::Result<S> {
        if self.source.handles.get() > 1 {
            let message = "this source has other handles, which may wait for it: drop them before";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        self.source.state.check_loop()?;
        let mut source = Rc::clone(&self.source);
        drop(self);
        loop {
            source = match Rc::try_unwrap(source) {
                Ok(source) => return Ok(source.inner),
                Err(held) => held,
            };
            // The loop wakes the readers when it no longer has the source. In the same iteration it
            // drops its handle, so this condition is checked at most twice.
            let state = &source.state;
            state.reading.waiters.until(|| !state.is_held()).await;
            yield_now().await;
        }
    }

    pub(super) fn reading(&self) -> &Direction {
        &self.source.state.reading
    }

    pub(super) fn writing(&self) -> &Direction {
        &self.source.state.writing
    }

    /// The waiter of a read, which is removed when it is dropped.
    #[inline]
    pub(super) fn reader(&self) -> Waiter<'_> {
        self.reading().waiters.waiter()
    }

    #[inline]
    pub(super) fn writer(&self) -> Waiter<'_> {
        self.writing().waiters.waiter()
    }

    #[inline]
    pub(super) fn poll_with<R>(
        &self,
        direction: &Direction,
        entry: &mut Entry,
        context: &Context<'_>,
        operation: impl FnMut() -> io::Result<R>,
        has_more: impl Fn(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        let state = &self.source.state;
        let source = || self.task_source();
        state.poll_operation(direction, entry, context, source, operation, has_more)
    }

    #[inline]
    pub(super) fn attempt<R>(
        &self,
        direction: &Direction,
        operation: impl FnMut() -> io::Result<R>,
        has_more: impl Fn(&R) -> bool,
    ) -> io::Result<R> {
        self.source.state.attempt(direction, operation, has_more)
    }

    /// Keeps `guard` until the source is closed.
    pub(super) fn drop_on_close(&self, guard: Rc<dyn Any>) {
        self.source.on_close.set(Some(guard));
    }

    pub(super) fn connection(&self) -> Weak<dyn Connection> {
        Rc::downgrade(&(Rc::clone(&self.source) as Rc<dyn Connection>))
    }

    pub(super) fn abort(&self) {
        self.source.state.abort();
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.source.state.is_aborted()
    }

    pub(super) fn task_source(&self) -> Rc<dyn TaskSource> {
        Rc::clone(&self.source) as Rc<dyn TaskSource>
    }
}

/// Returns another handle of the same source.
impl<S: AsFd + 'static> Clone for Async<S> {
    fn clone(&self) -> Self {
        let handles = &self.source.handles;
        handles.set(handles.get() + 1);
        Self { source: Rc::clone(&self.source) }
    }
}

impl<S: AsFd + 'static> Drop for Async<S> {
    fn drop(&mut self) {
        let handles = &self.source.handles;
        handles.set(handles.get() - 1);
        if handles.get() == 0 {
            self.source.state.release(|| self.task_source());
        }
    }
}

impl<S: AsFd + fmt::Debug + 'static> fmt::Debug for Async<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Async")
            .field("source", &self.source.inner)
            .field("registered", &self.source.state.is_registered())
            .finish()
    }
}
