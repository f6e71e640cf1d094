//! The part of a source that is the same for every type: two directions, and the registration.
//!
//! A source is watched for edges where the backend has them: it is registered once, and the state of the
//! directions decides whether to try or to wait. Elsewhere it is level-triggered, with the interest of its tasks.
//! It belongs to the loop in which a task waited for it, until that loop has unregistered it or is gone.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::Location;
use std::ptr;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::fd::BorrowedFd;

use super::readiness::{Direction, Readiness};
use super::requests::TaskSource;
use super::runtime::Runtime;
use super::short_read::ShortRead;
use super::time::sleep;
use super::waiters::Entry;
use crate::event::Event;
use crate::interest::{Interest, Watch};
use crate::key::Key;
use crate::ready::Ready;

/// The pause of a direction when the kernel reports an error that the operation does not take.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Every later wait is an error.
    Aborted,
    /// The last handle is gone.
    Released,
}

pub(super) struct State {
    /// The loop that the source is registered with, or will be.
    runtime: RefCell<Weak<Runtime>>,
    /// Its address, which is cheap to compare; null before the first wait.
    home: Cell<*const Runtime>,
    pub(super) key: Cell<Option<Key>>,
    /// The watch of the registration; empty while the source is not registered.
    pub(super) watch: Cell<Watch>,
    pub(super) reading: Direction,
    pub(super) writing: Direction,
    pub(super) short_read: Cell<ShortRead>,
    pub(super) phase: Cell<Phase>,
    /// Whether it is on the loop's list of sources that have changed.
    pub(super) is_listed: Cell<bool>,
    pub(super) failure: Cell<Option<io::Error>>,
    pub(super) location: &'static Location<'static>,
}

impl State {
    pub(super) fn new(location: &'static Location<'static>, short_read: ShortRead) -> Self {
        Self {
            runtime: RefCell::default(),
            home: Cell::new(ptr::null()),
            key: Cell::new(None),
            watch: Cell::new(Interest::empty().into()),
            reading: Direction::new(Interest::READABLE),
            writing: Direction::new(Interest::WRITABLE),
            short_read: Cell::new(short_read),
            phase: Cell::new(Phase::Open),
            is_listed: Cell::new(false),
            failure: Cell::new(None),
            location,
        }
    }

    #[inline]
    fn is_edge(&self) -> bool {
        self.watch.get().is_edge()
    }

    #[inline]
    fn is_watched_for(&self, interest: Interest) -> bool {
        self.watch.get().interest().contains(interest)
    }

    /// Tries `operation`, and records from its result whether to try again or to wait. `has_more` returns for
    /// a result whether data may be left.
    #[inline]
    pub(super) fn attempt<R>(
        &self,
        direction: &Direction,
        mut operation: impl FnMut() -> io::Result<R>,
        has_more: impl Fn(&R) -> bool,
    ) -> io::Result<R> {
        loop {
            match operation() {
                Ok(result) => {
                    direction.succeeded(has_more(&result));
                    return Ok(result);
                }
                Err(error) if self.is_final(direction, &error) => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Records the error of an operation. Returns false if the operation has to be repeated.
    #[inline(never)]
    fn is_final(&self, direction: &Direction, error: &io::Error) -> bool {
        let kind = error.kind();
        if kind == io::ErrorKind::WouldBlock {
            direction.blocked(self.is_edge());
        }
        kind != io::ErrorKind::Interrupted
    }

    /// Whether a short read proves that no data is left.
    pub(super) fn short_read_proves_empty(&self, descriptor: BorrowedFd<'_>) -> bool {
        match self.short_read.get() {
            ShortRead::ProvesNothing | ShortRead::UrgentByte => false,
            _ if !self.is_edge() => true,
            ShortRead::ProvesOnLevel => false,
            ShortRead::ProvesOnTcp => self.is_watched_for(Interest::PRIORITY),
            ShortRead::Unknown => {
                self.short_read.set(ShortRead::of_descriptor(descriptor));
                self.short_read_proves_empty(descriptor)
            }
        }
    }

    /// From now on the length of a read proves nothing.
    #[inline]
    pub(super) fn distrust_short_reads(&self) {
        if self.short_read.get() != ShortRead::UrgentByte {
            self.short_read.set(ShortRead::ProvesNothing);
        }
    }

    /// Tries `operation`; if it would block, the next event in this direction wakes the task.
    #[inline]
    pub(super) fn poll_operation<R>(
        &self,
        direction: &Direction,
        entry: &mut Entry,
        context: &Context<'_>,
        source: impl Fn() -> Rc<dyn TaskSource>,
        mut operation: impl FnMut() -> io::Result<R>,
        has_more: impl Fn(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        if !self.is_at_home() {
            self.check_loop()?;
        }
        loop {
            while direction.is_worth_trying() {
                ready!(direction.spend(context));
                match self.attempt(direction, &mut operation, &has_more) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            }
            match self.wait(direction, entry, context, &source) {
                Ok(true) => return Poll::Pending,
                Ok(false) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Waits for an event that comes after the first poll, or returns if the direction is already ready.
    #[inline]
    pub(super) fn poll_event(
        &self,
        direction: &Direction,
        entry: &mut Entry,
        context: &Context<'_>,
        source: impl Fn() -> Rc<dyn TaskSource>,
    ) -> Poll<io::Result<()>> {
        // After an operation that left data, another attempt is the cheapest check. With edges there may be no
        // event for that data.
        let may_be_ready = direction.readiness.get() == Readiness::Partial && self.is_edge();
        if may_be_ready && !entry.has_entered() && self.is_at_home() {
            ready!(direction.spend(context));
            direction.readiness.set(Readiness::Signalled);
            return Poll::Ready(Ok(()));
        }
        self.poll_kernel(direction, entry, context, source)
    }

    #[inline(never)]
    fn poll_kernel(
        &self,
        direction: &Direction,
        entry: &mut Entry,
        context: &Context<'_>,
        source: impl Fn() -> Rc<dyn TaskSource>,
    ) -> Poll<io::Result<()>> {
        if !self.is_at_home() {
            self.check_loop()?;
        }
        if direction.waiters.is_woken(*entry) {
            return Poll::Ready(self.failure.take().map_or(Ok(()), Err));
        }
        if !entry.has_entered() && direction.is_worth_trying() && self.is_edge() {
            ready!(direction.spend(context));
            if direction.is_ready(source().descriptor())? {
                return Poll::Ready(Ok(()));
            }
        }
        match self.wait(direction, entry, context, &source) {
            Ok(true) => Poll::Pending,
            Ok(false) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Makes the next event in this direction wake the task. Returns false if an operation may succeed
    /// immediately.
    #[inline]
    fn wait(
        &self,
        direction: &Direction,
        entry: &mut Entry,
        context: &Context<'_>,
        source: impl Fn() -> Rc<dyn TaskSource>,
    ) -> io::Result<bool> {
        let is_usual = self.is_watched_for(direction.interest)
            && self.phase.get() == Phase::Open
            && self.short_read.get() != ShortRead::UrgentByte
            && direction.readiness.get() != Readiness::Stuck;
        if !is_usual && !self.prepare_wait(direction, source)? {
            return Ok(false);
        }
        direction.wait(entry, context);
        Ok(true)
    }

    #[cold]
    fn prepare_wait(
        &self,
        direction: &Direction,
        source: impl Fn() -> Rc<dyn TaskSource>,
    ) -> io::Result<bool> {
        if self.phase.get() != Phase::Open {
            return Err(aborted());
        }
        // A source that is watched needs no loop: a waker may poll it inside `wake`, outside of tasks.
        if !self.is_watched_for(direction.interest) {
            let runtime = self.bind()?;
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            self.list(&runtime, &source);
        }
        if direction.readiness.get() == Readiness::Stuck {
            self.pause(&self.bind()?, direction, &source());
        } else if self.short_read.get() == ShortRead::UrgentByte
            && direction.is_ready(source().descriptor())?
        {
            direction.readiness.set(Readiness::Signalled);
            return Ok(false);
        }
        Ok(true)
    }

    #[inline]
    fn is_at_home(&self) -> bool {
        self.home.get() == Runtime::current_address()
    }

    /// Returns an error if the source belongs to another loop than the one that polls the caller.
    #[cold]
    pub(super) fn check_loop(&self) -> io::Result<()> {
        let is_outside = Runtime::current_address().is_null();
        let is_free = !self.is_held() || self.runtime.borrow().strong_count() == 0;
        if is_outside || is_free || self.is_at_home() {
            return Ok(());
        }
        let message = "this source is registered with another event loop: await it in a task of that \
                       loop, or take it out there with into_inner";
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }

    /// Returns the loop that polls the caller, to which the source belongs from now on.
    fn bind(&self) -> io::Result<Rc<Runtime>> {
        let current = Runtime::current()?;
        if !self.is_at_home() {
            self.home.set(Rc::as_ptr(&current));
            self.runtime.replace(Rc::downgrade(&current));
            self.is_listed.set(false);
        }
        Ok(current)
    }

    /// Puts the source on the list of those whose registration the loop has to change.
    fn list(&self, runtime: &Runtime, source: impl Fn() -> Rc<dyn TaskSource>) {
        if !self.is_listed.replace(true) {
            runtime.push_changed(source());
        }
    }

    /// Stops watching a direction for a while, because its event would be repeated in every wait.
    fn pause(&self, runtime: &Rc<Runtime>, direction: &Direction, source: &Rc<dyn TaskSource>) {
        direction.readiness.set(Readiness::Paused);
        self.list(runtime, || Rc::clone(source));
        let source = Rc::downgrade(source);
        let pause = async move {
            sleep(PAUSE).await;
            if let Some(source) = source.upgrade() {
                source.resume();
            }
        };
        runtime.spawn(pause, self.location).detach();
    }

    /// The pause is over.
    pub(super) fn resume(&self) {
        for direction in [&self.reading, &self.writing] {
            if direction.readiness.get() == Readiness::Paused {
                direction.wake(Readiness::Signalled);
            }
        }
    }

    /// Makes every later wait fail, and ends those in progress.
    pub(super) fn abort(&self) {
        if self.phase.get() == Phase::Open {
            self.phase.set(Phase::Aborted);
            self.reading.wake(Readiness::Signalled);
            self.writing.wake(Readiness::Signalled);
        }
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.phase.get() == Phase::Aborted
    }

    /// The last handle is gone.
    pub(super) fn release(&self, source: impl Fn() -> Rc<dyn TaskSource>) {
        self.phase.set(Phase::Released);
        if self.is_registered()
            && let Some(runtime) = self.runtime.borrow().upgrade()
        {
            self.list(&runtime, source);
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.key.get().is_some()
    }

    /// Whether a loop has the source, or has a request for it.
    pub(super) fn is_held(&self) -> bool {
        self.is_registered() || self.is_listed.get()
    }

    #[inline]
    pub(super) fn deliver(&self, event: &Event) -> bool {
        let mut woken = event.ready;
        let mut readiness = Readiness::Signalled;
        if !(Ready::READABLE | Ready::WRITABLE).contains(woken) {
            (woken, readiness) = self.note_detail(woken);
        }
        let mut is_unwanted = false;
        if woken.contains(Ready::READABLE) {
            // A reader usually waits again, so the interest is kept. If no task does, the next event
            // finds no waiter.
            is_unwanted |= self.reading.waiters.is_empty();
            self.reading.wake(readiness);
        }
        if woken.contains(Ready::WRITABLE) {
            // Room to write usually lasts.
            is_unwanted |= self.is_watched_for(Interest::WRITABLE);
            self.writing.wake(readiness);
        }
        is_unwanted && !self.is_edge() && !self.is_listed.replace(true)
    }

    /// Records the details of an event. Returns the directions that it concerns.
    #[cold]
    fn note_detail(&self, ready: Ready) -> (Ready, Readiness) {
        let both = Ready::READABLE | Ready::WRITABLE;
        if ready.contains(Ready::PRIORITY) {
            self.short_read.set(ShortRead::UrgentByte);
        }
        if ready.intersects(Ready::ERROR | Ready::READ_CLOSED) {
            self.distrust_short_reads();
        }
        let is_error = ready.contains(Ready::ERROR);
        let readiness = if is_error { Readiness::Failing } else { Readiness::Signalled };
        let mut woken = ready & both;
        // A hang-up also ends a wait for room to write, because there will be none.
        if ready.intersects(Ready::ERROR | Ready::WRITE_CLOSED) {
            woken |= Ready::WRITABLE;
        }
        // A hang-up of a source that can only be written, and an urgent byte alone, concern neither.
        let is_neither = !ready.intersects(both);
        (if is_neither || ready.contains(Ready::INVALID) { both } else { woken }, readiness)
    }
}

/// Returns the error of waits for an aborted source.
pub(super) fn aborted() -> io::Error {
    let message = "the connection was aborted: by its writer, or by its server, which has stopped";
    io::Error::new(io::ErrorKind::ConnectionAborted, message)
}
