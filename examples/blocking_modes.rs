//! The three modes of a socket (document 003, blocking modes): blocking, which waits for ever;
//! non-blocking, which never waits; and with a timeout, which waits up to that.
//!
//! The original only describes them. Here a socket is read from in each mode and the result is
//! printed; the program itself is the peer.
//!
//! ```text
//! cargo run --example blocking_modes
//! ```

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

#[derive(Parser)]
struct Args {
    /// Where to listen for the connection with itself; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:0")]
    addr: String,
}

const TIMEOUT: Duration = Duration::from_millis(200);

/// Prints what a read returns, and how long it takes.
fn recv(mut sockfd: &TcpStream, mode: &str) {
    let (start, mut data) = (Instant::now(), [0; 1024]);
    let result = sockfd.read(&mut data);
    let waited = start.elapsed().as_millis();
    match result {
        Ok(n) => {
            let data = String::from_utf8_lossy(&data[..n]);
            common::say!("{mode}: {data:?} after {waited} ms");
        }
        Err(error) => common::say!("{mode}: {:?} after {waited} ms ({error})", error.kind()),
    }
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let listener = TcpListener::from(common::bind(&args.addr)?);
    listener.set_nonblocking(false)?;
    common::announce_at(listener.local_addr()?);
    let mut peer = TcpStream::connect(listener.local_addr()?)?;
    let (sockfd, _) = listener.accept()?;

    // sockfd.setblocking(False)
    sockfd.set_nonblocking(true)?;
    recv(&sockfd, "non-blocking");

    // sockfd.settimeout(0.2)
    sockfd.set_nonblocking(false)?;
    sockfd.set_read_timeout(Some(TIMEOUT))?;
    recv(&sockfd, "timeout");

    // sockfd.setblocking(True)
    sockfd.set_read_timeout(None)?;
    let sender = thread::spawn(move || {
        thread::sleep(2 * TIMEOUT); // Longer than the timeout.
        peer.write_all(b"hello")
    });
    recv(&sockfd, "blocking");
    Ok(sender.join().expect("does not panic")?)
}
