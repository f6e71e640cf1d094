//! The UDP server (document 001, UDP, port 8080): blocking; one socket for all clients; each
//! datagram is printed as text.
//!
//! The original ends at a datagram that is not UTF-8, and truncates datagrams of more than 1024
//! bytes silently; the buffer here holds the longest possible.
//!
//! ```text
//! cargo run --example udp_server
//! cargo run --example udp_client -- localhost:8080
//! ```

mod common;

use std::net::UdpSocket;

use clap::Parser;
use common::blocking::CtrlC;

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8080")]
    addr: String,
}

/// The longest datagram.
const LONGEST: usize = 65_535;

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    common::start_log();
    let ctrl_c = CtrlC::new()?;
    let addr = common::resolve(&args.addr)?.as_socket().expect("an address of the network");
    let server_socket = UdpSocket::bind(addr).map_err(common::cannot_listen(&args.addr))?;
    // A datagram that is reported may have a bad checksum; then `recv` finds nothing.
    server_socket.set_nonblocking(true)?;
    common::announce_at(server_socket.local_addr()?);
    // A datagram is a text of its own, and the buffer cuts none, so no character is continued in the next.
    let mut data = vec![0; LONGEST];
    while ctrl_c.wait(&[&server_socket])?.is_some() {
        match server_socket.recv_from(&mut data) {
            Ok((length, _addr)) => log::info!("{}", String::from_utf8_lossy(&data[..length])),
            Err(error) if common::is_not_now(&error) => {}
            Err(error) => log::warn!("{error}"),
        }
    }
    Ok(())
}
