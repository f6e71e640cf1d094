//! Child processes: this program, started again with a part to play, so that they are the same on every system.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio, exit};
use std::time::Duration;
use std::{env, thread};

use super::harness::CASE;

/// A variable of the process that plays a part: its words.
const PART: &str = "POLYSELECT_CONFORMANCE_PART";

/// A command that plays a part of [`play`].
pub fn program(part: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("has a name"));
    command.env(PART, part).env_remove(CASE);
    command
}

/// Plays the part that the environment names, if it names one, and ends the process.
pub fn play() {
    let Ok(part) = env::var(PART) else { return };
    let words: Vec<_> = part.split(' ').collect();
    // The parent may close the pipes before the part ends.
    let code = run(&words).unwrap_or(99);
    exit(code);
}

fn run(words: &[&str]) -> io::Result<i32> {
    let (mut stdin, mut stdout) = (io::stdin(), io::stdout());
    match *words {
        ["exit", code] => return Ok(code.parse().expect("a number")),
        ["print", text] => writeln!(stdout, "{text}")?,
        ["sleep"] => thread::sleep(Duration::from_secs(1000)),
        // Waits for a line or the end of its input, and answers.
        ["answer", text, code] => {
            stdin.read_line(&mut String::new())?;
            writeln!(stdout, "{text}")?;
            return Ok(code.parse().expect("a number"));
        }
        ["copy"] => {
            let mut bytes = [0; 10_000];
            loop {
                match stdin.read(&mut bytes)? {
                    0 => break,
                    n => {
                        stdout.write_all(&bytes[..n])?;
                        io::stderr().write_all(&bytes[..n])?;
                    }
                }
            }
        }
        ["count"] => {
            let count = io::copy(&mut stdin, &mut io::sink())?;
            writeln!(stdout, "{count}")?;
        }
        ["flood", ref after @ ..] => {
            if !after.is_empty() {
                stdin.read_line(&mut String::new())?;
            }
            loop {
                stdout.write_all(&[b'y'; 1000])?;
            }
        }
        // Leaves a process that holds the output until its connection ends.
        ["parent", port] => {
            program(&format!("held {port}")).stdin(Stdio::null()).spawn()?;
            writeln!(stdout, "done")?;
        }
        ["held", port] => {
            let port = port.parse().expect("a port");
            io::copy(&mut TcpStream::connect(("127.0.0.1", port))?, &mut io::sink())?;
        }
        _ => unreachable!("the part {words:?}"),
    }
    stdout.flush()?;
    Ok(0)
}
