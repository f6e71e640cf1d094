//! Sources of tasks: a socket that any number of tasks read and write, and its peer.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use polyselect::asyncio::Async;

use super::socket::{LocalStream, Socket, bytes_from, check_bytes, local_pair, send, tcp_pair};
use super::steps::Kind;
use super::world::{World, pick};

const MOST_PIPES: usize = 8;

/// A source of tasks. For the types of the standard library, a short read may prove that they are
/// empty.
#[derive(Clone)]
pub enum Source {
    Own(Async<Socket>),
    Tcp(Async<TcpStream>),
    Local(Async<LocalStream>),
}

impl Source {
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Own(source) => source.readable().await,
            Self::Tcp(source) => source.readable().await,
            Self::Local(source) => source.readable().await,
        }
    }

    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Own(source) => source.writable().await,
            Self::Tcp(source) => source.writable().await,
            Self::Local(source) => source.writable().await,
        }
    }

    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Own(source) => source.read(buffer).await,
            Self::Tcp(source) => source.read(buffer).await,
            Self::Local(source) => source.read(buffer).await,
        }
    }

    /// Writes the next bytes of the pipe.
    pub async fn write_next(&self, pipe: &Pipe, count: usize) -> io::Result<usize> {
        match self {
            Self::Own(source) => source.write_with(|socket| pipe.write_next(socket, count)).await,
            Self::Tcp(source) => source.write_with(|socket| pipe.write_next(socket, count)).await,
            Self::Local(source) => source.write_with(|socket| pipe.write_next(socket, count)).await,
        }
    }
}

pub struct Pipe {
    pub id: usize,
    source: RefCell<Option<Source>>,
    peer: RefCell<Option<Socket>>,
    /// Of the program's own type; the others are counted by their descriptors.
    is_dropped: Rc<Cell<bool>>,
    pub sent: Cell<u64>,
    pub received: Cell<u64>,
    pub written: Cell<u64>,
    taken: Cell<u64>,
    has_urgent: Cell<bool>,
    /// Tasks that read it to its end.
    pub readers: Cell<usize>,
}

impl Pipe {
    pub fn source(&self) -> Option<Source> {
        self.source.borrow().clone()
    }

    pub fn has_peer(&self) -> bool {
        self.peer.borrow().is_some()
    }

    /// Writes the next bytes, as one piece.
    fn write_next(&self, mut socket: impl Write, count: usize) -> io::Result<usize> {
        let count = socket.write(&bytes_from(self.written.get(), count))?;
        self.written.set(self.written.get() + count as u64);
        Ok(count)
    }

    /// The peer reads what has arrived.
    fn drain(&self, world: &World) {
        let mut buffer = [0; 4096];
        while let Some(mut peer) = self.peer.borrow().as_ref() {
            match peer.read(&mut buffer) {
                Ok(count @ 1..) => {
                    let name = format!("the peer of pipe {}", self.id);
                    check_bytes(world, &name, &self.taken, &buffer[..count]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let (taken, written) = (self.taken.get(), self.written.get());
        world.check(taken <= written, || format!("pipe {}: {taken} of {written} bytes", self.id));
    }
}

#[derive(Default)]
pub struct Pipes(RefCell<Vec<Rc<Pipe>>>);

impl Pipes {
    pub fn pick(&self, which: usize) -> Option<Rc<Pipe>> {
        let pipes = self.0.borrow();
        Some(Rc::clone(&pipes[pick(which, pipes.len())?]))
    }

    pub fn send(&self, which: usize, count: usize) {
        let Some(pipe) = self.pick(which) else { return };
        if let Some(peer) = &*pipe.peer.borrow() {
            send(peer, &pipe.sent, count);
        }
    }

    /// Sends an urgent byte, which is not part of the stream, between others that are. At most one
    /// for each pipe: the kernel makes an older one part of the stream.
    pub fn send_urgent(&self, which: usize) {
        let pipes = self.0.borrow();
        let is_fit = |pipe: &&Rc<Pipe>| {
            let is_tcp = pipe.peer.borrow().as_ref().is_some_and(Socket::is_tcp);
            is_tcp && !pipe.has_urgent.get()
        };
        let fit: Vec<_> = pipes.iter().filter(is_fit).collect();
        let Some(pipe) = pick(which, fit.len()).map(|position| fit[position]) else { return };
        if let Some(peer) = &*pipe.peer.borrow() {
            send(peer, &pipe.sent, which % 5);
            let is_sent = peer.send_urgent(b'!').is_ok();
            pipe.has_urgent.set(is_sent);
            send(peer, &pipe.sent, which % 7);
        }
    }

    pub fn hang_up(&self, which: usize) {
        if let Some(pipe) = self.pick(which) {
            drop(pipe.peer.take());
        }
    }

    pub fn hang_up_all(&self) {
        for pipe in self.0.borrow().iter() {
            drop(pipe.peer.take());
        }
    }

    /// Drops the program's handle; tasks may have others.
    pub fn drop_one(&self, which: usize) {
        let Some(pipe) = self.pick(which) else { return };
        let source = pipe.source.take();
        drop(source);
    }

    /// Polls a wait where the caller may not be a task, and drops it.
    pub fn poll(&self, which: usize) {
        let Some(source) = self.pick(which).and_then(|pipe| pipe.source()) else { return };
        let mut context = Context::from_waker(Waker::noop());
        let _ = pin!(source.readable()).poll(&mut context);
    }

    pub fn drain(&self, world: &World) {
        let pipes = self.0.borrow().clone();
        for pipe in pipes {
            pipe.drain(world);
        }
    }

    /// The bytes that a task should have read and has not.
    pub fn unread(&self) -> Option<String> {
        let pipes = self.0.borrow();
        let pipe = pipes.iter().find(|pipe| {
            pipe.readers.get() > 0 && pipe.has_peer() && pipe.received.get() < pipe.sent.get()
        })?;
        let (id, received, sent) = (pipe.id, pipe.received.get(), pipe.sent.get());
        Some(format!("the readers of pipe {id} have {received} of {sent} bytes"))
    }

    pub fn release(&self) {
        for pipe in self.0.borrow().clone() {
            let (source, peer) = (pipe.source.take(), pipe.peer.take());
            drop((source, peer));
        }
    }

    pub fn left(&self) -> Vec<usize> {
        let pipes = self.0.borrow();
        pipes.iter().filter(|pipe| !pipe.is_dropped.get()).map(|pipe| pipe.id).collect()
    }
}

impl World {
    pub fn new_pipe(self: &Rc<Self>, kind: Kind) {
        if self.pipes.0.borrow().len() >= MOST_PIPES {
            return;
        }
        let nonblocking = "becomes non-blocking";
        let (source, peer, is_dropped) = match kind {
            Kind::Local => {
                let (socket, peer) = Socket::pair(kind);
                let is_dropped = socket.is_dropped();
                let source = Async::new(socket.acting(self)).expect(nonblocking);
                (Source::Own(source), peer, is_dropped)
            }
            Kind::Tcp => {
                let (socket, peer) = tcp_pair();
                let source = Async::new(socket).expect(nonblocking);
                (Source::Tcp(source), Socket::of(peer, true), Rc::new(Cell::new(true)))
            }
            Kind::Listener => {
                let (socket, peer) = local_pair();
                let source = Async::new(socket).expect(nonblocking);
                let peer = Socket::of(peer, cfg!(windows));
                (Source::Local(source), peer, Rc::new(Cell::new(true)))
            }
        };
        self.pipes.0.borrow_mut().push(Rc::new(Pipe {
            id: self.new_id(),
            source: RefCell::new(Some(source)),
            peer: RefCell::new(Some(peer)),
            is_dropped,
            sent: Cell::new(0),
            received: Cell::new(0),
            written: Cell::new(0),
            taken: Cell::new(0),
            has_urgent: Cell::new(false),
            readers: Cell::new(0),
        }));
    }
}
