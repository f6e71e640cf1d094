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

use std::io::{self, Read};

use clap::Parser;
use common::blocking::{CtrlC, accepted};
use common::text::Decoder;
use common::thread_pool::ThreadPool;
use socket2::{Socket, Type};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8089")]
    addr: String,
}

const MAX_WORKERS: usize = 5;

fn handle_client(mut client_socket: &Socket, addr: &str, ctrl_c: &CtrlC) -> io::Result<()> {
    let (mut buffer, mut decoder) = ([0; 1024], Decoder::default());
    while ctrl_c.wait_for_data(client_socket)? {
        let length = client_socket.read(&mut buffer)?;
        let data = &buffer[..length];
        if let Some(message) = decoder.decode(data) {
            log::info!("Received data from {addr}: {message}");
        }
        if data.is_empty() || !ctrl_c.wait_for_room(client_socket)? {
            break;
        }
        let response = "Server received your message.";
        client_socket.send(response.as_bytes())?;
    }
    Ok(())
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let ctrl_c = CtrlC::new()?;
    let server_address = common::resolve(&args.addr)?;
    let server_socket = Socket::new(server_address.domain(), Type::STREAM, None)?;
    server_socket.set_reuse_address(cfg!(unix))?;
    server_socket.bind(&server_address).map_err(common::cannot_listen(&args.addr))?;
    server_socket.listen(common::BACKLOG)?;
    server_socket.set_nonblocking(true)?; // A client may have gone before `accept`.
    common::announce(&server_socket)?;
    let executor = ThreadPool::new(MAX_WORKERS)?;
    while ctrl_c.wait_for_client(&server_socket)? {
        let Some((client_socket, addr)) = accepted(server_socket.accept())? else { continue };
        let addr = common::show(&addr);
        log::info!("Accepted connection from {addr}");
        let ctrl_c = ctrl_c.clone();
        executor.execute(move || {
            if let Err(error) = handle_client(&client_socket, &addr, &ctrl_c) {
                log::warn!("Error handling client {addr}: {error}");
            }
            log::info!("Closing connection from {addr}");
        });
    }
    log::info!("Server shutting down.");
    drop(executor); // Waits for running work; a silent client is not waited for.
    Ok(())
}
