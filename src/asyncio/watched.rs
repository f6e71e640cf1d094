//! A source that coroutines wait for.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use rustix::fd::BorrowedFd;

use super::runtime::{Runtime, operation_budget};
use crate::event::Event;
use crate::interest::Interest;
use crate::key::Key;

/// A source without its type.
pub(crate) trait Watched {
    fn descriptor(&self) -> BorrowedFd<'_>;
    fn state(&self) -> &State;
}

/// The reading or the writing side of a source.
pub(super) struct Direction {
    interest: Interest,
    /// Whether an operation may do without waiting: nothing has said otherwise since the last event.
    is_ready: Cell<bool>,
    /// Whether the last operation since the event went by way of this, so that `is_ready` knows of it.
    is_tracked: Cell<bool>,
    /// Whether it is ready for good: the peer has ended the stream, or it has failed.
    is_ended: Cell<bool>,
    budget: Cell<u32>,
    is_waited_for: Cell<bool>,
    /// It stays here after it was used: the same task most often waits again.
    waker: Cell<Option<Waker>>,
    /// Further tasks that wait for the same.
    others: RefCell<Vec<Waker>>,
    /// Counts events, so that a future knows that one has come since its first poll.
    events: Cell<u32>,
}

impl Direction {
    fn new(interest: Interest) -> Self {
        Self {
            interest,
            // The first operation is tried at once: a client has often sent its request by now, and
            // there is always room for the first answer.
            is_ready: Cell::new(true),
            is_tracked: Cell::new(false),
            is_ended: Cell::new(false),
            budget: Cell::new(operation_budget()),
            is_waited_for: Cell::new(false),
            waker: Cell::new(None),
            others: RefCell::default(),
            events: Cell::new(0),
        }
    }

    fn wait(&self, waker: &Waker) {
        match self.waker.take() {
            Some(known) if known.will_wake(waker) => self.waker.set(Some(known)),
            Some(known) if self.is_waited_for.get() => {
                self.waker.set(Some(known));
                let mut others = self.others.borrow_mut();
                if !others.iter().any(|other| other.will_wake(waker)) {
                    others.push(waker.clone());
                }
            }
            _ => self.waker.set(Some(waker.clone())),
        }
        self.is_waited_for.set(true);
        self.budget.set(operation_budget());
    }

    fn wake(&self) {
        self.events.set(self.events.get().wrapping_add(1));
        self.is_ready.set(true);
        if !self.is_waited_for.replace(false) {
            return;
        }
        if let Some(waker) = self.waker.take() {
            waker.wake_by_ref();
            self.waker.set(Some(waker));
        }
        if !self.others.borrow().is_empty() {
            let others = self.others.take();
            others.into_iter().for_each(Waker::wake);
        }
    }

    /// Counts an operation, or lets others have a turn before it.
    #[inline]
    fn spend(&self, context: &Context<'_>) -> Poll<()> {
        match self.budget.get().checked_sub(1) {
            Some(left) => {
                self.budget.set(left);
                Poll::Ready(())
            }
            None => {
                self.budget.set(operation_budget());
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// Lets `operation` try, and learns from it whether to try again or to wait.
    #[inline]
    pub(super) fn attempt<R>(
        &self,
        mut operation: impl FnMut() -> io::Result<R>,
        has_more: impl Fn(&R) -> bool,
    ) -> io::Result<R> {
        self.is_tracked.set(true);
        loop {
            match operation() {
                Ok(result) => {
                    if !has_more(&result) {
                        self.is_ready.set(self.is_ended.get());
                    }
                    return Ok(result);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_ready.set(false);
                    return Err(error);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn wanted(&self) -> Interest {
        if self.is_waited_for.get() { self.interest } else { Interest::empty() }
    }
}

/// What is the same for every type of source.
///
/// It is watched for edges where the mechanism has them: then the kernel is told once, and what a
/// direction knows of itself says whether to try or to wait. Elsewhere it is watched for what is
/// waited for, level-triggered.
pub(crate) struct State {
    runtime: RefCell<Option<Rc<Runtime>>>,
    key: Cell<Option<Key>>,
    /// What the loop watches it for.
    watched: Cell<Interest>,
    is_edge: Cell<bool>,
    pub(super) reading: Direction,
    pub(super) writing: Direction,
    /// Whether it is among those that the loop has to look after.
    is_listed: Cell<bool>,
    /// Whether nobody will wait for it again.
    is_released: Cell<bool>,
    failure: Cell<Option<io::Error>>,
    pub(crate) location: &'static Location<'static>,
}

impl State {
    pub(super) fn new(location: &'static Location<'static>) -> Self {
        Self {
            runtime: RefCell::default(),
            key: Cell::new(None),
            watched: Cell::new(Interest::empty()),
            is_edge: Cell::new(false),
            reading: Direction::new(Interest::READABLE),
            writing: Direction::new(Interest::WRITABLE),
            is_listed: Cell::new(false),
            is_released: Cell::new(false),
            failure: Cell::new(None),
            location,
        }
    }

    #[cold]
    fn list(&self, watched: impl FnOnce() -> Rc<dyn Watched>) {
        if !self.is_listed.get()
            && let Some(runtime) = &*self.runtime.borrow()
        {
            self.is_listed.set(true);
            runtime.push_changed(watched());
        }
    }

    /// Sees to it that the loop which polls the caller looks after the source.
    fn bind(&self) -> io::Result<()> {
        let current = Runtime::current()?;
        let mut runtime = self.runtime.borrow_mut();
        match &*runtime {
            Some(known) if Rc::ptr_eq(known, &current) => return Ok(()),
            Some(_) if self.key.get().is_some() => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "this source is registered with another event loop: into_inner takes it out",
                ));
            }
            _ => {}
        }
        self.is_listed.set(false);
        *runtime = Some(current);
        Ok(())
    }

    /// Makes that the next event in this direction wakes the task.
    #[inline]
    fn wait(
        &self,
        direction: &Direction,
        context: &Context<'_>,
        watched: impl FnOnce() -> Rc<dyn Watched>,
    ) -> Poll<io::Error> {
        if !self.watched.get().contains(direction.interest) {
            if let Some(error) = self.failure.take() {
                return Poll::Ready(error);
            }
            if let Err(error) = self.bind() {
                return Poll::Ready(error);
            }
            self.list(watched);
        }
        // The event says when to try again.
        direction.is_ready.set(false);
        direction.wait(context.waker());
        Poll::Pending
    }

    /// Waits for an event that comes after the first poll, which fills `begin`; or finds by `probe`
    /// that there is nothing to wait for.
    pub(super) fn poll_event(
        &self,
        direction: &Direction,
        begin: &mut Option<u32>,
        context: &Context<'_>,
        watched: impl FnOnce() -> Rc<dyn Watched>,
        probe: impl FnOnce() -> io::Result<bool>,
    ) -> Poll<io::Result<()>> {
        let events = direction.events.get();
        match begin {
            Some(begin) if *begin != events => {
                direction.is_tracked.set(false);
                return Poll::Ready(self.failure.take().map_or(Ok(()), Err));
            }
            Some(_) => {}
            None => {
                // There is no edge while it is ready all the time. After an operation that went by
                // way of this, another one is the cheapest way to find out, cheaper than a `poll`.
                if direction.is_ready.get() && self.is_edge.get() {
                    ready!(direction.spend(context));
                    if direction.is_tracked.replace(false) || probe()? {
                        return Poll::Ready(Ok(()));
                    }
                    direction.is_ready.set(false);
                }
                *begin = Some(events);
            }
        }
        self.wait(direction, context, watched).map(Err)
    }

    /// Lets `operation` try; if it would block, the next event in this direction wakes the task.
    ///
    /// `has_more` says of a result whether it is worth trying again without a wait.
    #[inline]
    pub(super) fn poll_operation<R>(
        &self,
        direction: &Direction,
        context: &Context<'_>,
        watched: impl FnOnce() -> Rc<dyn Watched>,
        mut operation: impl FnMut() -> io::Result<R>,
        has_more: impl Fn(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        while direction.is_ready.get() {
            ready!(direction.spend(context));
            match direction.attempt(&mut operation, &has_more) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
        self.wait(direction, context, watched).map(Err)
    }

    /// Nobody will wait for the source any more.
    pub(super) fn release(&self, watched: impl FnOnce() -> Rc<dyn Watched>) {
        self.is_released.set(true);
        if self.is_registered() {
            self.list(watched);
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.key.get().is_some()
    }

    /// What the loop has to do about the source. It is off the list then.
    pub(crate) fn take_order(&self) -> Order {
        self.is_listed.set(false);
        let mut wanted = self.reading.wanted() | self.writing.wanted();
        let was = self.watched.get();
        if self.is_edge.get() {
            // What was asked for once costs nothing while it does not happen.
            wanted |= was;
        }
        match self.key.get() {
            Some(key) if self.is_released.get() => Order::Unregister(key),
            None if self.is_released.get() || wanted.is_empty() => Order::Nothing,
            None => Order::Register(wanted),
            Some(key) if wanted != was => Order::Modify(key, wanted),
            Some(_) => Order::Nothing,
        }
    }

    pub(crate) fn registered(&self, key: Key, interest: Interest, is_edge: bool) {
        self.key.set(Some(key));
        self.watched.set(interest);
        self.is_edge.set(is_edge);
    }

    pub(crate) fn modified(&self, interest: Interest) {
        self.watched.set(interest);
    }

    /// Its registration has ended: because it was released, or because its loop was dropped. Who waits
    /// in a coroutine of another loop goes on there.
    pub(crate) fn unregistered(&self) {
        if self.forget_registration() {
            self.reading.wake();
            self.writing.wake();
        }
    }

    /// Whether there was one.
    fn forget_registration(&self) -> bool {
        self.watched.set(Interest::empty());
        self.is_edge.set(false);
        self.key.take().is_some()
    }

    /// Its registration ends, and is to be made anew: the loop gets another mechanism.
    pub(crate) fn suspend(&self, watched: impl FnOnce() -> Rc<dyn Watched>) {
        self.forget_registration();
        for direction in [&self.reading, &self.writing] {
            // What it knew stood on edges, and now there is none for what has been told.
            direction.is_ready.set(true);
        }
        self.list(watched);
    }

    /// Who waits gets the error.
    pub(crate) fn fail(&self, error: io::Error) {
        self.failure.set(Some(error));
        self.watched.set(Interest::empty());
        self.reading.wake();
        self.writing.wake();
    }

    /// Wakes those who wait for what has come.
    #[inline]
    pub(crate) fn deliver(&self, event: &Event, watched: impl FnOnce() -> Rc<dyn Watched>) {
        let (readable, writable) = (event.is_readable(), event.is_writable());
        // A hang-up of what can only be written is neither.
        let all = event.is_invalid() || !readable && !writable;
        if event.is_read_closed() || event.is_error() {
            self.reading.is_ended.set(true);
        }
        let mut is_unwanted = false;
        if all || readable {
            // Who read most often reads again, and then nothing has to be changed. If nobody does,
            // the next event finds nobody.
            is_unwanted |= !self.reading.is_waited_for.get();
            self.reading.wake();
        }
        if all || writable {
            // Who could not write can now, most often for long.
            is_unwanted = true;
            self.writing.wake();
        }
        if is_unwanted && !self.is_edge.get() {
            self.list(watched);
        }
    }
}

/// What a loop has to do about a source.
pub(crate) enum Order {
    Nothing,
    Register(Interest),
    Modify(Key, Interest),
    Unregister(Key),
}
