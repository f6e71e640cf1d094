//! A watched socket of some kind, the operations on it, and the events that it should report.

#[allow(dead_code)] // It connects sockets with small buffers itself.
#[path = "../support/tcp.rs"]
mod tcp;

use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::windows::io::{AsRawSocket, AsSocket, RawSocket};
use std::sync::Arc;
use std::time::Duration;

use polyselect::{Backend, Events, Interest, Ready, Selector};
use socket2::{Domain, Socket, Type};

use super::truth::{HangUp, Truth, asked};
use super::wait::PATIENCE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Stream,
    Listener,
    Datagrams,
}

impl Kind {
    /// The kinds at the start of a program.
    pub const FIRST: [Self; 4] = [Self::Stream, Self::Stream, Self::Datagrams, Self::Listener];
}

/// The number of a socket.
pub type Number = RawSocket;

/// A source that is shared with the selector.
pub type Source = Arc<Socket>;

/// The state of a direction: ready, not ready, or unknown.
pub type Known = Option<bool>;

pub struct Subject {
    kind: Kind,
    source: Source,
    /// The peer, or `None` once it is closed. For a listener, the clients.
    peers: Vec<Socket>,
    /// Bytes or datagrams that can be read, or connections that can be accepted.
    waiting: usize,
    /// Whether no more can arrive.
    ended: bool,
    /// Whether nothing more fits; unknown after it was filled.
    full: Known,
}

fn bound(kind: Type) -> Socket {
    let socket = Socket::new(Domain::IPV4, kind, None).unwrap();
    socket.bind(&tcp::new_address().into()).unwrap();
    socket
}

fn listening() -> Socket {
    let listener = bound(Type::STREAM);
    listener.listen(128).unwrap();
    listener
}

fn connected_to(listener: &Socket) -> Socket {
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Little has to be written to fill a connection.
    client.set_send_buffer_size(16 * 1024).unwrap();
    client.connect(&listener.local_addr().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    client
}

fn open(kind: Kind) -> (Socket, Vec<Socket>) {
    let (source, peers) = match kind {
        Kind::Stream => {
            let listener = listening();
            listener.set_recv_buffer_size(16 * 1024).unwrap();
            let source = connected_to(&listener);
            let (peer, _) = listener.accept().unwrap();
            (source, vec![peer])
        }
        Kind::Listener => (listening(), vec![]),
        Kind::Datagrams => {
            let (source, peer) = (bound(Type::DGRAM), bound(Type::DGRAM));
            peer.connect(&source.local_addr().unwrap()).unwrap();
            (source, vec![peer])
        }
    };
    for socket in peers.iter().chain([&source]) {
        socket.set_nonblocking(true).unwrap();
    }
    (source, peers)
}

impl Subject {
    pub fn new(kind: Kind) -> Self {
        let (source, peers) = open(kind);
        let (source, full) = (Arc::new(source), Some(false));
        Self { kind, source, peers, waiting: 0, ended: false, full }
    }

    /// Opens sockets of its kind until one has this number, which is free. Not all systems use a number again
    /// soon.
    pub fn move_to(&mut self, number: Number) {
        let mut others = Vec::new();
        for _ in 0..8 {
            if self.number() == number {
                return;
            }
            others.push(std::mem::replace(self, Self::new(self.kind)));
        }
    }

    pub fn number(&self) -> Number {
        self.source.as_raw_socket()
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Sends to the source: bytes, a datagram, a connection. Returns whether anything was sent.
    pub fn send(&mut self, amount: usize) -> bool {
        let came = match (self.kind, self.peers.first()) {
            (Kind::Stream, Some(mut peer)) if !self.ended => {
                peer.write(&vec![7; amount]).unwrap_or(0)
            }
            (Kind::Datagrams, Some(peer)) if self.waiting < 100 => {
                usize::from(peer.send(&[7]).is_ok())
            }
            (Kind::Listener, _) if self.waiting < 100 => {
                self.peers.push(connected_to(&self.source));
                1
            }
            _ => 0,
        };
        self.waiting += came;
        self.settle();
        came > 0
    }

    /// Takes some of the data.
    pub fn receive(&mut self, amount: usize) {
        match self.kind {
            Kind::Stream => {
                let mut buffer = vec![0; amount];
                self.waiting -= (&*self.source).read(&mut buffer).unwrap_or(0).min(self.waiting);
            }
            Kind::Datagrams => {
                if self.source.recv(&mut [MaybeUninit::uninit(); 8]).is_ok() {
                    self.waiting -= 1;
                }
            }
            Kind::Listener => {
                if self.source.accept().is_ok() {
                    self.waiting -= 1;
                }
            }
        }
    }

    /// Writes until nothing more fits.
    pub fn fill(&mut self) {
        if self.kind == Kind::Stream && !self.peers.is_empty() {
            let chunk = [7; 4096];
            while (&*self.source).write(&chunk).is_ok() {}
            // Bytes that are under way may make room once more.
            self.full = None;
        }
    }

    /// Drains the peer. Returns whether that made room.
    pub fn drain(&mut self) -> bool {
        let (Kind::Stream, Some(mut peer)) = (self.kind, self.peers.first()) else { return false };
        let was_full = self.full.is_none();
        let mut buffer = [0; 65536];
        while is_ready(&peer, Interest::READABLE, Duration::ZERO)
            && peer.read(&mut buffer).is_ok_and(|count| count > 0)
        {}
        self.full = Some(false);
        self.settle();
        was_full
    }

    /// Shuts down the peer's writing. Returns whether that is a change.
    pub fn shut_down(&mut self) -> bool {
        let (Kind::Stream, Some(peer)) = (self.kind, self.peers.first()) else { return false };
        peer.shutdown(Shutdown::Write).unwrap();
        let is_change = !std::mem::replace(&mut self.ended, true);
        self.settle();
        is_change
    }

    /// A socket that is shut down by its owner has no state that all systems agree on.
    #[allow(clippy::unused_self)]
    pub fn hang_up_full(&mut self) -> bool {
        false
    }

    /// Closes the peer. Returns whether that is a change.
    pub fn close_peer(&mut self) -> bool {
        if self.kind != Kind::Stream || self.peers.is_empty() {
            return false;
        }
        self.peers.clear();
        // The end of the stream, or a reset if the peer had unread data.
        (self.ended, self.full) = (true, Some(false));
        self.settle();
        true
    }

    /// Waits until what was done has arrived.
    fn settle(&self) {
        let mut interest = Interest::empty();
        interest.set(Interest::READABLE, self.waiting > 0 || self.ended);
        interest.set(Interest::WRITABLE, self.kind == Kind::Stream && self.full == Some(false));
        for direction in interest.iter() {
            assert!(is_ready(&self.source, direction, PATIENCE), "{direction:?} does not come");
        }
    }

    /// Returns the model's state of reading and writing.
    pub fn expected(&self, _: Interest, _: HangUp) -> (Known, Known) {
        let some = self.waiting > 0;
        match self.kind {
            Kind::Stream => (Some(some || self.ended), self.full.map(|full| !full)),
            Kind::Listener => (Some(some), Some(false)),
            Kind::Datagrams => (Some(some), Some(true)),
        }
    }

    /// Returns the readiness that is certain.
    pub fn truth(&self, interest: Interest, hang_up: HangUp) -> Ready {
        truth(self, interest, hang_up).least
    }

    /// Closes the source, of which this must be the last owner, and checks that the socket is released.
    pub fn release(self, _: Duration) -> Result<(), String> {
        let Self { kind, source, peers, .. } = self;
        let number = source.as_raw_socket();
        let last = Arc::into_inner(source)
            .ok_or_else(|| format!("{kind:?} {number}: the library keeps the source"))?;
        drop(last);
        match (kind, peers.first()) {
            (Kind::Stream, Some(peer)) if !sees_an_end(peer) => {
                Err(format!("{kind:?} {number}: the socket is open after its last owner closed it"))
            }
            _ => Ok(()),
        }
    }
}

/// Reads until the end of the stream or an error.
fn sees_an_end(mut peer: &Socket) -> bool {
    let mut buffer = [0; 65536];
    while is_ready(&peer, Interest::READABLE, PATIENCE) {
        if !peer.read(&mut buffer).is_ok_and(|count| count > 0) {
            return true;
        }
    }
    false
}

/// Returns the readiness of each subject, by the model: no call of this system is as truthful as `poll` of others.
pub fn truths(subjects: &[(&Subject, Interest)], hang_up: HangUp) -> Vec<Truth> {
    subjects.iter().map(|&(subject, interest)| truth(subject, interest, hang_up)).collect()
}

fn truth(subject: &Subject, interest: Interest, hang_up: HangUp) -> Truth {
    if interest.is_empty() {
        return Truth::default();
    }
    let (readable, writable) = subject.expected(interest, hang_up);
    let (mut least, mut most) = (Ready::empty(), Ready::empty());
    for (flag, known) in [(Ready::READABLE, readable), (Ready::WRITABLE, writable)] {
        least.set(flag, known == Some(true));
        most.set(flag, known != Some(false));
    }
    let asked = asked(interest);
    let details = Ready::ERROR | Ready::READ_CLOSED | Ready::WRITE_CLOSED;
    let details = if subject.ended { details } else { Ready::empty() };
    Truth { least: least & asked, most: most & asked | details }
}

/// Waits up to `timeout` until a socket is ready, by `select`.
fn is_ready(source: &impl AsSocket, interest: Interest, timeout: Duration) -> bool {
    let mut selector = Selector::with_backend(Backend::Select).expect("opens");
    selector.register(source, interest, ()).expect("is a socket");
    let mut events = Events::with_capacity(1);
    selector.select(&mut events, timeout).expect("selects") > 0
}
