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

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use clap::Parser;
use common::conversation::Conversation;
use common::thread_pool::ThreadPool;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Events, Interest, Selector};
use socket2::Socket;

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

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut clients = Selector::<Socket, Conversation>::with_backend(args.backend)?;
    let server_socket = common::listen(&args.addr)?;
    let server = clients.register(server_socket, Interest::READABLE, Conversation::default())?;
    let ctrl_c =
        clients.register(common::ctrl_c()?, Interest::READABLE, Conversation::default())?;
    let waker = clients.waker()?;
    let (give_back, given_back) = channel::<(Socket, Interest, Conversation)>();
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
                while let Some((client, address)) =
                    acceptor.next(&mut clients, server, common::accept)?
                {
                    log::info!("Accepted connection from {}", common::show(&address));
                    let conversation = Conversation::default();
                    common::register(&mut clients, client, Interest::READABLE, conversation);
                }
                continue;
            }
            handled += 1;
            let (sock, mut conversation) = clients.unregister(sock.key)?.into_parts();
            let (give_back, waker) = (give_back.clone(), waker.clone());
            executor.execute(move || {
                let Some(interest) = conversation.go_on(&sock) else { return };
                // The receiver is gone if the server is about to end.
                if give_back.send((sock, interest, conversation)).is_ok()
                    && let Err(error) = waker.wake()
                {
                    log::warn!("the loop will notice in its next iteration: {error}");
                }
            });
        }
        for (sock, interest, conversation) in given_back.try_iter() {
            common::register(&mut clients, sock, interest, conversation);
        }
        // The place for other work; keep it short, because the clients wait meanwhile.
        if last.elapsed() >= ROUND {
            let waiting = clients.len() - 2;
            log::info!("other work: {waiting} clients wait, {handled} tasks so far");
            last = Instant::now();
        }
    }
}
