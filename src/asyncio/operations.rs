//! Waiting for readiness, and operations of any kind.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use rustix::fd::AsFd;

use super::readiness::Direction;
use super::source::Async;
use super::waiters::Entry;

impl<S: AsFd + 'static> Async<S> {
    fn poll_event(
        &self,
        direction: &Direction,
        entry: &mut Entry,
        context: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.source.state.poll_event(direction, entry, context, || self.task_source())
    }

    /// Waits until a read would not block. If the source is already readable, returns immediately or in
    /// the next iteration of the loop.
    ///
    /// The read may still return `WouldBlock`; then wait again. Another task may have consumed the data.
    /// And after a [`try_read`](Self::try_read) or similar that may have left data, this returns
    /// immediately and leaves the check to the next read. After a read through
    /// [`get_ref`](Self::get_ref), which this type cannot observe, it checks the kernel with `poll`.
    ///
    /// # Errors
    ///
    /// The errors of [`Selector::register`](crate::Selector::register) when this is the first wait;
    /// `InvalidInput` if the source is registered with another loop that lives; `Other` outside of a task
    /// of an [`EventLoop`](crate::EventLoop).
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
        let mut waiter = self.reader();
        poll_fn(|context| self.poll_event(self.reading(), &mut waiter.entry, context)).await
    }

    /// Waits until a write would not block; otherwise like [`readable`](Self::readable).
    ///
    /// # Errors
    ///
    /// Fails as [`readable`](Self::readable) does.
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
        let mut waiter = self.writer();
        poll_fn(|context| self.poll_event(self.writing(), &mut waiter.entry, context)).await
    }

    /// Tries a reading operation without waiting. It is repeated after `Interrupted`.
    ///
    /// # Errors
    ///
    /// The errors of `operation`; `WouldBlock` also clears the readiness, so that the next wait sleeps.
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
        self.source.state.distrust_short_reads();
        self.attempt(self.reading(), || operation(self.get_ref()), |_| true)
    }

    /// Tries a writing operation without waiting; otherwise like [`try_read_with`](Self::try_read_with).
    ///
    /// # Errors
    ///
    /// Fails as [`try_read_with`](Self::try_read_with) does.
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
        self.attempt(self.writing(), || operation(self.get_ref()), |_| true)
    }

    /// Waits for a reading operation: `operation` is tried, and repeated after each event, until it returns
    /// something other than `WouldBlock` and `Interrupted`.
    ///
    /// # Errors
    ///
    /// The errors of `operation`, and those of [`readable`](Self::readable).
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
        self.source.state.distrust_short_reads();
        let (direction, mut waiter) = (self.reading(), self.reader());
        let mut operation = || operation(self.get_ref());
        poll_fn(|context| {
            self.poll_with(direction, &mut waiter.entry, context, &mut operation, |_| true)
        })
        .await
    }

    /// Waits for a writing operation; otherwise like [`read_with`](Self::read_with).
    ///
    /// # Errors
    ///
    /// Fails as [`read_with`](Self::read_with) does.
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
        let (direction, mut waiter) = (self.writing(), self.writer());
        let mut operation = || operation(self.get_ref());
        poll_fn(|context| {
            self.poll_with(direction, &mut waiter.entry, context, &mut operation, |_| true)
        })
        .await
    }
}
