//! The servers: each echoes, and each waits in a different way.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use polyselect::accept::Acceptor;
use polyselect::{Backend, EventLoop, Events, Interest, Listener, Next, Selector};

use common::forking::{fork, ignore_children};

#[path = "../common/mod.rs"]
pub mod common;

/// A way to serve many clients.
pub struct Model {
    pub name: &'static str,
    /// The largest number of clients that it serves in acceptable time.
    pub most: usize,
    serve: fn(TcpListener) -> io::Result<()>,
    /// The backend, for models that have one.
    backend: Option<Backend>,
}

impl Model {
    pub fn is_available(&self) -> bool {
        self.backend.is_none_or(Backend::is_available)
    }
}

pub const MODELS: &[Model] = &[
    Model {
        name: "one client at a time",
        most: 1,
        serve: |listener| one_at_a_time(&listener),
        backend: None,
    },
    Model {
        name: "process a client",
        most: 1000,
        serve: |listener| processes(&listener),
        backend: None,
    },
    Model {
        name: "thread a client",
        most: 5000,
        serve: |listener| threads(&listener),
        backend: None,
    },
    Model {
        name: "busy polling",
        most: 1000,
        serve: |listener| busy_polling(&listener),
        backend: None,
    },
    on("select", Backend::Select, |listener| selector(listener, Backend::Select)),
    on("poll", Backend::Poll, |listener| selector(listener, Backend::Poll)),
    on("epoll", Backend::Epoll, |listener| selector(listener, Backend::Epoll)),
    on("io_uring", Backend::IoUring, |listener| selector(listener, Backend::IoUring)),
    on("mio", Backend::Mio, |listener| selector(listener, Backend::Mio)),
    on("event loop on epoll", Backend::Epoll, event_loop),
];

const fn on(
    name: &'static str,
    backend: Backend,
    serve: fn(TcpListener) -> io::Result<()>,
) -> Model {
    Model { name, most: 5000, serve, backend: Some(backend) }
}

/// Serves until the process is killed.
pub fn serve(name: &str) -> io::Result<()> {
    let model = MODELS.iter().find(|model| model.name == name).ok_or(io::ErrorKind::NotFound)?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    common::say!("{}", listener.local_addr()?);
    (model.serve)(listener)
}

/// Echoes once, and returns whether the client is still connected. A message is shorter than any
/// buffer on the way, so no rest has to be queued.
fn echo(mut conn: &TcpStream) -> io::Result<bool> {
    let mut bytes = [0; 1024];
    let n = conn.read(&mut bytes)?;
    conn.write_all(&bytes[..n])?;
    Ok(n > 0)
}

fn echo_to_the_end(conn: &TcpStream) {
    while let Ok(true) = echo(conn) {}
}

fn one_at_a_time(listener: &TcpListener) -> io::Result<()> {
    loop {
        echo_to_the_end(&listener.accept()?.0);
    }
}

fn processes(listener: &TcpListener) -> io::Result<()> {
    ignore_children()?;
    loop {
        let (conn, _) = listener.accept()?;
        fork(|| echo_to_the_end(&conn))?;
    }
}

fn threads(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (conn, _) = listener.accept()?;
        thread::Builder::new().spawn(move || echo_to_the_end(&conn))?;
    }
}

fn busy_polling(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut clients = Vec::new();
    loop {
        if let Ok((conn, _)) = listener.accept() {
            conn.set_nonblocking(true)?;
            clients.push(conn);
        }
        clients.retain(|conn| match echo(conn) {
            Ok(is_there) => is_there,
            Err(error) => common::is_not_now(&error),
        });
    }
}

enum Source {
    Listener(TcpListener),
    Client(TcpStream),
}

impl Source {
    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Listener(listener) => Listener::accept(listener),
            Self::Client(_) => unreachable!("a client takes no connections"),
        }
    }
}

impl std::os::fd::AsFd for Source {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Listener(listener) => listener.as_fd(),
            Self::Client(conn) => conn.as_fd(),
        }
    }
}

fn selector(listener: TcpListener, backend: Backend) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut selector = Selector::with_backend(backend)?;
    let server = selector.register(Source::Listener(listener), Interest::READABLE, ())?;
    let mut acceptor = Acceptor::new();
    let mut events = Events::with_capacity(1024);
    loop {
        acceptor.select(&mut selector, &mut events, None)?;
        for event in &events {
            if let Source::Client(conn) = selector[event.key].source() {
                if echo(conn).is_ok_and(|is_there| !is_there) {
                    selector.unregister(event.key)?;
                }
                continue;
            }
            while let Some((conn, _)) = acceptor.next(&mut selector, server, Source::accept)? {
                selector.register(Source::Client(conn), Interest::READABLE, ())?;
            }
        }
    }
}

fn event_loop(listener: TcpListener) -> io::Result<()> {
    let mut event_loop = EventLoop::with_backend(Backend::Epoll, ())?;
    event_loop.accept(listener, |event_loop, conn, _addr| {
        event_loop.register(conn, Interest::READABLE, |_loop, conn, _event| {
            Ok(if echo(conn)? { Next::Keep } else { Next::Remove })
        })?;
        Ok(())
    })?;
    event_loop.run()
}
