//! Children on Windows: a thread of the system notes the end of each transfer of their pipes, and their own end.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::windows::io::OwnedHandle;
use std::pin::Pin;
use std::process::{Child, ChildStdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::{fmt, mem};

use futures_io::{AsyncRead, AsyncWrite};
use windows_sys::Win32::Foundation::ERROR_OPERATION_ABORTED;

use crate::asyncio::runtime::Runtime;
use crate::child::{EndWait, OnEnd, Pipe};

/// The most bytes of one transfer: what the pipes of `std` hold.
const LONGEST: usize = 64 * 1024;

/// The pipe to the standard input of a [`Process`](super::Process): on Unix a source, on Windows a type of its own.
///
/// A write returns when the bytes, at most 64 KiB, are in a buffer of this pipe, which the system writes to the child;
/// the next one waits until that is done. An error is returned by the write after it, or by `flush`. Dropping it is the
/// end of the child's input, behind the bytes in the buffer.
///
/// ```
/// use polyselect::asyncio::PipeWriter;
///
/// async fn greet(stdin: PipeWriter) -> std::io::Result<()> {
///     stdin.write_all(b"hello").await
/// }
/// ```
#[derive(Debug)]
pub struct PipeWriter {
    pipe: Pipe,
}

impl PipeWriter {
    /// Writes `bytes` or the first of them, and returns the number of bytes. Waits only while the pipe takes nothing.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the child has closed its end; also the errors of the system.
    ///
    /// ```
    /// # use polyselect::asyncio::PipeWriter;
    /// async fn first(stdin: &PipeWriter) -> std::io::Result<usize> {
    ///     stdin.write(b"hello").await
    /// }
    /// ```
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_write(Some(context), bytes)).await
    }

    /// Writes all of `bytes`. If the future is dropped before it completes, the number of bytes written is unknown.
    ///
    /// # Errors
    ///
    /// The errors of [`write`](Self::write).
    ///
    /// See [`PipeWriter`] for an example.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.write(bytes).await?..];
        }
        Ok(())
    }

    /// Writes as much as the pipe takes without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if that is nothing; also the errors of [`write`](Self::write).
    ///
    /// ```
    /// # use polyselect::asyncio::PipeWriter;
    /// fn first(stdin: &PipeWriter) -> std::io::Result<usize> {
    ///     stdin.try_write(b"hello")
    /// }
    /// ```
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        now(self.poll_write(None, bytes))
    }

    fn poll_write(&self, context: Option<&Context<'_>>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_sent(context))?;
        let length = Runtime::shortened(bytes.len()).min(LONGEST);
        if length > 0 {
            self.begin(bytes[..length].to_vec())?;
        }
        Poll::Ready(Ok(length))
    }

    /// Polls for the end of the transfer.
    fn poll_sent(&self, context: Option<&Context<'_>>) -> Poll<io::Result<()>> {
        while let Some((mut bytes, result)) = ready!(self.pipe.poll(context)) {
            let rest = bytes.split_off(result?);
            if !rest.is_empty() {
                self.begin(rest)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn begin(&self, bytes: Vec<u8>) -> io::Result<()> {
        self.pipe.write(bytes, Runtime::current_clock().outside_work())
    }
}

impl AsyncWrite for PipeWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Self::poll_write(&self, Some(context), bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(Some(context))
    }

    /// Flushes. The pipe ends when it is dropped.
    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

/// The pipe from the standard output or the standard error of a [`Process`](super::Process): on Unix a source, on Windows
/// a type of its own.
///
/// A read that waits goes on when its future is dropped; the next read returns its bytes.
///
/// ```
/// use polyselect::asyncio::PipeReader;
///
/// async fn first_byte(stdout: PipeReader) -> std::io::Result<u8> {
///     let mut byte = [0];
///     stdout.read_exact(&mut byte).await?;
///     Ok(byte[0])
/// }
/// ```
pub struct PipeReader {
    pipe: Pipe,
    received: RefCell<Received>,
}

/// The bytes of the last transfer.
#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    /// The part that has not been read.
    unread: std::ops::Range<usize>,
    is_end: bool,
}

impl PipeReader {
    /// Reads the available bytes, up to the length of the buffer; zero bytes are the end of the stream. Waits only if
    /// nothing is available.
    ///
    /// # Errors
    ///
    /// The errors of the system.
    ///
    /// ```
    /// # use polyselect::asyncio::PipeReader;
    /// async fn first(stdout: &PipeReader) -> std::io::Result<Vec<u8>> {
    ///     let mut bytes = vec![0; 1024];
    ///     let n = stdout.read(&mut bytes).await?;
    ///     bytes.truncate(n);
    ///     Ok(bytes)
    /// }
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(Some(context), buffer)).await
    }

    /// Reads until the buffer is full. If the future is dropped before it completes, the bytes that it has read are lost.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends before; also the errors of [`read`](Self::read).
    ///
    /// See [`PipeReader`] for an example.
    pub async fn read_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => buffer = &mut buffer[n..],
            }
        }
        Ok(())
    }

    /// Reads the available bytes without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is nothing to read; also the errors of [`read`](Self::read).
    ///
    /// ```
    /// # use polyselect::asyncio::PipeReader;
    /// fn is_silent(stdout: &PipeReader) -> bool {
    ///     let result = stdout.try_read(&mut [0]);
    ///     result.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    /// }
    /// ```
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        now(self.poll_read(None, buffer))
    }

    fn poll_read(
        &self,
        context: Option<&Context<'_>>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut received = self.received.borrow_mut();
        let length = Runtime::shortened(buffer.len());
        let buffer = &mut buffer[..length];
        while received.unread.is_empty() && !received.is_end && !buffer.is_empty() {
            let (bytes, result) = match ready!(self.pipe.poll(context)) {
                Some(ended) => ended,
                None => {
                    let mut bytes = mem::take(&mut received.bytes);
                    bytes.resize(LONGEST, 0);
                    match self.pipe.read(bytes, Runtime::current_clock().outside_work()) {
                        Ok(()) => continue,
                        Err(error) => (Vec::new(), Err(error)),
                    }
                }
            };
            (received.bytes, received.unread) = (bytes, 0..0);
            match result {
                // A child may write nothing, which is not the end.
                Ok(n) => received.unread = 0..n,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => received.is_end = true,
                // The system may end what a thread has begun that has ended since.
                Err(error) if is_aborted(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(received.take(buffer)))
    }
}

impl Received {
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let n = self.unread.len().min(buffer.len());
        let begin = self.unread.start;
        buffer[..n].copy_from_slice(&self.bytes[begin..begin + n]);
        self.unread.start += n;
        n
    }
}

impl AsyncRead for PipeReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Self::poll_read(&self, Some(context), buffer)
    }
}

impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeReader").field("pipe", &self.pipe).finish_non_exhaustive()
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.pipe.cancel();
    }
}

fn now<R>(result: Poll<io::Result<R>>) -> io::Result<R> {
    match result {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

fn is_aborted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_OPERATION_ABORTED.cast_signed())
}

pub(super) fn writer(pipe: ChildStdin) -> io::Result<PipeWriter> {
    Ok(PipeWriter { pipe: Pipe::new(pipe)? })
}

pub(super) fn reader(pipe: impl Into<OwnedHandle>) -> io::Result<PipeReader> {
    Ok(PipeReader { pipe: Pipe::new(pipe)?, received: RefCell::default() })
}

/// The end of a child that one task waits for.
struct End {
    has_come: AtomicBool,
    waker: Waker,
}

impl OnEnd for End {
    fn has_ended(&self) {
        self.has_come.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}

/// Waits until a child has ended.
pub(super) async fn child_ends(child: &Child) -> io::Result<()> {
    let mut wait: Option<(Arc<End>, EndWait<End>)> = None;
    poll_fn(|context| {
        let waker = context.waker();
        let end = match &wait {
            Some((end, _)) if end.waker.will_wake(waker) => end,
            _ => {
                let end = Arc::new(End { has_come: AtomicBool::new(false), waker: waker.clone() });
                let begun = EndWait::begin(child, &end)?;
                &wait.insert((end, begun)).0
            }
        };
        if end.has_come.load(Ordering::Acquire) { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// Lets go of a child that still runs. There are no zombies here.
pub(super) fn reap_later(child: Child) {
    drop(child);
}
