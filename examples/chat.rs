//! A line chat on the event loop: each line of a client is sent to all other clients. Not in the
//! documents, whose servers answer only the sender.
//!
//! The clients are the loop's state, so a broadcast iterates over that. The server does not wait
//! for a client that does not read: its output is queued up to the high-water mark, and above it
//! the client is dropped, with a notice to the others.
//!
//! ```text
//! cargo run --example chat
//! nc localhost 10001
//! ```

mod common;

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};

use clap::Parser;
use polyselect::{Backend, Event, EventLoop, Interest, Key, Next, WriteQueue, signal};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:10001")]
    addr: String,
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
}

/// The longest line that is accepted, in bytes.
const LONGEST_LINE: usize = 4096;

type Chat = EventLoop<HashMap<Key, Client>>;

struct Client {
    name: String,
    /// The beginning of a line that is not complete.
    line: Vec<u8>,
    outgoing: WriteQueue,
}

/// Sends a line to all clients but one, and drops those whose queue is above the high-water mark.
fn tell_others(chat: &mut Chat, except: Key, line: &str) {
    let mut slow = Vec::new();
    let (clients, mut sources) = chat.parts();
    for (&key, client) in clients.iter_mut().filter(|&(&key, _)| key != except) {
        client.outgoing.push(line.as_bytes());
        if client.outgoing.is_high() {
            slow.push(key);
        } else {
            let both = Interest::READABLE | Interest::WRITABLE;
            sources.modify(key, both).expect("has a client, and so a registration");
        }
    }
    for key in slow {
        leave(chat, key, "does not read, and was dropped");
    }
}

fn leave(chat: &mut Chat, key: Key, how: &str) {
    // The broadcast may have dropped this client too.
    if let Some(client) = chat.state.remove(&key) {
        let _ = chat.unregister(key);
        log::info!("{} {how}", client.name);
        tell_others(chat, key, &format!("* {} {how}\n", client.name));
    }
}

fn welcome(chat: &mut Chat, conn: TcpStream, name: String) -> io::Result<()> {
    let key = chat.register(conn, Interest::READABLE, serve)?;
    log::info!("{name} came");
    tell_others(chat, key, &format!("* {name} came\n"));
    chat.state.insert(key, Client { name, line: Vec::new(), outgoing: WriteQueue::new() });
    Ok(())
}

fn serve(chat: &mut Chat, mut conn: &TcpStream, event: Event) -> io::Result<Next> {
    if event.is_readable() {
        let mut bytes = [0; 1024];
        match conn.read(&mut bytes)? {
            0 => leave(chat, event.key, "left"),
            n => hear(chat, event.key, &bytes[..n])?,
        }
    }
    let Some(client) = chat.state.get_mut(&event.key) else { return Ok(Next::Remove) };
    let all_sent = client.outgoing.flush(conn)?;
    let both = Interest::READABLE | Interest::WRITABLE;
    Ok(Next::Modify(if all_sent { Interest::READABLE } else { both }))
}

/// Broadcasts the lines that are complete.
fn hear(chat: &mut Chat, key: Key, bytes: &[u8]) -> io::Result<()> {
    for &byte in bytes {
        let Some(client) = chat.state.get_mut(&key) else { return Ok(()) };
        client.line.push(byte);
        if byte == b'\n' {
            let line = String::from_utf8_lossy(&client.line);
            let line = format!("{}: {}\n", client.name, line.trim_end());
            client.line.clear();
            tell_others(chat, key, &line);
        } else if client.line.len() > LONGEST_LINE {
            let message = format!("a line is longer than {LONGEST_LINE} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
    Ok(())
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut chat = match args.backend {
        Some(backend) => Chat::with_backend(backend, HashMap::new())?,
        None => Chat::new(HashMap::new())?,
    };
    // The loop has removed a client whose callback failed, but the state has not.
    chat.on_error(|chat, key, error| leave(chat, key, &format!("left: {error}")));

    let listener = TcpListener::from(common::bind(&args.addr)?);
    let address = listener.local_addr()?;
    chat.accept(listener, |chat, conn, address| welcome(chat, conn, address.to_string()))?;
    for signal in [signal::SIGINT, signal::SIGTERM] {
        chat.on_signal(signal, EventLoop::stop)?;
    }
    common::announce_at(address);
    Ok(chat.run()?)
}
