//! [`Async`]: a source for coroutines.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};

use super::time::yield_now;
use super::watched::{Direction, State, Watched};
use crate::Listener;

const NO_TIME: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

pub(super) struct Source<S> {
    pub(super) inner: S,
    state: State,
}

impl<S: AsFd> Watched for Source<S> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    fn state(&self) -> &State {
        &self.state
    }
}

/// A source that coroutines wait for: a socket, a pipe, whatever the loop can watch.
///
/// It owns the source, which [`new`](Self::new) makes non-blocking, and belongs to the loop whose
/// coroutine first waits for it. Until then the loop does not know it; an operation that need not
/// wait never tells it.
///
/// One task may read while another writes. For that, clone it: a clone is another handle of the same
/// source. The registration ends, and the source is dropped, with the last handle, in the turn in
/// which that is dropped.
///
/// What can be read and written by shared reference, as the sockets of `std` can, has
/// [`read`](Self::read) and [`write`](Self::write) and is
/// [`AsyncRead`](futures_io::AsyncRead) and [`AsyncWrite`](futures_io::AsyncWrite). Everything else is
/// done with [`read_with`](Self::read_with) and [`write_with`](Self::write_with).
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
    source: Rc<Source<S>>,
    /// How many handles there are: the loop's own hold on the source is not counted.
    handles: Rc<()>,
}

impl<S: AsFd + 'static> Async<S> {
    /// Makes the source non-blocking, and ready for coroutines. Registers nothing yet, and can be
    /// called outside of coroutines.
    ///
    /// # Errors
    ///
    /// What the system says to making it non-blocking.
    ///
    /// See [`Async`] for an example.
    #[track_caller]
    pub fn new(source: S) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(source.as_fd(), true)?;
        Ok(Self::of_nonblocking(source, Location::caller()))
    }

    pub(super) fn of_nonblocking(inner: S, location: &'static Location<'static>) -> Self {
        Self {
            source: Rc::new(Source { inner, state: State::new(location) }),
            handles: Rc::new(()),
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

    /// Ends the registration and gives the source back, which stays non-blocking. It takes a turn of
    /// the loop if the source was ever waited for.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` if there are other handles.
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
        if Rc::strong_count(&self.handles) > 1 {
            let message = "this source has other handles, which may wait for it";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        let mut source = Rc::clone(&self.source);
        drop(self);
        loop {
            match Rc::try_unwrap(source) {
                Ok(source) => return Ok(source.inner),
                // The loop has not ended the registration yet.
                Err(shared) => source = shared,
            }
            yield_now().await;
        }
    }

    fn poll_event(
        &self,
        direction: fn(&State) -> &Direction,
        flag: PollFlags,
        begin: &mut Option<u32>,
        context: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        let probe = || Ok(poll(&mut [PollFd::new(&self.source.inner, flag)], Some(&NO_TIME))? > 0);
        let direction = direction(&self.source.state);
        self.source.state.poll_event(direction, begin, context, || self.watched(), probe)
    }

    pub(super) fn poll_with<R>(
        &self,
        direction: fn(&State) -> &Direction,
        context: &Context<'_>,
        operation: impl FnMut() -> io::Result<R>,
        has_more: impl Fn(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        let direction = direction(&self.source.state);
        let watched = || self.watched();
        self.source.state.poll_operation(direction, context, watched, operation, has_more)
    }

    pub(super) fn attempt<R>(
        &self,
        direction: fn(&State) -> &Direction,
        operation: impl FnMut() -> io::Result<R>,
        has_more: impl Fn(&R) -> bool,
    ) -> io::Result<R> {
        direction(&self.source.state).attempt(operation, has_more)
    }

    fn watched(&self) -> Rc<dyn Watched> {
        Rc::clone(&self.source) as Rc<dyn Watched>
    }

    /// Waits until a read would not block; not at all, or for a turn of the loop, if that is so
    /// already.
    ///
    /// Be ready for `WouldBlock` all the same, and wait again: another task may have been quicker; and
    /// after a read by [`try_read`](Self::try_read) and its like that left open whether there is more,
    /// this does not look, but lets the next read find out. After a read by
    /// [`get_ref`](Self::get_ref), of which nothing is known here, it looks with a `poll` call.
    ///
    /// # Errors
    ///
    /// What [`Selector::register`](crate::Selector::register) gives, when this is the first wait;
    /// `InvalidInput` if it is registered with another loop; `Other` outside of a coroutine of an
    /// [`EventLoop`](crate::EventLoop).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # use std::io::Write;
    /// # let (mut left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # left.write_all(b"!")?;
    /// # let right = Async::new(right)?;
    /// # EventLoop::new(())?.block_on(async {
    /// let mut buffer = [0; 64];
    /// right.readable().await?;
    /// let n = right.try_read(&mut buffer)?;
    /// # assert_eq!(n, 1);
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        let mut begin = None;
        poll_fn(|context| {
            self.poll_event(|state| &state.reading, PollFlags::IN, &mut begin, context)
        })
        .await
    }

    /// Waits until a write would not block. As [`readable`](Self::readable).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let left = Async::new(left)?;
    /// # EventLoop::new(())?.block_on(async {
    /// left.writable().await?;
    /// left.try_write(b"!")?;
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        let mut begin = None;
        poll_fn(|context| {
            self.poll_event(|state| &state.writing, PollFlags::OUT, &mut begin, context)
        })
        .await
    }

    /// Does a reading operation now, if it does not block. It is tried again after `Interrupted`.
    ///
    /// # Errors
    ///
    /// What `operation` says; `WouldBlock` makes the next wait wait.
    ///
    /// ```
    /// use polyselect::asyncio::Async;
    /// use std::{io::ErrorKind, net::UdpSocket};
    ///
    /// let socket = Async::new(UdpSocket::bind(("127.0.0.1", 0))?)?;
    /// let error = socket.try_read_with(|socket| socket.recv(&mut [0; 64])).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::WouldBlock);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_read_with<R>(
        &self,
        mut operation: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        self.attempt(|state| &state.reading, || operation(&self.source.inner), |_| true)
    }

    /// Does a writing operation now, if it does not block. As [`try_read_with`](Self::try_read_with).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// ```
    /// # use polyselect::asyncio::Async;
    /// # use std::net::UdpSocket;
    /// # let socket = Async::new(UdpSocket::bind(("127.0.0.1", 0))?)?;
    /// let addr = socket.get_ref().local_addr()?;
    /// assert_eq!(socket.try_write_with(|socket| socket.send_to(b"to myself", addr))?, 9);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_write_with<R>(
        &self,
        mut operation: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        self.attempt(|state| &state.writing, || operation(&self.source.inner), |_| true)
    }

    /// Does a reading operation as soon as it does not block: `operation` is tried, and again after
    /// each event, until it returns something other than `WouldBlock` and `Interrupted`.
    ///
    /// # Errors
    ///
    /// What `operation` says, and as [`readable`](Self::readable).
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio::Async};
    /// use std::net::UdpSocket;
    ///
    /// let socket = Async::new(UdpSocket::bind(("127.0.0.1", 0))?)?;
    /// socket.get_ref().send_to(b"hello", socket.get_ref().local_addr()?)?;
    /// let mut buffer = [0; 64];
    /// let receive = socket.read_with(|socket| socket.peek(&mut buffer));
    /// assert_eq!(EventLoop::new(())?.block_on(receive)??, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_with<R>(
        &self,
        mut operation: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut operation = || operation(&self.source.inner);
        poll_fn(|context| self.poll_with(|state| &state.reading, context, &mut operation, |_| true))
            .await
    }

    /// Does a writing operation as soon as it does not block. As [`read_with`](Self::read_with).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # use std::io::{IoSlice, Write};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let left = Async::new(left)?;
    /// # EventLoop::new(())?.block_on(async {
    /// let parts = [IoSlice::new(b"head"), IoSlice::new(b"body")];
    /// let written = left.write_with(|mut left| left.write_vectored(&parts)).await?;
    /// # assert_eq!(written, 8);
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn write_with<R>(
        &self,
        mut operation: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut operation = || operation(&self.source.inner);
        poll_fn(|context| self.poll_with(|state| &state.writing, context, &mut operation, |_| true))
            .await
    }
}

impl<L: Listener + 'static> Async<L> {
    pub(super) fn poll_accept(
        &self,
        context: &Context<'_>,
    ) -> Poll<io::Result<(L::Connection, L::Address)>> {
        let accept = || self.source.inner.accept();
        self.poll_with(|state| &state.reading, context, accept, |_| true)
    }
}

/// Another handle of the same source.
impl<S: AsFd + 'static> Clone for Async<S> {
    fn clone(&self) -> Self {
        Self { source: Rc::clone(&self.source), handles: Rc::clone(&self.handles) }
    }
}

impl<S: AsFd + 'static> Drop for Async<S> {
    fn drop(&mut self) {
        if Rc::strong_count(&self.handles) == 1 {
            self.source.state.release(|| self.watched());
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
