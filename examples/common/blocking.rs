//! Blocking sockets that Ctrl-C can interrupt: servers that serve with `std` alone.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use socket2::Socket;

/// What says that the program is to stop. Clones, and those of forked processes, say so alike.
#[derive(Clone)]
pub struct CtrlC(Arc<Socket>);

impl CtrlC {
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(super::ctrl_c()?)))
    }

    /// Waits until one of these is readable, and says which; `None` if the program is to stop.
    pub fn wait(&self, sources: &[&dyn AsFd]) -> io::Result<Option<usize>> {
        let all = sources.iter().map(AsFd::as_fd).chain([self.0.as_fd()]);
        let mut polled: Vec<_> =
            all.map(|it| PollFd::from_borrowed_fd(it, PollFlags::IN)).collect();
        loop {
            match poll(&mut polled, None) {
                Err(rustix::io::Errno::INTR) => {}
                result => {
                    result?;
                    break;
                }
            }
        }
        let stop = polled.pop().is_some_and(|stop| !stop.revents().is_empty());
        Ok(polled.iter().position(|source| !source.revents().is_empty()).filter(|_| !stop))
    }

    /// As `recv`: waits for data. Nothing is the end, of the stream or of the program.
    pub fn recv(&self, mut conn: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        match self.wait(&[&conn])? {
            Some(_) => conn.read(buffer),
            None => Ok(0),
        }
    }
}

/// A listener at `HOST:PORT`; prints where it listens.
pub fn listen(addr: &str) -> io::Result<TcpListener> {
    let addrs: Vec<_> = addr.to_socket_addrs()?.collect();
    let listener = TcpListener::bind(&*addrs)?;
    // Processes may share it: then the one that is told of a connection is not always the one that
    // gets it.
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    Ok(listener)
}

/// What a server may be waiting for.
pub enum Incoming {
    Client(TcpStream, SocketAddr),
    /// The other source is readable.
    Other,
    Stop,
}

/// Waits for a connection, for something else to be readable, or for Ctrl-C.
pub fn accept(listener: &TcpListener, other: &dyn AsFd, ctrl_c: &CtrlC) -> io::Result<Incoming> {
    loop {
        match ctrl_c.wait(&[listener, other])? {
            None => return Ok(Incoming::Stop),
            Some(0) => {}
            Some(_) => return Ok(Incoming::Other),
        }
        match listener.accept() {
            Ok((conn, addr)) => {
                conn.set_nonblocking(false)?;
                return Ok(Incoming::Client(conn, addr));
            }
            Err(error) if super::is_not_now(&error) => {}
            Err(error) => {
                // Out of descriptors, most likely; whoever wants to connect waits meanwhile.
                log::warn!("a connection has to wait: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// The next connection; `None` if the program is to stop.
pub fn next_client(
    listener: &TcpListener,
    ctrl_c: &CtrlC,
) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    match accept(listener, listener, ctrl_c)? {
        Incoming::Client(conn, addr) => Ok(Some((conn, addr))),
        Incoming::Other | Incoming::Stop => Ok(None),
    }
}

/// What document 000 does with a client: prints what it says until it has gone. An error is the
/// client's own affair.
pub fn deal_with_client(conn: &TcpStream, addr: SocketAddr, ctrl_c: &CtrlC) {
    let mut data = [0; 1024];
    loop {
        match ctrl_c.recv(conn, &mut data) {
            Ok(0) => return log::info!("[{addr}]客户端已经关闭"),
            Ok(n) => log::info!("recv[{addr}]:b\"{}\"", data[..n].escape_ascii()),
            Err(error) if super::is_not_now(&error) => {}
            Err(error) => return log::warn!("[{addr}]: {error}"),
        }
    }
}

/// What document 003 does with a client: prints what it says, and answers `OK`.
pub fn answer_ok(mut conn: &TcpStream, ctrl_c: &CtrlC) -> io::Result<()> {
    let mut data = [0; 1024];
    loop {
        match ctrl_c.recv(conn, &mut data) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                log::info!("{}", String::from_utf8_lossy(&data[..n]));
                conn.write_all(b"OK")?;
            }
            Err(error) if super::is_not_now(&error) => {}
            Err(error) => return Err(error),
        }
    }
}
