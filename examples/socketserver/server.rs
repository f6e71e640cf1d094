//! The servers: the sources of requests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use polyselect::accept::{Batch, REST, is_exhausted};
use polyselect::{Backend, Events, Interest, Selector};
use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, SockAddr, Socket, Type};

use super::common;
use super::common::blocking::CtrlC;
use super::common::text::Decoder;
use super::mixin::{Mixin, Work};
use super::request::{Handler, Request, What};

/// Python's server classes, without their mix-ins.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Tcp,
    Udp,
    UnixStream,
    UnixDatagram,
}

/// Python's `TCPServer` and its siblings.
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
        let (name, addr, path) = match (kind, path) {
            (Kind::Tcp | Kind::Udp, _) => (addr.to_owned(), common::resolve(addr)?, None),
            (_, Some(path)) => {
                let name = path.display().to_string();
                let addr = SockAddr::unix(path).map_err(common::about(&name))?;
                (name, addr, Some(path.to_owned()))
            }
            (_, None) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "--path is missing"));
            }
        };
        let kind = if is_stream { Type::STREAM } else { Type::DGRAM };
        let socket = Socket::new(Domain::from(i32::from(addr.family())), kind, None)?;
        if is_stream {
            socket.set_reuse_address(true)?;
        }
        socket.bind(&addr).map_err(common::cannot_listen(&name))?;
        if is_stream {
            socket.listen(common::BACKLOG).map_err(common::cannot_listen(&name))?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket: Arc::new(socket), is_stream, path, make_handler })
    }

    /// Serves until Ctrl-C, then until the requests in progress are done.
    pub fn serve_forever(&mut self, mixin: Mixin, backend: Option<Backend>) -> io::Result<()> {
        let mut selector = backend.map_or_else(Selector::new, Selector::with_backend)?;
        let ctrl_c = CtrlC::new()?;
        selector.register(Arc::clone(&self.socket), Interest::READABLE, ())?;
        let stop = selector.register(ctrl_c.signal(), Interest::READABLE, ())?;
        match &self.path {
            Some(path) => common::announce_at(path.display()),
            None => common::announce(&self.socket)?,
        }

        let mut work = Work::new(mixin, ctrl_c);
        let mut events = Events::with_capacity(2);
        loop {
            // The interval at which Python's also reaps threads and processes.
            selector.select(&mut events, Duration::from_millis(500))?;
            work.collect();
            if events.iter().any(|event| event.key == stop) {
                return work.finish();
            }
            if events.is_empty() {
                continue;
            }
            // One request per wait, as in Python's, so that a plain server can be stopped between
            // two.
            match Batch::with_limit(1).next(|| self.get_request()) {
                Ok(Some(what)) => self.process_request(what, &mut work),
                Ok(None) => {}
                Err(error) if is_exhausted(&error) => {
                    log::warn!("a request has to wait: {error}");
                    std::thread::sleep(REST);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn get_request(&self) -> io::Result<What> {
        /// The longest datagram.
        const LONGEST: usize = 65_536;

        if self.is_stream {
            let (conn, client) = self.socket.accept()?;
            conn.set_nonblocking(true)?;
            return Ok(What::Connection(conn, client));
        }
        let mut data = vec![0; LONGEST];
        let (length, _, client) = recvfrom(&*self.socket, &mut data, RecvFlags::empty())?;
        data.truncate(length);
        Ok(What::Datagram(Arc::clone(&self.socket), client, Some(data)))
    }

    fn process_request(&self, what: What, work: &mut Work) {
        let make_handler = self.make_handler.clone();
        work.process(move |ctrl_c| {
            let mut request = Request { what, ctrl_c, decoder: Decoder::default() };
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
