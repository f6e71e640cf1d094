//! The welcome client (document 001, TCP): blocking; prints the server's message, and ends with it.
//!
//! The original takes the result of one `recv` for the whole message.
//!
//! ```text
//! cargo run --example welcome_server
//! cargo run --example welcome_client -- localhost:8089
//! ```

mod common;

use std::io::Read;

use clap::Parser;

#[derive(Parser)]
struct Args {
    /// Where the server listens.
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:8089")]
    addr: String,
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let mut client_socket = common::connect(&args.addr)?;
    let mut message = Vec::new();
    client_socket.read_to_end(&mut message).map_err(common::about(&args.addr))?;
    common::say!("{}", String::from_utf8_lossy(&message));
    Ok(())
}
