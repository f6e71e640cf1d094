//! [`Listener`]: a socket on which connections arrive.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{self as unix, UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::Arc;

use crate::source::Source;

/// A socket on which connections arrive, as [`EventLoop::accept`](crate::EventLoop::accept) takes it.
///
/// Implemented for the listeners of the standard library, and for references, `Rc`, `Arc` and `Box` of a
/// listener. Implement it for any other type, such as one that speaks TLS:
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::Listener;
/// use std::io::{Error, ErrorKind, Result};
/// use std::{net::{TcpListener, SocketAddr, TcpStream}, os::fd::{AsFd, BorrowedFd}};
///
/// struct Impatient(TcpListener);
///
/// impl AsFd for Impatient {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
///
/// impl Listener for Impatient {
///     type Connection = TcpStream;
///     type Address = SocketAddr;
///
///     fn set_nonblocking(&self) -> Result<()> {
///         self.0.set_nonblocking(true)
///     }
///
///     fn accept(&self) -> Result<(TcpStream, SocketAddr)> {
///         let (connection, address) = Listener::accept(&self.0)?;
///         let failed = |error| Error::new(ErrorKind::ConnectionAborted, error);
///         connection.set_nodelay(true).map_err(failed)?;
///         Ok((connection, address))
///     }
/// }
/// # }
/// ```
pub trait Listener: Source {
    /// The type of a connection.
    type Connection;
    /// The type of the peer's address.
    type Address;

    /// Puts the listener into non-blocking mode.
    ///
    /// # Errors
    ///
    /// The error of the system call.
    fn set_nonblocking(&self) -> io::Result<()>;

    /// Accepts a connection and puts it into non-blocking mode.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no connection waits, else the error of the system call. An error that is not the
    /// listener's should have the kind `ConnectionAborted`: a system's own `EINVAL`, for example, means that
    /// the socket does not listen, and ends the accepting.
    fn accept(&self) -> io::Result<(Self::Connection, Self::Address)>;
}

impl Listener for TcpListener {
    type Connection = TcpStream;
    type Address = SocketAddr;

    fn set_nonblocking(&self) -> io::Result<()> {
        Self::set_nonblocking(self, true)
    }

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (connection, address) = Self::accept(self)?;
        connection.set_nonblocking(true).map_err(failed)?;
        Ok((connection, address))
    }
}

#[cfg(unix)]
impl Listener for UnixListener {
    type Connection = UnixStream;
    type Address = unix::SocketAddr;

    fn set_nonblocking(&self) -> io::Result<()> {
        Self::set_nonblocking(self, true)
    }

    fn accept(&self) -> io::Result<(UnixStream, unix::SocketAddr)> {
        let (connection, address) = Self::accept(self)?;
        connection.set_nonblocking(true).map_err(failed)?;
        Ok((connection, address))
    }
}

/// The error of a connection, which must not look like one of the listener.
fn failed(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, error)
}

macro_rules! implement_for_pointers {
    ($($pointer:ty $(: $lifetime:lifetime)?),*) => {$(
        // On Windows a pointer is a source by its type, not because `L` is one.
        impl<$($lifetime,)? L: Listener> Listener for $pointer
        where
            $pointer: Source,
        {
            type Connection = L::Connection;
            type Address = L::Address;

            fn set_nonblocking(&self) -> io::Result<()> {
                L::set_nonblocking(self)
            }

            fn accept(&self) -> io::Result<(L::Connection, L::Address)> {
                L::accept(self)
            }
        }
    )*};
}

implement_for_pointers!(&'a L: 'a, Rc<L>, Arc<L>, Box<L>);
