//! The welcome server (document 001, TCP, port 8089): serial; each client is welcomed and closed
//! before the next is accepted.
//!
//! In the original a client that resets its connection ends the server, and without `SO_REUSEADDR` the
//! server cannot be started again for a minute.
//!
//! ```text
//! cargo run --example welcome_server
//! cargo run --example welcome_client -- localhost:8089
//! ```

mod common;

use clap::Parser;
use common::blocking::{CtrlC, accepted};
use socket2::{Socket, Type};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8089")]
    addr: String,
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
    while ctrl_c.wait_for_client(&server_socket)? {
        let Some((client_socket, addr)) = accepted(server_socket.accept())? else { continue };
        let addr = common::show(&addr);
        log::info!("连接地址: {addr}");
        let message = "欢迎访问服务器!";
        if let Err(error) = client_socket.send(message.as_bytes()) {
            log::warn!("{addr}: {error}");
        }
        drop(client_socket);
    }
    Ok(())
}
