//! [`LoopIo`]: a source, with hyper's traits.

#![allow(unsafe_code)] // The memory that hyper reads into is not initialised.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;
use hyper::rt::{Read, ReadBufCursor, Write};
use polyselect::asyncio::Async;

#[cfg(windows)]
use rustix::fd::AsFd;
#[cfg(not(windows))]
use std::os::fd::AsFd;

/// A source for hyper: an [`Async`] with the traits [`hyper::rt::Read`] and [`hyper::rt::Write`].
///
/// Reads go into hyper's memory as it is, and writes of several parts are one system call. A shutdown ends the
/// writing side of a socket.
///
/// It is `Send` no more than the `Async` is: see [the crate's page](crate#what-needs-send).
///
/// ```
/// use http_body_util::{BodyExt, Empty};
/// use hyper::{Request, body::Bytes, client::conn::http1};
/// use polyselect::{EventLoop, asyncio::{self, Async}};
/// use polyselect_hyper::LoopIo;
/// use std::io;
///
/// # let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
/// # let addr = listener.local_addr()?;
/// # let server = std::thread::spawn(move || {
/// #     use std::io::{Read, Write};
/// #     let (mut stream, _) = listener.accept()?;
/// #     stream.read(&mut [0; 1024])?;
/// #     stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
/// # });
/// EventLoop::new(())?.block_on(async {
///     let stream = Async::connect(addr).await?;
///     let (mut sender, connection) =
///         http1::handshake(LoopIo::new(stream)).await.map_err(io::Error::other)?;
///     let connection = asyncio::spawn(async move { connection.await.map_err(io::Error::other) });
///     let request = Request::get("/").header("host", "here").body(Empty::<Bytes>::new()).unwrap();
///     let response = sender.send_request(request).await.map_err(io::Error::other)?;
///     let body = response.into_body().collect().await.map_err(io::Error::other)?;
///     assert_eq!(body.to_bytes(), "hello");
///     drop(sender);
///     connection.await?
/// })??;
/// # server.join().unwrap()?;
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct LoopIo<S: AsFd + 'static>(Async<S>);

impl<S: AsFd + 'static> LoopIo<S> {
    /// Wraps the source.
    ///
    /// See [`LoopIo`] for an example.
    #[must_use]
    pub fn new(source: Async<S>) -> Self {
        Self(source)
    }

    /// Returns the source.
    ///
    /// ```
    /// use polyselect::asyncio::Async;
    /// use polyselect_hyper::LoopIo;
    /// # use std::net::UdpSocket;
    /// # let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    ///
    /// let io = LoopIo::new(Async::new(socket)?);
    /// println!("on {}", io.get_ref().get_ref().local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn get_ref(&self) -> &Async<S> {
        &self.0
    }

    /// Takes the source out, for example after an upgrade to another protocol.
    ///
    /// ```
    /// use polyselect::asyncio::Async;
    /// use polyselect_hyper::LoopIo;
    /// # use std::net::UdpSocket;
    /// # let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    ///
    /// let io = LoopIo::new(Async::new(socket)?);
    /// let socket: Async<UdpSocket> = io.into_inner();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn into_inner(self) -> Async<S> {
        self.0
    }
}

impl<S: AsFd + 'static> Read for LoopIo<S>
where
    for<'a> &'a S: io::Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: `poll_read_uninit` writes bytes, and makes none uninitialised.
        let memory = unsafe { cursor.as_mut() };
        let count = ready!(self.0.poll_read_uninit(context, memory))?;
        // SAFETY: `poll_read_uninit` has initialised the first `count` bytes of the memory.
        unsafe { cursor.advance(count) };
        Poll::Ready(Ok(()))
    }
}

impl<S: AsFd + 'static> Write for LoopIo<S>
where
    for<'a> &'a S: io::Write,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}
