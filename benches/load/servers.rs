//! The servers: an echo with an idle timer for each connection, as callbacks and as tasks.

mod callbacks;
mod coroutines;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use polyselect::{Backend, EventLoop, Interest, Next};
use polyselect_benches::end_with_parent;
use rustix::net::listen;
use rustix::net::sockopt::set_socket_send_buffer_size;

use crate::report::{Counts, Report};

/// The number of addresses of each server. One address accepts no more connections from a host than there are ports,
/// and recently closed connections still occupy some.
const ADDRESSES: u8 = 8;

/// The length of a read.
const CHUNK: usize = 16 * 1024;

/// The backlog of each address, if the system allows it.
const QUEUE: i32 = 4096;

type Loop = EventLoop<Rc<Counts>>;

pub struct Contestant {
    pub name: &'static str,
    pub backend: Backend,
    serve: fn(Loop, Vec<TcpListener>, Duration) -> io::Result<()>,
}

pub const CONTESTANTS: &[Contestant] = &[
    Contestant { name: "epoll", backend: Backend::Epoll, serve: callbacks::serve },
    Contestant { name: "io_uring", backend: Backend::IoUring, serve: callbacks::serve },
    Contestant { name: "mio", backend: Backend::Mio, serve: callbacks::serve },
    Contestant { name: "poll", backend: Backend::Poll, serve: callbacks::serve },
    Contestant { name: "select", backend: Backend::Select, serve: callbacks::serve },
    Contestant { name: "coroutines", backend: Backend::Epoll, serve: coroutines::serve },
    Contestant { name: "coroutines-uring", backend: Backend::IoUring, serve: coroutines::serve },
];

/// Prints the addresses, in the server's process, serves, and executes the commands of its standard input.
pub fn serve(contestant: &Contestant, idle: Duration) -> io::Result<()> {
    end_with_parent()?;
    let mut event_loop = EventLoop::with_backend(contestant.backend, Rc::default())?;
    let bind = |last| TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0));
    let listeners: Vec<_> = (1..=ADDRESSES).map(bind).collect::<io::Result<_>>()?;
    for listener in &listeners {
        // Connections inherit it: small, so that some writes have to wait.
        set_socket_send_buffer_size(listener, CHUNK)?;
        listen(listener, QUEUE)?;
    }
    let addresses: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    println!("{}", addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    io::stdout().flush()?;
    event_loop.register(io::stdin(), Interest::READABLE, move |event_loop, stdin, _event| {
        obey(event_loop, stdin, idle)
    })?;
    event_loop.on_error(|event_loop, key, error| {
        event_loop.state.failed();
        eprintln!("{key}: {error}");
    });
    (contestant.serve)(event_loop, listeners, idle)
}

/// `report` prints a report, `sleep` blocks the loop, and the end of the input ends the server.
fn obey(event_loop: &mut Loop, mut stdin: &io::Stdin, idle: Duration) -> io::Result<Next> {
    let mut lines = [0; 64];
    let length = stdin.read(&mut lines)?;
    if length == 0 {
        event_loop.stop();
    }
    for line in String::from_utf8_lossy(&lines[..length]).lines() {
        match line {
            "report" => println!("{}", Report::of(event_loop)?),
            "sleep" => thread::sleep(idle / 5),
            _ => return Err(io::Error::other(format!("{line:?} is neither report nor sleep"))),
        }
    }
    Ok(Next::Keep)
}
