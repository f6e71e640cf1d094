//! The servers: what a request is, and where it comes from.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs};

use clap::ValueEnum;
use polyselect::{Backend, Events, Interest, Selector};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, recvfrom, sendto};
use socket2::{Domain, SockAddr, Socket, Type};

use super::common;
use super::mixin::{Mixin, Work};

/// Python's server classes, without their mix-ins.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Tcp,
    Udp,
    UnixStream,
    UnixDatagram,
}

/// Python's `BaseRequestHandler`.
pub trait Handler {
    fn setup(&mut self, _request: &mut Request) {}

    /// # Errors
    ///
    /// What went wrong with this client; the server goes on.
    fn handle(&mut self, request: &mut Request) -> io::Result<()>;

    fn finish(&mut self, _request: &mut Request) {}
}

/// What a handler has to do with: a connection, or a datagram and the socket to answer from.
pub struct Request {
    what: What,
    ctrl_c: Arc<Socket>,
}

enum What {
    Connection(Socket, SockAddr),
    /// The bytes are there until the handler has taken them.
    Datagram(Arc<Socket>, SocketAddrAny, Option<Vec<u8>>),
}

impl Request {
    /// Who asks, as it is shown to people.
    pub fn client_address(&self) -> impl fmt::Display + use<> {
        let name = |path: Option<&Path>| {
            path.map_or("a socket without a name".into(), |path| path.display().to_string())
        };
        match &self.what {
            What::Connection(_, client) => match client.as_socket() {
                Some(address) => address.to_string(),
                None => name(client.as_pathname()),
            },
            What::Datagram(_, client, _) => match std::net::SocketAddr::try_from(client.clone()) {
                Ok(address) => address.to_string(),
                Err(_) => {
                    let client = SocketAddrUnix::try_from(client.clone()).ok();
                    let path = client.as_ref().and_then(|client| client.path_bytes());
                    name(path.map(|path| Path::new(std::ffi::OsStr::from_bytes(path))))
                }
            },
        }
    }

    /// What the client said; nothing when that was all. Waits for it, unless the server is to stop.
    pub fn recv(&mut self) -> io::Result<Vec<u8>> {
        match &mut self.what {
            What::Datagram(.., data) => Ok(data.take().unwrap_or_default()),
            What::Connection(conn, _) => {
                let mut both = [&*conn, &*self.ctrl_c].map(|it| PollFd::new(it, PollFlags::IN));
                while poll(&mut both, None) == Err(rustix::io::Errno::INTR) {}
                if both[0].revents().is_empty() {
                    return Err(io::Error::new(
                        io::ErrorKind::Interrupted,
                        "the server is to stop",
                    ));
                }
                let mut data = vec![0; 1024];
                let length = conn.read(&mut data)?;
                data.truncate(length);
                Ok(data)
            }
        }
    }

    pub fn send_all(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.what {
            What::Connection(conn, _) => conn.write_all(data),
            What::Datagram(socket, client, _) => {
                sendto(&**socket, data, SendFlags::empty(), client)?;
                Ok(())
            }
        }
    }
}

/// Python's `TCPServer` and its like.
pub struct Server<F> {
    socket: Arc<Socket>,
    is_stream: bool,
    /// The file to remove at the end.
    path: Option<PathBuf>,
    make_handler: F,
}

impl<H: Handler, F: Fn() -> H + Clone + Send + 'static> Server<F> {
    pub fn bind(kind: Kind, addr: &str, path: Option<&Path>, make_handler: F) -> io::Result<Self> {
        let is_stream = matches!(kind, Kind::Tcp | Kind::UnixStream);
        let (addr, path) = match (kind, path) {
            (Kind::Tcp | Kind::Udp, _) => (common::resolve(addr)?, None),
            (_, Some(path)) => (SockAddr::unix(path)?, Some(path.to_owned())),
            (_, None) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "--path is missing"));
            }
        };
        let kind = if is_stream { Type::STREAM } else { Type::DGRAM };
        let socket = Socket::new(Domain::from(i32::from(addr.family())), kind, None)?;
        if is_stream {
            socket.set_reuse_address(true)?;
        }
        socket.bind(&addr)?;
        if is_stream {
            socket.listen(128)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Arc::new(socket), is_stream, path, make_handler })
    }

    /// Serves until Ctrl-C, and until what is in hand is done.
    pub fn serve_forever(&mut self, mixin: Mixin, backend: Option<Backend>) -> io::Result<()> {
        let mut selector = backend.map_or_else(Selector::new, Selector::with_backend)?;
        let ctrl_c = Arc::new(common::ctrl_c()?);
        selector.register(Arc::clone(&self.socket), Interest::READABLE, ())?;
        let stop = selector.register(Arc::clone(&ctrl_c), Interest::READABLE, ())?;
        match &self.path {
            Some(path) => println!("listening on {}", path.display()),
            None => common::announce(&self.socket)?,
        }
        io::stdout().flush()?;

        let mut work = Work::new(mixin);
        let mut events = Events::with_capacity(2);
        loop {
            // As often as Python's, it looks after processes and threads that have ended.
            selector.select(&mut events, Duration::from_millis(500))?;
            work.collect();
            if events.iter().any(|event| event.key == stop) {
                return work.finish();
            }
            if events.is_empty() {
                continue;
            }
            match self.get_request(&ctrl_c) {
                Ok(request) => self.process_request(request, &mut work),
                Err(error) if common::is_not_now(&error) => {}
                Err(error) => {
                    log::warn!("a request is lost, or has to wait: {error}");
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    fn get_request(&self, ctrl_c: &Arc<Socket>) -> io::Result<Request> {
        let what = if self.is_stream {
            let (conn, client) = self.socket.accept()?;
            conn.set_nonblocking(false)?;
            What::Connection(conn, client)
        } else {
            /// No datagram is longer.
            const LONGEST: usize = 65_536;
            let mut data = vec![0; LONGEST];
            let (length, _, client) = recvfrom(&*self.socket, &mut data, RecvFlags::empty())?;
            data.truncate(length);
            let nobody = || io::Error::new(io::ErrorKind::InvalidData, "a datagram from nobody");
            What::Datagram(Arc::clone(&self.socket), client.ok_or_else(nobody)?, Some(data))
        };
        Ok(Request { what, ctrl_c: Arc::clone(ctrl_c) })
    }

    fn process_request(&self, mut request: Request, work: &mut Work) {
        let make_handler = self.make_handler.clone();
        work.process(move || {
            let mut handler = make_handler();
            handler.setup(&mut request);
            if let Err(error) = handler.handle(&mut request) {
                log::warn!("Error handling client {}: {error}", request.client_address());
            }
            handler.finish(&mut request);
        });
    }
}

impl<F> Drop for Server<F> {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}
