//! Prints what each task of a running program waits for when the program gets SIGUSR1 (on Windows Ctrl-Break), as
//! `python -m asyncio ps` does. Not in the documents.
//!
//! ```text
//! cargo run --features async --example asyncio_ps
//! kill -USR1 PID
//! ```

#[path = "common/mod.rs"]
mod common;

use std::ffi::c_int;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use clap::Parser;
use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop, signal};

#[cfg(unix)]
const LIST: c_int = signal::SIGUSR1;
#[cfg(windows)]
const LIST: c_int = signal::SIGBREAK;

#[derive(Parser)]
struct Args {
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
}

async fn accept(listener: Async<TcpListener>) -> io::Result<()> {
    loop {
        let (conn, addr) = listener.accept().await?;
        asyncio::spawn_named(format!("client {addr}"), async move {
            let mut buffer = [0; 1024];
            while conn.read(&mut buffer).await? > 0 {}
            io::Result::Ok(())
        })
        .detach();
    }
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let mut event_loop = match args.backend {
        Some(backend) => EventLoop::with_backend(backend, ())?,
        None => EventLoop::new(())?,
    };
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let addr = listener.local_addr()?;
    event_loop.spawn_named("acceptor", accept(Async::new(listener)?)).detach();
    let heartbeat = async {
        let mut interval = asyncio::interval(Duration::from_secs(60));
        loop {
            interval.tick().await;
        }
    };
    event_loop.spawn_named("heartbeat", heartbeat).detach();

    event_loop.on_signal(LIST, |event_loop| common::say!("{}\n", event_loop.dump()))?;
    for signal in [signal::SIGINT, signal::SIGTERM] {
        event_loop.on_signal(signal, EventLoop::stop)?;
    }
    common::announce_at(addr);
    Ok(event_loop.run()?)
}
