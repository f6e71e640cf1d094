//! `selectors` and a pool of 5 threads, from document 001 (port 8089): one selector with callbacks
//! reports the readable clients, and a thread of the pool reads and answers `Server received your
//! message.`
//!
//! In the original a socket stays ready while a thread has it, so it is submitted again and again,
//! and threads unregister sockets while the loop uses them. Here clients are one-shot: disarmed
//! after one event. The thread shares the socket (`Arc`) and sends the key back through a channel
//! when it is done, a waker ends the wait, and the loop re-arms the registration with `modify`.
//!
//! ```text
//! cargo run --example selectors_thread_pool
//! cargo run --example selectors_thread_pool -- --addr 127.0.0.1:0 --backend poll
//! nc localhost 8089
//! ```

mod common;

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use clap::Parser;
use common::text::Decoder;
use common::thread_pool::ThreadPool;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Event, Events, Interest, Key, Selector, Waker, WriteQueue};
use socket2::{Socket, Type};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8089")]
    addr: String,
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
}

struct Server {
    selector: Selector<Arc<Socket>, Data>,
    acceptor: Acceptor,
    executor: ThreadPool,
    done: Sender<Done>,
    waker: Waker,
}

struct Data {
    callback: fn(&mut Server, Event) -> io::Result<()>,
    /// A thread has it while the registration is disarmed.
    client: Client,
}

impl Data {
    fn new(callback: fn(&mut Server, Event) -> io::Result<()>) -> Self {
        Self { callback, client: Client::default() }
    }
}

/// A thread's result: the interest to wait for, or `None` at the end.
struct Done {
    key: Key,
    client: Client,
    next: Option<Interest>,
}

fn accept(server: &mut Server, event: Event) -> io::Result<()> {
    let Server { selector, acceptor, .. } = server;
    while let Some((conn, addr)) = acceptor.next(selector, event.key, |sock| sock.accept())? {
        log::info!("Accepted connection from {}", common::show(&addr));
        conn.set_nonblocking(true)?;
        let conn = Arc::new(conn);
        common::register(selector, conn, Interest::READABLE.oneshot(), Data::new(read));
    }
    Ok(())
}

/// The state of a client, which moves to a thread and back.
#[derive(Default)]
struct Client {
    decoder: Decoder,
    response: WriteQueue,
}

/// Reads a message and answers it, or sends the rest of an answer. Returns the interest to wait for, or `None`
/// at the end.
fn handle_client(mut sock: &Socket, client: &mut Client) -> io::Result<Option<Interest>> {
    if client.response.is_empty() {
        let mut buffer = [0; 1024];
        let length = match sock.read(&mut buffer) {
            Err(error) if common::is_not_now(&error) => return Ok(Some(Interest::READABLE)),
            result => result?,
        };
        let data = &buffer[..length];
        if let Some(message) = client.decoder.decode(data) {
            log::info!("Received data from {}: {message}", common::peer(sock));
        }
        if data.is_empty() {
            log::info!("Closing connection from {}", common::peer(sock));
            return Ok(None);
        }
        client.response.push(b"Server received your message.");
    }
    let all_sent = client.response.flush(sock)?;
    Ok(Some(if all_sent { Interest::READABLE } else { Interest::WRITABLE }))
}

fn read(server: &mut Server, event: Event) -> io::Result<()> {
    let key = event.key;
    let Some(this) = server.selector.get_mut(key) else { return Ok(()) };
    let sock = Arc::clone(this.source);
    let mut client = std::mem::take(&mut this.data.client);
    let (done, waker) = (server.done.clone(), server.waker.clone());
    server.executor.execute(move || {
        let next = handle_client(&sock, &mut client).unwrap_or_else(|error| {
            log::warn!("Error handling client {}: {error}", common::peer(&sock));
            None
        });
        // Dropped first, so that unregistering closes the socket.
        drop(sock);
        // The receiver is gone if the server is about to end.
        if done.send(Done { key, client, next }).is_ok()
            && let Err(error) = waker.wake()
        {
            log::error!("{key} is served again when something else happens: {error}");
        }
    });
    Ok(())
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut selector = args.backend.map_or_else(Selector::new, Selector::with_backend)?;
    let ctrl_c = Arc::new(common::ctrl_c()?);
    let ctrl_c = selector.register(ctrl_c, Interest::READABLE, Data::new(accept))?;
    let server_address = common::resolve(&args.addr)?;
    let server_socket = Socket::new(server_address.domain(), Type::STREAM, None)?;
    server_socket.set_reuse_address(cfg!(unix))?;
    server_socket.bind(&server_address).map_err(common::cannot_listen(&args.addr))?;
    server_socket.listen(common::BACKLOG)?;
    server_socket.set_nonblocking(true)?;
    common::announce(&server_socket)?;
    selector.register(Arc::new(server_socket), Interest::READABLE, Data::new(accept))?;
    let waker = selector.waker()?;
    let (done, all_done) = channel();
    let executor = ThreadPool::new(5)?;
    let mut server = Server { selector, acceptor: Acceptor::new(), executor, done, waker };

    let mut events = Events::with_capacity(1024);
    loop {
        server.acceptor.select(&mut server.selector, &mut events, None)?;
        for event in &events {
            if event.key == ctrl_c {
                return Ok(()); // Dropping the pool waits for the work in hand.
            }
            let callback = server.selector[event.key].data().callback;
            callback(&mut server, event)?;
        }
        for Done { key, client, next } in all_done.try_iter() {
            let Some(this) = server.selector.get_mut(key) else { continue };
            this.data.client = client;
            match next {
                Some(interest) => server.selector.modify(key, interest)?,
                None => drop(server.selector.unregister(key)?),
            }
        }
    }
}
