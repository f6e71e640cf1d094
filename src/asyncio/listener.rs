//! Accepting connections in tasks.

use std::fmt;
use std::io::{self, ErrorKind};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use rustix::fd::AsFd;

use super::source::Async;
use super::time::{Sleep, sleep};
use super::waiters::{Entry, Waiter};
use crate::accept::{Failure, Listener, REST};

type Accepted<L> = io::Result<(<L as Listener>::Connection, <L as Listener>::Address)>;

impl<L> Async<L>
where
    L: Listener<Connection: AsFd + 'static> + 'static,
{
    /// Waits for a connection and returns it, in non-blocking mode, with its peer's address.
    ///
    /// # Errors
    ///
    /// The error of the system call. When descriptors have run out (`EMFILE`, `ENFILE`), each call fails
    /// immediately; [`incoming`](Self::incoming) pauses instead. Also the errors of [`readable`](Self::readable).
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

    /// Returns an error of the wait, or else what `accept` returned.
    fn poll_accept(
        &self,
        entry: &mut Entry,
        context: &Context<'_>,
    ) -> Poll<io::Result<Accepted<L>>> {
        let accept = || match self.get_ref().accept() {
            Err(error) if is_no_answer(&error) => Err(error),
            accepted => Ok(accepted),
        };
        self.poll_with(self.reading(), entry, context, accept, |_| true)
    }

    /// Returns a stream of the connections that arrive.
    ///
    /// - A connection that fails while it is accepted is skipped.
    /// - When descriptors or memory run out, the listener pauses for 100 ms, with a log line; clients
    ///   wait in the kernel's queue meanwhile.
    /// - A burst of connections does not starve other tasks.
    ///
    /// Any other error is the last item of the stream.
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
        Incoming {
            listener: self,
            waiter: self.reader(),
            rest: None,
            has_ended: false,
            location: Location::caller(),
        }
    }
}

fn is_no_answer(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The connections that arrive at a listener: [`Async::incoming`].
///
/// Implements [`Stream`]; [`next`](Self::next) works without that trait in scope.
#[must_use = "a stream does nothing unless it is asked for the next"]
pub struct Incoming<'a, L: Listener + 'static> {
    listener: &'a Async<L>,
    waiter: Waiter<'a>,
    /// The pause while there are no descriptors.
    rest: Option<Sleep>,
    has_ended: bool,
    location: &'static Location<'static>,
}

impl<L> Incoming<'_, L>
where
    L: Listener<Connection: AsFd + 'static> + 'static,
{
    /// Waits for the next connection; returns `None` after an error of the listener.
    ///
    /// # Errors
    ///
    /// Fails once, as [`Async::incoming`] documents.
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

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(rest) = &mut this.rest {
                ready!(Pin::new(rest).poll(context));
                this.rest = None;
            }
            let error = match ready!(this.listener.poll_accept(&mut this.waiter.entry, context)) {
                Ok(Ok((conn, addr))) => {
                    let conn = Async::of_nonblocking(conn, this.location);
                    return Poll::Ready(Some(Ok((conn, addr))));
                }
                Ok(Err(error)) => error,
                Err(error) => {
                    this.has_ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            };
            match Failure::of(&error) {
                Failure::Connection => {
                    log::debug!("a connection failed while it was accepted: {error}");
                }
                Failure::Exhausted => {
                    log::warn!("no connection is accepted for {REST:?}: {error}");
                    this.rest = Some(sleep(REST));
                }
                Failure::WouldBlock | Failure::Listener => {
                    this.has_ended = true;
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
