//! A file server over HTTP/1.1, as Python's `http.server`, which document 001 names as the built-in
//! HTTP server (port 8000). One thread with one event loop serves all clients: keep-alive,
//! pipelining, HEAD, ranges, folder listings.
//!
//! The document only names it. Python's serves one client at a time, or one per thread, waits for
//! slow clients for ever, and follows symbolic links out of the folder. Here a slow client costs a
//! timer, a file is sent in chunks as the client reads them, and files outside the folder are not
//! served.
//!
//! ```text
//! cargo run --example http_server -- .
//! cargo run --example http_server -- --addr 127.0.0.1:0 --backend poll target/doc
//! curl -i http://localhost:8000/README.md
//! wrk -t 2 -c 100 -d 5 http://localhost:8000/README.md
//! ```
//!
//! A file is always "ready": reading it blocks the loop.

#[path = "../common/mod.rs"]
mod common;
mod connection;
mod listing;
mod path;
mod range;
mod request;
mod response;
mod site;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use connection::{Connection, Patience};
use polyselect::{Backend, Event, EventLoop, Interest, Key, Next, TimerKey, signal};
use site::Site;
use socket2::SockRef;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8000")]
    addr: String,
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
    /// How long a client may take for the head of a request.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    head_timeout: Duration,
    /// How long a client may send no request, or read nothing of the response.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    idle_timeout: Duration,
    /// The folder to serve.
    #[arg(default_value = ".")]
    folder: PathBuf,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

struct State {
    site: Site,
    patience: Patience,
    clients: HashMap<Key, Client>,
    /// Above this number, clients wait in the listener's queue, so that each accepted one can open
    /// a file.
    most_clients: usize,
    listener: Option<Key>,
}

struct Client {
    connection: Connection,
    /// Runs at the deadline or before it.
    timer: Option<(Instant, TimerKey)>,
}

type Server = EventLoop<State>;

fn welcome(server: &mut Server, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
    // A response is queued when it is complete; waiting for more gains nothing.
    stream.set_nodelay(true)?;
    let key = server.register(stream, Interest::READABLE, serve)?;
    let connection = Connection::new(peer, server.state.patience);
    server.state.clients.insert(key, Client { connection, timer: None });
    set_timer(server, key);
    if server.state.clients.len() >= server.state.most_clients {
        listen(server, Interest::empty())?;
    }
    Ok(())
}

fn serve(server: &mut Server, stream: &TcpStream, event: Event) -> io::Result<Next> {
    let State { site, clients, .. } = &mut server.state;
    let Some(client) = clients.get_mut(&event.key) else { return Ok(Next::Remove) };
    let Some(interest) = client.connection.go_on(site, stream, event)? else {
        forget(server, event.key);
        return Ok(Next::Remove);
    };
    set_timer(server, event.key);
    Ok(Next::Modify(interest))
}

/// A later deadline does not move its timer, which checks the deadline when it runs: most deadlines
/// move with every request, and few elapse.
fn set_timer(server: &mut Server, key: Key) {
    let Some(client) = server.state.clients.get_mut(&key) else { return };
    let deadline = client.connection.deadline();
    let too_late = client.timer.take_if(|(at, _)| *at > deadline);
    if client.timer.is_none() {
        if let Some((_, timer)) = too_late {
            server.cancel(timer).expect("is kept until it runs");
        }
        let timer = server.call_at(deadline, move |server| time_is_up(server, key));
        if let Some(client) = server.state.clients.get_mut(&key) {
            client.timer = Some((deadline, timer));
        }
    }
}

fn time_is_up(server: &mut Server, key: Key) {
    let Some(client) = server.state.clients.get_mut(&key) else { return };
    client.timer = None;
    if client.connection.deadline() > Instant::now() {
        return set_timer(server, key);
    }
    match client.connection.give_up() {
        Some(interest) if server.modify(key, interest).is_ok() => set_timer(server, key),
        _ => {
            forget(server, key);
            let _ = server.unregister(key);
        }
    }
}

fn forget(server: &mut Server, key: Key) {
    if let Some(client) = server.state.clients.remove(&key)
        && let Some((_, timer)) = client.timer
    {
        server.cancel(timer).expect("is kept until it runs");
    }
    if server.state.clients.len() < server.state.most_clients
        && let Err(error) = listen(server, Interest::READABLE)
    {
        log::warn!("no more clients can come: {error}");
    }
}

fn listen(server: &mut Server, interest: Interest) -> io::Result<()> {
    server.state.listener.map_or(Ok(()), |listener| server.modify(listener, interest))
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let patience = Patience { head: args.head_timeout, idle: args.idle_timeout };
    let state = State {
        site: Site::open(&args.folder)?,
        patience,
        clients: HashMap::new(),
        // A socket and a file.
        most_clients: common::affordable_clients(2),
        listener: None,
    };
    let mut server = match args.backend {
        Some(backend) => Server::with_backend(backend, state)?,
        None => Server::new(state)?,
    };
    server.on_error(|server, key, error| {
        if let Some(client) = server.state.clients.get(&key) {
            log::info!("{} is gone: {error}", client.connection.peer());
        } else {
            log::warn!("a connection is refused: {error}");
        }
        forget(server, key);
    });

    let listener = TcpListener::from(common::bind(&args.addr)?);
    let key = server.accept(listener, welcome)?;
    server.state.listener = Some(key);
    for signal in [signal::SIGINT, signal::SIGTERM] {
        server.on_signal(signal, EventLoop::stop)?;
    }
    if let Some(listener) = server.get::<TcpListener>(key) {
        common::announce(&SockRef::from(listener))?;
    }
    Ok(server.run()?)
}
