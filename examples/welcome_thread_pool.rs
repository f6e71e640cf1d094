//! The welcome server on a pool of five threads (document 001, port 8089): five clients are served
//! at once, the others wait for a free thread.
//!
//! The original's `send` may send only a part if a signal interrupts it.
//!
//! ```text
//! cargo run --example welcome_thread_pool
//! cargo run --example welcome_client -- localhost:8089
//! ```

mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use clap::Parser;
use common::blocking::{CtrlC, listen, next_client};
use common::thread_pool::ThreadPool;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8089")]
    addr: String,
}

const MAX_WORKERS: usize = 5;

fn handle_client(mut client_socket: &TcpStream, addr: SocketAddr) {
    let message = "欢迎访问服务器!";
    if let Err(error) = client_socket.write_all(message.as_bytes()) {
        log::warn!("Error handling client {addr}: {error}");
    }
    log::info!("Closing connection from {addr}");
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let ctrl_c = CtrlC::new()?;
    let server_socket = listen(&args.addr)?;
    let executor = ThreadPool::new(MAX_WORKERS)?;
    while let Some((client_socket, addr)) = next_client(&server_socket, &ctrl_c)? {
        log::info!("Accepted connection from {addr}");
        executor.execute(move || handle_client(&client_socket, addr));
    }
    log::info!("Server shutting down.");
    drop(executor); // Waits for running work.
    Ok(())
}
