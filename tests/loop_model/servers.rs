//! Servers: each connection has its own outcome, and none affects the others.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use polyselect::asyncio::{self, Async, Server};

use super::ending::patience;
use super::socket::new_address;
use super::steps::Fate;
use super::world::{World, panic_as_planned, pick};

const MOST_SERVERS: usize = 3;

/// More than the kernel queues for a client that does not read.
const OWED: usize = 12 << 20;

pub struct ServerEntry {
    server: RefCell<Option<Rc<Server>>>,
    pub address: SocketAddr,
    /// Whether it accepts connections, and was not stopped, closed or dropped.
    pub is_open: Cell<bool>,
}

impl ServerEntry {
    pub fn handle(&self) -> Option<Rc<Server>> {
        self.server.borrow().clone()
    }
}

#[derive(Default)]
pub struct Servers(RefCell<Vec<Rc<ServerEntry>>>);

impl Servers {
    pub fn pick(&self, which: usize) -> Option<Rc<ServerEntry>> {
        let servers = self.0.borrow();
        Some(Rc::clone(&servers[pick(which, servers.len())?]))
    }

    pub fn release(&self) {
        for server in self.0.take() {
            server.is_open.set(false);
            let handle = server.server.take();
            drop(handle);
        }
    }
}

type Served = Pin<Box<dyn Future<Output = io::Result<()>>>>;

impl World {
    pub async fn serve(self: Rc<Self>) {
        if self.servers.0.borrow().len() >= MOST_SERVERS || self.is_ending.get() {
            return;
        }
        let world = Rc::clone(&self);
        let server = asyncio::start_server(new_address(), move |stream| world.handle(stream));
        match server {
            Ok(server) => {
                let address = server.local_addr().expect("an address");
                let server = RefCell::new(Some(Rc::new(server)));
                let is_open = Cell::new(true);
                let entry = ServerEntry { server, address, is_open };
                self.servers.0.borrow_mut().push(Rc::new(entry));
            }
            Err(error) => self.wrong(format!("a server starts: {error}")),
        }
    }

    fn handle(self: &Rc<Self>, stream: Async<TcpStream>) -> Served {
        let clients = self.clients.all();
        // A client that has closed is not a failure. The timers of Nagle's algorithm use the
        // kernel's time.
        stream.get_ref().set_nodelay(true).ok();
        let (own, peer) = (stream.get_ref().local_addr().ok(), stream.get_ref().peer_addr().ok());
        let client = clients
            .iter()
            .find(|client| Some(client.address) == peer && Some(client.server.address) == own);
        // A client that has closed may have no address any more.
        let fate = client.map_or(Fate::Fail, |client| client.fate);
        if fate == Fate::PanicEarly {
            panic_as_planned();
        }
        let world = Rc::clone(self);
        Box::pin(async move { world.serve_one(stream, fate).await })
    }

    async fn serve_one(self: Rc<Self>, stream: Async<TcpStream>, fate: Fate) -> io::Result<()> {
        let mut buffer = [0; 700];
        match fate {
            Fate::Echo => {
                let (mut reader, mut writer) = stream.split();
                loop {
                    match reader.read(&mut buffer).await? {
                        0 => return writer.close().await,
                        count => writer.write(&buffer[..count])?,
                    }
                    writer.drain().await?;
                }
            }
            Fate::PanicEarly => unreachable!("has panicked"),
            Fate::PanicLate => {
                let (mut reader, _writer) = stream.split();
                reader.read(&mut buffer).await?;
                panic_as_planned();
            }
            Fate::Fail => Err(io::Error::other("as planned")),
            Fate::Owe => {
                let (_reader, mut writer) = stream.split();
                writer.write(&vec![0; OWED])?;
                asyncio::yield_now().await;
                Ok(())
            }
            Fate::Hold => {
                while stream.read(&mut buffer).await? > 0 {}
                Ok(())
            }
        }
    }

    pub fn drop_server(&self, which: usize) {
        let Some(entry) = self.servers.pick(which) else { return };
        entry.is_open.set(false);
        let server = entry.server.take();
        drop(server);
    }

    pub async fn stop_server(self: Rc<Self>, which: usize, grace: Duration) {
        let Some(entry) = self.servers.pick(which) else { return };
        let Some(server) = entry.handle() else { return };
        entry.is_open.set(false);
        server.stop(grace).await;
        self.check_address(entry.address, "stop");
        let left = server.connections();
        self.check(left == 0, || format!("a server that was stopped has {left} connections"));
        for client in self.clients.all().iter().filter(|client| client.is_of(&entry)) {
            let fate = client.fate;
            self.check(client.sees_its_end(&self), || {
                format!("a connection, {fate:?}, outlives its server")
            });
        }
        self.act_in_task();
    }

    pub async fn close_server(self: Rc<Self>, which: usize) {
        let Some(entry) = self.servers.pick(which) else { return };
        let Some(server) = entry.handle() else { return };
        entry.is_open.set(false);
        server.close();
        let result = server.wait_closed().await;
        self.check(result.is_ok(), || format!("wait_closed: {result:?}"));
        self.check_address(entry.address, "wait_closed");
        let left = server.connections();
        self.check(left == 0, || format!("a server that is closed has {left} connections"));
        self.act_in_task();
    }

    /// Checks that the address of an ended server, which nothing else uses, can be listened on.
    fn check_address(&self, address: SocketAddr, what: &str) {
        let start = Instant::now();
        while let Err(error) = TcpListener::bind(address) {
            // A child has a copy of every descriptor until its program is loaded.
            let has_children = self.children.have_started() || self.processes.have_started();
            let may_be_childs = has_children && start.elapsed() < patience();
            if !may_be_childs {
                return self.wrong(format!("after {what}, its address is not free: {error}"));
            }
        }
    }
}
