//! Connecting without blocking.

use std::io;
use std::net::{SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::panic::Location;
#[cfg(unix)]
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{self, AddressFamily, SocketType};

use super::source::Async;

impl Async<TcpStream> {
    /// Connects to an address, and waits for the connection without blocking the thread.
    ///
    /// # Errors
    ///
    /// The error of the attempt: `ConnectionRefused`, `TimedOut` after the last retry of the system, and others.
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio::Async};
    /// use std::net::TcpListener;
    ///
    /// let listener = TcpListener::bind(("127.0.0.1", 0))?;
    /// let conn = Async::connect(listener.local_addr()?);
    /// let conn = EventLoop::new(())?.block_on(conn)??;
    /// assert_eq!(conn.get_ref().peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> impl Future<Output = io::Result<Self>> {
        let location = Location::caller();
        async move {
            let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = TcpStream::from(stream_socket(family)?);
            connect(socket, &addr, location, TcpStream::take_error).await
        }
    }

    /// Connects a socket to an address, for options that must be set before: the address it is bound to, the sizes of
    /// its buffers, `TCP_FASTOPEN_CONNECT`, and others.
    ///
    /// `socket` is a `socket2::Socket`, or anything else that becomes a [`TcpStream`]; it is made non-blocking.
    ///
    /// # Errors
    ///
    /// Fails as [`connect`](Self::connect) does.
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio::Async};
    /// use socket2::{Domain, Socket, Type};
    ///
    /// let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    /// let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    /// socket.set_recv_buffer_size(64 * 1024)?;
    /// let conn = Async::connect_socket(socket, listener.local_addr()?);
    /// let conn = EventLoop::new(())?.block_on(conn)??;
    /// assert_eq!(conn.get_ref().peer_addr()?, listener.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn connect_socket(
        socket: impl Into<TcpStream>,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Self>> {
        let location = Location::caller();
        async move {
            let socket = socket.into();
            socket.set_nonblocking(true)?;
            connect(socket, &addr, location, TcpStream::take_error).await
        }
    }
}

#[cfg(unix)]
impl Async<UnixStream> {
    /// Connects to the listener with this path, and waits for the connection without blocking the thread.
    ///
    /// # Errors
    ///
    /// The error of the system call: `NotFound`, `ConnectionRefused`, `WouldBlock` when the listener's queue
    /// is full, and others.
    ///
    /// ```
    /// # use polyselect::{EventLoop, asyncio::Async};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("socket");
    /// let listener = std::os::unix::net::UnixListener::bind(&path)?;
    /// let conn = EventLoop::new(())?.block_on(Async::connect_path(&path))??;
    /// # drop((conn, listener));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn connect_path(path: impl AsRef<Path>) -> impl Future<Output = io::Result<Self>> {
        let location = Location::caller();
        async move {
            let addr = net::SocketAddrUnix::new(path.as_ref())?;
            let socket = UnixStream::from(stream_socket(AddressFamily::UNIX)?);
            connect(socket, &addr, location, UnixStream::take_error).await
        }
    }
}

/// Connects a non-blocking socket.
async fn connect<S: AsFd + 'static>(
    socket: S,
    addr: &impl SocketAddrArg,
    location: &'static Location<'static>,
    take_error: fn(&S) -> io::Result<Option<io::Error>>,
) -> io::Result<Async<S>> {
    begun(net::connect(socket.as_fd(), addr))?;
    established(Async::of_nonblocking(socket, location), take_error).await
}

/// A non-blocking socket that child processes do not inherit.
fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = net::socket(family, SocketType::STREAM, None)?;
    #[cfg(unix)]
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    #[cfg(target_vendor = "apple")]
    net::sockopt::set_socket_nosigpipe(&socket, true)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Waits until the attempt has succeeded or failed.
async fn established<S: AsFd + 'static>(
    conn: Async<S>,
    take_error: fn(&S) -> io::Result<Option<io::Error>>,
) -> io::Result<Async<S>> {
    loop {
        conn.writable().await?;
        if let Some(error) = take_error(conn.get_ref())? {
            return Err(error);
        }
        // An edge may be spurious, and then the socket has no error and no peer.
        match net::getpeername(conn.get_ref().as_fd()) {
            Err(Errno::NOTCONN) if !conn.writing().is_ready(conn.get_ref().as_fd())? => {}
            result => return result.map(|_peer| conn).map_err(Into::into),
        }
    }
}

/// It goes on in the background.
fn begun(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        #[cfg(unix)]
        Err(Errno::INPROGRESS | Errno::INTR) => Ok(()),
        #[cfg(windows)]
        Err(Errno::WOULDBLOCK) => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(all(test, unix))]
pub(super) mod tests {
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::asyncio::yield_now;
    use crate::{Backend, Event, EventLoop, Ready};

    /// A listener whose queue is full, so that another attempt stays in progress.
    pub(crate) fn full_listener() -> (Socket, SocketAddr, Vec<Socket>) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap();
        let client = |_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            drop(client.connect(&addr));
            client
        };
        (listener, addr.as_socket().unwrap(), (0..4).map(client).collect())
    }

    #[test]
    fn a_spurious_event_does_not_end_a_connect_that_is_under_way() {
        let (_listener, addr, _clients) = full_listener();
        for backend in Backend::available() {
            let mut event_loop = EventLoop::with_backend(backend, ()).unwrap();
            let socket = stream_socket(AddressFamily::INET).unwrap();
            begun(net::connect(&socket, &addr)).unwrap();
            let conn = Async::of_nonblocking(TcpStream::from(socket), Location::caller());
            let connecting = event_loop.spawn(established(conn.clone(), TcpStream::take_error));
            for _ in 0..3 {
                event_loop.block_on(yield_now()).unwrap();
                let key = crate::key::Key::new(0, 0);
                conn.source.state.deliver(&Event { key, ready: Ready::WRITABLE });
                event_loop.turn(Duration::ZERO).unwrap();
                assert!(!connecting.is_finished(), "on {backend}");
            }
        }
    }
}
