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
use rustix::net::{self, AddressFamily, SocketType};

use super::source::Async;

impl Async<TcpStream> {
    /// Connects to an address, and waits for that without blocking.
    ///
    /// # Errors
    ///
    /// What the system says: `ConnectionRefused`, `TimedOut` when it has given up, and others.
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
            let socket = stream_socket(family)?;
            begun(net::connect(&socket, &addr))?;
            let conn = Self::of_nonblocking(TcpStream::from(socket), location);
            established(conn, TcpStream::take_error).await
        }
    }
}

#[cfg(unix)]
impl Async<UnixStream> {
    /// Connects to the listener with this path, and waits for that without blocking.
    ///
    /// # Errors
    ///
    /// What the system says: `NotFound`, `ConnectionRefused`, `WouldBlock` when the listener's queue
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
            let socket = stream_socket(AddressFamily::UNIX)?;
            begun(net::connect(&socket, &addr))?;
            let conn = Self::of_nonblocking(UnixStream::from(socket), location);
            established(conn, UnixStream::take_error).await
        }
    }
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

/// Waits for what `begun` began, and for how it ended.
async fn established<S: AsFd + 'static>(
    conn: Async<S>,
    take_error: fn(&S) -> io::Result<Option<io::Error>>,
) -> io::Result<Async<S>> {
    conn.writable().await?;
    match take_error(conn.get_ref())? {
        Some(error) => Err(error),
        None => Ok(conn),
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
