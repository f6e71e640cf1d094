//! The state that tasks and their loop share.

// They are const; clippy does not see it on some targets.
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::join::{Coroutine, JoinHandle, Outcome};
use super::queue::{TaskId, TaskWaker, WakeQueue};
use super::requests::{AlarmRequest, Request, Requests, TaskSource};
use crate::clock::Clock;

pub(crate) struct Task {
    coroutine: RefCell<Coroutine>,
    notify: Arc<TaskWaker>,
    pub(crate) waker: Waker,
    pub(crate) name: Option<Box<str>>,
    pub(crate) location: &'static Location<'static>,
}

impl Task {
    /// Whether it was woken since its last poll.
    pub(crate) fn is_ready(&self) -> bool {
        self.notify.is_queued()
    }
}

/// How many operations may succeed in a row before their task yields, unless the loop is configured otherwise.
pub(crate) const OPERATION_BUDGET: u32 = 32;

pub(crate) struct Runtime {
    tasks: RefCell<Slab<Rc<Task>>>,
    generation: Cell<u32>,
    pub(crate) queue: Arc<WakeQueue>,
    requests: RefCell<Requests>,
    stage: Cell<Stage>,
    operation_budget: u32,
    clock: Clock,
}

/// The treatment of new tasks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The loop is gone, or being dropped: they are dropped without being polled.
    Closing,
    /// Dropping a task spawns another one endlessly: the last is leaked.
    Closed,
}

/// The number of generations of tasks, each spawned by the destructors of the last, that are dropped with a loop.
const GENERATIONS: usize = 100;

thread_local! {
    /// The runtime of the loop that is polling a task now. It needs no destructor, so that it can be reached while those
    /// of the thread run, which may drop a loop.
    static CURRENT: RefCell<Option<ManuallyDrop<Rc<Runtime>>>> = const { RefCell::new(None) };
    /// Its address, which is cheap to read.
    static CURRENT_ADDRESS: Cell<*const Runtime> = const { Cell::new(ptr::null()) };
    /// The budget of its tasks.
    static BUDGET: Cell<u32> = const { Cell::new(OPERATION_BUDGET) };
}

/// The budget of operations of the task that is polled now.
#[inline]
pub(super) fn operation_budget() -> u32 {
    BUDGET.get()
}

impl Runtime {
    pub(crate) fn new(operation_budget: u32, clock: Clock) -> Rc<Self> {
        Rc::new(Self {
            tasks: RefCell::default(),
            generation: Cell::new(0),
            queue: Arc::new(WakeQueue::new()),
            requests: RefCell::default(),
            stage: Cell::new(Stage::Open),
            operation_budget,
            clock,
        })
    }

    /// The runtime of the loop that polls the caller.
    pub(super) fn current() -> io::Result<Rc<Self>> {
        let current = CURRENT.with_borrow(|current| current.as_deref().map(Rc::clone));
        current.ok_or_else(|| {
            io::Error::other(
                "called outside a task of an `EventLoop`: use `event_loop.spawn` in a callback, and `block_on` \
                 outside of the loop",
            )
        })
    }

    /// Returns the runtime like [`current`](Self::current).
    ///
    /// # Panics
    ///
    /// Outside of tasks.
    #[track_caller]
    pub(super) fn expect_current() -> Rc<Self> {
        // A closure would hide the place of the caller.
        match Self::current() {
            Ok(current) => current,
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The clock of the loop that polls the caller; outside of tasks the one that a new loop would have.
    pub(super) fn current_clock() -> Clock {
        if cfg!(not(feature = "testing")) {
            return Clock::current();
        }
        let of_loop = CURRENT.with_borrow(|current| Some(current.as_ref()?.clock.clone()));
        of_loop.unwrap_or_else(Clock::current)
    }

    /// How much of `length` a read or a write moves: all, outside of a lab.
    #[inline]
    pub(super) fn shortened(length: usize) -> usize {
        Self::current_clock().shortened(length)
    }

    /// The address of the loop that polls the caller, to compare it with; null outside of tasks.
    #[inline]
    pub(super) fn current_address() -> *const Self {
        CURRENT_ADDRESS.get()
    }

    /// Makes this the current one until the guard is dropped.
    #[inline]
    pub(crate) fn enter(self: &Rc<Self>) -> impl Drop {
        struct Leave {
            runtime: Option<ManuallyDrop<Rc<Runtime>>>,
            budget: u32,
        }

        impl Drop for Leave {
            #[inline]
            fn drop(&mut self) {
                BUDGET.set(self.budget);
                // The former runtime may own tasks, so it is not dropped under the borrow.
                let left = Runtime::make_current(self.runtime.take());
                drop(left.map(ManuallyDrop::into_inner));
            }
        }

        let budget = BUDGET.replace(self.operation_budget);
        let current = Some(ManuallyDrop::new(Rc::clone(self)));
        Leave { runtime: Self::make_current(current), budget }
    }

    /// Returns the one that was current before.
    fn make_current(runtime: Option<ManuallyDrop<Rc<Self>>>) -> Option<ManuallyDrop<Rc<Self>>> {
        CURRENT_ADDRESS.set(runtime.as_ref().map_or(ptr::null(), |runtime| Rc::as_ptr(runtime)));
        CURRENT.replace(runtime)
    }

    pub(crate) fn all_tasks(&self) -> Vec<Rc<Task>> {
        self.tasks.borrow().iter().map(|(_, task)| Rc::clone(task)).collect()
    }

    pub(crate) fn tasks(&self) -> usize {
        self.tasks.borrow().len()
    }

    pub(crate) fn spawn<R: 'static>(
        &self,
        future: impl Future<Output = R> + 'static,
        location: &'static Location<'static>,
    ) -> JoinHandle<R> {
        self.spawn_named(None, future, location)
    }

    pub(crate) fn spawn_named<R: 'static>(
        &self,
        name: Option<Box<str>>,
        future: impl Future<Output = R> + 'static,
        location: &'static Location<'static>,
    ) -> JoinHandle<R> {
        if self.stage.get() == Stage::Closed {
            return leaked(future, location);
        }
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let slot = self.tasks.borrow().vacant_key();
        let id = TaskId {
            // A task has some hundred bytes, so memory ends long before slots do.
            slot: u32::try_from(slot).expect("fewer than 2^32 tasks"),
            generation,
        };
        let notify = TaskWaker::new(id, Arc::clone(&self.queue));
        let waker = Waker::from(Arc::clone(&notify));
        let outcome = Outcome::new(waker.clone(), location);
        let coroutine = RefCell::new(Rc::clone(&outcome).run(future));
        let task = Rc::new(Task { coroutine, notify, waker, name, location });
        task.notify.wake();
        // No user code has run since the slot was chosen, and none runs under the borrow.
        self.tasks.borrow_mut().insert(task);
        log::trace!("the task spawned at {location} begins");
        JoinHandle::new(outcome)
    }

    pub(crate) fn task(&self, id: TaskId) -> Option<Rc<Task>> {
        let tasks = self.tasks.borrow();
        tasks.get(id.slot as usize).filter(|task| task.notify.id == id).cloned()
    }

    /// Polls a task, and removes it when it has ended.
    pub(crate) fn poll(&self, task: Rc<Task>) {
        task.notify.begin_poll();
        let mut context = Context::from_waker(&task.waker);
        let mut coroutine = task.coroutine.borrow_mut();
        // A panic of the task itself goes to its handle. This catches a panic of a waker that waits for its end.
        let poll = catch_unwind(AssertUnwindSafe(|| coroutine.as_mut().poll(&mut context)));
        drop(coroutine);
        if matches!(poll, Ok(Poll::Pending)) {
            return;
        }
        drop(self.tasks.borrow_mut().try_remove(task.notify.id.slot as usize));
        let location = task.location;
        drop_task(task);
        match poll {
            Ok(_) => log::trace!("the task spawned at {location} has ended"),
            Err(_) => log::error!("the end of the task spawned at {location} has panicked"),
        }
    }

    pub(crate) fn push_changed(&self, source: Rc<dyn TaskSource>) {
        self.push(Request::Changed(source));
    }

    pub(super) fn push_alarm(&self, request: AlarmRequest) {
        self.push(Request::Alarm(request));
    }

    fn push(&self, request: Request) {
        // A runtime without a loop would keep the request, and with it the source, indefinitely.
        if self.stage.get() == Stage::Open {
            self.requests.borrow_mut().push_back(request);
        }
    }

    #[inline]
    pub(crate) fn has_requests(&self) -> bool {
        !self.requests.borrow().is_empty()
    }

    #[inline]
    pub(crate) fn next_request(&self) -> Option<Request> {
        self.requests.borrow_mut().pop_front()
    }

    /// Ends all tasks, because their loop is gone.
    pub(crate) fn close(self: &Rc<Self>) {
        let _current = self.enter();
        self.stage.set(Stage::Closing);
        // A destructor may spawn another task, whose destructor may too.
        for _ in 0..GENERATIONS {
            self.drop_tasks();
        }
        self.stage.set(Stage::Closed);
        self.drop_tasks();
        let requests = self.requests.take();
        if catch_unwind(AssertUnwindSafe(|| drop(requests))).is_err() {
            log::error!("a source panicked when it was dropped with its loop");
        }
    }

    fn drop_tasks(&self) {
        let tasks = self.tasks.take();
        tasks.into_iter().for_each(|(_, task)| drop_task(task));
    }
}

/// A task that would begin an endless chain if it were dropped.
#[cold]
fn leaked<R: 'static>(
    future: impl Future<Output = R> + 'static,
    location: &'static Location<'static>,
) -> JoinHandle<R> {
    mem::forget(future);
    log::error!(
        "the task spawned at {location} is leaked: its loop was dropped, and {GENERATIONS} tasks before it have \
         spawned another each when they were dropped"
    );
    let outcome = Outcome::new(Waker::noop().clone(), location);
    outcome.end();
    JoinHandle::new(outcome)
}

/// Drops a task; a panic of its destructors does not affect other tasks.
fn drop_task(task: Rc<Task>) {
    let location = task.location;
    if catch_unwind(AssertUnwindSafe(|| drop(task))).is_err() {
        log::error!("the task spawned at {location} panicked when it was dropped");
    }
}
