//! What the examples share: Ctrl-C, printing, addresses, and errors in plain words.

// No example uses all of it.
#![allow(dead_code, unused_imports, unused_macros)]

pub mod blocking;
mod failure;
pub mod forking;
pub mod ftp;
pub mod keyboard;
pub mod printing;
pub mod text;
pub mod thread_pool;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

pub use failure::Failure;
use polyselect::{Selector, Source, Watch};
pub(crate) use printing::{say, start_log, start_server_log};
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use socket2::{Domain, SockAddr, Socket, Type};

/// The number of connections that may wait for `accept`. The documents' 5 or 100 would lose most clients of a
/// burst: the system drops or resets connections for which its queue has no room.
pub const BACKLOG: i32 = 1024;

/// The host that Python's `''` stands for.
const ALL_INTERFACES: &str = "0.0.0.0";

/// The addresses that `HOST:PORT` stands for, those of IPv4 first, which the documents' sockets use. The host
/// may be left out.
pub fn addresses(addr: &str) -> io::Result<Vec<SocketAddr>> {
    let bad = |error: io::Error| {
        io::Error::new(error.kind(), format!("{addr:?}, which should be HOST:PORT: {error}"))
    };
    let host = if addr.starts_with(':') { ALL_INTERFACES } else { "" };
    let found = format!("{host}{addr}").to_socket_addrs().map_err(bad)?;
    let mut addresses: Vec<_> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

/// The address to listen at.
pub fn resolve(addr: &str) -> io::Result<SockAddr> {
    let nothing = || io::Error::new(io::ErrorKind::NotFound, format!("{addr} has no address"));
    Ok((*addresses(addr)?.first().ok_or_else(nothing)?).into())
}

/// A TCP socket for connections to `addr`, as `socket.socket()` gives one.
pub fn tcp_socket(addr: &SockAddr) -> io::Result<Socket> {
    let sock = Socket::new(addr.domain(), Type::STREAM, None)?;
    sock.set_reuse_address(cfg!(unix))?;
    Ok(sock)
}

/// Prints the first line of every server, its address, because port 0 leaves that open.
pub fn announce(sock: &Socket) -> io::Result<()> {
    if let Some(addr) = sock.local_addr()?.as_socket() {
        announce_at(addr);
    }
    Ok(())
}

/// Prints the address of a server that has no socket of `socket2`.
pub fn announce_at(place: impl Display) {
    say!("listening on {place}");
}

/// A socket that becomes readable when Ctrl-C is pressed, or the process is asked to end.
pub fn ctrl_c() -> io::Result<Socket> {
    let (reader, _handlers) = signal_socket()?;
    printing::handles_sigterm();
    Ok(reader)
}

/// The same, and what makes it readable.
#[cfg(unix)]
fn signal_socket() -> io::Result<(Socket, Vec<SigId>)> {
    let (reader, writer) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
    let mut handlers = Vec::new();
    for signal in [SIGINT, SIGTERM] {
        handlers.push(signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?);
    }
    Ok((reader, handlers))
}

/// The same, and what makes it readable.
#[cfg(windows)]
fn signal_socket() -> io::Result<(Socket, Vec<SigId>)> {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let writer = TcpStream::connect(listener.local_addr()?)?;
    let (reader, _addr) = listener.accept()?;
    let pressed = Arc::new(AtomicBool::new(false));
    let mut handlers = Vec::new();
    for signal in [SIGINT, SIGTERM] {
        handlers.push(signal_hook::flag::register(signal, Arc::clone(&pressed))?);
    }
    // A signal handler may do little more than set a flag, and Windows cannot wait for a flag and
    // sockets together.
    thread::spawn(move || {
        while !pressed.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(50));
        }
        drop(writer);
    });
    Ok((reader.into(), handlers))
}

/// Prefixes an error with its subject.
pub fn about(subject: impl Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{subject}: {error}"))
}

/// The parts of `HOST:PORT`.
pub fn host_and_port(addr: &str) -> io::Result<(&str, u16)> {
    let parts = addr.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let message = || format!("{addr} is not HOST:PORT");
    let (host, port) =
        parts.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, message()))?;
    Ok((if host.is_empty() { ALL_INTERFACES } else { host }, port))
}

/// Describes an error of `bind`.
pub fn cannot_listen(addr: &str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| {
        let is_taken = error.kind() == io::ErrorKind::AddrInUse;
        let advice = if is_taken { "; `--addr` chooses another address" } else { "" };
        io::Error::new(error.kind(), format!("cannot listen on {addr}: {error}{advice}"))
    }
}

/// Connects to the first address of `HOST:PORT` that accepts. For a client that needs nothing else.
pub fn connect(addr: &str) -> io::Result<TcpStream> {
    let addresses = addresses(addr)?;
    TcpStream::connect(&*addresses).map_err(about(format_args!("{addr} cannot be reached")))
}

/// Opens a non-blocking listener at `HOST:PORT`.
pub fn bind(addr: &str) -> io::Result<Socket> {
    let address = resolve(addr)?;
    let sock = tcp_socket(&address)?;
    sock.bind(&address).map_err(cannot_listen(addr))?;
    sock.listen(BACKLOG).map_err(cannot_listen(addr))?;
    sock.set_nonblocking(true)?;
    Ok(sock)
}

/// Opens a non-blocking listener, and prints its address.
pub fn listen(addr: &str) -> io::Result<Socket> {
    let sock = bind(addr)?;
    announce(&sock)?;
    Ok(sock)
}

/// Accepts a connection, and puts it into non-blocking mode.
pub fn accept(listener: &Socket) -> io::Result<(Socket, SockAddr)> {
    let (conn, addr) = listener.accept()?;
    conn.set_nonblocking(true)?;
    Ok((conn, addr))
}

/// Watches a connection; closes it if the system cannot watch another one.
pub fn register<S: Source, D>(sel: &mut Selector<S, D>, conn: S, watch: impl Into<Watch>, data: D) {
    if let Err(error) = sel.register(conn, watch, data) {
        log::warn!("a connection is closed, because it cannot be watched: {}", error.error());
    }
}

/// Formats an address.
pub fn show(addr: &SockAddr) -> String {
    addr.as_socket().map_or_else(|| format!("{addr:?}"), |addr| addr.to_string())
}

/// Formats the address at this end.
pub fn local(sock: &Socket) -> String {
    sock.local_addr().map_or_else(|error| format!("unknown address ({error})"), |addr| show(&addr))
}

/// The port of a listener.
pub fn port(listener: &Socket) -> io::Result<u16> {
    Ok(listener.local_addr()?.as_socket().map_or(0, |addr| addr.port()))
}

/// Formats the address at the other end.
pub fn peer(sock: &Socket) -> String {
    sock.peer_addr().map_or_else(|error| format!("unknown address ({error})"), |addr| show(&addr))
}

/// Whether an error means no more than "not now".
pub fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The limit on descriptors of this process; `None` if the system has none.
#[cfg(unix)]
pub fn descriptor_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// The limit on descriptors of this process; `None` if the system has none.
#[cfg(not(unix))]
pub fn descriptor_limit() -> Option<u64> {
    None
}

/// The number of clients that the limit on descriptors allows, at `descriptors_for_each` per client.
pub fn affordable_clients(descriptors_for_each: usize) -> usize {
    /// Standard streams, the listener, the selector, Ctrl-C, and descriptors that are open only
    /// briefly.
    const OTHERS: usize = 16;

    let limit = descriptor_limit().and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(usize::MAX, |limit| (limit.saturating_sub(OTHERS) / descriptors_for_each).max(1))
}
