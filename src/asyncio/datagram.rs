//! Datagrams in tasks.

use std::io;
use std::net::{SocketAddr, UdpSocket};
#[cfg(unix)]
use std::os::unix::net::{self as unix, UnixDatagram};
#[cfg(unix)]
use std::path::Path;

use super::source::Async;

impl Async<UdpSocket> {
    /// Receives a datagram and returns its length and its sender's address. Bytes beyond the end of `buffer` are lost.
    ///
    /// # Errors
    ///
    /// The error of the system call; also those of [`readable`](Self::readable).
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio::Async};
    /// use std::net::UdpSocket;
    ///
    /// let server = Async::new(UdpSocket::bind(("127.0.0.1", 0))?)?;
    /// let client = Async::new(UdpSocket::bind(("127.0.0.1", 0))?)?;
    /// EventLoop::new(())?.block_on(async {
    ///     client.send_to(b"hello", server.get_ref().local_addr()?).await?;
    ///     let mut buffer = [0; 64];
    ///     let (n, from) = server.recv_from(&mut buffer).await?;
    ///     assert_eq!((&buffer[..n], from), (&b"hello"[..], client.get_ref().local_addr()?));
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.read_with(|socket| socket.recv_from(buffer)).await
    }

    /// Sends a datagram to an address.
    ///
    /// # Errors
    ///
    /// The error of the system call; also those of [`writable`](Self::writable). For a name see
    /// [`getaddrinfo`](super::getaddrinfo).
    ///
    /// See [`recv_from`](Self::recv_from) for an example.
    pub async fn send_to(&self, bytes: &[u8], addr: impl Into<SocketAddr>) -> io::Result<usize> {
        let addr = addr.into();
        self.write_with(|socket| socket.send_to(bytes, addr)).await
    }

    /// Receives a datagram from the connected peer, and returns its length.
    ///
    /// # Errors
    ///
    /// Fails as [`recv_from`](Self::recv_from) does.
    ///
    /// ```
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # use std::net::UdpSocket;
    /// # let (left, right) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    /// left.connect(right.local_addr()?)?;
    /// right.connect(left.local_addr()?)?;
    /// let (left, right) = (Async::new(left)?, Async::new(right)?);
    /// EventLoop::new(())?.block_on(async {
    ///     left.send(b"hello").await?;
    ///     assert_eq!(right.recv(&mut [0; 64]).await?, 5);
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_with(|socket| socket.recv(buffer)).await
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    ///
    /// Fails as [`send_to`](Self::send_to) does.
    ///
    /// See [`recv`](Self::recv) for an example.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write_with(|socket| socket.send(bytes)).await
    }
}

#[cfg(unix)]
impl Async<UnixDatagram> {
    /// Receives a datagram and returns its length and its sender's address. Bytes beyond the end of `buffer` are lost.
    ///
    /// # Errors
    ///
    /// The error of the system call; also those of [`readable`](Self::readable).
    ///
    /// ```
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # use std::os::unix::net::UnixDatagram;
    /// let (left, right) = UnixDatagram::pair()?;
    /// let (left, right) = (Async::new(left)?, Async::new(right)?);
    /// EventLoop::new(())?.block_on(async {
    ///     left.send(b"hello").await?;
    ///     let (n, from) = right.recv_from(&mut [0; 64]).await?;
    ///     assert!(n == 5 && from.is_unnamed());
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, unix::SocketAddr)> {
        self.read_with(|socket| socket.recv_from(buffer)).await
    }

    /// Sends a datagram to the socket with this path.
    ///
    /// # Errors
    ///
    /// The error of the system call; also those of [`writable`](Self::writable).
    ///
    /// See [`recv_from`](Self::recv_from) for the other side.
    pub async fn send_to(&self, bytes: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.write_with(|socket| socket.send_to(bytes, path.as_ref())).await
    }

    /// Receives a datagram from the connected peer, and returns its length.
    ///
    /// # Errors
    ///
    /// Fails as [`recv_from`](Self::recv_from) does.
    ///
    /// See [`recv_from`](Self::recv_from) for an example.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_with(|socket| socket.recv(buffer)).await
    }

    /// Sends a datagram to the connected peer.
    ///
    /// # Errors
    ///
    /// Fails as [`send_to`](Self::send_to) does.
    ///
    /// See [`recv_from`](Self::recv_from) for an example.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write_with(|socket| socket.send(bytes)).await
    }
}
