//! Reading and writing what implements `Read` and `Write` by shared reference.

use std::any::TypeId;
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::task::{Context, Poll};

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net;

use super::source::Async;

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
        let read = || self.get_ref().read(buffer);
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
        let read = || self.get_ref().read(buffer);
        self.attempt(|state| &state.reading, read, |&n| may_have_more::<S>(n, length))
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
        let write = || self.get_ref().write(bytes);
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
        self.attempt(|state| &state.writing, || self.get_ref().write(bytes), |_| true)
    }

    pub(super) fn poll_write_parts(
        &self,
        context: &Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = || self.get_ref().write_vectored(parts);
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
        match net::shutdown(self.get_ref().as_fd(), net::Shutdown::Write) {
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
