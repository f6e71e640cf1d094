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

    /// Waits until a read would not block; not at all, or for an iteration of the loop, if that is so
    /// already.
    ///
    /// Be ready for `WouldBlock` all the same, and wait again: another task may have been quicker; and
    /// after a read by [`try_read`](Self::try_read) and its like that left open whether there is more,
    /// this returns at once and lets the next read find out. After a read by
    /// [`get_ref`](Self::get_ref), of which nothing is known here, it asks the kernel with `poll`.
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

    /// Waits until a write would not block. As [`readable`](Self::readable).
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
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
        self.source.state.distrust_short_reads();
        self.attempt(self.reading(), || operation(self.get_ref()), |_| true)
    }

    /// Does a writing operation now, if it does not block. As [`try_read_with`](Self::try_read_with).
    ///
    /// # Errors
    ///
    /// As [`try_read_with`](Self::try_read_with).
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
        self.source.state.distrust_short_reads();
        let (direction, mut waiter) = (self.reading(), self.reader());
        let mut operation = || operation(self.get_ref());
        poll_fn(|context| {
            self.poll_with(direction, &mut waiter.entry, context, &mut operation, |_| true)
        })
        .await
    }

    /// Does a writing operation as soon as it does not block. As [`read_with`](Self::read_with).
    ///
    /// # Errors
    ///
    /// As [`read_with`](Self::read_with).
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
