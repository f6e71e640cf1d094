//! The clients of servers: each receives the bytes that it sent.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use polyselect::Interest;

use super::ending::patience;
use super::readiness::is_ready;
use super::servers::ServerEntry;
use super::socket::{check_bytes, send};
use super::steps::Fate;
use super::world::{World, pick};

const MOST_CLIENTS: usize = 24;

/// The limit of bytes in transit, so that the kernel takes all of them.
const MOST_BYTES: u64 = 20_000;

pub struct Client {
    id: usize,
    stream: RefCell<Option<TcpStream>>,
    pub address: SocketAddr,
    pub fate: Fate,
    pub server: Rc<ServerEntry>,
    sent: Cell<u64>,
    echoed: Cell<u64>,
}

impl Client {
    pub fn is_of(&self, server: &Rc<ServerEntry>) -> bool {
        Rc::ptr_eq(&self.server, server)
    }

    /// Runs `work` with the socket, if the client is connected.
    pub fn with_stream<R>(&self, work: impl FnOnce(&TcpStream) -> R) -> Option<R> {
        self.stream.borrow().as_ref().map(work)
    }

    /// Reads what has arrived. Returns whether the connection has ended.
    fn read_all(&self, world: &World) -> bool {
        let mut buffer = [0; 4096];
        while let Some(mut stream) = self.stream.borrow().as_ref() {
            match stream.read(&mut buffer) {
                Ok(count @ 1..) if self.fate != Fate::Owe => {
                    let name = format!("the echo of client {}", self.id);
                    check_bytes(world, &name, &self.echoed, &buffer[..count]);
                }
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Ok(0) | Err(_) => return true,
            }
        }
        true
    }

    fn drain(&self, world: &World) {
        // The bytes owed to this client occupy the connection.
        if self.fate == Fate::Owe {
            return;
        }
        self.read_all(world);
        let (sent, echoed) = (self.sent.get(), self.echoed.get());
        world.check(echoed <= sent, || format!("client {}: {echoed} of {sent} bytes", self.id));
    }

    /// Waits for the end of the connection.
    pub fn sees_its_end(&self, world: &World) -> bool {
        while !self.read_all(world) {
            let waits = |stream: &TcpStream| is_ready(stream, Interest::READABLE, patience());
            if !self.with_stream(waits).unwrap_or(true) {
                return false;
            }
        }
        true
    }
}

#[derive(Default)]
pub struct Clients(RefCell<Vec<Rc<Client>>>);

impl Clients {
    pub fn all(&self) -> Vec<Rc<Client>> {
        self.0.borrow().clone()
    }

    fn pick(&self, which: usize) -> Option<Rc<Client>> {
        let clients = self.0.borrow();
        Some(Rc::clone(&clients[pick(which, clients.len())?]))
    }

    pub fn send(&self, which: usize, count: usize) {
        let Some(client) = self.pick(which) else { return };
        if client.sent.get() - client.echoed.get() < MOST_BYTES {
            client.with_stream(|stream| send(stream, &client.sent, count));
        }
    }

    pub fn close(&self, which: usize) {
        if let Some(client) = self.pick(which) {
            drop(client.stream.take());
        }
    }

    pub fn release(&self) {
        for client in self.0.take() {
            drop(client.stream.take());
        }
    }

    pub fn drain(&self, world: &World) {
        for client in self.all() {
            client.drain(world);
        }
    }

    /// An echo that a server owes.
    pub fn unanswered(&self) -> Option<String> {
        let clients = self.0.borrow();
        let client = clients.iter().find(|client| {
            client.fate == Fate::Echo
                && client.server.is_open.get()
                && client.stream.borrow().is_some()
                && client.echoed.get() < client.sent.get()
        })?;
        let (id, echoed, sent) = (client.id, client.echoed.get(), client.sent.get());
        Some(format!("client {id} has {echoed} of {sent} bytes"))
    }
}

impl World {
    pub fn connect(self: &Rc<Self>, which: usize, fate: Fate) {
        let Some(server) = self.servers.pick(which) else { return };
        if !server.is_open.get() || self.clients.0.borrow().len() >= MOST_CLIENTS {
            return;
        }
        let stream = match TcpStream::connect(server.address) {
            Ok(stream) => stream,
            Err(error) => return self.wrong(format!("a server that is open: {error}")),
        };
        stream.set_nonblocking(true).expect("becomes non-blocking");
        stream.set_nodelay(true).expect("is TCP");
        self.clients.0.borrow_mut().push(Rc::new(Client {
            id: self.new_id(),
            address: stream.local_addr().expect("an address"),
            stream: RefCell::new(Some(stream)),
            fate,
            server,
            sent: Cell::new(0),
            echoed: Cell::new(0),
        }));
    }
}
