//! [`StreamReader`], and [`Async::split`], which turns a source into a reader and a [`StreamWriter`]: asyncio's pair.

use std::fmt;
use std::io::{self, Read, Write};

use rustix::fd::AsFd;

use super::source::Async;
use super::stream_writer::StreamWriter;
use crate::WriteQueue;

impl<S: AsFd + 'static> Async<S>
where
    for<'a> &'a S: Read + Write,
{
    /// Returns a reader with a buffer and a writer with a queue, for two tasks or for one.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// use polyselect::{EventLoop, asyncio::Async};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (left, right) = UnixStream::pair()?;
    /// let (mut reader, mut writer) = Async::new(left)?.split();
    /// let (_, mut peer) = Async::new(right)?.split();
    /// EventLoop::new(())?.block_on(async {
    ///     peer.write(b"first\nsecond\n")?;
    ///     assert_eq!(reader.read_line().await?, b"first\n");
    ///     assert_eq!(reader.read_line().await?, b"second\n");
    ///     writer.write(b"both are here")?;
    ///     writer.drain().await
    /// })??;
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn split(self) -> (StreamReader<S>, StreamWriter<S>) {
        let reader = StreamReader {
            source: self.clone(),
            buffer: Vec::new(),
            taken: 0,
            filled: 0,
            limit: WriteQueue::HIGH_WATER,
        };
        (reader, StreamWriter::new(self))
    }
}

/// Reads from a source through a buffer: from [`Async::split`].
///
/// Cancelling a read loses nothing: received bytes stay in the buffer.
pub struct StreamReader<S: AsFd + 'static> {
    source: Async<S>,
    buffer: Vec<u8>,
    /// The end of the part of the buffer that has been handed out.
    taken: usize,
    /// The end of the received bytes in the buffer; the rest is free.
    filled: usize,
    limit: usize,
}

impl<S: AsFd + 'static> StreamReader<S>
where
    for<'a> &'a S: Read,
{
    /// Sets the maximum length of a line in bytes: 64 KiB by default, as in Python.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, _writer) = Async::new(left)?.split();
    /// # let (_, mut peer) = Async::new(right)?.split();
    /// # EventLoop::new(())?.block_on(async {
    /// reader.set_limit(4);
    /// peer.write(b"too long\n")?;
    /// let error = reader.read_line().await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Reads the available bytes, up to the length of the buffer; zero bytes are the end of the stream.
    ///
    /// # Errors
    ///
    /// Fails as [`Async::read`] does.
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, _writer) = Async::new(left)?.split();
    /// # drop(right);
    /// # EventLoop::new(())?.block_on(async {
    /// let mut buffer = [0; 100];
    /// assert_eq!(reader.read(&mut buffer).await?, 0);
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.waiting().is_empty() {
            return self.source.read(buffer).await;
        }
        let n = self.waiting().len().min(buffer.len());
        buffer[..n].copy_from_slice(self.take(n));
        Ok(n)
    }

    /// Reads exactly `bytes` bytes and returns a slice of the buffer, which is valid until the next read.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends before; the received bytes stay in the buffer. Also the errors of
    /// [`Async::read`].
    ///
    /// ```
    /// # #[cfg(unix)] {
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let (left, right) = std::os::unix::net::UnixStream::pair()?;
    /// # let (mut reader, _writer) = Async::new(left)?.split();
    /// # let (_, mut peer) = Async::new(right)?.split();
    /// # EventLoop::new(())?.block_on(async {
    /// peer.write(b"\x00\x05hello")?;
    /// let length = reader.read_exact(2).await?[1];
    /// assert_eq!(reader.read_exact(length.into()).await?, b"hello");
    /// # std::io::Result::Ok(()) })??; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_exact(&mut self, bytes: usize) -> io::Result<&[u8]> {
        while self.waiting().len() < bytes {
            if self.read_more().await? == 0 {
                let came = self.waiting().len();
                let message = format!("the stream ended after {came} of {bytes} bytes");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            }
        }
        Ok(self.take(bytes))
    }

    /// Reads up to and including a newline, and returns a slice of the buffer, which is valid until the next read.
    /// Bytes after the last newline are a line without one. An empty line is the end of the stream.
    ///
    /// # Errors
    ///
    /// `InvalidData` if the line is longer than [`set_limit`](Self::set_limit) allows; the received
    /// bytes stay in the buffer. Also the errors of [`Async::read`].
    ///
    /// See [`Async::split`] for an example.
    pub async fn read_line(&mut self) -> io::Result<&[u8]> {
        let mut searched = 0;
        let length = loop {
            let waiting = self.waiting();
            if let Some(place) = waiting[searched..].iter().position(|&byte| byte == b'\n') {
                break searched + place + 1;
            }
            searched = waiting.len();
            if searched > self.limit {
                break searched;
            }
            if self.read_more().await? == 0 {
                break searched;
            }
        };
        if length > self.limit {
            let message = format!("a line is longer than {} bytes", self.limit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(self.take(length))
    }

    /// Reads the next bytes into the buffer.
    async fn read_more(&mut self) -> io::Result<usize> {
        const CHUNK: usize = 8 * 1024;

        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.buffer.len() < self.filled + CHUNK {
            self.buffer.resize(self.filled + CHUNK, 0);
        }
        let came = self.source.read(&mut self.buffer[self.filled..]).await?;
        self.filled += came;
        Ok(came)
    }

    /// Hands out the next `bytes` bytes of the buffer, which must hold at least that many.
    fn take(&mut self, bytes: usize) -> &[u8] {
        let begin = self.taken;
        self.taken += bytes;
        &self.buffer[begin..self.taken]
    }
}

impl<S: AsFd + 'static> StreamReader<S> {
    /// The buffered bytes that have not been handed out.
    fn waiting(&self) -> &[u8] {
        &self.buffer[self.taken..self.filled]
    }
}

impl<S: AsFd + fmt::Debug + 'static> fmt::Debug for StreamReader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader")
            .field("source", &self.source)
            .field("buffered", &self.waiting().len())
            .finish()
    }
}
