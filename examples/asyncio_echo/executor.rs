//! A single-threaded executor: polls the tasks that are woken, and waits in the selector when
//! none is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use polyselect::{Backend, Event, Events, Interest, Key, Selector};
use socket2::Socket;

use crate::common;

type Coroutine = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks that wait for a socket.
#[derive(Default)]
struct Waiting {
    to_read: Option<Waker>,
    to_write: Option<Waker>,
}

impl Waiting {
    fn interest(&self) -> Interest {
        let mut interest = Interest::empty();
        interest.set(Interest::READABLE, self.to_read.is_some());
        interest.set(Interest::WRITABLE, self.to_write.is_some());
        interest
    }
}

/// The state that all tasks share.
struct Shared {
    selector: RefCell<Selector<Rc<Socket>, Waiting>>,
    sleeping: RefCell<Vec<(Instant, Waker)>>,
    spawned: RefCell<Vec<Coroutine>>,
}

/// The handle of a task: waits, and starts other tasks.
#[derive(Clone)]
pub(crate) struct Handle(Rc<Shared>);

impl Handle {
    pub(crate) fn spawn(&self, coroutine: impl Future<Output = ()> + 'static) {
        self.0.spawned.borrow_mut().push(Box::pin(coroutine));
    }

    pub(crate) fn register(&self, socket: Rc<Socket>) -> io::Result<Key> {
        let mut selector = self.0.selector.borrow_mut();
        Ok(selector.register(socket, Interest::empty(), Waiting::default())?)
    }

    pub(crate) fn unregister(&self, key: Key) {
        // A waker dropped with it runs no code of this program.
        if let Err(error) = self.0.selector.borrow_mut().unregister(key) {
            log::warn!("{error}");
        }
    }

    /// Wakes a task when a socket is readable, or writable.
    pub(crate) fn wake_when(&self, key: Key, what: Interest, waker: &Waker) -> io::Result<()> {
        let mut selector = self.0.selector.borrow_mut();
        let Some(this) = selector.get_mut(key) else { return Ok(()) };
        let reads = what == Interest::READABLE;
        let place = if reads { &mut this.data.to_read } else { &mut this.data.to_write };
        *place = Some(waker.clone());
        let interest = this.data.interest();
        selector.modify(key, interest)
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        let end = Instant::now() + duration;
        poll_fn(|context| {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            self.0.sleeping.borrow_mut().push((end, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Wakes the tasks whose socket is ready.
    fn socket_is_ready(&self, event: Event) -> io::Result<()> {
        let mut selector = self.0.selector.borrow_mut();
        let Some(this) = selector.get_mut(event.key) else { return Ok(()) };
        let all = event.is_invalid();
        let reader = this.data.to_read.take_if(|_| all || event.is_readable());
        let writer = this.data.to_write.take_if(|_| all || event.is_writable());
        reader.into_iter().chain(writer).for_each(Waker::wake);
        let interest = this.data.interest();
        selector.modify(event.key, interest)
    }

    /// Wakes the sleepers whose deadline has elapsed, and returns the next deadline.
    fn next_to_wake(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut sleeping = self.0.sleeping.borrow_mut();
        sleeping.extract_if(.., |(end, _)| *end <= now).for_each(|(_, waker)| waker.wake());
        sleeping.iter().map(|(end, _)| *end - now).min()
    }
}

/// The numbers of the tasks to poll.
struct Runnable {
    numbers: Mutex<Vec<u64>>,
    selector: polyselect::Waker,
    home: ThreadId,
}

struct Turn {
    number: u64,
    runnable: Arc<Runnable>,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        let Runnable { numbers, selector, home } = &*self.runnable;
        numbers.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        // On its own thread the executor is not waiting, so it needs no wake.
        if thread::current().id() != *home
            && let Err(error) = selector.wake()
        {
            log::error!("a task has to wait: {error}");
        }
    }
}

pub(crate) struct Executor {
    coroutines: HashMap<u64, Coroutine>,
    next_number: u64,
    runnable: Arc<Runnable>,
    ctrl_c: Key,
    handle: Handle,
}

impl Executor {
    pub(crate) fn new(backend: Option<Backend>) -> io::Result<Self> {
        let mut selector = backend.map_or_else(Selector::new, Selector::with_backend)?;
        let ctrl_c = Rc::new(common::ctrl_c()?);
        let ctrl_c = selector.register(ctrl_c, Interest::READABLE, Waiting::default())?;
        let runnable = Runnable {
            numbers: Mutex::default(),
            selector: selector.waker()?,
            home: thread::current().id(),
        };
        let handle = Handle(Rc::new(Shared {
            selector: RefCell::new(selector),
            sleeping: RefCell::default(),
            spawned: RefCell::default(),
        }));
        let (coroutines, runnable) = (HashMap::new(), Arc::new(runnable));
        Ok(Self { coroutines, next_number: 0, runnable, ctrl_c, handle })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until Ctrl-C is pressed.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            self.give_turns();
            let mut timeout = self.handle.next_to_wake();
            if self.is_somebody_runnable() {
                timeout = Some(Duration::ZERO);
            }
            self.handle.0.selector.borrow_mut().select(&mut events, timeout)?;
            for event in &events {
                if event.key == self.ctrl_c {
                    return Ok(());
                }
                self.handle.socket_is_ready(event)?;
            }
        }
    }

    fn is_somebody_runnable(&self) -> bool {
        !self.handle.0.spawned.borrow().is_empty()
            || !self.runnable.numbers.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Polls each woken task once. Those started or woken meanwhile are polled in the next
    /// iteration, so that no socket is starved.
    fn give_turns(&mut self) {
        let mut numbers =
            mem::take(&mut *self.runnable.numbers.lock().unwrap_or_else(PoisonError::into_inner));
        for coroutine in self.handle.0.spawned.take() {
            self.coroutines.insert(self.next_number, coroutine);
            numbers.push(self.next_number);
            self.next_number += 1;
        }
        for number in numbers {
            // A task that was woken twice may have ended at the first poll.
            let Some(coroutine) = self.coroutines.get_mut(&number) else { continue };
            let turn = Turn { number, runnable: Arc::clone(&self.runnable) };
            let waker = Waker::from(Arc::new(turn));
            if coroutine.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.coroutines.remove(&number);
            }
        }
    }
}
