//! Reading and writing what implements `Read` and `Write` by shared reference.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net;

use super::runtime::Runtime;
use super::source::Async;
use super::waiters::Entry;

impl<S: AsFd + 'static> Async<S>
where
    for<'a> &'a S: Read,
{
    pub(super) fn poll_read_into(
        &self,
        entry: &mut Entry,
        context: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let length = Runtime::shortened(buffer.len());
        self.poll_read_of(entry, context, length, || self.get_ref().read(&mut buffer[..length]))
    }

    /// Polls for a read that has room for `length` bytes.
    #[inline]
    pub(super) fn poll_read_of(
        &self,
        entry: &mut Entry,
        context: &Context<'_>,
        length: usize,
        read: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let has_more = |&n: &usize| self.may_have_more(n, length);
        self.poll_with(self.reading(), entry, context, read, has_more)
    }

    /// Whether there may be more after a read of `n` bytes into a buffer of `length`.
    #[inline]
    fn may_have_more(&self, n: usize, length: usize) -> bool {
        // The end of the stream is permanent: the next read returns it again.
        let is_short = n < length && n > 0;
        !is_short || !self.source.state.short_read_proves_empty(self.get_ref().as_fd())
    }

    /// Reads the available bytes without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is nothing to read; also the source's errors.
    ///
    /// See [`readable`](Self::readable) for an example.
    #[inline]
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = Runtime::shortened(buffer.len());
        let read = || self.get_ref().read(&mut buffer[..length]);
        self.attempt(self.reading(), read, |&n| self.may_have_more(n, length))
    }

    /// Reads the available bytes, up to the length of the buffer; zero bytes are the end of the stream.
    /// Waits only if nothing is available.
    ///
    /// # Errors
    ///
    /// The source's errors, and those of [`readable`](Self::readable).
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
        let mut waiter = self.reader();
        poll_fn(|context| self.poll_read_into(&mut waiter.entry, context, buffer)).await
    }

    /// Reads until the buffer is full. If the future is dropped before it completes, the bytes that it has read are
    /// lost.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends before; also the errors of [`read`](Self::read).
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
        entry: &mut Entry,
        context: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let bytes = &bytes[..Runtime::shortened(bytes.len())];
        self.poll_with(self.writing(), entry, context, || self.get_ref().write(bytes), |_| true)
    }

    /// Writes as much as the source takes without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if that is nothing; also the source's errors.
    ///
    /// See [`writable`](Self::writable) for an example.
    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..Runtime::shortened(bytes.len())];
        self.attempt(self.writing(), || self.get_ref().write(bytes), |_| true)
    }

    pub(super) fn poll_write_parts(
        &self,
        entry: &mut Entry,
        context: &Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = || self.get_ref().write_vectored(parts);
        self.poll_with(self.writing(), entry, context, write, |_| true)
    }

    /// Writes as much as the source takes, and returns the number of bytes. Waits only while it takes nothing.
    ///
    /// # Errors
    ///
    /// The source's errors, and those of [`writable`](Self::writable).
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
        let mut waiter = self.writer();
        poll_fn(|context| self.poll_write_from(&mut waiter.entry, context, bytes)).await
    }

    /// Writes all of `bytes`. If the future is dropped before it completes, the number of bytes written is unknown.
    ///
    /// # Errors
    ///
    /// `WriteZero` if the source takes no more; also the errors of [`write`](Self::write).
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
    /// Shuts down the writing side if the source is a socket.
    pub(super) fn end_writing(&self) -> io::Result<()> {
        match net::shutdown(self.get_ref().as_fd(), net::Shutdown::Write) {
            Ok(()) | Err(Errno::NOTSOCK | Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a connection end with a reset, so that the peer notices the missing bytes.
    pub(super) fn reset_on_close(&self) {
        if let Err(error) =
            net::sockopt::set_socket_linger(self.get_ref().as_fd(), Some(Duration::ZERO))
        {
            log::debug!("a source that is not a socket is closed without a reset: {error}");
        }
    }
}
