//! The `epoll` server of document 003 (port 8888): the listener is level-triggered, the clients are
//! edge-triggered (`EPOLLET`). Each event prints "亲,你有IO需要处理哦", once for what has come, not
//! for as long as it lies there; each message is answered with `OK`.
//!
//! In the original the reading is commented out, to show that an edge is told only once; who takes
//! it in as it stands reads 1024 bytes an edge and never hears of the rest. Here an edge is an order
//! to go on until the socket would block.
//!
//! ```text
//! cargo run --example epoll_edge_server
//! cargo run --example epoll_edge_server -- --addr 127.0.0.1:0 --backend io_uring
//! nc localhost 8888
//! ```

mod common;

use std::io::{self, Read};

use clap::Parser;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Events, Interest, Key, Selector, WriteQueue};
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8888")]
    addr: String,
    /// The mechanism to wait with; it must have edges.
    #[arg(long, default_value_t = Backend::Epoll)]
    backend: Backend,
}

type Sel = Selector<Socket, Client>;

#[derive(Default)]
struct Client {
    answers: WriteQueue,
    has_ended: bool,
}

/// How many messages of one client are read before the others get their turn.
const TURN: usize = 64;

impl Client {
    /// Reads until the socket would block, and says whether it has come so far.
    fn drain(&mut self, mut c: &Socket) -> io::Result<bool> {
        for _ in 0..TURN {
            if self.has_ended {
                return Ok(true);
            }
            if self.answers.is_high() && !self.answers.flush(c)? {
                return Ok(false);
            }
            let mut data = [0; 1024];
            match c.read(&mut data) {
                Ok(0) => self.has_ended = true,
                Ok(n) => {
                    log::info!("Receive: {}", String::from_utf8_lossy(&data[..n]));
                    self.answers.push(b"OK");
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

fn serve(ep: &mut Sel, key: Key) -> io::Result<()> {
    let Some(this) = ep.get_mut(key) else { return Ok(()) };
    let (c, client) = (this.source, this.data);
    let drained = client.drain(c)?;
    let all_sent = client.answers.flush(c)?;
    if client.has_ended && all_sent {
        drop(ep.unregister(key)?);
        return Ok(());
    }
    let mut interest = Interest::empty();
    // Who sends without ever reading an answer has to wait.
    interest.set(Interest::READABLE, !client.has_ended && !client.answers.is_high());
    interest.set(Interest::WRITABLE, !all_sent);
    // No edge tells of what is there already; asking again does, also for the same.
    if !drained || interest != this.interest {
        ep.modify(key, interest)?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut ep = Sel::with_backend(args.backend)?;
    // Edge-triggered too, so that a mechanism that cannot do it is refused now, not with each client.
    let watch = Interest::READABLE.edge();
    let ctrl_c = common::ctrl_c()?;
    ctrl_c.set_nonblocking(true)?;
    let ctrl_c = ep.register(ctrl_c, watch, Client::default())?;
    let s = common::listen(&args.addr)?;
    let s = ep.register(s, Interest::READABLE, Client::default())?;

    let mut acceptor = Acceptor::new();
    let mut events = Events::with_capacity(1024);
    loop {
        acceptor.select(&mut ep, &mut events, None)?;
        for event in &events {
            if event.key == ctrl_c {
                // There may be more edges than signals.
                match ep[ctrl_c].source().read(&mut [0]) {
                    Err(error) if common::is_not_now(&error) => continue,
                    result => return result.map(drop),
                }
            }
            log::info!("亲,你有IO需要处理哦");
            if event.key == s {
                while let Some((c, addr)) = acceptor.next(&mut ep, s, common::accept)? {
                    log::info!("Connect from {}", common::show(&addr));
                    common::register(&mut ep, c, watch, Client::default());
                }
                continue;
            }
            if let Err(error) = serve(&mut ep, event.key) {
                log::warn!("{event:?}: {error}");
                drop(ep.unregister(event.key)?);
            }
        }
    }
}
