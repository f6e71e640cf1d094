//! The `select` server of document 003 (port 8888): `rlist` holds the sockets to read, `wlist` the
//! clients to answer, `xlist` the sockets watched for exceptions; each message is answered with
//! `OK`.
//!
//! The original closes a client whose answer is still in `wlist`, and the `send` to it ends the server; so
//! does a client that resets its connection or sends invalid UTF-8. Here a client whose stream
//! has ended receives its answers first, and an error ends only its own client.
//!
//! ```text
//! cargo run --example select_ok_server
//! cargo run --example select_ok_server -- --addr 127.0.0.1:0 --backend poll
//! nc localhost 8888
//! ```

mod common;

use std::io::{self, Read};

use clap::Parser;
use common::text::Decoder;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Event, Events, Interest, Key, Registration, Selector, WriteQueue};
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:8888")]
    addr: String,
    /// The backend to wait with.
    #[arg(long, default_value_t = Backend::Select)]
    backend: Backend,
}

type Sel = Selector<Socket, Client>;

#[derive(Default)]
struct Client {
    decoder: Decoder,
    answers: WriteQueue,
    has_ended: bool,
}

/// Puts a client into its lists, or closes it.
fn put_into_lists(sel: &mut Sel, key: Key) -> io::Result<()> {
    let Some(client) = sel.get(key).map(Registration::data) else {
        return Ok(());
    };
    if client.has_ended && client.answers.is_empty() {
        drop(sel.unregister(key)?);
        return Ok(());
    }
    let mut lists = Interest::empty();
    // A client that sends without reading its answers has to wait.
    lists.set(Interest::READABLE, !client.has_ended && !client.answers.is_high());
    lists.set(Interest::WRITABLE, !client.answers.is_empty());
    sel.modify(key, lists)
}

fn receive(sel: &mut Sel, r: Key) -> io::Result<()> {
    let Some(this) = sel.get_mut(r) else { return Ok(()) };
    let mut sock = this.source;
    let mut data = [0; 1024];
    let n = sock.read(&mut data)?;
    if let Some(text) = this.data.decoder.decode(&data[..n]) {
        log::info!("Receive: {text}");
    }
    match n {
        0 => this.data.has_ended = true,
        _ => this.data.answers.push(b"OK"),
    }
    put_into_lists(sel, r)
}

fn answer(sel: &mut Sel, w: Key) -> io::Result<()> {
    let Some(this) = sel.get_mut(w) else { return Ok(()) };
    this.data.answers.flush(this.source)?;
    put_into_lists(sel, w)
}

fn close_if_broken(sel: &mut Sel, key: Key, result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if !common::is_not_now(&error) && sel.contains(key) => {
            log::warn!("{}: {error}", common::peer(sel[key].source()));
            sel.unregister(key).map(drop)
        }
        _ => Ok(()),
    }
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut sel = Sel::with_backend(args.backend)?;
    let ctrl_c = sel.register(common::ctrl_c()?, Interest::READABLE, Client::default())?;
    let s = common::listen(&args.addr)?;
    let mut rlist_and_xlist = Interest::READABLE;
    // kqueue has no exceptions.
    rlist_and_xlist.set(Interest::PRIORITY, sel.backend().capabilities().priority);
    let s = sel.register(s, rlist_and_xlist, Client::default())?;

    let mut acceptor = Acceptor::new();
    let mut events = Events::with_capacity(1024);
    loop {
        acceptor.select(&mut sel, &mut events, None)?;
        let rs = events.iter().filter(Event::is_readable);
        let ws = events.iter().filter(Event::is_writable);
        let xs = events.iter().filter(Event::is_priority);
        for Event { key: r, .. } in rs {
            if r == ctrl_c {
                return Ok(());
            }
            if r == s {
                while let Some((c, addr)) = acceptor.next(&mut sel, s, common::accept)? {
                    log::info!("Connect from {}", common::show(&addr));
                    common::register(&mut sel, c, Interest::READABLE, Client::default());
                }
            } else {
                let received = receive(&mut sel, r);
                close_if_broken(&mut sel, r, received)?;
            }
        }
        for Event { key: w, .. } in ws {
            let answered = answer(&mut sel, w);
            close_if_broken(&mut sel, w, answered)?;
        }
        for x in xs {
            log::warn!("{x:?}"); // A listener has none.
        }
    }
}
