//! Accepting connections in batches, and the meaning of a failed `accept`.
//!
//! [`EventLoop::accept`](crate::EventLoop::accept) and the servers of `asyncio` follow these rules by
//! themselves. A program with its own [`Selector`](crate::Selector) gets them from an [`Acceptor`]:
//!
//! - Connections are accepted until none waits, at most [`BATCH`] for each event, so that a burst is taken
//!   out of the kernel's queue and the other sources are not starved.
//! - A connection that fails while it is accepted is skipped.
//! - When descriptors or memory are exhausted, the listener is paused for [`REST`]. Connections wait in the
//!   kernel's queue meanwhile, and the processor stays idle.
//! - Any other error means that the listener is broken, and is returned.
//!
//! The kernel's queue is bounded by the listener's backlog, and connections that do not fit are dropped or reset. The
//! backlog of the standard library is 128; `socket2::SockRef::from(&listener).listen(1024)?` raises it for a listener
//! that exists.
//!
//! An echo server for short messages, which holds the listener and its connections in one selector:
//!
//! ```no_run
//! use polyselect::{Events, Interest, Selector, accept::Acceptor};
//! use socket2::Socket;
//! use std::io::{self, Read, Write};
//!
//! fn serve(listener: Socket) -> io::Result<()> {
//!     listener.listen(1024)?;
//!     listener.set_nonblocking(true)?;
//! #   #[cfg(unix)] {
//!     let mut selector = Selector::new()?;
//!     let listener = selector.register(listener, Interest::READABLE, ())?;
//!     let mut acceptor = Acceptor::new();
//!     let mut events = Events::with_capacity(1024);
//!     loop {
//!         acceptor.select(&mut selector, &mut events, None)?;
//!         for event in &events {
//!             if event.key == listener {
//!                 while let Some((connection, _address)) =
//!                     acceptor.next(&mut selector, listener, Socket::accept)?
//!                 {
//!                     connection.set_nonblocking(true)?;
//!                     selector.register(connection, Interest::READABLE, ())?;
//!                 }
//!             } else if let Some(registration) = selector.get(event.key) {
//!                 let (mut connection, mut bytes) = (registration.source(), [0; 1024]);
//!                 match connection.read(&mut bytes) {
//!                     Ok(n) if n > 0 && connection.write(&bytes[..n]).is_ok() => {}
//!                     Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
//!                     _ => drop(selector.unregister(event.key)?),
//!                 }
//!             }
//!         }
//!     }
//! #   }
//! #   #[allow(unreachable_code)] Ok(())
//! }
//! ```

mod acceptor;
mod listener;

use std::io;
use std::time::Duration;

use rustix::io::Errno;

pub use acceptor::Acceptor;
pub use listener::Listener;

/// The number of connections that are accepted for one event, at most.
pub const BATCH: usize = 64;

/// The time for which a listener is paused when descriptors or memory are exhausted.
pub const REST: Duration = Duration::from_millis(100);

/// The meaning of an error of `accept`.
pub(crate) enum Failure {
    /// No connection waits.
    WouldBlock,
    /// One connection failed; the next may succeed.
    Connection,
    /// Descriptors or memory are exhausted; connections may wait.
    Exhausted,
    /// The source does not listen.
    Listener,
}

impl Failure {
    pub(crate) fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            _ if error.kind() == io::ErrorKind::WouldBlock => Self::WouldBlock,
            #[cfg(unix)]
            Some(Errno::NFILE | Errno::NOMEM) => Self::Exhausted,
            Some(Errno::MFILE | Errno::NOBUFS) => Self::Exhausted,
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP) => Self::Listener,
            _ => Self::Connection,
        }
    }
}

/// Returns whether an error of `accept` means that descriptors or memory are exhausted, in the process
/// (`EMFILE`) or in the system (`ENFILE`, `ENOBUFS`, `ENOMEM`).
///
/// The listener stays ready then, so a program that keeps waiting for it spins: pause it for [`REST`].
///
/// ```
/// # #[cfg(unix)] {
/// use polyselect::accept;
/// use std::io;
///
/// assert!(accept::is_exhausted(&io::Error::from_raw_os_error(libc::EMFILE)));
/// assert!(!accept::is_exhausted(&io::Error::from_raw_os_error(libc::ECONNABORTED)));
/// # }
/// ```
#[must_use]
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(Failure::of(error), Failure::Exhausted)
}

/// Accepts the connections of one event, a bounded number of them.
///
/// For listeners in a [`Selector`](crate::Selector) an [`Acceptor`] is shorter; it also pauses the listener
/// when descriptors are exhausted.
#[derive(Debug)]
pub struct Batch {
    left: usize,
}

impl Batch {
    /// Creates a batch of at most [`BATCH`] connections.
    ///
    /// See [`next`](Self::next) for an example.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(BATCH)
    }

    /// Creates a batch of at most `limit` connections.
    ///
    /// ```
    /// use polyselect::accept::Batch;
    ///
    /// let mut batch = Batch::with_limit(2);
    /// let accepted = std::iter::from_fn(|| batch.next(|| Ok("a connection")).transpose());
    /// assert_eq!(accepted.count(), 2);
    /// ```
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { left: limit }
    }

    /// Calls `accept` until it returns a connection; returns `None` if no connection waits
    /// (`WouldBlock`), or if the batch is complete.
    ///
    /// A connection that fails while it is accepted is logged (`log::debug!`), counted and skipped. Blocks
    /// only if `accept` does: make the listener non-blocking. Each attempt is one `accept` system call.
    ///
    /// # Errors
    ///
    /// The error of `accept` if descriptors or memory are exhausted ([`is_exhausted`]: pause the listener
    /// for [`REST`]), or if the source does not listen (`EBADF`, `EINVAL`, `ENOTSOCK`, `EOPNOTSUPP`).
    ///
    /// ```
    /// use polyselect::accept::Batch;
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind(("127.0.0.1", 0))?;
    /// listener.set_nonblocking(true)?;
    /// let client = TcpStream::connect(listener.local_addr()?)?;
    ///
    /// let mut batch = Batch::new();
    /// while let Some((connection, address)) = batch.next(|| listener.accept())? {
    ///     connection.set_nonblocking(true)?;
    ///     assert_eq!(address, client.local_addr()?);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next<T>(&mut self, mut accept: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
        while let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            match accept() {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) => match Failure::of(&error) {
                    Failure::WouldBlock => break,
                    Failure::Connection => {
                        log::debug!("a connection failed while it was accepted: {error}");
                    }
                    Failure::Exhausted | Failure::Listener => return Err(error),
                },
            }
        }
        Ok(None)
    }
}

/// A batch of at most [`BATCH`] connections.
impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `accept` return these, one after the other.
    fn outcomes(outcomes: Vec<io::Result<u8>>) -> impl FnMut() -> io::Result<u8> {
        let mut outcomes = outcomes.into_iter();
        move || outcomes.next().expect("not called again")
    }

    fn error(errno: Errno) -> io::Result<u8> {
        Err(errno.into())
    }

    #[test]
    fn a_batch_skips_connections_that_failed_and_ends_when_none_waits() {
        let failed = io::Error::new(io::ErrorKind::ConnectionAborted, "not by the kernel");
        let mut accept = outcomes(vec![
            error(Errno::CONNABORTED),
            Ok(1),
            Err(failed),
            error(Errno::INTR),
            error(Errno::NETDOWN),
            Ok(2),
            error(Errno::WOULDBLOCK),
        ]);
        let mut batch = Batch::new();
        assert_eq!(batch.next(&mut accept).unwrap(), Some(1));
        assert_eq!(batch.next(&mut accept).unwrap(), Some(2));
        assert_eq!(batch.next(&mut accept).unwrap(), None);
    }

    #[test]
    fn a_batch_is_bounded_also_if_every_connection_fails() {
        let mut calls = 0;
        let mut batch = Batch::new();
        let mut fail = || {
            calls += 1;
            error(Errno::CONNABORTED)
        };
        assert_eq!(batch.next(&mut fail).unwrap(), None);
        assert_eq!(batch.next(&mut fail).unwrap(), None);
        assert_eq!(calls, BATCH);
    }

    #[test]
    fn a_batch_returns_the_error_of_a_broken_listener_and_of_exhausted_descriptors() {
        let exhausted = [Errno::MFILE, Errno::NOBUFS];
        #[cfg(unix)]
        let exhausted = exhausted.into_iter().chain([Errno::NFILE, Errno::NOMEM]);
        for errno in exhausted {
            let failure = Batch::new().next(|| error(errno)).unwrap_err();
            assert!(is_exhausted(&failure), "{failure}");
        }
        for errno in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::OPNOTSUPP] {
            let failure = Batch::new().next(|| error(errno)).unwrap_err();
            assert!(!is_exhausted(&failure), "{failure}");
        }
    }
}
