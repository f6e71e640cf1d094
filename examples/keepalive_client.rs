//! The interactive client of the keep-alive server (document 001, long connection): blocking; sends
//! each line that is typed and prints the answer; `exit`, or the end of the input, ends it.
//!
//! The original sends nothing for an empty line, and waits for an answer for ever. It takes the
//! result of one `recv` for the answer, even if that is half of one, or if a long line has several.
//!
//! ```text
//! cargo run --example keepalive_server
//! cargo run --example keepalive_client -- localhost:8089
//! ```

mod common;

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

/// The number of bytes that the server reads and answers at once. With longer parts the number of
/// answers would be unknown.
const PART: usize = 1024;

/// The answer of the document's server.
const ANSWER: &[u8] = b"Server received your message.";

/// Reads an answer. Text of another server has no recognizable end, so it is taken as received.
fn receive(mut client_socket: &TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    loop {
        let mut message = [0; 1024];
        let n = client_socket.read(&mut message)?;
        if n == 0 {
            let message = "the server has closed the connection";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        answer.extend(&message[..n]);
        // More than one answer if the network has split the part in two.
        let is_known = answer.iter().zip(ANSWER.iter().cycle()).all(|(got, known)| got == known);
        if !is_known || answer.len() % ANSWER.len() == 0 {
            return Ok(answer);
        }
    }
}

fn main() -> Result<(), common::Failure> {
    let args = Args::parse();
    let mut client_socket = common::connect(&args.addr)?;
    let lost = || common::about(&args.addr);
    while let Some(data) = input(">")?.filter(|data| data != "exit") {
        let mut answers = Vec::new();
        for part in data.as_bytes().chunks(PART) {
            client_socket.write_all(part).map_err(lost())?;
            answers.extend(receive(&client_socket).map_err(lost())?);
        }
        if !answers.is_empty() {
            println!("{}", String::from_utf8_lossy(&answers));
        }
    }
    Ok(())
}
