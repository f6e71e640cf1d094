//! The advanced `select` server of document 002 (port 10000): the messages of a client are queued,
//! and sent back in UPPER CASE when the client is writable. `outputs` holds the clients with a
//! queue that is not empty; an exceptional client (out-of-band data has arrived) is closed.
//!
//! The original loses what one `send` does not take, discards the queue at the end of the client's
//! stream, raises KeyError for a client that is closed while in two lists, and ends when a client
//! resets its connection. Here a message leaves its queue byte by byte, a client receives all
//! answers before it is closed, the key of a closed client finds nothing, and an error ends only
//! its own client.
//!
//! ```text
//! cargo run --example select_queue
//! cargo run --example select_queue -- --addr 127.0.0.1:0 --backend epoll
//! nc localhost 10000
//! ```

mod common;

use std::collections::VecDeque;
use std::io::{self, Read};

use clap::Parser;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Event, Events, Interest, Key, Selector, WriteQueue};
use socket2::Socket;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:10000")]
    addr: String,
    /// The backend to wait with.
    #[arg(long, default_value_t = Backend::Select)]
    backend: Backend,
}

type Sel = Selector<Socket, Client>;

#[derive(Default)]
struct Client {
    messages: VecDeque<Vec<u8>>,
    /// The rest of the message that is being sent.
    sending: WriteQueue,
    is_output: bool,
    has_ended: bool,
}

impl Client {
    /// The number of queued messages above which a client is not read from.
    const MOST: usize = 64;

    fn lists(&self, exceptional: Interest) -> Interest {
        let mut lists = exceptional;
        lists.set(Interest::READABLE, !self.has_ended && self.messages.len() < Self::MOST);
        lists.set(Interest::WRITABLE, self.is_output);
        lists
    }
}

fn receive(sel: &mut Sel, s: Key) -> io::Result<()> {
    let Some(this) = sel.get_mut(s) else { return Ok(()) };
    let (mut sock, client) = (this.source, this.data);
    let mut data = [0; 1024];
    let n = sock.read(&mut data)?;
    if n > 0 {
        log::info!("收到来自[{}]的数据: b\"{}\"", common::peer(sock), data[..n].escape_ascii());
        client.messages.push_back(data[..n].to_vec());
    } else {
        log::info!("客户端断开了 {}", common::peer(sock));
        client.has_ended = true;
    }
    client.is_output = true;
    Ok(())
}

fn send(sel: &mut Sel, s: Key) -> io::Result<()> {
    let Some(this) = sel.get_mut(s) else { return Ok(()) };
    let (sock, client) = (this.source, this.data);
    if !client.sending.flush(sock)? {
        return Ok(());
    }
    if let Some(next_msg) = client.messages.pop_front() {
        let peer = common::peer(sock);
        log::info!("sending msg to [{peer}] b\"{}\"", next_msg.escape_ascii());
        client.sending.send(sock, &next_msg.to_ascii_uppercase())?;
    } else if client.has_ended {
        drop(sel.unregister(s)?);
    } else {
        log::info!("client [{}] queue is empty..", common::peer(sock));
        client.is_output = false;
    }
    Ok(())
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut sel = Sel::with_backend(args.backend)?;
    let mut exceptional = Interest::PRIORITY;
    exceptional.set(Interest::PRIORITY, sel.backend().capabilities().priority); // kqueue has none
    let ctrl_c = sel.register(common::ctrl_c()?, Interest::READABLE, Client::default())?;
    let server = common::listen(&args.addr)?;
    log::info!("starting up on {}", common::show(&server.local_addr()?));
    let inputs = exceptional | Interest::READABLE;
    let server = sel.register(server, inputs, Client::default())?;

    let mut acceptor = Acceptor::new();
    let mut events = Events::with_capacity(1024);
    loop {
        log::info!("waiting for next event...");
        acceptor.select(&mut sel, &mut events, None)?;
        let list = |is: fn(&Event) -> bool| events.iter().filter(is).map(|event| event.key);
        for s in list(Event::is_readable) {
            if s == ctrl_c {
                return Ok(());
            }
            if s == server {
                while let Some((conn, addr)) = acceptor.next(&mut sel, s, common::accept)? {
                    log::info!("new connection from {}", common::show(&addr));
                    common::register(&mut sel, conn, inputs, Client::default());
                }
                continue;
            }
            settle(&mut sel, s, exceptional, receive)?;
        }
        for s in list(Event::is_writable) {
            settle(&mut sel, s, exceptional, send)?;
        }
        for s in list(Event::is_priority) {
            let Some(registration) = sel.get(s) else { continue };
            log::info!("handling exception for {}", common::peer(registration.source()));
            drop(sel.unregister(s)?);
        }
    }
}

type Step = fn(&mut Sel, Key) -> io::Result<()>;

/// Runs a step of a client; closes it on failure, else puts it into its lists.
fn settle(sel: &mut Sel, s: Key, exceptional: Interest, step: Step) -> io::Result<()> {
    let result = step(sel, s);
    let Some(registration) = sel.get(s) else { return Ok(()) };
    match result {
        Err(error) if !common::is_not_now(&error) => {
            log::info!("客户端断开了 {} ({error})", common::peer(registration.source()));
            sel.unregister(s).map(drop)
        }
        _ => sel.modify(s, registration.data().lists(exceptional)),
    }
}
