//! An echo server with an event loop per processor: a connection stays on one loop, so none of its
//! state needs a lock. Not in the documents.
//!
//! Each loop has its own listener, and Linux distributes the connections among them
//! (`SO_REUSEPORT`). With `--hand-over`, and on other systems, the first loop accepts for all and
//! hands connections over through `Remote`. On Ctrl-C the loops stop accepting, answer everything
//! that has arrived, and close. `server.rs` is the server of one loop.
//!
//! ```text
//! cargo run --release --example per_core_echo -- --cores 4
//! cargo run --release --example per_core_echo -- --hand-over
//! nc localhost 10005
//! ```

#[path = "../common/mod.rs"]
mod common;
mod server;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use clap::Parser;
use polyselect::{Backend, Remote, signal};

use server::{Core, State, open, stop, welcome};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:10005")]
    addr: String,
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
    /// The number of loops; without it, that of the processors.
    #[arg(long)]
    cores: Option<NonZero<usize>>,
    /// One loop accepts for all.
    #[arg(long)]
    hand_over: bool,
}

/// Opens a listener; one of several at the same address if `is_one_of_several`.
fn listen(addr: &str, is_one_of_several: bool) -> io::Result<TcpListener> {
    let address = common::resolve(addr)?;
    let socket = common::tcp_socket(&address)?;
    if is_one_of_several {
        #[cfg(target_os = "linux")]
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address).map_err(common::cannot_listen(addr))?;
    socket.listen(common::BACKLOG)?;
    Ok(socket.into())
}

/// Returns the thread name of a loop.
fn name(number: usize) -> String {
    format!("core {number}")
}

type Thread = (Remote<State>, JoinHandle<io::Result<()>>);

/// Starts a loop on a thread of its own.
fn start(
    number: usize,
    backend: Option<Backend>,
    listener: Option<TcpListener>,
) -> io::Result<Thread> {
    let (sender, receiver) = channel();
    let thread = thread::Builder::new().name(name(number)).spawn(move || {
        let mut core = open(&name(number), backend)?;
        if let Some(listener) = listener {
            accept(&mut core, listener, Vec::new())?;
        }
        let remote = core.remote()?;
        sender.send(remote).expect("the other thread waits for it");
        core.run()
    })?;
    match receiver.recv() {
        Ok(remote) => Ok((remote, thread)),
        // The thread has failed.
        Err(_) => Err(thread.join().expect("does not panic").expect_err("sends otherwise")),
    }
}

/// Accepts for all loops, and hands connections out in turn.
fn accept(core: &mut Core, listener: TcpListener, others: Vec<Remote<State>>) -> io::Result<()> {
    let mut turn = 0;
    let key = core.accept(listener, move |core, conn, _address: SocketAddr| {
        let other = others.get(turn);
        turn = if other.is_some() { turn + 1 } else { 0 };
        match other {
            Some(other) => other.call(|core| {
                if let Err(error) = welcome(core, conn) {
                    log::warn!("a connection is lost: {error}");
                }
            }),
            None => welcome(core, conn),
        }
    })?;
    core.state.listener = Some(key);
    Ok(())
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let cores = args.cores.map_or_else(thread::available_parallelism, Ok)?.get();
    let divides = cfg!(target_os = "linux") && !args.hand_over;
    let listener = listen(&args.addr, divides)?;
    let address = listener.local_addr()?;

    let mut core = open(&name(0), args.backend)?;
    let (mut others, mut threads) = (Vec::new(), Vec::new());
    for number in 1..cores {
        let listener = divides.then(|| listen(&address.to_string(), true)).transpose()?;
        let (remote, thread) = start(number, args.backend, listener)?;
        others.push(remote);
        threads.push(thread);
    }
    accept(&mut core, listener, if divides { Vec::new() } else { others.clone() })?;
    for signal in [signal::SIGINT, signal::SIGTERM] {
        let others = others.clone();
        core.on_signal(signal, move |core| {
            for other in &others {
                if let Err(error) = other.call(stop) {
                    log::error!("a loop has ended: {error}");
                }
            }
            stop(core);
        })?;
    }
    common::announce_at(address);
    core.run()?;
    for thread in threads {
        thread.join().expect("no callback panics")?;
    }
    Ok(())
}
