//! [`Async`]: a source for coroutines.

use std::any::TypeId;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::net;

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
        self.source.state.reading.attempt(|| operation(&self.source.inner), |_| true)
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
        self.source.state.writing.attempt(|| operation(&self.source.inner), |_| true)
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

impl<L: Listener> Async<L> {
    pub(super) fn poll_accept(
        &self,
        context: &Context<'_>,
    ) -> Poll<io::Result<(L::Connection, L::Address)>> {
        let accept = || self.source.inner.accept();
        self.poll_with(|state| &state.reading, context, accept, |_| true)
    }
}

impl<S: AsFd + 'static> Async<S>
where
    for<'a> &'a S: Read,
{
    pub(super) fn poll_read_into(
        &self,
        context: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let length = buffer.len();
        let read = || (&self.source.inner).read(buffer);
        self.poll_with(|state| &state.reading, context, read, |&n| may_have_more::<S>(n, length))
    }

    /// Reads what there is, if there is something.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is nothing, and what the source says.
    ///
    /// See [`readable`](Self::readable) for an example.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len();
        let read = || (&self.source.inner).read(buffer);
        self.source.state.reading.attempt(read, |&n| may_have_more::<S>(n, length))
    }

    /// Reads what there is, as much as fits; zero bytes are the end of the stream. Does not wait if
    /// there is something.
    ///
    /// # Errors
    ///
    /// What the source says, and as [`readable`](Self::readable).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # use std::io::Write;
    /// # let (mut left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # left.write_all(b"hello")?;
    /// # let right = Async::new(right)?;
    /// # EventLoop::new(())?.block_on(async {
    /// let mut buffer = [0; 64];
    /// let n = right.read(&mut buffer).await?;
    /// assert_eq!(&buffer[..n], b"hello");
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read_into(context, buffer)).await
    }

    /// Reads until the buffer is full. When it is cancelled, what it has read is lost.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends before, and as [`read`](Self::read).
    ///
    /// See [`Async`] for an example.
    pub async fn read_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => buffer = &mut buffer[n..],
            }
        }
        Ok(())
    }
}

impl<S: AsFd + 'static> Async<S>
where
    for<'a> &'a S: Write,
{
    pub(super) fn poll_write_from(
        &self,
        context: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = || (&self.source.inner).write(bytes);
        self.poll_with(|state| &state.writing, context, write, |_| true)
    }

    /// Writes what the source takes now.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if that is nothing, and what the source says.
    ///
    /// See [`writable`](Self::writable) for an example.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.source.state.writing.attempt(|| (&self.source.inner).write(bytes), |_| true)
    }

    pub(super) fn poll_write_parts(
        &self,
        context: &Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = || (&self.source.inner).write_vectored(parts);
        self.poll_with(|state| &state.writing, context, write, |_| true)
    }

    /// Writes what the source takes, and says how much that was. Waits only while it takes nothing.
    ///
    /// # Errors
    ///
    /// What the source says, and as [`writable`](Self::writable).
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, _right) = std::os::unix::net::UnixStream::pair()?;
    /// # let left = Async::new(left)?;
    /// # EventLoop::new(())?.block_on(async {
    /// let written = left.write(b"hello").await?;
    /// # assert_eq!(written, 5);
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_write_from(context, bytes)).await
    }

    /// Writes everything. When it is cancelled, nobody knows how much was written.
    ///
    /// # Errors
    ///
    /// `WriteZero` if the source takes no more, and as [`write`](Self::write).
    ///
    /// See [`Async`] for an example.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => bytes = &bytes[n..],
            }
        }
        Ok(())
    }
}

impl<S: AsFd + 'static> Async<S> {
    /// Tells the other end that nothing more comes, where the source is a socket.
    pub(super) fn end_writing(&self) -> io::Result<()> {
        match net::shutdown(self.source.inner.as_fd(), net::Shutdown::Write) {
            Ok(()) | Err(Errno::NOTSOCK | Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether there may be more to read: a stream that does not fill the buffer has no more for now.
#[inline]
fn may_have_more<S: 'static>(read: usize, room: usize) -> bool {
    read == room || !is_stream::<S>()
}

/// Whether it is known to give all that it has to a read that has room for it. A terminal gives a
/// line, others a message.
#[inline]
fn is_stream<S: 'static>() -> bool {
    let this = TypeId::of::<S>();
    let is = |known: TypeId| this == known;
    #[cfg(unix)]
    if is(TypeId::of::<std::os::unix::net::UnixStream>()) || is(TypeId::of::<io::PipeReader>()) {
        return true;
    }
    is(TypeId::of::<std::net::TcpStream>())
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
