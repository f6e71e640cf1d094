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

/// What says that the program is to stop.
#[derive(Clone)]
pub struct CtrlC {
    /// One of this process, and those of the processes that it was forked from.
    signals: Vec<Arc<Socket>>,
    handlers: Vec<SigId>,
    stopped: Arc<OnceLock<Instant>>,
}

/// For so long after Ctrl-C what is in hand may be finished.
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

    /// What becomes readable when the program is to stop, for a selector.
    pub fn signal(&self) -> Arc<Socket> {
        Arc::clone(self.signals.last().expect("one of this process"))
    }

    /// For a forked child: it stops with its parent, but the parent does not stop with it.
    pub fn of_child(&self) -> io::Result<Self> {
        self.handlers.iter().for_each(|&handler| {
            signal_hook::low_level::unregister(handler);
        });
        Self::beside(self.signals.clone())
    }

    /// Waits until one of these is readable, and says which; `None` if the program is to stop.
    pub fn wait(&self, sources: &[&dyn AsFd]) -> io::Result<Option<usize>> {
        let ready = self.poll(sources, PollFlags::IN)?;
        Ok(if self.is_stopped() { None } else { ready })
    }

    /// As `recv`: waits for data. Nothing is the end, of the stream or of the program; what has come
    /// by then is in hand, and is still given out.
    pub fn recv<'a>(&self, conn: impl Into<SockRef<'a>>, buffer: &mut [u8]) -> io::Result<usize> {
        let conn = conn.into();
        match self.poll(&[&*conn], PollFlags::IN)? {
            Some(_) if !self.is_overdue() => (&*conn).read(buffer),
            _ => Ok(0),
        }
    }

    /// As `sendall`; a peer that takes nothing does not keep the program from stopping.
    pub fn send_all<'a>(&self, conn: impl Into<SockRef<'a>>, mut bytes: &[u8]) -> io::Result<()> {
        let conn = conn.into();
        while !bytes.is_empty() {
            if self.poll(&[&*conn], PollFlags::OUT)?.is_none() || self.is_overdue() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server is to stop"));
            }
            // Blocking as it is, the connection takes at least what there is room for.
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

    /// Waits until a source is ready, and says which; `None` if none is, but the program is to stop.
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

/// A listener at `HOST:PORT`; prints where it listens.
pub fn listen(addr: &str) -> io::Result<TcpListener> {
    let listener = super::listen(addr)?;
    Ok(listener.into())
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
        if let Some((conn, addr)) = take(listener)? {
            return Ok(Incoming::Client(conn, addr));
        }
    }
}

/// The next connection; `None` if the program is to stop.
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

/// A connection, if there still is one, and a descriptor for it.
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
