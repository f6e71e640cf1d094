//! The work of each server for a connection, except the one that lets io_uring read and write: it reads into a buffer
//! until a read is short or would block, writes back, and keeps the bytes that the socket does not take. It reads again
//! when these are sent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

/// The one buffer of a server, for all connections.
pub const BUFFER: usize = 64 * 1024;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Reading,
    Writing,
}

/// The next step after an event.
pub enum Turn {
    /// It waits for what it waited for.
    Same,
    Wants(Direction),
    Closed,
}

/// Bytes that were read and could not be written.
#[derive(Default)]
pub struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
}

impl Unsent {
    pub fn direction(&self) -> Direction {
        if self.bytes.is_empty() { Direction::Reading } else { Direction::Writing }
    }

    /// The work of an event.
    #[inline]
    pub fn echo(&mut self, stream: impl Read + Write, buffer: &mut [u8]) -> io::Result<Turn> {
        let before = self.direction();
        let closed = self.work(stream, buffer)?;
        Ok(match self.direction() {
            _ if closed => Turn::Closed,
            after if after == before => Turn::Same,
            after => Turn::Wants(after),
        })
    }

    /// Returns whether the connection has ended.
    #[inline]
    fn work(&mut self, mut stream: impl Read + Write, buffer: &mut [u8]) -> io::Result<bool> {
        while self.direction() == Direction::Writing {
            match stream.write(&self.bytes[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) => return is_over(error),
            }
            if self.sent == self.bytes.len() {
                *self = Self::default();
            }
        }
        loop {
            let read = match stream.read(buffer) {
                Ok(0) => return Ok(true),
                Ok(read) => read,
                Err(error) => return is_over(error),
            };
            let mut sent = 0;
            while sent < read {
                match stream.write(&buffer[sent..read]) {
                    Ok(written) => sent += written,
                    Err(error) => {
                        self.bytes = buffer[sent..read].to_vec();
                        return is_over(error);
                    }
                }
            }
            if read < buffer.len() {
                return Ok(false);
            }
        }
    }
}

/// Reads and writes with two non-blocking functions, for tasks.
pub struct Try<R, W>(pub R, pub W);

impl<R: FnMut(&mut [u8]) -> io::Result<usize>, W> Read for Try<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0(buffer)
    }
}

impl<R, W: FnMut(&[u8]) -> io::Result<usize>> Write for Try<R, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The generator resets connections when it is done with them.
fn is_over(error: io::Error) -> io::Result<bool> {
    match error.kind() {
        ErrorKind::WouldBlock => Ok(false),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(true),
        _ => Err(error),
    }
}

/// For servers that keep both in one place.
pub struct Connection {
    pub stream: TcpStream,
    pub unsent: Unsent,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: Unsent::default() }
    }

    #[inline]
    pub fn echo(&mut self, buffer: &mut [u8]) -> io::Result<Turn> {
        self.unsent.echo(&self.stream, buffer)
    }
}
