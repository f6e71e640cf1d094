//! The `epoll` server of document 003 (port 8888): the listener is level-triggered, the clients are
//! edge-triggered (`EPOLLET`). Each event prints "亲,你有IO需要处理哦", once when data arrives, not for as
//! long as it is unread; each message is answered with `OK`.
//!
//! In the original the reading is commented out, to show that an edge is reported only once. With
//! that code restored it reads 1024 bytes per edge, and is not notified of the rest. Here an edge
//! means: read until `WouldBlock`.
//!
//! ```text
//! cargo run --example epoll_edge_server
//! cargo run --example epoll_edge_server -- --addr 127.0.0.1:0 --backend io_uring
//! nc localhost 8888
//! ```

mod common;

use std::io::{self, Read};

use clap::Parser;
use common::text::Decoder;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Events, Interest, Key, Selector, WriteQueue};
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:8888")]
    addr: String,
    /// The backend to wait with; it must support edges.
    #[arg(long, default_value_t = Backend::Epoll)]
    backend: Backend,
}

type Sel = Selector<Socket, Client>;

#[derive(Default)]
struct Client {
    decoder: Decoder,
    answers: WriteQueue,
    has_ended: bool,
}

/// The number of messages read from one client before the others are served.
const TURN: usize = 64;

impl Client {
    /// Reads until `WouldBlock`, and returns whether that was reached.
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
                Ok(n) => {
                    if let Some(text) = self.decoder.decode(&data[..n]) {
                        log::info!("Receive: {text}");
                    }
                    match n {
                        0 => self.has_ended = true,
                        _ => self.answers.push(b"OK"),
                    }
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
    // A client that sends without reading its answers has to wait.
    interest.set(Interest::READABLE, !client.has_ended && !client.answers.is_high());
    interest.set(Interest::WRITABLE, !all_sent);
    // Data that is there already causes no edge; `modify` reports it again, even with the same
    // interest.
    if !drained || interest != this.interest {
        ep.modify(key, interest)?;
    }
    Ok(())
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut ep = Sel::with_backend(args.backend)?;
    // Edge-triggered too, so that a backend without edges fails here, not at each client.
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
                    result => return Ok(result.map(drop)?),
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
