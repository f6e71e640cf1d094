//! The interactive client of the keep-alive server (document 001, long connection): blocking; sends
//! each line that is typed and prints the answer; `exit`, or the end of the input, ends it.
//!
//! The original sends nothing for an empty line, and waits for an answer for ever. It takes the
//! result of one `recv` for the answer, even if that is half of one, or if a long line has several.
//! Here a long line is sent in parts of whole characters, each of which the server answers.
//!
//! ```text
//! cargo run --example keepalive_server
//! cargo run --example keepalive_client -- localhost:8089
//! ```

mod common;

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;

use clap::Parser;
use common::text::Decoder;
use common::{printing, say};

#[derive(Parser)]
struct Args {
    /// Where the server listens.
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:8089")]
    addr: String,
}

/// The line that is typed after the prompt; `None` at the end of the input.
fn input(prompt: &str) -> io::Result<Option<String>> {
    printing::print(format_args!("{prompt}"));
    let mut line = Vec::new();
    if io::stdin().lock().read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8(line).map_err(|error| {
        let line = error.as_bytes().trim_ascii_end().escape_ascii();
        let message = format!("the line b\"{line}\" is not UTF-8, and was not sent");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })?;
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The number of bytes that the server reads and answers at once. With longer parts the number of
/// answers would be unknown.
const PART: usize = 1024;

/// Splits a line into parts of whole characters that the server reads at once.
fn parts(mut line: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = (0..=PART.min(line.len())).rfind(|&end| line.is_char_boundary(end))?;
        let (part, rest) = line.split_at(end);
        line = rest;
        (!part.is_empty()).then_some(part)
    })
}

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
    let mut decoder = Decoder::default();
    while let Some(data) = input(">")?.filter(|data| data != "exit") {
        let mut answers = String::new();
        for part in parts(&data) {
            client_socket.write_all(part.as_bytes()).map_err(lost())?;
            let answer = receive(&client_socket).map_err(lost())?;
            answers.extend(decoder.decode(&answer));
        }
        if !answers.is_empty() {
            say!("{answers}");
        }
    }
    Ok(())
}
