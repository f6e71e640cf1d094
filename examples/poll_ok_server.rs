//! The `poll` server of document 003 (port 8888): `poll` over the listener and all clients, with
//! `POLLIN | POLLERR`; each message is answered with `OK`.
//!
//! The original checks `POLLIN` only: an error that comes alone is never handled, and reported for
//! ever; and one client's reset ends it. Here an error makes a client readable, as with `select`,
//! and the read returns it; errors end only their own client. The dictionary from descriptor to
//! socket, `fdmap`, is the selector itself.
//!
//! ```text
//! cargo run --example poll_ok_server
//! cargo run --example poll_ok_server -- --addr 127.0.0.1:0 --backend select
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
    /// The backend to wait with.
    #[arg(long, default_value_t = Backend::Poll)]
    backend: Backend,
}

type Sel = Selector<Socket, Client>;

#[derive(Default)]
struct Client {
    decoder: Decoder,
    answer: WriteQueue,
}

fn serve(p: &mut Sel, key: Key) -> io::Result<()> {
    let Some(this) = p.get_mut(key) else { return Ok(()) };
    let (mut c, Client { decoder, answer }) = (this.source, this.data);
    if answer.is_empty() {
        let mut data = [0; 1024];
        let n = c.read(&mut data)?;
        if let Some(text) = decoder.decode(&data[..n]) {
            log::info!("Receive: {text}");
        }
        if n == 0 {
            return p.unregister(key).map(drop);
        }
        answer.push(b"OK");
    }
    // A client that does not read its answer is not read from.
    let all_sent = answer.flush(c)?;
    p.modify(key, if all_sent { Interest::READABLE } else { Interest::WRITABLE })
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut p = Sel::with_backend(args.backend)?;
    let ctrl_c = p.register(common::ctrl_c()?, Interest::READABLE, Client::default())?;
    let s = common::listen(&args.addr)?;
    // Errors are reported without an interest, as in `poll`.
    let s = p.register(s, Interest::READABLE, Client::default())?;

    let mut acceptor = Acceptor::new();
    let mut events = Events::with_capacity(1024);
    loop {
        acceptor.select(&mut p, &mut events, None)?;
        for event in &events {
            if event.key == ctrl_c {
                return Ok(());
            }
            if event.key == s {
                while let Some((c, addr)) = acceptor.next(&mut p, s, common::accept)? {
                    log::info!("Connect from {}", common::show(&addr));
                    common::register(&mut p, c, Interest::READABLE, Client::default());
                }
                continue;
            }
            match serve(&mut p, event.key) {
                Err(error) if !common::is_not_now(&error) => {
                    log::warn!("{event:?}: {error}");
                    drop(p.unregister(event.key)?);
                }
                _ => {}
            }
        }
    }
}
