//! [`start_server`]: a task for each connection.

use std::cell::RefCell;
use std::future::Future;
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::Location;
#[cfg(unix)]
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use std::{fmt, io};

use rustix::fd::AsFd;
use rustix::net;

use super::limits::timeout;
use super::names::getaddrinfo;
use super::runtime::Runtime;
use super::serving::{OpenListener, Serving, accept_until_closed};
use super::source::Async;
use super::time::yield_now;
use crate::Listener;

/// The number of connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Listens on a TCP address and spawns a task for each connection: asyncio's `start_server`.
///
/// The backlog is 1,024, and connections are accepted as [`Async::incoming`] does. An error that `handle`
/// returns and a panic of its task are logged (`log::warn!`); the other connections go on. Call it in a
/// task: the task's loop serves.
///
/// For an address as text write `addr.parse::<SocketAddr>()?`; [`start_server_host`] looks up a name. In the handler,
/// `stream.get_ref().peer_addr()` returns the address of the peer.
///
/// # Errors
///
/// The errors of binding and listening; `Other` outside a task of an [`EventLoop`](crate::EventLoop).
///
/// An echo server:
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::{io, time::Duration};
///
/// # use std::net::TcpStream;
/// EventLoop::new(())?.block_on(async {
///     let server = asyncio::start_server(([127, 0, 0, 1], 0), |stream| async move {
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
///     // Accepts no more connections; those in progress have five seconds to finish.
///     assert_eq!(server.stop(Duration::from_secs(5)).await, 0);
///     # return Ok(());
///     # }
///     server.serve_forever().await
/// })??;
/// # Ok::<(), io::Error>(())
/// ```
#[track_caller]
pub fn start_server<F, R>(addr: impl Into<SocketAddr>, handle: F) -> io::Result<Server>
where
    F: FnMut(Async<TcpStream>) -> R + 'static,
    R: Future<Output = io::Result<()>> + 'static,
{
    serve_all(vec![listen(addr.into())?], handle, Location::caller())
}

/// Listens on all addresses of a host, which is looked up as by [`getaddrinfo`], and serves as [`start_server`] does.
///
/// With port 0 each address gets its own port; see [`Server::local_addrs`].
///
/// # Errors
///
/// The error of the lookup, and those of [`start_server`] for the first address that fails; nothing is served then.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
///
/// EventLoop::new(())?.block_on(async {
///     let server = asyncio::start_server_host("localhost", 0, |_stream| async { Ok(()) }).await?;
///     for addr in server.local_addrs() {
///         asyncio::Async::connect(*addr).await?;
///     }
///     std::io::Result::Ok(())
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn start_server_host<F, R>(
    host: &str,
    port: u16,
    handle: F,
) -> impl Future<Output = io::Result<Server>>
where
    F: FnMut(Async<TcpStream>) -> R + 'static,
    R: Future<Output = io::Result<()>> + 'static,
{
    let location = Location::caller();
    async move {
        let mut addresses = getaddrinfo(host, port).await?;
        // The system may list an address once for each kind of socket.
        addresses.sort();
        addresses.dedup();
        let listeners = addresses.into_iter().map(listen).collect::<io::Result<_>>()?;
        serve_all(listeners, handle, location)
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)?;
    // For a burst of connections: the backlog of the standard library is 128.
    net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Listens on a path and spawns a task for each connection: asyncio's `start_unix_server`.
///
/// Otherwise as [`start_server`]. The socket's file remains when the server has ended.
///
/// # Errors
///
/// The errors of binding and listening (`AddrInUse` if the file exists), and those of [`start_server`].
///
/// ```
/// use polyselect::{EventLoop, asyncio};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("socket");
/// let line = EventLoop::new(())?.block_on(async {
///     let server = asyncio::start_unix_server(&path, |stream| async move {
///         stream.write_all(b"hello\n").await
///     })?;
///     let (mut reader, _writer) = asyncio::open_unix_connection(&path).await?;
///     let line = reader.read_line().await?.to_vec();
///     drop(server);
///     std::io::Result::Ok(line)
/// })??;
/// assert_eq!(line, b"hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(unix)]
#[track_caller]
pub fn start_unix_server<F, R>(path: impl AsRef<Path>, handle: F) -> io::Result<Server>
where
    F: FnMut(Async<UnixStream>) -> R + 'static,
    R: Future<Output = io::Result<()>> + 'static,
{
    let listener = UnixListener::bind(path)?;
    net::listen(&listener, BACKLOG)?;
    serve_all(vec![listener], handle, Location::caller())
}

/// Serves a listener of any kind that already listens, as [`start_server`] does.
///
/// # Errors
///
/// The error of putting the listener into non-blocking mode, and those of [`start_server`].
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
    serve_all(vec![listener], handle, Location::caller())
}

/// Serves the connections of all listeners with one handler.
fn serve_all<L, F, R>(
    listeners: Vec<L>,
    handle: F,
    location: &'static Location<'static>,
) -> io::Result<Server>
where
    L: Listener<Connection: AsFd + 'static> + 'static,
    F: FnMut(Async<L::Connection>) -> R + 'static,
    R: Future<Output = io::Result<()>> + 'static,
{
    let runtime = Runtime::current()?;
    for listener in &listeners {
        listener.set_nonblocking()?;
    }
    let addr_of = |listener: &L| net::getsockname(listener.as_fd()).ok()?.try_into().ok();
    let addrs = listeners.iter().filter_map(addr_of).collect();
    let serving = Serving::new(&runtime, location);
    let handler = Rc::new(RefCell::new(handle));
    for listener in listeners {
        let listener = Async::of_nonblocking(listener, location);
        listener.drop_on_close(Rc::new(OpenListener::new(&serving)));
        let accepting = accept_until_closed(listener, Rc::clone(&serving), Rc::clone(&handler));
        runtime.spawn(accepting, location).detach();
    }
    Ok(Server { serving, addrs, is_detached: false })
}

/// A running server, returned by [`start_server`] and [`serve`].
///
/// Dropping it ends it immediately: the listener is closed, the tasks of the connections are cancelled, and
/// the unsent bytes of their writers are discarded. [`detach`](Self::detach) lets the server run on.
#[must_use = "dropping it ends the server; detach() lets it go on"]
pub struct Server {
    serving: Rc<Serving>,
    addrs: Vec<SocketAddr>,
    is_detached: bool,
}

impl Server {
    /// Returns the addresses on which it listens, as far as they are IP addresses.
    ///
    /// See [`start_server_host`] for an example.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Returns the address on which it listens, the first of several, or `None` if that is not an IP address.
    ///
    /// See [`start_server`] for an example.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addrs.first().copied()
    }

    /// Returns the number of open connections: those whose task has not ended, or whose socket is still
    /// open, because a writer has unsent bytes or a handle is kept elsewhere.
    ///
    /// ```
    /// # use polyselect::{EventLoop, asyncio};
    /// # EventLoop::new(())?.block_on(async {
    /// let server = asyncio::start_server(([127, 0, 0, 1], 0), |_stream| async { Ok(()) })?;
    /// assert_eq!(server.connections(), 0);
    /// # std::io::Result::Ok(()) })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn connections(&self) -> usize {
        self.serving.connections()
    }

    /// Limits the number of open [`connections`](Self::connections); without a limit at first.
    ///
    /// At the limit the server accepts no more until a connection ends; further clients wait in the listener's backlog.
    /// Connections that are open above a new, lower limit continue. A limit of zero pauses accepting.
    ///
    /// ```
    /// # use polyselect::{EventLoop, asyncio};
    /// # EventLoop::new(())?.block_on(async {
    /// let server = asyncio::start_server(([127, 0, 0, 1], 0), |_stream| async { Ok(()) })?;
    /// server.set_max_connections(1_000);
    /// # std::io::Result::Ok(()) })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_max_connections(&self, count: usize) {
        self.serving.set_max_connections(count);
    }

    /// Accepts no more connections; open ones continue. The listener is closed in this
    /// iteration of the loop or the next, and [`wait_closed`](Self::wait_closed) waits for that too.
    ///
    /// See [`wait_closed`](Self::wait_closed) for an example.
    pub fn close(&self) {
        self.serving.close();
    }

    /// Waits until the listener is closed, by [`close`](Self::close) or because accepting failed, and
    /// until the last connection has ended. The address can be listened on again then.
    ///
    /// # Errors
    ///
    /// The error that ended accepting, once; `InvalidInput` in a task of another loop while the server's loop
    /// lives, because nothing would end this wait there.
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio};
    ///
    /// EventLoop::new(())?.block_on(async {
    ///     let server = asyncio::start_server(([127, 0, 0, 1], 0), |_stream| async { Ok(()) })?;
    ///     let addr = server.local_addr().unwrap();
    ///     server.close();
    ///     server.wait_closed().await?;
    ///     let next = asyncio::start_server(addr, |_stream| async { Ok(()) })?;
    ///     # drop(next);
    ///     std::io::Result::Ok(())
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn wait_closed(&self) -> io::Result<()> {
        if self.serving.is_elsewhere() {
            let message =
                "this server belongs to another event loop: await it in a task of that loop";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.serving.ended.until(|| self.serving.has_ended()).await;
        self.serving.failure.take().map_or(Ok(()), Err)
    }

    /// Serves until [`close`](Self::close) is called; asyncio's name for
    /// [`wait_closed`](Self::wait_closed).
    ///
    /// # Errors
    ///
    /// Fails as [`wait_closed`](Self::wait_closed) does.
    ///
    /// See [`start_server`] for an example.
    pub async fn serve_forever(&self) -> io::Result<()> {
        self.wait_closed().await
    }

    /// Ends gracefully: accepts no more connections, waits up to `grace` for the open ones, and aborts
    /// the rest. Returns the number of aborted connections.
    ///
    /// To abort a connection, its task is cancelled. If its [`StreamWriter`] has unsent bytes, these
    /// are discarded, and the peer gets a reset. If a handle of the connection is kept outside of
    /// the task, the socket is shut down. With a `grace` of zero, that happens immediately.
    ///
    /// When this returns, the listener is closed, and the address can be listened on again. The future may be dropped
    /// before, and `stop` called again: the full `grace` counts again then.
    ///
    /// A handler that awaits it waits for its own connection, until the grace is over and it is cancelled itself. Keep the
    /// server in an `Rc` for that, spawn the `stop`, and detach the task.
    ///
    /// See [`start_server`] for an example.
    ///
    /// [`StreamWriter`]: super::StreamWriter
    pub async fn stop(&self, grace: Duration) -> usize {
        self.close();
        let serving = &*self.serving;
        if timeout(grace, serving.ended.until(|| serving.has_ended())).await.is_ok() {
            if let Some(error) = serving.failure.take() {
                log::debug!("the server had failed before it was stopped: {error}");
            }
            return 0;
        }
        let cut_off = serving.cut_off();
        // Cancelled tasks, and the tasks that send for their writers, end in the next iteration, before
        // this task's second poll from now.
        yield_now().await;
        yield_now().await;
        serving.forget_the_rest();
        if !serving.is_elsewhere() {
            serving.ended.until(|| serving.is_closed()).await;
        }
        cut_off
    }

    /// Lets the server go on for as long as its loop does.
    ///
    /// ```
    /// # use polyselect::{EventLoop, asyncio};
    /// # EventLoop::new(())?.block_on(async {
    /// asyncio::start_server(([127, 0, 0, 1], 0), |_stream| async { Ok(()) })?.detach();
    /// # std::io::Result::Ok(()) })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn detach(mut self) {
        self.is_detached = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.is_detached {
            self.serving.close();
            self.serving.cut_off();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addrs", &self.addrs)
            .field("connections", &self.connections())
            .field("closed", &self.serving.is_closed())
            .finish()
    }
}
