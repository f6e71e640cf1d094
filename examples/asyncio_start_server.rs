//! The `asyncio` server of document 001 (port 8089) on this crate's `asyncio` module (feature
//! `async`): `start_server` starts a task for each client, which reads, writes and waits with
//! `await`. All tasks run on one thread, beside the callbacks of the same event loop.
//! `asyncio_echo` shows how such a module works inside.
//!
//! The original reads one message of each connection, writes once more after it has closed one, and cuts
//! its clients off at Ctrl-C. Here a client is answered until its stream ends and receives every
//! answer; at Ctrl-C the server accepts no more clients, and gives the connected ones a moment to
//! finish.
//!
//! ```text
//! cargo run --features async --example asyncio_start_server
//! cargo run --features async --example asyncio_start_server -- --addr 127.0.0.1:0 --backend poll
//! nc localhost 8089
//! ```

#[path = "common/mod.rs"]
mod common;

use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use common::text::Decoder;
use polyselect::asyncio::{self, Async};
use polyselect::{Backend, EventLoop, signal};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8089")]
    addr: String,
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
}

/// How long clients may go on after Ctrl-C.
const GRACE: Duration = Duration::from_millis(300);

async fn handle_client(stream: Async<TcpStream>) -> io::Result<()> {
    let addr = stream.get_ref().peer_addr()?;
    let (mut reader, mut writer) = stream.split();
    let (mut data, mut decoder) = ([0; 100], Decoder::default());
    loop {
        let n = reader.read(&mut data).await?;
        if let Some(message) = decoder.decode(&data[..n]) {
            log::info!("Received {message} from {addr}");
            log::info!("Send: {message:?}");
        }
        if n == 0 {
            log::info!("Closing the connection");
            return writer.close().await;
        }
        writer.write(&data[..n])?;
        writer.drain().await?;
    }
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut event_loop = match args.backend {
        Some(backend) => EventLoop::with_backend(backend, ())?,
        None => EventLoop::new(())?,
    };
    let (host, port) = common::host_and_port(&args.addr)?;
    let start = asyncio::start_server_host(host, port, handle_client);
    let server = event_loop.block_on(start)?.map_err(common::cannot_listen(&args.addr))?;
    let server = Rc::new(server);
    for signal in [signal::SIGINT, signal::SIGTERM] {
        let server = Rc::clone(&server);
        event_loop.on_signal(signal, move |event_loop| {
            let server = Rc::clone(&server);
            event_loop
                .spawn(async move {
                    server.stop(GRACE).await;
                })
                .detach();
        })?;
    }
    for &addr in server.local_addrs() {
        common::announce_at(addr);
        log::info!("Serving on {addr}");
    }
    Ok(event_loop.block_on(server.serve_forever())??)
}
