//! The UDP client (document 001, UDP): blocking; sends one datagram, and expects no answer.
//!
//! The original sends one fixed message, never closes its socket, and does not notice that no server is
//! there. This one sends any message, and reports one that is longer than a datagram can be, and a port
//! of the same machine that is closed.
//!
//! ```text
//! cargo run --example udp_server
//! cargo run --example udp_client -- localhost:8080
//! cargo run --example udp_client -- localhost:8080 "another message"
//! ```

mod common;

use std::io;
use std::net::{SocketAddr, UdpSocket};

use clap::Parser;
use rustix::io::Errno;

#[derive(Parser)]
struct Args {
    /// Where the server listens.
    #[arg(value_name = "HOST:PORT", default_value = "localhost:8080")]
    addr: String,
    #[arg(default_value = "Hello, Server!")]
    message: String,
}

fn send(message: &[u8], addr: SocketAddr) -> io::Result<()> {
    // Of the same family as the server's address.
    let own = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let client_socket = UdpSocket::bind(own)?;
    client_socket.connect(addr)?;
    match client_socket.send(message) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => {
            // The limit of a 16-bit length, less the headers; IPv6 does not count its own.
            let limit = u16::MAX - if addr.is_ipv4() { 20 + 8 } else { 8 };
            let length = message.len();
            let message = format!(
                "a message of {length} bytes is too long for a datagram, which has {limit} at most"
            );
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
        // On the same machine the answer that the port is closed has arrived already.
        Ok(_) => client_socket.take_error()?.map_or(Ok(()), Err),
        Err(error) => Err(error),
    }
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let cannot = || common::about(format!("cannot send to {}", args.addr));
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    for addr in common::addresses(&args.addr)? {
        result = send(args.message.as_bytes(), addr);
        if result.is_ok() {
            break;
        }
    }
    Ok(result.map_err(cannot())?)
}
