//! `select` and a pool of 5 threads, from document 001 (non-blocking I/O, port 8088): `select`
//! reports the readable clients, a thread of the pool reads and answers `Server received your
//! message.`, and between two iterations, at least every second, the loop does other work.
//!
//! In the original a socket stays ready while a thread has it, so it is submitted again and again,
//! and threads remove sockets from the list that the loop iterates over. Here the socket moves to
//! the thread, so the selector cannot report it. It comes back through a channel, and a waker ends
//! the wait at once instead of after the rest of the second.
//!
//! ```text
//! cargo run --example select_thread_pool
//! cargo run --example select_thread_pool -- --addr 127.0.0.1:0 --backend poll
//! nc localhost 8088
//! ```

mod common;

use std::io::{self, Read};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use clap::Parser;
use common::text::Decoder;
use common::thread_pool::ThreadPool;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Events, Interest, Selector, WriteQueue};
use socket2::{Socket, Type};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8088")]
    addr: String,
    /// The backend to wait with.
    #[arg(long, default_value_t = Backend::Select)]
    backend: Backend,
}

const ROUND: Duration = Duration::from_secs(1);

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

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut clients = Selector::<Socket, Client>::with_backend(args.backend)?;
    let ctrl_c = clients.register(common::ctrl_c()?, Interest::READABLE, Client::default())?;
    let server_address = common::resolve(&args.addr)?;
    let server_socket = Socket::new(server_address.domain(), Type::STREAM, None)?;
    server_socket.set_reuse_address(cfg!(unix))?;
    server_socket.bind(&server_address).map_err(common::cannot_listen(&args.addr))?;
    server_socket.listen(common::BACKLOG)?;
    server_socket.set_nonblocking(true)?;
    common::announce(&server_socket)?;
    let server = clients.register(server_socket, Interest::READABLE, Client::default())?;
    let waker = clients.waker()?;
    let (give_back, given_back) = channel::<(Socket, Interest, Client)>();
    let executor = ThreadPool::new(5)?;

    let mut acceptor = Acceptor::new();
    let mut readable = Events::with_capacity(1024);
    let (mut handled, mut last) = (0_u64, Instant::now());
    loop {
        acceptor.select(&mut clients, &mut readable, Some(ROUND))?;
        for sock in &readable {
            if sock.key == ctrl_c {
                return Ok(()); // Dropping the pool waits for the work in hand.
            }
            if sock.key == server {
                while let Some((client_socket, client_address)) =
                    acceptor.next(&mut clients, server, Socket::accept)?
                {
                    log::info!("Accepted connection from {}", common::show(&client_address));
                    client_socket.set_nonblocking(true)?;
                    let client = Client::default();
                    common::register(&mut clients, client_socket, Interest::READABLE, client);
                }
                continue;
            }
            handled += 1;
            let (sock, mut client) = clients.unregister(sock.key)?.into_parts();
            let (give_back, waker) = (give_back.clone(), waker.clone());
            executor.execute(move || {
                let next = handle_client(&sock, &mut client).unwrap_or_else(|error| {
                    log::warn!("Error handling client {}: {error}", common::peer(&sock));
                    None
                });
                let Some(interest) = next else { return };
                // The receiver is gone if the server is about to end.
                if give_back.send((sock, interest, client)).is_ok()
                    && let Err(error) = waker.wake()
                {
                    log::warn!("the loop will notice in its next iteration: {error}");
                }
            });
        }
        for (sock, interest, client) in given_back.try_iter() {
            common::register(&mut clients, sock, interest, client);
        }
        // The place for other work; keep it short, because the clients wait meanwhile.
        if last.elapsed() >= ROUND {
            let waiting = clients.len() - 2;
            log::info!("other work: {waiting} clients wait, {handled} tasks so far");
            last = Instant::now();
        }
    }
}
