//! Accepting connections in coroutines.

use std::fmt;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use rustix::fd::AsFd;

use super::source::Async;
use super::time::{Sleep, sleep};
use crate::accept::{Failure, Listener, REST};

impl<L> Async<L>
where
    L: Listener<Connection: AsFd + 'static> + 'static,
{
    /// Waits for a connection, which is non-blocking, and says where it comes from.
    ///
    /// # Errors
    ///
    /// What the system says; when descriptors have run out (`EMFILE`, `ENFILE`), that too, at once
    /// and for as long as it is so: [`incoming`](Self::incoming) deals with that. And as
    /// [`readable`](Self::readable).
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio::Async};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = Async::new(TcpListener::bind(("127.0.0.1", 0))?)?;
    /// let client = TcpStream::connect(listener.get_ref().local_addr()?)?;
    /// let (conn, addr) = EventLoop::new(())?.block_on(listener.accept())??;
    /// assert_eq!(addr, client.local_addr()?);
    /// # drop(conn);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn accept(
        &self,
    ) -> impl Future<Output = io::Result<(Async<L::Connection>, L::Address)>> + '_ {
        let location = Location::caller();
        async move {
            let (conn, addr) = self.read_with(L::accept).await?;
            Ok((Async::of_nonblocking(conn, location), addr))
        }
    }

    /// The connections that arrive, as a stream that takes the trouble off its user:
    ///
    /// - a connection that fails while it is accepted is left out;
    /// - when descriptors or memory run out the listener rests for 100 ms, with a log line; whoever
    ///   wants to connect waits in the queue of the system meanwhile;
    /// - a storm of connections leaves time for the others.
    ///
    /// Any other error is the last thing it gives.
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio::Async};
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = Async::new(TcpListener::bind(("127.0.0.1", 0))?)?;
    /// let client = TcpStream::connect(listener.get_ref().local_addr()?)?;
    /// EventLoop::new(())?.block_on(async {
    ///     let mut incoming = listener.incoming();
    ///     while let Some(connection) = incoming.next().await {
    ///         let (conn, addr) = connection?;
    ///         assert_eq!(addr, client.local_addr()?);
    ///         # drop(conn);
    ///         break;
    ///     }
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn incoming(&self) -> Incoming<'_, L> {
        Incoming { listener: self, rest: None, has_ended: false, location: Location::caller() }
    }
}

/// The connections that arrive at a listener: [`Async::incoming`].
///
/// It is a [`Stream`], and has [`next`](Self::next) for those who need no more than that.
#[must_use = "a stream does nothing unless it is asked for the next"]
pub struct Incoming<'a, L: Listener + 'static> {
    listener: &'a Async<L>,
    /// While there are no descriptors.
    rest: Option<Sleep>,
    has_ended: bool,
    location: &'static Location<'static>,
}

impl<L> Incoming<'_, L>
where
    L: Listener<Connection: AsFd + 'static> + 'static,
{
    /// The next connection; `None` after an error that is not one connection's.
    ///
    /// # Errors
    ///
    /// As [`Async::incoming`] says, once.
    ///
    /// See [`Async::incoming`] for an example.
    pub async fn next(&mut self) -> Option<io::Result<(Async<L::Connection>, L::Address)>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl<L> Stream for Incoming<'_, L>
where
    L: Listener<Connection: AsFd + 'static> + 'static,
{
    type Item = io::Result<(Async<L::Connection>, L::Address)>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(Pin::new(rest).poll(context));
                self.rest = None;
            }
            let error = match ready!(self.listener.poll_accept(context)) {
                Ok((conn, addr)) => {
                    let conn = Async::of_nonblocking(conn, self.location);
                    return Poll::Ready(Some(Ok((conn, addr))));
                }
                Err(error) => error,
            };
            match Failure::of(&error) {
                Failure::Connection => {
                    log::debug!("a connection failed while it was accepted: {error}");
                }
                Failure::Exhausted => {
                    log::warn!("no connection is accepted for {REST:?}: {error}");
                    self.rest = Some(sleep(REST));
                }
                Failure::WouldBlock | Failure::Listener => {
                    self.has_ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl<L> FusedStream for Incoming<'_, L>
where
    L: Listener<Connection: AsFd + 'static> + 'static,
{
    fn is_terminated(&self) -> bool {
        self.has_ended
    }
}

impl<L: Listener + 'static> fmt::Debug for Incoming<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resting = self.rest.is_some();
        f.debug_struct("Incoming").field("resting", &resting).finish_non_exhaustive()
    }
}
