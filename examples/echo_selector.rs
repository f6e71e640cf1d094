//! The echo server of Python's `selectors` (document 002, port 10000), line for line: one selector
//! holds the listener and all connections; the data of a registration is its callback.
//!
//! The original's connections are non-blocking and it sends with one `send`: the bytes that a nearly full
//! socket does not take are lost, and a full one (`BlockingIOError`) or one client's reset ends the
//! server. Here the rest is queued until there is room, the client is not read from meanwhile, and an
//! error ends only its own client.
//!
//! ```text
//! cargo run --example echo_selector
//! cargo run --example echo_selector -- --addr 127.0.0.1:0 --backend poll
//! nc localhost 10000
//! ```
//!
//! `RUST_LOG=off` prints nothing but the address, `RUST_LOG=polyselect=trace` each step.

mod common;

use std::io::{self, Read};

use clap::Parser;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Event, Events, Interest, Selector, WriteQueue};
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:10000")]
    addr: String,
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
}

type Callback = fn(&mut Server, Event) -> io::Result<()>;

/// The original's global variable, and the state of accepting.
struct Server {
    sel: Selector<Socket, Data>,
    acceptor: Acceptor,
}

struct Data {
    callback: Callback,
    outgoing: WriteQueue,
}

impl Data {
    fn new(callback: Callback) -> Self {
        Self { callback, outgoing: WriteQueue::new() }
    }
}

fn accept(Server { sel, acceptor }: &mut Server, event: Event) -> io::Result<()> {
    // Usually ready, with one connection or many.
    while let Some((conn, addr)) = acceptor.next(sel, event.key, common::accept)? {
        log::info!("accepted {} {:?}", common::show(&addr), event.ready);
        common::register(sel, conn, Interest::READABLE, Data::new(read));
    }
    Ok(())
}

fn read(Server { sel, .. }: &mut Server, event: Event) -> io::Result<()> {
    let Some(this) = sel.get_mut(event.key) else { return Ok(()) };
    let (mut conn, outgoing) = (this.source, &mut this.data.outgoing);
    if outgoing.is_empty() {
        let mut data = [0; 1024];
        let n = conn.read(&mut data)?;
        if n > 0 {
            log::info!("echoing b\"{}\" to {}", data[..n].escape_ascii(), common::peer(conn));
            outgoing.push(&data[..n]);
        } else {
            log::info!("closing {}", common::peer(conn));
            drop(sel.unregister(event.key)?);
            return Ok(());
        }
    }
    let all_sent = outgoing.flush(conn)?;
    sel.modify(event.key, if all_sent { Interest::READABLE } else { Interest::WRITABLE })
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut sel = args.backend.map_or_else(Selector::new, Selector::with_backend)?;

    let ctrl_c = sel.register(common::ctrl_c()?, Interest::READABLE, Data::new(read))?;

    let addr = common::resolve(&args.addr)?;
    let sock = common::tcp_socket(&addr)?;
    sock.bind(&addr).map_err(common::cannot_listen(&args.addr))?;
    sock.listen(common::BACKLOG).map_err(common::cannot_listen(&args.addr))?;
    sock.set_nonblocking(true)?;
    common::announce(&sock)?;
    let listener = sel.register(sock, Interest::READABLE, Data::new(accept))?;

    let mut server = Server { sel, acceptor: Acceptor::new() };
    let mut events = Events::with_capacity(1024);
    loop {
        server.acceptor.select(&mut server.sel, &mut events, None)?;
        for event in &events {
            if event.key == ctrl_c {
                return Ok(());
            }
            let Some(registration) = server.sel.get(event.key) else { continue };
            let callback = registration.data().callback;
            match callback(&mut server, event) {
                Err(error) if event.key == listener => return Err(error.into()),
                Err(error) if !common::is_not_now(&error) => {
                    log::warn!("{event:?}: {error}");
                    drop(server.sel.unregister(event.key)?);
                }
                _ => {}
            }
        }
    }
}
