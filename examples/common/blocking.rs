//! Blocking sockets that Ctrl-C can interrupt: servers that serve with `std` alone.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use polyselect::accept::{Batch, REST, is_exhausted};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use signal_hook::SigId;
use socket2::{SockRef, Socket};

/// The signals that stop the program.
#[derive(Clone)]
pub struct CtrlC {
    /// The one of this process, after those of the processes it was forked from.
    signals: Vec<Arc<Socket>>,
    handlers: Vec<SigId>,
    stopped: Arc<OnceLock<Instant>>,
}

/// The time after Ctrl-C in which work in progress may finish.
const GRACE: Duration = Duration::from_secs(1);

impl CtrlC {
    pub fn new() -> io::Result<Self> {
        Self::beside(Vec::new())
    }

    fn beside(mut signals: Vec<Arc<Socket>>) -> io::Result<Self> {
        let (reader, handlers) = super::signal_socket()?;
        signals.push(Arc::new(reader));
        Ok(Self { signals, handlers, stopped: Arc::default() })
    }

    /// The source that becomes readable when the program is to stop; for a selector.
    pub fn signal(&self) -> Arc<Socket> {
        Arc::clone(self.signals.last().expect("one of this process"))
    }

    /// For a forked child: stops with its parent; a stop of the child does not stop the parent.
    pub fn of_child(&self) -> io::Result<Self> {
        self.handlers.iter().for_each(|&handler| {
            signal_hook::low_level::unregister(handler);
        });
        Self::beside(self.signals.clone())
    }

    /// Waits until one of these is readable, and returns its index; `None` if the program is to
    /// stop.
    pub fn wait(&self, sources: &[&dyn AsFd]) -> io::Result<Option<usize>> {
        let ready = self.poll(sources, PollFlags::IN)?;
        Ok(if self.is_stopped() { None } else { ready })
    }

    /// Waits for data, as `recv` does. Nothing is the end of the stream or of the program; data
    /// that arrived before the end is still returned.
    pub fn recv<'a>(&self, conn: impl Into<SockRef<'a>>, buffer: &mut [u8]) -> io::Result<usize> {
        let conn = conn.into();
        match self.poll(&[&*conn], PollFlags::IN)? {
            Some(_) if !self.is_overdue() => (&*conn).read(buffer),
            _ => Ok(0),
        }
    }

    /// Sends everything, as `sendall` does; a peer that does not read cannot prevent the program
    /// from stopping.
    pub fn send_all<'a>(&self, conn: impl Into<SockRef<'a>>, mut bytes: &[u8]) -> io::Result<()> {
        let conn = conn.into();
        while !bytes.is_empty() {
            if self.poll(&[&*conn], PollFlags::OUT)?.is_none() || self.is_overdue() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server is to stop"));
            }
            // The connection is blocking, but takes at least the free space of its buffer.
            conn.set_write_timeout(Some(GRACE))?;
            match (&*conn).write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if super::is_not_now(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_stopped(&self) -> bool {
        self.stopped.get().is_some()
    }

    fn is_overdue(&self) -> bool {
        self.stopped.get().is_some_and(|since| since.elapsed() > GRACE)
    }

    /// Waits until a source is ready, and returns which; `None` if none is and the program is to
    /// stop.
    fn poll(&self, sources: &[&dyn AsFd], flags: PollFlags) -> io::Result<Option<usize>> {
        let sources = sources.iter().map(|it| PollFd::from_borrowed_fd(it.as_fd(), flags));
        let signals = self.signals.iter().map(|it| PollFd::new(&**it, PollFlags::IN));
        let mut all: Vec<_> = sources.chain(signals).collect();
        while let Err(error) = poll(&mut all, None) {
            if error != Errno::INTR {
                return Err(error.into());
            }
        }
        let (sources, signals) = all.split_at(all.len() - self.signals.len());
        if signals.iter().any(|signal| !signal.revents().is_empty()) {
            self.stopped.get_or_init(Instant::now);
        }
        Ok(sources.iter().position(|source| !source.revents().is_empty()))
    }
}

/// Listens at `HOST:PORT`, and prints the address.
pub fn listen(addr: &str) -> io::Result<TcpListener> {
    let listener = super::listen(addr)?;
    Ok(listener.into())
}

/// The result of a server's wait.
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
        if let Some((conn, addr)) = take(listener)? {
            return Ok(Incoming::Client(conn, addr));
        }
    }
}

/// Returns the next connection; `None` if the program is to stop.
pub fn next_client(
    listener: &TcpListener,
    ctrl_c: &CtrlC,
) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    while ctrl_c.wait(&[listener])?.is_some() {
        if let Some(client) = take(listener)? {
            return Ok(Some(client));
        }
    }
    Ok(None)
}

/// Accepts a connection, if one is still pending and a descriptor is free.
fn take(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    let accepted = Batch::new().next(|| listener.accept());
    match &accepted {
        Ok(Some((conn, _addr))) => conn.set_nonblocking(false)?,
        Err(error) if is_exhausted(error) => {
            log::warn!("a connection has to wait: {error}");
            thread::sleep(REST);
            return Ok(None);
        }
        _ => {}
    }
    accepted
}

/// Serves a client as document 000 does: prints its messages until it disconnects. An error
/// concerns this client only.
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

/// Serves a client as document 003 does: prints its messages, and answers `OK`.
pub fn answer_ok(conn: &TcpStream, ctrl_c: &CtrlC) -> io::Result<()> {
    let mut data = [0; 1024];
    loop {
        match ctrl_c.recv(conn, &mut data) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                log::info!("{}", String::from_utf8_lossy(&data[..n]));
                ctrl_c.send_all(conn, b"OK")?;
            }
            Err(error) if super::is_not_now(&error) => {}
            Err(error) => return Err(error),
        }
    }
}
