//! The keep-alive server (document 001, long connection, port 8089): a connection carries many
//! messages, and occupies a thread of the pool of five for all its time.
//!
//! In the original a multi-byte character that `recv(1024)` splits ends the connection.
//!
//! ```text
//! cargo run --example keepalive_server
//! cargo run --example keepalive_client -- localhost:8089
//! ```

mod common;

use std::io;
use std::net::{SocketAddr, TcpStream};

use clap::Parser;
use common::blocking::{CtrlC, listen, next_client};
use common::conversation::Text;
use common::thread_pool::ThreadPool;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8089")]
    addr: String,
}

const MAX_WORKERS: usize = 5;

fn handle_client(conn: &TcpStream, addr: SocketAddr, ctrl_c: &CtrlC) -> io::Result<()> {
    let (mut data, mut text) = ([0; 1024], Text::default());
    loop {
        match ctrl_c.recv(conn, &mut data) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                log::info!("Received data from {addr}: {}", text.decode(&data[..n]));
                ctrl_c.send_all(conn, b"Server received your message.")?;
            }
            Err(error) if common::is_not_now(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let ctrl_c = CtrlC::new()?;
    let server_socket = listen(&args.addr)?;
    let executor = ThreadPool::new(MAX_WORKERS)?;
    while let Some((client_socket, addr)) = next_client(&server_socket, &ctrl_c)? {
        log::info!("Accepted connection from {addr}");
        let stop = ctrl_c.clone();
        executor.execute(move || {
            if let Err(error) = handle_client(&client_socket, addr, &stop) {
                log::warn!("Error handling client {addr}: {error}");
            }
            log::info!("Closing connection from {addr}");
        });
    }
    log::info!("Server shutting down.");
    drop(executor); // Waits for running work; a silent client is not waited for.
    Ok(())
}
