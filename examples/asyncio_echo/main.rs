//! The `asyncio` server of document 001 (port 8089): a task for each client reads, writes and
//! waits with `await`; all of them run on one thread and one selector. Two files here do the work
//! of asyncio: `executor.rs` runs tasks, `streams.rs` lets them wait for sockets.
//!
//! The original reads one message of each connection, and writes once more after it has closed one. Here a
//! client is answered until its stream ends, and receives every answer before it is closed.
//!
//! ```text
//! cargo run --example asyncio_echo
//! cargo run --example asyncio_echo -- --addr 127.0.0.1:0 --backend poll
//! nc localhost 8089
//! ```

#[path = "../common/mod.rs"]
mod common;
mod executor;
mod streams;

use std::io;

use clap::Parser;
use common::text::Decoder;
use executor::Executor;
use polyselect::Backend;
use streams::{Reader, Server, Writer};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8089")]
    addr: String,
    /// The backend to wait with; without it, the best of this system.
    #[arg(long)]
    backend: Option<Backend>,
}

async fn handle_client(mut reader: Reader, mut writer: Writer) -> io::Result<()> {
    let (addr, mut decoder) = (writer.peer(), Decoder::default());
    loop {
        let data = reader.read(100).await?;
        if let Some(message) = decoder.decode(&data) {
            log::info!("Received {message} from {addr}");
            log::info!("Send: {message:?}");
        }
        if data.is_empty() {
            log::info!("Closing the connection");
            return Ok(());
        }
        writer.write(&data).await?;
        writer.drain().await?;
    }
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let _printing = common::start_server_log()?;
    let mut executor = Executor::new(args.backend)?;
    let server = Server::start(&executor, &args.addr, handle_client)?;
    log::info!("Serving on {}", server.addr());
    executor.handle().spawn(server.serve_forever());
    Ok(executor.run()?)
}
