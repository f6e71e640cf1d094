//! [`start_server`]: a coroutine for each connection.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use rustix::fd::AsFd;
use slab::Slab;

use super::join::JoinHandle;
use super::runtime::Runtime;
use super::source::Async;
use super::time::{timeout, yield_now};
use crate::Listener;

/// The number of connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listens on a TCP address and starts a coroutine for each connection: asyncio's `start_server`.
///
/// It listens with a backlog of 1,024, and accepts as [`Async::incoming`] does. What `handle` returns
/// as an error is logged (`log::warn!`), and so is a panic; neither ends the others. To be called in a
/// coroutine, whose loop then serves.
///
/// # Errors
///
/// What the system says to listening there; `Other` outside of a coroutine of an
/// [`EventLoop`](crate::EventLoop).
///
/// An echo server:
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::{io, time::Duration};
///
/// # use std::net::TcpStream;
/// EventLoop::new(())?.block_on(async {
///     let server = asyncio::start_server(("127.0.0.1", 0), |stream| async move {
///         let (mut reader, mut writer) = stream.split();
///         let mut buffer = [0; 1024];
///         loop {
///             match reader.read(&mut buffer).await? {
///                 0 => return writer.close().await,
///                 n => writer.write(&buffer[..n])?,
///             }
///             writer.drain().await?;
///         }
///     })?;
///     println!("serving on {:?}", server.local_addr());
///     # let conn = asyncio::Async::connect(server.local_addr().unwrap()).await?;
///     # conn.write_all(b"hello").await?;
///     # conn.get_ref().shutdown(std::net::Shutdown::Write)?;
///     # let mut reply = [0; 5];
///     # conn.read_exact(&mut reply).await?;
///     # assert_eq!(&reply, b"hello");
///     # if true {
///     // No more connections; those at work have five seconds to finish.
///     assert_eq!(server.stop(Duration::from_secs(5)).await, 0);
///     # return Ok(());
///     # }
///     server.serve_forever().await
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[track_caller]
pub fn start_server<F, R>(addr: impl ToSocketAddrs, handle: F) -> io::Result<Server>
where
    F: FnMut(Async<TcpStream>) -> R + 'static,
    R: Future<Output = io::Result<()>> + 'static,
{
    let listener = TcpListener::bind(addr)?;
    // For a burst of connections: the standard library asks for 128.
    rustix::net::listen(&listener, BACKLOG)?;
    let addr = listener.local_addr()?;
    start(listener, Some(addr), handle)
}

/// As [`start_server`], for a listener of any kind that listens already.
///
/// # Errors
///
/// What the system says to making it non-blocking, and as [`start_server`].
///
/// ```
/// # #[cfg(unix)] {
/// # use polyselect::{EventLoop, asyncio::{self, Async}};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("socket");
/// let listener = std::os::unix::net::UnixListener::bind(&path)?;
/// EventLoop::new(())?.block_on(async {
///     let server = asyncio::serve(listener, |stream| async move {
///         stream.write_all(b"hello").await
///     })?;
///     let client = Async::connect_path(&path).await?;
///     let mut text = [0; 5];
///     client.read_exact(&mut text).await?;
///     # drop(server);
///     std::io::Result::Ok(())
/// })??;
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn serve<L, F, R>(listener: L, handle: F) -> io::Result<Server>
where
    L: Listener<Connection: AsFd + 'static> + 'static,
    F: FnMut(Async<L::Connection>) -> R + 'static,
    R: Future<Output = io::Result<()>> + 'static,
{
    start(listener, None, handle)
}

#[track_caller]
fn start<L, F, R>(listener: L, addr: Option<SocketAddr>, mut handle: F) -> io::Result<Server>
where
    L: Listener<Connection: AsFd + 'static> + 'static,
    F: FnMut(Async<L::Connection>) -> R + 'static,
    R: Future<Output = io::Result<()>> + 'static,
{
    let location = Location::caller();
    let runtime = Runtime::current()?;
    listener.set_nonblocking()?;
    let listener = Async::of_nonblocking(listener, location);
    let shared = Rc::new(Shared::default());
    let accepting = {
        let end = AcceptingEnds { shared: Rc::clone(&shared), location };
        async move {
            let mut incoming = listener.incoming();
            while let Some(connection) = incoming.next().await {
                match connection {
                    Ok((conn, _addr)) => end.shared.start(handle(conn), location),
                    Err(error) => end.shared.fail(error, location),
                }
            }
        }
    };
    shared.accepting.set(Some(runtime.spawn(accepting, location)));
    Ok(Server { shared, addr, is_detached: false })
}

#[derive(Default)]
struct Shared {
    accepting: Cell<Option<JoinHandle<()>>>,
    is_closed: Cell<bool>,
    failure: Cell<Option<io::Error>>,
    /// Those at work.
    connections: RefCell<Slab<JoinHandle<()>>>,
    /// Who waits for the end.
    waiting: RefCell<Vec<Waker>>,
}

impl Shared {
    fn start(
        self: &Rc<Self>,
        connection: impl Future<Output = io::Result<()>> + 'static,
        location: &'static Location<'static>,
    ) {
        let runtime = Runtime::current().expect("called by a coroutine");
        let mut connections = self.connections.borrow_mut();
        let entry = connections.vacant_entry();
        let end = ConnectionEnds { shared: Rc::downgrade(self), slot: entry.key() };
        entry.insert(runtime.spawn(
            async move {
                let _end = end;
                if let Err(error) = connection.await {
                    log::warn!("a connection of the server started at {location}: {error}");
                }
            },
            location,
        ));
    }

    fn has_ended(&self) -> bool {
        self.is_closed.get() && self.connections.borrow().is_empty()
    }

    fn tell(&self) {
        if self.has_ended() {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    fn fail(&self, error: io::Error, location: &'static Location<'static>) {
        log::error!("the server started at {location} accepts no more connections: {error}");
        self.failure.set(Some(error));
    }

    fn close(&self) {
        drop(self.accepting.take());
        self.is_closed.set(true);
        self.tell();
    }
}

/// The end of accepting, also by a panic.
struct AcceptingEnds {
    shared: Rc<Shared>,
    location: &'static Location<'static>,
}

impl Drop for AcceptingEnds {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.fail(io::Error::other("its handler has panicked"), self.location);
        }
        self.shared.is_closed.set(true);
        self.shared.tell();
    }
}

/// The end of a connection's coroutine, also by a panic.
struct ConnectionEnds {
    shared: Weak<Shared>,
    slot: usize,
}

impl Drop for ConnectionEnds {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let handle = shared.connections.borrow_mut().try_remove(self.slot);
        // A panic is logged then.
        handle.into_iter().for_each(JoinHandle::detach);
        shared.tell();
    }
}

/// A server that runs: from [`start_server`] and [`serve`].
///
/// Dropping it ends it at once, with the connections at work. [`detach`](Self::detach) lets it go on
/// by itself.
#[must_use = "dropping it ends the server; detach() lets it go on"]
pub struct Server {
    shared: Rc<Shared>,
    addr: Option<SocketAddr>,
    is_detached: bool,
}

impl Server {
    /// Where it listens, if [`start_server`] has started it.
    ///
    /// See [`start_server`] for an example.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// How many connections are at work.
    ///
    /// ```
    /// # use polyselect::{EventLoop, asyncio};
    /// # EventLoop::new(())?.block_on(async {
    /// let server = asyncio::start_server(("127.0.0.1", 0), |_stream| async { Ok(()) })?;
    /// assert_eq!(server.connections(), 0);
    /// # std::io::Result::Ok(()) })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.borrow().len()
    }

    /// Takes no more connections; those at work go on. The listener is closed in this turn of the
    /// loop or the next.
    ///
    /// See [`wait_closed`](Self::wait_closed) for an example.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Waits until [`close`](Self::close) was called, or accepting has failed, and the last
    /// connection has ended.
    ///
    /// # Errors
    ///
    /// What made accepting fail, once.
    ///
    /// ```
    /// # use polyselect::{EventLoop, asyncio};
    /// # EventLoop::new(())?.block_on(async {
    /// let server = asyncio::start_server(("127.0.0.1", 0), |_stream| async { Ok(()) })?;
    /// server.close();
    /// server.wait_closed().await?;
    /// # std::io::Result::Ok(()) })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn wait_closed(&self) -> io::Result<()> {
        poll_fn(|context| {
            if self.shared.has_ended() {
                return Poll::Ready(());
            }
            let mut waiting = self.shared.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
        self.shared.failure.take().map_or(Ok(()), Err)
    }

    /// Serves until somebody closes it: [`wait_closed`](Self::wait_closed) by asyncio's name.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// See [`start_server`] for an example.
    pub async fn serve_forever(&self) -> io::Result<()> {
        self.wait_closed().await
    }

    /// Ends gracefully: takes no more connections, gives those at work so much time to finish, and
    /// then cancels them. Says how many were cancelled.
    ///
    /// See [`start_server`] for an example.
    pub async fn stop(&self, grace: Duration) -> usize {
        self.close();
        if let Ok(closed) = timeout(grace, self.wait_closed()).await {
            if let Err(error) = closed {
                log::debug!("the server had failed before it was stopped: {error}");
            }
            return 0;
        }
        let late = self.shared.connections.take();
        let cancelled = late.len();
        drop(late);
        // They are dropped in the next turn, before this one's.
        yield_now().await;
        self.shared.tell();
        cancelled
    }

    /// Lets it go on for as long as its loop does.
    ///
    /// ```
    /// # use polyselect::{EventLoop, asyncio};
    /// # EventLoop::new(())?.block_on(async {
    /// asyncio::start_server(("127.0.0.1", 0), |_stream| async { Ok(()) })?.detach();
    /// # std::io::Result::Ok(()) })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn detach(mut self) {
        self.is_detached = true;
        // It keeps what it shares with its connections.
        self.shared.accepting.take().into_iter().for_each(JoinHandle::detach);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_detached {
            self.shared.close();
            drop(self.shared.connections.take());
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addr", &self.addr)
            .field("connections", &self.connections())
            .field("closed", &self.shared.is_closed.get())
            .finish()
    }
}
