//! Accepting connections.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{self as unix, UnixListener, UnixStream};
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use rustix::fd::AsFd;
use rustix::io::Errno;

use super::EventLoop;
use super::registered::Next;
use crate::error::RegisterError;
use crate::event::Event;
use crate::interest::{Interest, Watch};
use crate::key::Key;

/// So many connections are accepted in a turn, so that a storm of them leaves time for the others.
const BUDGET: usize = 64;

/// How long a listener rests when descriptors have run out.
pub(crate) const REST: Duration = Duration::from_millis(100);

/// What [`EventLoop::accept`] takes: a socket on which connections arrive.
///
/// For the listeners of `std`; and for any other type, such as one that speaks TLS:
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::Listener;
/// use std::{io, net::{TcpListener, SocketAddr, TcpStream}, os::fd::{AsFd, BorrowedFd}};
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
///     fn set_nonblocking(&self) -> io::Result<()> {
///         self.0.set_nonblocking(true)
///     }
///
///     fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
///         let (conn, addr) = Listener::accept(&self.0)?;
///         conn.set_nodelay(true)?;
///         Ok((conn, addr))
///     }
/// }
/// # }
/// ```
pub trait Listener: AsFd + 'static {
    /// What a connection is.
    type Connection;
    /// Where a connection comes from.
    type Address;

    /// Makes that [`accept`](Self::accept) does not block.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn set_nonblocking(&self) -> io::Result<()>;

    /// Accepts a connection and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none, else what the system says.
    fn accept(&self) -> io::Result<(Self::Connection, Self::Address)>;
}

impl Listener for TcpListener {
    type Connection = TcpStream;
    type Address = SocketAddr;

    fn set_nonblocking(&self) -> io::Result<()> {
        Self::set_nonblocking(self, true)
    }

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (conn, addr) = Self::accept(self)?;
        conn.set_nonblocking(true)?;
        Ok((conn, addr))
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
        let (conn, addr) = Self::accept(self)?;
        conn.set_nonblocking(true)?;
        Ok((conn, addr))
    }
}

/// What a failed `accept` says.
pub(crate) enum Failure {
    /// Nobody is there.
    Nobody,
    /// This connection has come to nothing; the next may do better.
    OneConnection,
    /// There are no descriptors, or there is no memory; a connection may wait all the same.
    Exhausted,
    /// This is no listening socket.
    Listener,
}

impl Failure {
    pub(crate) fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            _ if error.kind() == io::ErrorKind::WouldBlock => Self::Nobody,
            #[cfg(unix)]
            Some(Errno::NFILE | Errno::NOMEM) => Self::Exhausted,
            Some(Errno::MFILE | Errno::NOBUFS) => Self::Exhausted,
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP) => Self::Listener,
            _ => Self::OneConnection,
        }
    }
}

impl<T: 'static> EventLoop<T> {
    /// Accepts connections from a listener and calls `callback` with each, which is non-blocking by
    /// then, and with its address. The loop owns the listener, which it makes non-blocking.
    ///
    /// - At most 64 connections are accepted in a turn; the others come with the next.
    /// - A connection that fails while it is accepted is left out. An error of the callback goes to
    ///   [`on_error`](Self::on_error), under the key of the listener. Neither ends the accepting.
    /// - When descriptors or memory run out the listener rests for 100 ms, with a log line; whoever
    ///   wants to connect waits in the queue of the system meanwhile.
    /// - `modify(key, Interest::empty())` pauses it, `Interest::READABLE` resumes it,
    ///   [`unregister`](Self::unregister) closes it, [`take`](Self::take) gives it back.
    ///
    /// # Errors
    ///
    /// A [`RegisterError`] with listener and callback, for the reasons listed there, or if the
    /// listener cannot be made non-blocking.
    ///
    /// See [`EventLoop`] for an example.
    #[track_caller]
    pub fn accept<L, F>(&mut self, listener: L, callback: F) -> Result<Key, RegisterError<L, F>>
    where
        L: Listener,
        F: FnMut(&mut Self, L::Connection, L::Address) -> io::Result<()> + 'static,
    {
        if let Err(error) = listener.set_nonblocking() {
            return Err(RegisterError::new(error, listener, callback));
        }
        // A second owner, so that it can be given back.
        let callback = Rc::new(RefCell::new(callback));
        let accept = {
            let callback = Rc::clone(&callback);
            move |event_loop: &mut Self, listener: &L, event: Event| {
                let mut callback = callback.borrow_mut();
                event_loop.accept_batch(event.key, listener, &mut *callback)
            }
        };
        let watch = Watch::from(Interest::READABLE);
        self.add(listener, watch, Some(accept), Location::caller(), false).map_err(
            |(error, listener, accept)| {
                drop(accept);
                let callback = Rc::into_inner(callback).expect("its other owner has been dropped");
                RegisterError::new(error, listener, callback.into_inner())
            },
        )
    }

    fn accept_batch<L: Listener>(
        &mut self,
        key: Key,
        listener: &L,
        callback: &mut impl FnMut(&mut Self, L::Connection, L::Address) -> io::Result<()>,
    ) -> io::Result<Next> {
        for _ in 0..BUDGET {
            match listener.accept() {
                Ok((conn, addr)) => {
                    if let Err(error) = callback(self, conn, addr) {
                        self.report(key, error);
                    }
                    let interest = self.parts().1.interest(key);
                    if !interest.is_some_and(|interest| interest.contains(Interest::READABLE)) {
                        break; // The callback has paused or closed the listener.
                    }
                }
                Err(error) => match Failure::of(&error) {
                    Failure::Nobody => break,
                    Failure::OneConnection => log::debug!("{key}: a connection failed: {error}"),
                    Failure::Exhausted => {
                        self.rest(key, &error);
                        return Ok(Next::Modify(Interest::empty()));
                    }
                    Failure::Listener => return Err(error),
                },
            }
        }
        Ok(Next::Keep)
    }

    fn rest(&mut self, key: Key, error: &io::Error) {
        log::warn!("{key}: no connection is accepted for {REST:?}: {error}");
        self.resting.push(key);
        self.call_later(REST, move |event_loop| {
            // Who has paused or resumed it meanwhile means that to last.
            let place = event_loop.resting.iter().position(|&resting| resting == key);
            let Some(place) = place else { return };
            event_loop.resting.swap_remove(place);
            if event_loop.contains(key)
                && let Err(error) = event_loop.modify(key, Interest::READABLE)
            {
                event_loop.report(key, error);
            }
        });
    }
}
