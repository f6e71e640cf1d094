//! A watched descriptor of some kind, the operations on it, and the events that it should report.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use polyselect::{Interest, Ready};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, retry_on_intr, write};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, accept_with, bind, connect, getsockname,
    listen, shutdown, socket_with, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};

use super::poll_truth::truths;
use super::truth::HangUp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Stream,
    PipeReader,
    PipeWriter,
    Counter,
    Listener,
    File,
}

impl Kind {
    /// The kinds at the start of a program.
    pub const FIRST: [Self; 4] = [Self::Stream, Self::PipeReader, Self::PipeWriter, Self::Counter];
}

/// The number of a descriptor.
pub type Number = RawFd;

/// A source that is shared with the selector.
pub type Source = Arc<OwnedFd>;

/// The state of a direction: ready, not ready, or unknown.
pub type Known = Option<bool>;

pub struct Subject {
    kind: Kind,
    source: Source,
    /// The peer, or `None` once it is closed. For a listener, the clients.
    peers: Vec<OwnedFd>,
    /// Bytes that can be read, or connections that can be accepted.
    waiting: usize,
    /// Whether no more can arrive.
    ended: bool,
    /// Whether nothing more fits; unknown after some of it was read.
    full: Known,
    /// Whether both directions have ended, or the only one.
    hung_up: bool,
}

fn nonblocking_pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
}

const SOCKET: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

fn open(kind: Kind) -> (OwnedFd, Vec<OwnedFd>) {
    match kind {
        Kind::Stream => {
            let stream = SocketType::STREAM;
            let (left, right) = socketpair(AddressFamily::UNIX, stream, SOCKET, None).unwrap();
            (left, vec![right])
        }
        Kind::PipeReader => {
            let (reader, writer) = nonblocking_pipe();
            (reader, vec![writer])
        }
        Kind::PipeWriter => {
            let (reader, writer) = nonblocking_pipe();
            (writer, vec![reader])
        }
        Kind::Counter => {
            (eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap(), vec![])
        }
        Kind::Listener => {
            let unix = AddressFamily::UNIX;
            let listener = socket_with(unix, SocketType::STREAM, SOCKET, None).unwrap();
            // An empty name makes the kernel choose one that is in no file system.
            bind(&listener, &rustix::net::SocketAddrUnix::new_unnamed()).unwrap();
            listen(&listener, 128).unwrap();
            (listener, vec![])
        }
        Kind::File => (tempfile::tempfile().unwrap().into(), vec![]),
    }
}

impl Subject {
    pub fn new(kind: Kind) -> Self {
        let (source, peers) = open(kind);
        let (source, full) = (Arc::new(source), Some(false));
        Self { kind, source, peers, waiting: 0, ended: false, full, hung_up: false }
    }

    /// Moves the source to this descriptor, if it is free.
    pub fn move_to(&mut self, number: Number) {
        let moved = fcntl_dupfd_cloexec(&*self.source, number).unwrap();
        self.source = Arc::new(moved);
    }

    /// Returns the descriptors of source and peers.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> {
        [self.source.as_raw_fd()].into_iter().chain(self.peers.iter().map(AsRawFd::as_raw_fd))
    }

    pub fn number(&self) -> Number {
        self.source.as_raw_fd()
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Sends to the source: bytes, a count, a connection. Returns whether anything was sent.
    pub fn send(&mut self, amount: usize) -> bool {
        let came = match self.kind {
            Kind::Stream | Kind::PipeReader => match self.peers.first() {
                Some(peer) if !self.ended => write(peer, &vec![7; amount]).unwrap_or(0),
                _ => 0,
            },
            Kind::Counter => {
                write(&*self.source, &1_u64.to_ne_bytes()).unwrap();
                1
            }
            Kind::Listener if self.waiting < 100 => {
                let unix = AddressFamily::UNIX;
                let client = socket_with(unix, SocketType::STREAM, SOCKET, None).unwrap();
                let address = getsockname(&*self.source).unwrap();
                connect(&client, &address).unwrap();
                self.peers.push(client);
                1
            }
            Kind::Listener | Kind::PipeWriter | Kind::File => 0,
        };
        self.waiting += came;
        came > 0
    }

    /// Takes some of the data.
    pub fn receive(&mut self, amount: usize) {
        match self.kind {
            Kind::Stream | Kind::PipeReader => {
                let mut buffer = vec![0; amount];
                self.waiting -= read(&*self.source, &mut buffer).unwrap_or(0);
            }
            Kind::Counter => {
                let _ = read(&*self.source, &mut [0_u8; 8]);
                self.waiting = 0;
            }
            Kind::Listener => {
                if accept_with(&*self.source, SOCKET).is_ok() {
                    self.waiting -= 1;
                }
            }
            Kind::PipeWriter | Kind::File => {}
        }
    }

    /// Writes until nothing more fits.
    pub fn fill(&mut self) {
        if matches!(self.kind, Kind::Stream | Kind::PipeWriter) {
            let chunk = [7; 65536];
            loop {
                match write(&*self.source, &chunk) {
                    Ok(_) => {}
                    Err(Errno::AGAIN) => break self.full = Some(true),
                    Err(_) => break,
                }
            }
        }
    }

    /// Drains the peer. Returns whether that made room.
    pub fn drain(&mut self) -> bool {
        let was_full = self.full == Some(true);
        match (self.kind, self.peers.first()) {
            (Kind::Stream | Kind::PipeWriter, Some(peer)) => {
                let mut buffer = [0; 65536];
                while read(peer, &mut buffer).is_ok_and(|count| count > 0) {}
                self.full = Some(false);
                was_full
            }
            _ => false,
        }
    }

    /// Shuts down the peer's writing. Returns whether that is a change.
    pub fn shut_down(&mut self) -> bool {
        match (self.kind, self.peers.first()) {
            (Kind::Stream, Some(peer)) => {
                shutdown(peer, Shutdown::Write).unwrap();
                !std::mem::replace(&mut self.ended, true)
            }
            _ => false,
        }
    }

    /// Fills the source, and shuts it down in both directions: a hang-up without room. Returns
    /// whether that is a change.
    pub fn hang_up_full(&mut self) -> bool {
        if self.kind != Kind::Stream || self.peers.is_empty() {
            return false;
        }
        self.fill();
        shutdown(&*self.source, Shutdown::Both).unwrap();
        self.ended = true;
        !std::mem::replace(&mut self.hung_up, true)
    }

    /// Closes the peer. Returns whether that is a change.
    pub fn close_peer(&mut self) -> bool {
        match self.kind {
            Kind::Stream | Kind::PipeReader | Kind::PipeWriter if !self.peers.is_empty() => {
                self.peers.clear();
                self.ended = true;
                // An error, which makes it writable; on a stream, reading may return it as well.
                self.full = Some(false);
                self.hung_up = self.kind != Kind::PipeWriter;
                true
            }
            _ => false,
        }
    }

    /// Returns the model's state of reading and writing.
    pub fn expected(&self, interest: Interest, hang_up: HangUp) -> (Known, Known) {
        let some = self.waiting > 0;
        let hung_up = match self.hung_up {
            true if !hang_up.must_be_writable(interest) => None,
            hung_up => Some(hung_up),
        };
        let room = match (hung_up, self.full) {
            (Some(true), _) => Some(true),
            (None, Some(true)) => None,
            (_, full) => full.map(|full| !full),
        };
        match self.kind {
            Kind::Stream => (Some(some || self.ended), room),
            Kind::PipeReader => (Some(some || self.ended), hung_up),
            // If its readability is queried, a writing end reports that it is broken.
            Kind::PipeWriter => (Some(self.peers.is_empty()), room),
            Kind::Counter => (Some(some), Some(true)),
            Kind::Listener => (Some(some), Some(false)),
            Kind::File => (Some(true), Some(true)),
        }
    }

    /// Returns the result of `poll`.
    pub fn truth(&self, interest: Interest, hang_up: HangUp) -> Ready {
        truths(&[(self, interest)], hang_up)[0].least
    }

    /// Closes the source, of which this must be the last owner, and checks that the file is
    /// released within that time.
    pub fn release(self, time: Duration) -> Result<(), String> {
        let Self { kind, source, peers, .. } = self;
        let number = source.as_raw_fd();
        let address = (kind == Kind::Listener).then(|| getsockname(&*source).unwrap());
        let last = Arc::into_inner(source)
            .ok_or_else(|| format!("{kind:?} {number}: the library keeps the source"))?;
        drop(last);
        let is_released = match (kind, peers.first(), address) {
            (Kind::Stream | Kind::PipeReader | Kind::PipeWriter, Some(peer), _) => {
                hangs_up_within(peer, time)
            }
            (Kind::Listener, _, Some(address)) => {
                let unix = AddressFamily::UNIX;
                let client = socket_with(unix, SocketType::STREAM, SOCKET, None).unwrap();
                connect(&client, &address) == Err(Errno::CONNREFUSED)
                    || hangs_up_within(&client, time)
            }
            _ => true,
        };
        if is_released {
            return Ok(());
        }
        Err(format!("{kind:?} {number}: the file is still open after its last owner has closed it"))
    }
}

/// Whether the peer of this pipe or stream is closed.
fn hangs_up_within(peer: &OwnedFd, time: Duration) -> bool {
    let mut entry = [PollFd::new(peer, PollFlags::empty())];
    let time = Timespec::try_from(time).expect("a short time");
    retry_on_intr(|| poll(&mut entry, Some(&time))).unwrap();
    entry[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}
