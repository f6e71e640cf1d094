//! Lines that are typed while a program waits for something else as well.

use std::io;

/// Standard input, as a source.
#[cfg(unix)]
pub type Input = io::Stdin;
/// The end of a connection to the thread that reads standard input, as a source.
#[cfg(windows)]
pub type Input = socket2::Socket;

#[cfg(unix)]
pub fn input() -> io::Result<Input> {
    Ok(io::stdin())
}

/// Windows cannot wait for standard input and sockets together, so a thread reads it and sends it on.
#[cfg(windows)]
pub fn input() -> io::Result<Input> {
    use std::net::{TcpListener, TcpStream};

    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut writer = TcpStream::connect(listener.local_addr()?)?;
    let own = writer.local_addr()?;
    let reader = loop {
        // Another program may have connected first.
        let (reader, peer) = listener.accept()?;
        if peer == own {
            break reader;
        }
    };
    reader.set_nonblocking(true)?;
    // It ends with standard input, or with the program.
    std::thread::spawn(move || {
        if let Err(error) = io::copy(&mut io::stdin(), &mut writer) {
            log::warn!("standard input: {error}");
        }
    });
    Ok(reader.into())
}

#[cfg(unix)]
fn read(input: &Input, bytes: &mut [u8]) -> io::Result<usize> {
    // Past the buffer of `Stdin`: its `read_line` would block until the end of a line, and stall all clients.
    Ok(rustix::io::read(input, bytes)?)
}

#[cfg(windows)]
fn read(mut input: &Input, bytes: &mut [u8]) -> io::Result<usize> {
    io::Read::read(&mut input, bytes)
}

/// The text typed so far.
#[derive(PartialEq)]
pub enum Keyboard {
    Nothing,
    PartOfALine,
    Line,
    End,
}

impl Keyboard {
    /// Reads what is available.
    pub fn read(&mut self, input: &Input) -> io::Result<()> {
        let mut cmd = [0; 1024];
        *self = match read(input, &mut cmd)? {
            0 if *self == Self::PartOfALine => Self::Line,
            0 => Self::End,
            n if cmd[..n].contains(&b'\n') => Self::Line,
            _ => Self::PartOfALine,
        };
        Ok(())
    }
}
