//! The welcome server (document 001, TCP, port 8089): serial; each client is welcomed and closed
//! before the next is accepted.
//!
//! The original's `send` may send only a part if a signal interrupts it.
//!
//! ```text
//! cargo run --example welcome_server
//! cargo run --example welcome_client -- localhost:8089
//! ```

mod common;

use std::io::Write;

use clap::Parser;
use common::blocking::{CtrlC, listen, next_client};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8089")]
    addr: String,
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let ctrl_c = CtrlC::new()?;
    let server_socket = listen(&args.addr)?;
    while let Some((mut client_socket, addr)) = next_client(&server_socket, &ctrl_c)? {
        log::info!("连接地址: {addr}");
        let message = "欢迎访问服务器!";
        if let Err(error) = client_socket.write_all(message.as_bytes()) {
            log::warn!("{addr}: {error}");
        }
    }
    Ok(())
}
