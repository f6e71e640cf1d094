//! What is watched: a descriptor of some kind, what can be done to it, and what it should report.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use polyselect::{Interest, Ready};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, accept_with, bind, connect, getsockname,
    listen, shutdown, socket_with, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Stream,
    PipeReader,
    PipeWriter,
    Counter,
    Listener,
    File,
}

/// A source that is shared with the selector.
pub type Source = Rc<OwnedFd>;

/// What is known of a direction: that it is ready, that it is not, or nothing.
pub type Known = Option<bool>;

pub struct Subject {
    kind: Kind,
    source: Source,
    /// The other end; gone once it was closed. For a listener, the clients.
    peers: Vec<OwnedFd>,
    /// Bytes that can be read, or connections that can be accepted.
    waiting: usize,
    /// Whether no more can come.
    ended: bool,
    /// Whether nothing more fits: not known when some of it was read.
    full: Known,
}

fn nonblocking_pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
}

const SOCKET: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

impl Subject {
    pub fn new(kind: Kind) -> Self {
        let (source, peers) = match kind {
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
        };
        let source = Rc::new(source);
        Self { kind, source, peers, waiting: 0, ended: false, full: Some(false) }
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Something comes: bytes, a count, a connection. Whether anything did.
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

    /// Takes some of what waits.
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

    /// The other end takes all that was written. Whether there is room because of it.
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

    /// The other end says that nothing more will come. Whether that is news.
    pub fn shut_down(&mut self) -> bool {
        match (self.kind, self.peers.first()) {
            (Kind::Stream, Some(peer)) => {
                shutdown(peer, Shutdown::Write).unwrap();
                !std::mem::replace(&mut self.ended, true)
            }
            _ => false,
        }
    }

    /// The other end goes. Whether that is news.
    pub fn close_peer(&mut self) -> bool {
        match self.kind {
            Kind::Stream | Kind::PipeReader | Kind::PipeWriter if !self.peers.is_empty() => {
                self.peers.clear();
                self.ended = true;
                // An error, which makes it writable; on a stream, reading may meet it as well.
                self.full = Some(false);
                true
            }
            _ => false,
        }
    }

    /// What the plain description says.
    pub fn expected(&self) -> (Known, Known) {
        let gone = self.peers.is_empty();
        let some = self.waiting > 0;
        match self.kind {
            Kind::Stream => (Some(some || self.ended), self.full.map(|full| !full)),
            Kind::PipeReader => (Some(some || self.ended), Some(gone)),
            // Asked whether it is readable, a writing end answers when it is broken.
            Kind::PipeWriter => (Some(gone), self.full.map(|full| !full)),
            Kind::Counter => (Some(some), Some(true)),
            Kind::Listener => (Some(some), Some(false)),
            Kind::File => (Some(true), Some(true)),
        }
    }

    /// What `poll` says.
    pub fn truth(&self, interest: Interest) -> Ready {
        truth(self.source.as_fd(), interest)
    }
}

fn truth(descriptor: BorrowedFd<'_>, interest: Interest) -> Ready {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN | PollFlags::RDHUP, interest.contains(Interest::READABLE));
    flags.set(PollFlags::OUT, interest.contains(Interest::WRITABLE));
    flags.set(PollFlags::PRI, interest.contains(Interest::PRIORITY));
    let mut entry = [PollFd::from_borrowed_fd(descriptor, flags)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A signal ends also a look.
    retry_on_intr(|| poll(&mut entry, Some(&now))).unwrap();
    let found = entry[0].revents();
    let has = |flags| found.intersects(flags);
    let end = PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP;
    let asks = |flag| interest.contains(flag);
    let mut ready = Ready::empty();
    ready.set(Ready::READABLE, asks(Interest::READABLE) && has(PollFlags::IN | end));
    ready.set(
        Ready::WRITABLE,
        asks(Interest::WRITABLE) && has(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR),
    );
    ready.set(Ready::PRIORITY, asks(Interest::PRIORITY) && has(PollFlags::PRI));
    ready.set(Ready::ERROR, has(PollFlags::ERR));
    let half = asks(Interest::READABLE) && has(PollFlags::RDHUP);
    ready.set(Ready::READ_CLOSED, has(PollFlags::HUP) || half);
    ready.set(Ready::WRITE_CLOSED, has(PollFlags::HUP));
    if interest.is_empty() { Ready::empty() } else { ready }
}
