//! The echo server of Python's `selectors` (document 002, port 10000), line for line: one selector
//! holds the listener and all connections, and what to do with each is its data.
//!
//! The original sends with one `send`, which loses what a full socket does not take; here the rest
//! waits in a queue until there is room, and the client is not read from meanwhile.
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
use std::time::Duration;

use clap::Parser;
use polyselect::{Backend, Event, Events, Interest, Selector, WriteQueue};
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:10000")]
    addr: String,
    /// The mechanism to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
}

type Sel = Selector<Socket, Data>;

struct Data {
    callback: fn(&mut Sel, Event) -> io::Result<()>,
    outgoing: WriteQueue,
}

impl Data {
    fn new(callback: fn(&mut Sel, Event) -> io::Result<()>) -> Self {
        Self { callback, outgoing: WriteQueue::new() }
    }
}

fn accept(sel: &mut Sel, event: Event) -> io::Result<()> {
    let (conn, addr) = sel[event.key].source().accept()?; // Should be ready
    log::info!("accepted {conn:?} from {:?} {:?}", addr.as_socket(), event.ready);
    conn.set_nonblocking(true)?;
    sel.register(conn, Interest::READABLE, Data::new(read))?;
    Ok(())
}

fn read(sel: &mut Sel, event: Event) -> io::Result<()> {
    let Some(this) = sel.get_mut(event.key) else { return Ok(()) };
    let (mut conn, outgoing) = (this.source, &mut this.data.outgoing);
    if outgoing.is_empty() {
        let mut data = [0; 1024];
        let n = conn.read(&mut data)?;
        if n > 0 {
            log::info!("echoing b\"{}\" to {conn:?}", data[..n].escape_ascii());
            outgoing.push(&data[..n]);
        } else {
            log::info!("closing {conn:?}");
            drop(sel.unregister(event.key)?);
            return Ok(());
        }
    }
    let all_sent = outgoing.flush(conn)?;
    sel.modify(event.key, if all_sent { Interest::READABLE } else { Interest::WRITABLE })
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    common::start_log();
    let mut sel = args.backend.map_or_else(Sel::new, Sel::with_backend)?;

    let addr = common::resolve(&args.addr)?;
    let sock = common::tcp_socket(&addr)?;
    sock.bind(&addr).map_err(common::about(&args.addr))?;
    sock.listen(100).map_err(common::about(&args.addr))?;
    sock.set_nonblocking(true)?;
    let listener = sel.register(sock, Interest::READABLE, Data::new(accept))?;
    let ctrl_c = sel.register(common::ctrl_c()?, Interest::READABLE, Data::new(read))?;
    common::announce(sel[listener].source())?;

    let mut events = Events::with_capacity(1024);
    let mut pause = None;
    loop {
        sel.select(&mut events, pause.take())?;
        sel.modify(listener, Interest::READABLE)?;
        for event in &events {
            if event.key == ctrl_c {
                return Ok(());
            }
            let Some(registration) = sel.get(event.key) else { continue };
            let callback = registration.data().callback;
            let Err(error) = callback(&mut sel, event) else { continue };
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                continue;
            }
            log::warn!("{event:?}: {error}");
            if event.key == listener {
                // Out of descriptors, most likely; the connections that wait are still there then.
                sel.modify(listener, Interest::empty())?;
                pause = Some(Duration::from_millis(100));
            } else {
                drop(sel.unregister(event.key)?);
            }
        }
    }
}
