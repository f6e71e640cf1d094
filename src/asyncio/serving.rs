//! The state that a server, its listener and its connections share.
//!
//! Each of them keeps [`Serving`], and none keeps another one running: a connection that panics ends
//! no other, and neither does a listener that fails.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::{io, mem, thread};

use futures_core::Stream;
use rustix::fd::AsFd;
use slab::Slab;

use super::join::JoinHandle;
use super::runtime::Runtime;
use super::source::{Async, Connection};
use super::waiters::Waiters;
use crate::Listener;

/// Accepts connections and starts a task for each, until the server closes.
pub(super) async fn accept_until_closed<L, F, R>(
    listener: Async<L>,
    serving: Rc<Serving>,
    handler: Rc<RefCell<F>>,
) where
    L: Listener<Connection: AsFd + 'static>,
    F: FnMut(Async<L::Connection>) -> R + 'static,
    R: Future<Output = io::Result<()>> + 'static,
{
    let panic = AcceptingPanics(&serving);
    let mut incoming = listener.incoming();
    let mut changed = serving.changed.waiter();
    loop {
        let next = poll_fn(|context| {
            if serving.is_closing.get() {
                return Poll::Ready(None);
            }
            serving.changed.enter(&mut changed.entry, context.waker());
            if serving.is_full() {
                return Poll::Pending;
            }
            Pin::new(&mut incoming).poll_next(context)
        });
        match next.await {
            Some(Ok((conn, addr))) => serving.start(conn, peer_of(&addr), &handler),
            Some(Err(error)) => serving.fail(error),
            None => break,
        }
    }
    mem::forget(panic);
}

/// The peer's address for the log, if the listener has addresses of the Internet. A socket that its peer has reset
/// no longer knows it.
fn peer_of(addr: &dyn Any) -> Option<SocketAddr> {
    addr.downcast_ref().copied()
}

pub(super) struct Serving {
    runtime: Weak<Runtime>,
    location: &'static Location<'static>,
    is_closing: Cell<bool>,
    max_connections: Cell<usize>,
    /// The accepting tasks, which wait for `is_closing`, and for room below the limit.
    changed: Waiters,
    /// The number of open listeners.
    listeners: Cell<usize>,
    pub(super) failure: Cell<Option<io::Error>>,
    /// Connections whose task has not ended or whose socket is not closed.
    connections: RefCell<Slab<Entry>>,
    /// Tasks that wait for the listener and the last connection to be closed.
    pub(super) ended: Waiters,
}

struct Entry {
    task: Option<JoinHandle<()>>,
    connection: Weak<dyn Connection>,
}

impl Serving {
    pub(super) fn new(runtime: &Rc<Runtime>, location: &'static Location<'static>) -> Rc<Self> {
        Rc::new(Self {
            runtime: Rc::downgrade(runtime),
            location,
            is_closing: Cell::new(false),
            max_connections: Cell::new(usize::MAX),
            changed: Waiters::default(),
            listeners: Cell::new(0),
            failure: Cell::new(None),
            connections: RefCell::default(),
            ended: Waiters::default(),
        })
    }

    /// Starts the task of a connection, in which the handler is called: if that panics, the task ends.
    fn start<S, F, R>(
        self: &Rc<Self>,
        conn: Async<S>,
        peer: Option<SocketAddr>,
        handler: &Rc<RefCell<F>>,
    ) where
        S: AsFd + 'static,
        F: FnMut(Async<S>) -> R + 'static,
        R: Future<Output = io::Result<()>> + 'static,
    {
        let Some(runtime) = self.runtime.upgrade() else { return };
        let entry = Entry { task: None, connection: conn.connection() };
        let slot = self.connections.borrow_mut().insert(entry);
        let member = Rc::new(Member { serving: Rc::clone(self), slot });
        conn.drop_on_close(Rc::clone(&member) as Rc<dyn Any>);
        let (handler, location) = (Rc::clone(handler), self.location);
        let task = async move {
            let _member = member;
            let served = handler.borrow_mut()(conn);
            drop(handler);
            if let Err(error) = served.await {
                let connection = peer.map_or_else(
                    || "a connection".to_owned(),
                    |peer| format!("the connection from {peer}"),
                );
                log::warn!("{connection} of the server started at {location}: {error}");
            }
        };
        let task = runtime.spawn(task, location);
        self.connections.borrow_mut()[slot].task = Some(task);
    }

    pub(super) fn close(&self) {
        self.is_closing.set(true);
        self.changed.wake();
    }

    pub(super) fn set_max_connections(&self, count: usize) {
        self.max_connections.set(count);
        self.changed.wake();
    }

    fn is_full(&self) -> bool {
        self.connections() >= self.max_connections.get()
    }

    fn fail(&self, error: io::Error) {
        let location = self.location;
        log::error!("the server started at {location} accepts no more connections: {error}");
        self.failure.set(Some(error));
    }

    pub(super) fn is_closed(&self) -> bool {
        self.listeners.get() == 0
    }

    pub(super) fn has_ended(&self) -> bool {
        self.is_closed() && self.connections.borrow().is_empty()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.borrow().len()
    }

    fn wake_if_ended(&self) {
        if self.has_ended() {
            self.ended.wake();
        }
    }

    /// Whether it belongs to another loop than the one that polls the caller.
    pub(super) fn is_elsewhere(&self) -> bool {
        let current = Runtime::current_address();
        !current.is_null() && current != self.runtime.as_ptr() && self.runtime.strong_count() > 0
    }

    /// Cancels the tasks of the connections, and aborts their writers. Returns the number of
    /// connections.
    pub(super) fn cut_off(&self) -> usize {
        let cut: Vec<_> = {
            let mut connections = self.connections.borrow_mut();
            let each = |(_, entry): (_, &mut Entry)| (entry.task.take(), entry.connection.clone());
            connections.iter_mut().map(each).collect()
        };
        let count = cut.len();
        for (task, connection) in cut {
            drop(task);
            if let Some(connection) = connection.upgrade() {
                connection.abort();
            }
        }
        count
    }

    /// Shuts down the connections that are left because a handle is kept outside of their task, and no
    /// longer counts them.
    pub(super) fn forget_the_rest(&self) {
        for (_, entry) in self.connections.take() {
            if let Some(connection) = entry.connection.upgrade() {
                connection.shut_down();
            }
        }
        self.wake_if_ended();
    }
}

/// Counts a listener; is kept by its source.
pub(super) struct OpenListener(Rc<Serving>);

impl OpenListener {
    pub(super) fn new(serving: &Rc<Serving>) -> Self {
        serving.listeners.set(serving.listeners.get() + 1);
        Self(Rc::clone(serving))
    }
}

impl Drop for OpenListener {
    fn drop(&mut self) {
        self.0.listeners.set(self.0.listeners.get() - 1);
        self.0.wake_if_ended();
    }
}

/// Is kept by a connection's task and by its socket.
struct Member {
    serving: Rc<Serving>,
    slot: usize,
}

impl Drop for Member {
    fn drop(&mut self) {
        let was_full = self.serving.is_full();
        let entry = self.serving.connections.borrow_mut().try_remove(self.slot);
        if was_full {
            self.serving.changed.wake();
        }
        // A panic of the task is logged then.
        entry.and_then(|entry| entry.task).into_iter().for_each(JoinHandle::detach);
        self.serving.wake_if_ended();
    }
}

/// Reports a panic of the accepting task. If the task ends otherwise, the reporter is forgotten.
struct AcceptingPanics<'a>(&'a Serving);

impl Drop for AcceptingPanics<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(io::Error::other("its listener has panicked"));
        }
    }
}
