//! The welcome server on a pool of five threads (document 001, port 8089): five clients are served
//! at once, the others wait for a free thread.
//!
//! The original does not set `SO_REUSEADDR`, so it cannot be started again for a minute after it has
//! closed a connection.
//!
//! ```text
//! cargo run --example welcome_thread_pool
//! cargo run --example welcome_client -- localhost:8089
//! ```

mod common;

use clap::Parser;
use common::blocking::{CtrlC, accepted};
use common::thread_pool::ThreadPool;
use socket2::{Socket, Type};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8089")]
    addr: String,
}

const MAX_WORKERS: usize = 5;

fn handle_client(client_socket: Socket, addr: &str) {
    let message = "欢迎访问服务器!";
    if let Err(error) = client_socket.send(message.as_bytes()) {
        log::warn!("Error handling client {addr}: {error}");
    }
    log::info!("Closing connection from {addr}");
    drop(client_socket);
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let ctrl_c = CtrlC::new()?;
    let local_addr = common::resolve(&args.addr)?;
    let server_socket = Socket::new(local_addr.domain(), Type::STREAM, None)?;
    server_socket.set_reuse_address(cfg!(unix))?;
    server_socket.bind(&local_addr).map_err(common::cannot_listen(&args.addr))?;
    server_socket.listen(common::BACKLOG)?;
    server_socket.set_nonblocking(true)?; // A client may have gone before `accept`.
    common::announce(&server_socket)?;
    let executor = ThreadPool::new(MAX_WORKERS)?;
    while ctrl_c.wait_for_client(&server_socket)? {
        let Some((client_socket, addr)) = accepted(server_socket.accept())? else { continue };
        let addr = common::show(&addr);
        log::info!("Accepted connection from {addr}");
        executor.execute(move || handle_client(client_socket, &addr));
    }
    log::info!("Server shutting down.");
    drop(executor); // Waits for running work.
    Ok(())
}
