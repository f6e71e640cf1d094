//! The servers: an echo with an idle timer for each connection, as callbacks and as coroutines.

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

/// Each has so many addresses, since to one address there are no more connections than ports, of which
/// those that were closed a while ago take some.
const ADDRESSES: u8 = 8;

/// What is read at a time.
const CHUNK: usize = 16 * 1024;

/// So many connections may wait at an address to be accepted, if the system allows it.
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

/// In the server's process: says where it listens, serves, and does what its standard input says.
pub fn serve(contestant: &Contestant, idle: Duration) -> io::Result<()> {
    end_with_parent()?;
    let mut event_loop = EventLoop::with_backend(contestant.backend, Rc::default())?;
    let bind = |last| TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0));
    let listeners: Vec<_> = (1..=ADDRESSES).map(bind).collect::<io::Result<_>>()?;
    for listener in &listeners {
        // Its connections have the same: small, so that there are writes that must wait.
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

/// `report` is answered, `sleep` holds up the loop, and with the input it ends.
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
