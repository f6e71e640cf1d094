//! The `epoll` server of document 000 (section 7, port 7788): one epoll over the listener and all
//! clients; it echoes.
//!
//! The document gives no code, only the advantages: no limit of 1024, and a cost that depends on
//! the active connections, not on all. `--idle N` measures both: one client is active while up to N
//! others are connected and idle, on each backend of the system.
//!
//! ```text
//! cargo run --example epoll_server
//! cargo run --example epoll_server -- --addr 127.0.0.1:0 --backend poll
//! nc localhost 7788
//! ulimit -n 20000; cargo run --release --example epoll_server -- --idle 5000
//! ```

#[path = "../common/mod.rs"]
mod common;
mod idle;

use std::io::{self, Read};
use std::time::{Duration, Instant};

use clap::Parser;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Events, Interest, Key, Selector, WriteQueue};
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:7788")]
    addr: String,
    /// The backend to wait with.
    #[arg(long, default_value_t = Backend::Epoll)]
    backend: Backend,
    /// Measure the cost of a wait beside up to N idle connections, and exit.
    #[arg(long, value_name = "N", conflicts_with = "backend")]
    idle: Option<usize>,
}

type Sel = Selector<Socket, WriteQueue>;

struct Server {
    epoll: Sel,
    listener: Key,
    acceptor: Acceptor,
    /// The source that stops the server; `None` while measuring.
    ctrl_c: Option<Key>,
    events: Events,
}

impl Server {
    fn new(backend: Backend, listener: Socket) -> io::Result<Self> {
        let mut epoll = Sel::with_backend(backend)?;
        let listener = epoll.register(listener, Interest::READABLE, WriteQueue::new())?;
        let (acceptor, events) = (Acceptor::new(), Events::with_capacity(1024));
        Ok(Self { epoll, listener, acceptor, ctrl_c: None, events })
    }

    /// Runs one iteration; returns how long the wait took, or `None` if Ctrl-C ended it.
    fn round(&mut self) -> io::Result<Option<Duration>> {
        let Self { epoll, listener, acceptor, ctrl_c, events } = self;
        let start = Instant::now();
        acceptor.select(epoll, events, None)?;
        let waited = start.elapsed();
        for event in &*events {
            if Some(event.key) == *ctrl_c {
                return Ok(None);
            }
            if event.key == *listener {
                while let Some((conn, addr)) = acceptor.next(epoll, *listener, common::accept)? {
                    log::debug!("{} connects", common::show(&addr));
                    common::register(epoll, conn, Interest::READABLE, WriteQueue::new());
                }
                continue;
            }
            match echo(epoll, event.key) {
                Err(error) if !common::is_not_now(&error) => {
                    log::warn!("{event:?}: {error}");
                    drop(epoll.unregister(event.key)?);
                }
                _ => {}
            }
        }
        Ok(Some(waited))
    }
}

fn echo(epoll: &mut Sel, key: Key) -> io::Result<()> {
    let Some(this) = epoll.get_mut(key) else { return Ok(()) };
    let (mut conn, outgoing) = (this.source, this.data);
    if outgoing.is_empty() {
        let mut data = [0; 1024];
        match conn.read(&mut data)? {
            0 => return epoll.unregister(key).map(drop),
            n => outgoing.push(&data[..n]),
        }
    }
    let all_sent = outgoing.flush(conn)?;
    epoll.modify(key, if all_sent { Interest::READABLE } else { Interest::WRITABLE })
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    if let Some(idle) = args.idle {
        common::start_log();
        return Ok(idle::measure(idle)?);
    }
    let _printing = common::start_server_log()?;
    let ctrl_c = common::ctrl_c()?;
    let mut server = Server::new(args.backend, common::listen(&args.addr)?)?;
    server.ctrl_c = Some(server.epoll.register(ctrl_c, Interest::READABLE, WriteQueue::new())?);
    while server.round()?.is_some() {}
    Ok(())
}
