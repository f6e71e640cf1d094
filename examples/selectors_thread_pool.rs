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

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use clap::Parser;
use common::conversation::Conversation;
use common::thread_pool::ThreadPool;
use polyselect::accept::Acceptor;
use polyselect::{Backend, Event, Events, Interest, Key, Selector, Waker};
use socket2::Socket;

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
    /// A thread uses it while the registration is disarmed.
    conversation: Conversation,
}

impl Data {
    fn new(callback: fn(&mut Server, Event) -> io::Result<()>) -> Self {
        Self { callback, conversation: Conversation::default() }
    }
}

/// A thread's result: the interest to wait for, or `None` at the end of the conversation.
struct Done {
    key: Key,
    conversation: Conversation,
    next: Option<Interest>,
}

fn accept(server: &mut Server, event: Event) -> io::Result<()> {
    let Server { selector, acceptor, .. } = server;
    let accept = |sock: &Arc<Socket>| common::accept(sock);
    while let Some((conn, addr)) = acceptor.next(selector, event.key, accept)? {
        log::info!("Accepted connection from {}", common::show(&addr));
        let conn = Arc::new(conn);
        common::register(selector, conn, Interest::READABLE.oneshot(), Data::new(read));
    }
    Ok(())
}

fn read(server: &mut Server, event: Event) -> io::Result<()> {
    let key = event.key;
    let Some(this) = server.selector.get_mut(key) else { return Ok(()) };
    let sock = Arc::clone(this.source);
    let mut conversation = std::mem::take(&mut this.data.conversation);
    let (done, waker) = (server.done.clone(), server.waker.clone());
    server.executor.execute(move || {
        let next = conversation.go_on(&sock);
        // Dropped first, so that unregistering closes the socket.
        drop(sock);
        // The receiver is gone if the server is about to end.
        if done.send(Done { key, conversation, next }).is_ok()
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
    let server_socket = Arc::new(common::listen(&args.addr)?);
    selector.register(server_socket, Interest::READABLE, Data::new(accept))?;
    let ctrl_c = Arc::new(common::ctrl_c()?);
    let ctrl_c = selector.register(ctrl_c, Interest::READABLE, Data::new(accept))?;
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
        for Done { key, conversation, next } in all_done.try_iter() {
            let Some(this) = server.selector.get_mut(key) else { continue };
            this.data.conversation = conversation;
            match next {
                Some(interest) => server.selector.modify(key, interest)?,
                None => drop(server.selector.unregister(key)?),
            }
        }
    }
}
