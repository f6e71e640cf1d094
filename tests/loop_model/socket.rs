//! Connected sockets, and the bytes that go through them.

#[path = "../support/tcp.rs"]
mod tcp;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

pub use tcp::{new_address, tcp_pair};

use super::steps::Kind;
use super::world::World;

/// The byte at this position of every stream.
pub fn byte_at(position: u64) -> u8 {
    (position % 251) as u8
}

pub fn bytes_from(position: u64, count: usize) -> Vec<u8> {
    (position..).take(count).map(byte_at).collect()
}

/// Compares received bytes with those that are due.
pub fn check_bytes(world: &World, what: &str, received: &Cell<u64>, bytes: &[u8]) {
    let start = received.get();
    if let Some(wrong) = (start..).zip(bytes).find(|&(position, &byte)| byte_at(position) != byte) {
        world.wrong(format!("{what}: the byte at {} is {}", wrong.0, wrong.1));
    }
    received.set(start + bytes.len() as u64);
}

/// A pair of the fastest kind of stream sockets that the system has.
#[cfg(unix)]
pub fn local_pair() -> (LocalStream, LocalStream) {
    LocalStream::pair().expect("a pair")
}

#[cfg(unix)]
pub type LocalStream = std::os::unix::net::UnixStream;

#[cfg(windows)]
pub use tcp_pair as local_pair;

#[cfg(windows)]
pub type LocalStream = std::net::TcpStream;

/// A non-blocking socket, which may run steps when it is dropped.
pub struct Socket {
    stream: socket2::Socket,
    is_tcp: bool,
    world: Option<Rc<World>>,
    is_dropped: Rc<Cell<bool>>,
}

impl Socket {
    pub fn pair(kind: Kind) -> (Self, Self) {
        match kind {
            Kind::Local => {
                let (left, right) = local_pair();
                (Self::of(left, cfg!(windows)), Self::of(right, cfg!(windows)))
            }
            Kind::Tcp | Kind::Listener => {
                let (left, right) = tcp_pair();
                (Self::of(left, true), Self::of(right, true))
            }
        }
    }

    pub fn of(stream: impl Into<socket2::Socket>, is_tcp: bool) -> Self {
        let stream = stream.into();
        stream.set_nonblocking(true).expect("becomes non-blocking");
        Self { stream, is_tcp, world: None, is_dropped: Rc::default() }
    }

    /// From now on its destructor runs steps of the program.
    pub fn acting(mut self, world: &Rc<World>) -> Self {
        self.world = Some(Rc::clone(world));
        self
    }

    pub fn is_dropped(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.is_dropped)
    }

    pub fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    pub fn send_urgent(&self, byte: u8) -> io::Result<usize> {
        self.stream.send_out_of_band(&[byte])
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.is_dropped.set(true);
        if let Some(world) = self.world.take() {
            world.act_when_dropped();
        }
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Socket {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.stream.as_socket()
    }
}

impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(buffer)
    }
}

impl Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes as many of a stream's next bytes as fit.
pub fn send(mut socket: impl Write, sent: &Cell<u64>, count: usize) {
    // The peer may be gone, which is not the loop's fault.
    let count = socket.write(&bytes_from(sent.get(), count)).unwrap_or(0);
    sent.set(sent.get() + count as u64);
}

/// Whether nothing more will come after an error of this kind.
pub fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}
