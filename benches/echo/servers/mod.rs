//! The servers: each takes connections and echoes until all are closed.

mod calloop;
mod calloop_tasks;
mod coroutines;
mod mio;
mod ours;
mod polling;
mod raw;
mod tasks;
mod uring_recv;

use std::io;
use std::net::TcpStream;

use polyselect::Backend;

#[derive(Clone, Copy)]
pub struct Contestant {
    pub name: &'static str,
    pub serve: fn(Vec<TcpStream>) -> io::Result<()>,
    /// The backend that the system may lack.
    needs: Backend,
    /// Whether each wait walks all registrations.
    pub walks: bool,
}

impl Contestant {
    pub fn is_available(&self) -> bool {
        self.needs.is_available()
    }
}

const fn on(
    needs: Backend,
    name: &'static str,
    serve: fn(Vec<TcpStream>) -> io::Result<()>,
) -> Contestant {
    let walks = matches!(needs, Backend::Poll | Backend::Select);
    Contestant { name, serve, needs, walks }
}

/// The first is the reference for the ratios.
pub const CONTESTANTS: &[Contestant] = &[
    on(Backend::Epoll, "raw", raw::epoll::<false>),
    on(Backend::Epoll, "raw-edge", raw::epoll::<true>),
    on(Backend::IoUring, "raw-uring", raw::uring),
    on(Backend::IoUring, "raw-uring-recv", uring_recv::serve),
    on(Backend::Epoll, "mio", mio::serve),
    on(Backend::Epoll, "polling", polling::level),
    on(Backend::Epoll, "polling-oneshot", polling::oneshot),
    on(Backend::Epoll, "polling-edge", polling::edge),
    on(Backend::Epoll, "calloop", calloop::serve),
    on(Backend::Epoll, "calloop-tasks", calloop_tasks::serve),
    on(Backend::Epoll, "tokio", tasks::tokio),
    on(Backend::Epoll, "async-io", tasks::async_io),
    on(Backend::Epoll, "epoll", ours::epoll),
    on(Backend::Epoll, "epoll-edge", ours::epoll_edge),
    on(Backend::Epoll, "epoll-busy", ours::epoll_busy),
    on(Backend::Epoll, "event-loop", ours::event_loop),
    on(Backend::Epoll, "coroutines", coroutines::epoll),
    on(Backend::IoUring, "io_uring", ours::io_uring),
    on(Backend::IoUring, "io_uring-edge", ours::io_uring_edge),
    on(Backend::Mio, "our-mio", ours::mio),
    on(Backend::Poll, "poll", ours::poll),
    on(Backend::Select, "select", ours::select),
];

/// The capacity for the events of a wait, the same for all.
const CAPACITY: usize = 1024;
