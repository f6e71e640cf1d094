//! The interactive client of the keep-alive server (document 001, long connection): sends each line
//! that is typed and prints the answer; `exit`, or the end of the input, leaves.
//!
//! The original sends an empty line as nothing at all, and waits for an answer for ever.
//!
//! ```text
//! cargo run --example keepalive_client -- localhost:8089
//! ```

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;

use clap::Parser;

#[derive(Parser)]
struct Args {
    /// Where the server listens.
    #[arg(value_name = "HOST:PORT", default_value = "localhost:8089")]
    addr: String,
}

/// The line that is typed after the prompt; `None` at the end of the input.
fn input(prompt: &str) -> io::Result<Option<String>> {
    print!("{prompt}");
    io::stdout().flush()?;
    let mut line = String::new();
    let length = io::stdin().lock().read_line(&mut line)?;
    Ok((length > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut client_socket = TcpStream::connect(&args.addr)?;
    while let Some(data) = input(">")?.filter(|data| data != "exit") {
        if data.is_empty() {
            continue;
        }
        client_socket.write_all(data.as_bytes())?;
        let mut message = [0; 1024];
        let n = client_socket.read(&mut message)?;
        if n == 0 {
            let message = "the server has closed the connection";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        println!("{}", String::from_utf8_lossy(&message[..n]));
    }
    Ok(())
}
