//! What coroutines and their loop share.
//!
//! The loop is borrowed while it polls a coroutine, so a coroutine does not call it: it leaves here
//! what it wants, and the loop sees to it after the poll.

// They are const; clippy does not see it on some targets.
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::{io, iter};

use slab::Slab;

use super::join::{JoinHandle, Outcome};
use super::queue::{Notice, Queue, TaskId};
use super::time::Alarm;
use super::watched::Watched;

pub(super) type Coroutine = Pin<Box<dyn Future<Output = ()>>>;

pub(crate) struct Task {
    coroutine: RefCell<Coroutine>,
    notice: Arc<Notice>,
    waker: Waker,
    pub(crate) location: &'static Location<'static>,
}

/// What is wanted of the loop's timers.
pub(crate) enum AlarmRequest {
    Set(Rc<Alarm>),
    Cancel(Rc<Alarm>),
}

/// What coroutines want of the loop.
#[derive(Default)]
pub(crate) struct Requests {
    pub(crate) alarms: Vec<AlarmRequest>,
    /// Sources that may not be watched for what their coroutines wait for.
    pub(crate) changed: Vec<Rc<dyn Watched>>,
}

pub(crate) struct Runtime {
    tasks: RefCell<Slab<Rc<Task>>>,
    generation: Cell<u32>,
    pub(crate) queue: Arc<Queue>,
    requests: RefCell<Requests>,
}

thread_local! {
    /// That of the loop which is polling a coroutine just now.
    static CURRENT: RefCell<Option<Rc<Runtime>>> = const { RefCell::new(None) };
}

impl Runtime {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            tasks: RefCell::default(),
            generation: Cell::new(0),
            queue: Arc::new(Queue::new()),
            requests: RefCell::default(),
        })
    }

    /// That of the loop which polls the caller.
    pub(super) fn current() -> io::Result<Rc<Self>> {
        CURRENT.with_borrow(Clone::clone).ok_or_else(|| {
            let message =
                "this belongs into a coroutine of an EventLoop: use its spawn or block_on";
            io::Error::other(message)
        })
    }

    /// Makes this the current one until the guard is dropped.
    pub(crate) fn enter(self: &Rc<Self>) -> impl Drop {
        struct Leave(Option<Rc<Runtime>>);

        impl Drop for Leave {
            fn drop(&mut self) {
                // What was current may own coroutines, so it is not dropped under the borrow.
                drop(CURRENT.replace(self.0.take()));
            }
        }

        Leave(CURRENT.replace(Some(Rc::clone(self))))
    }

    pub(crate) fn tasks(&self) -> usize {
        self.tasks.borrow().len()
    }

    pub(crate) fn spawn<R: 'static>(
        &self,
        future: impl Future<Output = R> + 'static,
        location: &'static Location<'static>,
    ) -> JoinHandle<R> {
        let mut tasks = self.tasks.borrow_mut();
        let entry = tasks.vacant_entry();
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        // A task is some hundred bytes, so memory ends long before slots do.
        let slot = u32::try_from(entry.key()).expect("fewer than 2^32 tasks");
        let notice = Notice::new(TaskId { slot, generation }, Arc::clone(&self.queue));
        let waker = Waker::from(Arc::clone(&notice));
        let outcome = Outcome::new(waker.clone(), location);
        let coroutine = RefCell::new(Rc::clone(&outcome).settle(future));
        notice.wake();
        entry.insert(Rc::new(Task { coroutine, notice, waker, location }));
        log::trace!("the coroutine spawned at {location} begins");
        JoinHandle::new(outcome)
    }

    pub(crate) fn task(&self, id: TaskId) -> Option<Rc<Task>> {
        let tasks = self.tasks.borrow();
        tasks.get(id.slot as usize).filter(|task| task.notice.id == id).cloned()
    }

    /// Polls a task, and forgets it when it has ended.
    pub(crate) fn poll(&self, task: &Task) {
        task.notice.begin_poll();
        let mut context = Context::from_waker(&task.waker);
        let mut coroutine = task.coroutine.borrow_mut();
        // What the coroutine panics with goes to its handle; this is for what a cancelled one does
        // when it is dropped.
        let poll = catch_unwind(AssertUnwindSafe(|| coroutine.as_mut().poll(&mut context)));
        drop(coroutine);
        if !matches!(poll, Ok(std::task::Poll::Pending)) {
            let ended = self.tasks.borrow_mut().try_remove(task.notice.id.slot as usize);
            log::trace!("the coroutine spawned at {} has ended", task.location);
            drop(ended);
        }
        if poll.is_err() {
            log::error!("the coroutine spawned at {} panicked when dropped", task.location);
        }
    }

    pub(super) fn push_changed(&self, watched: Rc<dyn Watched>) {
        self.requests.borrow_mut().changed.push(watched);
    }

    pub(super) fn push_alarm(&self, request: AlarmRequest) {
        self.requests.borrow_mut().alarms.push(request);
    }

    #[inline]
    pub(crate) fn has_requests(&self) -> bool {
        let requests = self.requests.borrow();
        !requests.changed.is_empty() || !requests.alarms.is_empty()
    }

    /// All that is wanted, in exchange for empty lists, whose memory is used again.
    pub(crate) fn take_requests(&self, requests: &mut Requests) {
        mem::swap(&mut *self.requests.borrow_mut(), requests);
    }

    /// Ends all coroutines: their loop is gone.
    pub(crate) fn close(self: &Rc<Self>) {
        let _current = self.enter();
        // What they do when dropped may start others.
        let next = || Some(self.tasks.take()).filter(|tasks| !tasks.is_empty());
        iter::from_fn(next).for_each(drop);
        drop(self.requests.take());
    }
}
