//! Sources with callbacks: bytes in order, no event outside the interest, and no event missing.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use polyselect::{Event, Interest, Key, Next, Ready};

use super::readiness::is_ready;
use super::socket::{Socket, check_bytes, is_end, new_address, send};
use super::steps::{Answer, Kind};
use super::world::{Loop, World, next_of, panic_as_planned, pick};

const MOST_SOURCES: usize = 12;
const MOST_CLIENTS: u64 = 100;

/// The number of iterations in which a ready source may wait for its callback: those after a panic
/// skip the wait.
const MOST_IDLE: u32 = 3;

pub struct Watched {
    id: usize,
    key: Cell<Option<Key>>,
    interest: Cell<Interest>,
    /// When its registration ended.
    ended: Cell<Option<u64>>,
    is_running: Cell<bool>,
    owes_error: Cell<bool>,
    peer: RefCell<Option<Socket>>,
    clients: RefCell<Vec<TcpStream>>,
    address: Option<SocketAddr>,
    sent: Cell<u64>,
    received: Cell<u64>,
    is_source_dropped: Rc<Cell<bool>>,
    is_callback_dropped: Rc<Cell<bool>>,
    is_touched: Cell<bool>,
    was_ready: Cell<bool>,
    idle: Cell<u32>,
}

/// A part of a callback.
struct Part(Rc<Cell<bool>>);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[derive(Default)]
pub struct Sources(RefCell<Vec<Rc<Watched>>>);

impl Watched {
    fn new(id: usize, interest: Interest, source: Rc<Cell<bool>>) -> Self {
        Self {
            id,
            key: Cell::new(None),
            interest: Cell::new(interest),
            ended: Cell::new(None),
            is_running: Cell::new(false),
            owes_error: Cell::new(false),
            peer: RefCell::default(),
            clients: RefCell::default(),
            address: None,
            sent: Cell::new(0),
            received: Cell::new(0),
            is_source_dropped: source,
            is_callback_dropped: Rc::default(),
            is_touched: Cell::new(true),
            was_ready: Cell::new(false),
            idle: Cell::new(0),
        }
    }

    fn part(&self) -> Part {
        Part(Rc::clone(&self.is_callback_dropped))
    }

    fn is_live(&self) -> bool {
        self.ended.get().is_none()
    }

    fn key(&self) -> Key {
        self.key.get().expect("is registered")
    }

    fn set_interest(&self, interest: Interest) {
        self.interest.set(interest);
        self.is_touched.set(true);
    }

    fn is_ready(&self, event_loop: &Loop) -> bool {
        let (key, interest) = (self.key(), self.interest.get());
        match (event_loop.get::<Socket>(key), event_loop.get::<TcpListener>(key)) {
            (Some(socket), _) => is_ready(socket, interest, Duration::ZERO),
            (_, Some(listener)) => is_ready(listener, interest, Duration::ZERO),
            _ => false,
        }
    }
}

impl Sources {
    /// One of the registered sources.
    fn pick(&self, which: usize) -> Option<Rc<Watched>> {
        let sources = self.0.borrow();
        let live: Vec<_> = sources.iter().filter(|watched| watched.is_live()).collect();
        Some(Rc::clone(live[pick(which, live.len())?]))
    }

    pub fn send(&self, which: usize, count: usize) {
        let Some(watched) = self.pick(which) else { return };
        if let Some(peer) = &*watched.peer.borrow() {
            send(peer, &watched.sent, count);
        }
        if let Some(address) = watched.address {
            for _ in 0..(count % 4 + 1) {
                if watched.sent.get() - watched.received.get() < MOST_CLIENTS
                    && let Ok(client) = TcpStream::connect(address)
                {
                    watched.clients.borrow_mut().push(client);
                    watched.sent.set(watched.sent.get() + 1);
                }
            }
        }
    }

    pub fn hang_up(&self, which: usize) {
        let Some(watched) = self.pick(which) else { return };
        let peer = watched.peer.take();
        drop(peer);
    }

    pub fn release(&self) {
        let sources = self.0.take();
        for watched in &sources {
            drop((watched.peer.take(), watched.clients.take()));
        }
    }

    /// Sources that are not dropped, although their loop is.
    pub fn left(&self) -> Vec<usize> {
        let sources = self.0.borrow();
        let is_left = |watched: &&Rc<Watched>| {
            !watched.is_source_dropped.get() || !watched.is_callback_dropped.get()
        };
        sources.iter().filter(is_left).map(|watched| watched.id).collect()
    }
}

impl World {
    pub fn register(self: &Rc<Self>, kind: Kind, interest: Interest, event_loop: &mut Loop) {
        if self.sources.0.borrow().len() >= MOST_SOURCES {
            return;
        }
        let id = self.new_id();
        let watched = if kind == Kind::Listener {
            let listener = TcpListener::bind(new_address()).expect("listens");
            let mut watched = Watched::new(id, Interest::READABLE, Rc::default());
            // The listener belongs to the library, and its callback stands for both.
            watched.is_source_dropped = Rc::clone(&watched.is_callback_dropped);
            watched.address = Some(listener.local_addr().expect("an address"));
            let watched = Rc::new(watched);
            let (world, this, part) = (Rc::clone(self), Rc::clone(&watched), watched.part());
            let key = event_loop.accept(listener, move |event_loop, conn, _address| {
                let _ = &part;
                world.accepted(&this, event_loop, conn)
            });
            watched.key.set(Some(key.expect("is registered")));
            watched
        } else {
            let (socket, peer) = Socket::pair(kind);
            let socket = socket.acting(self);
            let watched = Rc::new(Watched::new(id, interest, socket.is_dropped()));
            *watched.peer.borrow_mut() = Some(peer);
            let (world, this, part) = (Rc::clone(self), Rc::clone(&watched), watched.part());
            let key = event_loop.register(socket, interest, move |event_loop, socket, event| {
                let _ = &part;
                world.source_called(&this, event_loop, socket, event)
            });
            watched.key.set(Some(key.expect("is registered")));
            watched
        };
        self.sources.0.borrow_mut().push(watched);
    }

    fn source_called(
        self: &Rc<Self>,
        watched: &Rc<Watched>,
        event_loop: &mut Loop,
        mut socket: &Socket,
        event: Event,
    ) -> io::Result<Next> {
        self.check_call(watched, Some(event));
        let mut has_ended = false;
        if event.is_readable() {
            let mut buffer = vec![0; watched.id % 7 * 20 + 1];
            match socket.read(&mut buffer) {
                Ok(count @ 1..) => {
                    let name = format!("source {}", watched.id);
                    check_bytes(self, &name, &watched.received, &buffer[..count]);
                }
                Ok(_) => has_ended = true,
                Err(error) => has_ended = is_end(&error),
            }
            if has_ended {
                let is_complete = watched.received == watched.sent;
                self.check(is_complete, || format!("source {} ends early", watched.id));
            }
        }
        let answer = self.act_in_source(watched, event_loop);
        let answer = if has_ended { Some(Answer::Remove) } else { answer };
        match answer {
            None => {}
            Some(Answer::Remove) => self.end_source(watched),
            Some(Answer::Modify(interest)) => watched.set_interest(interest),
            Some(Answer::Fail) => {
                watched.owes_error.set(true);
                self.end_source(watched);
            }
        }
        next_of(answer)
    }

    fn accepted(
        self: &Rc<Self>,
        watched: &Rc<Watched>,
        event_loop: &mut Loop,
        conn: TcpStream,
    ) -> io::Result<()> {
        self.check_call(watched, None);
        watched.received.set(watched.received.get() + 1);
        drop(conn);
        if self.act_in_source(watched, event_loop) == Some(Answer::Fail) {
            watched.owes_error.set(true);
            return Err(io::Error::other("as planned"));
        }
        Ok(())
    }

    fn act_in_source(self: &Rc<Self>, watched: &Watched, event_loop: &mut Loop) -> Option<Answer> {
        self.answer.set(None);
        watched.is_running.set(true);
        let panics = self.act(Some(event_loop));
        watched.is_running.set(false);
        let is_replaced = self.replaced.borrow().is_some();
        if panics || is_replaced && watched.id.is_multiple_of(3) {
            self.end_source(watched);
            panic_as_planned();
        }
        match self.answer.take() {
            // The loop applies the result in its next iteration, and another change may come
            // before.
            Some(Answer::Modify(_)) | None if is_replaced => {
                (watched.id % 3 == 1).then_some(Answer::Remove)
            }
            // The other loop would get the error of a listener.
            Some(Answer::Fail) if is_replaced && watched.address.is_some() => None,
            answer => answer,
        }
    }

    fn check_call(&self, watched: &Watched, event: Option<Event>) {
        let (id, interest) = (watched.id, watched.interest.get());
        self.check(watched.is_live(), || format!("source {id} is called after its end"));
        let ready = event.map_or(Ready::READABLE, |event| event.ready);
        let asked = Ready::READABLE | Ready::WRITABLE | Ready::PRIORITY;
        let is_wanted = !interest.is_empty() && Ready::from(interest).contains(ready & asked);
        self.check(is_wanted, || {
            format!("source {id} with the interest {interest:?} is called for {ready:?}")
        });
        watched.is_touched.set(true);
    }

    fn end_source(&self, watched: &Watched) {
        if watched.is_live() {
            watched.ended.set(Some(self.turn.get()));
        }
    }

    pub fn modify(&self, which: usize, interest: Interest, event_loop: &mut Loop) {
        let Some(watched) = self.sources.pick(which) else { return };
        let interest = match watched.address {
            Some(_) => interest & Interest::READABLE,
            None => interest,
        };
        watched.set_interest(interest);
        let result = event_loop.modify(watched.key(), interest);
        self.check(result.is_ok(), || format!("source {}: {result:?}", watched.id));
    }

    pub fn unregister(&self, which: usize, event_loop: &mut Loop) {
        let Some(watched) = self.sources.pick(which) else { return };
        self.end_source(&watched);
        let result = event_loop.unregister(watched.key());
        self.check(result.is_ok(), || format!("source {}: {result:?}", watched.id));
    }

    pub fn take(&self, which: usize, event_loop: &mut Loop) {
        let Some(watched) = self.sources.pick(which) else { return };
        let key = watched.key();
        if !watched.is_running.get() {
            self.end_source(&watched);
        }
        let taken = match watched.address {
            Some(_) => event_loop.take::<TcpListener>(key).map(drop),
            None => event_loop.take::<Socket>(key).map(drop),
        };
        let is_right = match &taken {
            Ok(()) => !watched.is_running.get(),
            Err(error) => watched.is_running.get() && error.kind() == io::ErrorKind::ResourceBusy,
        };
        self.check(is_right, || format!("take of source {}: {taken:?}", watched.id));
    }

    pub fn error_reported(self: &Rc<Self>, key: Key, error: &io::Error, event_loop: &mut Loop) {
        let watched = {
            let sources = self.sources.0.borrow();
            sources.iter().find(|watched| watched.key.get() == Some(key)).cloned()
        };
        let Some(watched) = watched else {
            return self.wrong(format!("the error of an unknown source: {error}"));
        };
        let is_owed = watched.owes_error.replace(false) && error.to_string() == "as planned";
        self.check(is_owed, || format!("an error of source {}: {error}", watched.id));
        // For a listener this is a part of its callback.
        watched.is_running.set(true);
        let panics = self.act(Some(event_loop));
        watched.is_running.set(false);
        // A listener's would be a panic of its callback, which continues.
        if panics && watched.address.is_none() {
            panic_as_planned();
        }
    }

    /// Checks the sources after an iteration that ended normally.
    pub fn check_sources(&self, event_loop: &Loop) {
        let sources = self.sources.0.borrow().clone();
        for watched in &sources {
            let (id, is_live) = (watched.id, watched.is_live());
            let is_known = event_loop.contains(watched.key());
            self.check(is_known == is_live, || {
                format!("source {id} is live: {is_live}, and for the loop: {is_known}")
            });
            if is_live {
                let is_ready = watched.is_ready(event_loop);
                let is_idle =
                    is_ready && watched.was_ready.get() && !watched.is_touched.replace(false);
                watched.idle.set(if is_idle { watched.idle.get() + 1 } else { 0 });
                watched.was_ready.set(is_ready);
                self.check(watched.idle.get() < MOST_IDLE, || {
                    format!("source {id} is ready and is not called")
                });
            } else if watched.ended.get() < Some(self.turn.get()) {
                let is_dropped =
                    watched.is_source_dropped.get() && watched.is_callback_dropped.get();
                self.check(is_dropped, || format!("source {id} has ended and is not dropped"));
                self.check(!watched.owes_error.get(), || format!("the error of {id} is lost"));
            }
        }
        let live = sources.iter().filter(|watched| watched.is_live()).count();
        let known = event_loop.len();
        self.check(known == live, || format!("the loop has {known} sources, not {live}"));
        self.sources
            .0
            .borrow_mut()
            .retain(|watched| watched.is_live() || watched.ended.get() >= Some(self.turn.get()));
    }

    /// Ends all sources that are left.
    pub fn end_sources(&self, event_loop: &mut Loop) {
        while let Some(watched) = self.sources.pick(0) {
            self.end_source(&watched);
            let result = event_loop.unregister(watched.key());
            self.check(result.is_ok(), || format!("source {}: {result:?}", watched.id));
        }
    }
}
