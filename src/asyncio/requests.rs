//! The requests of tasks to their loop, and the loop's view of their sources.
//!
//! The loop is borrowed while it polls a task, so a task does not call it: it leaves its requests here,
//! and the loop handles them after the poll. This file depends on neither of the two.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use rustix::fd::BorrowedFd;

use crate::TimerKey;
use crate::backend::Backend;
use crate::event::Event;
use crate::interest::{Interest, Watch};
use crate::key::Key;

/// A request of a task to its loop.
pub(crate) enum Request {
    Alarm(AlarmRequest),
    /// A source's registration may differ from what its tasks wait for.
    Changed(Rc<dyn TaskSource>),
}

/// Requests in the order in which they were made. Each is removed on its own, so that a panic while one is
/// served loses no other.
pub(super) type Requests = VecDeque<Request>;

/// A request to the loop's timers.
pub(crate) enum AlarmRequest {
    Set(Rc<Alarm>),
    Cancel(Rc<Alarm>),
}

/// A timer that wakes a task.
pub(crate) struct Alarm {
    pub(crate) deadline: Instant,
    /// The loop's timer, once it is set.
    pub(crate) timer: Cell<Option<TimerKey>>,
    pub(crate) is_cancelled: Cell<bool>,
    has_rung: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Alarm {
    pub(super) fn new(deadline: Instant, waker: &Waker) -> Rc<Self> {
        Rc::new(Self {
            deadline,
            timer: Cell::new(None),
            is_cancelled: Cell::new(false),
            has_rung: Cell::new(false),
            waker: Cell::new(Some(waker.clone())),
        })
    }

    pub(super) fn has_rung(&self) -> bool {
        self.has_rung.get()
    }

    /// Makes the alarm wake this task.
    pub(super) fn set_waker(&self, waker: &Waker) {
        let known = self.waker.take().filter(|known| known.will_wake(waker));
        self.waker.set(Some(known.unwrap_or_else(|| waker.clone())));
    }

    /// Whether the alarm will wake this task.
    pub(crate) fn wakes(&self, waker: &Waker) -> bool {
        let known = self.waker.take();
        let wakes = known.as_ref().is_some_and(|known| known.will_wake(waker));
        self.waker.set(known);
        wakes
    }

    pub(crate) fn ring(&self) {
        self.has_rung.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A source that tasks wait for, as its loop sees it.
pub(crate) trait TaskSource {
    fn descriptor(&self) -> BorrowedFd<'_>;

    fn location(&self) -> &'static Location<'static>;

    /// The operations that the task with this waker waits for.
    fn waiting(&self, waker: &Waker) -> Interest;

    /// Returns the change that the loop has to make, and takes the source off the list.
    fn take_order(&self, backend: Backend) -> Order;

    /// The loop has registered the source.
    fn registered(&self, key: Key, watch: Watch);

    /// The loop has changed the registration.
    fn modified(&self, interest: Interest);

    /// The loop could not make the change.
    fn fail(&self, error: io::Error);

    /// The registration has ended, because the source was released or because its loop was dropped.
    fn unregistered(&self);

    /// The registration ends, because the loop gets another backend, and has to be made again. Returns
    /// whether the source has to be put on the list of those that have changed.
    fn suspend(&self) -> bool;

    /// Goes on after a pause.
    fn resume(&self);

    /// Wakes the tasks that wait for the event. Returns whether the source has to be put on the list of
    /// those that have changed.
    fn deliver(&self, event: &Event) -> bool;
}

/// The change to a registration that a source needs.
pub(crate) enum Order {
    Nothing,
    Register(Watch),
    Modify(Key, Interest),
    Unregister(Key),
}
