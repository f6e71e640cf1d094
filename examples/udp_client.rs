//! The UDP client (document 001, UDP): sends one datagram.
//!
//! ```text
//! cargo run --example udp_client -- localhost:8080
//! cargo run --example udp_client -- localhost:8080 "another message"
//! ```

use std::io;
use std::net::{ToSocketAddrs, UdpSocket};

use clap::Parser;

#[derive(Parser)]
struct Args {
    /// Where the server listens.
    #[arg(value_name = "HOST:PORT", default_value = "localhost:8080")]
    addr: String,
    #[arg(default_value = "Hello, Server!")]
    message: String,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    for addr in args.addr.to_socket_addrs()? {
        // Of the family that the server's address is of.
        let own = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client_socket = UdpSocket::bind(own)?;
        if client_socket.send_to(args.message.as_bytes(), addr).is_ok() {
            return Ok(());
        }
    }
    let message = format!("{} cannot be reached", args.addr);
    Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message))
}
