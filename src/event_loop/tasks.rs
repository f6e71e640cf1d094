//! Tasks: the loop's side.

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use rustix::fd::BorrowedFd;

use super::EventLoop;
use super::call_user::{Iteration, Place, Registrant, Replaced};
use super::handler::{Answer, HandleEvent, Handler};
use crate::asyncio::{
    AlarmRequest, JoinHandle, Order, Request, Runtime, Task, TaskId, TaskSource, TaskWaker,
};
use crate::clock::Clock;
use crate::event::Event;
use crate::key::Key;

/// The loop's side of its tasks; nothing until the first.
pub(super) struct Tasks {
    runtime: Option<Rc<Runtime>>,
    /// Woken tasks; those before `polled` have been polled. Kept for its memory.
    woken: Vec<TaskId>,
    polled: usize,
    /// Whether the future of `block_on` was woken.
    is_main_woken: bool,
    operation_budget: u32,
    clock: Clock,
}

impl Tasks {
    pub(super) fn new(operation_budget: u32, clock: Clock) -> Self {
        let (runtime, woken) = (None, Vec::new());
        Self { runtime, woken, polled: 0, is_main_woken: false, operation_budget, clock }
    }

    #[inline]
    pub(super) fn has_woken(&self) -> bool {
        self.polled < self.woken.len()
            || self.runtime.as_ref().is_some_and(|runtime| runtime.queue.has_woken())
    }

    /// Whether the loop has work for tasks before it waits.
    #[inline]
    pub(super) fn has_errands(&self) -> bool {
        self.runtime
            .as_ref()
            .is_some_and(|runtime| runtime.has_requests() || !runtime.queue.has_selector())
    }

    pub(super) fn all(&self) -> Vec<Rc<Task>> {
        self.runtime.as_ref().map_or_else(Vec::new, |runtime| runtime.all_tasks())
    }

    pub(super) fn len(&self) -> usize {
        self.runtime.as_ref().map_or(0, |runtime| runtime.tasks())
    }

    fn runtime(&mut self) -> &Rc<Runtime> {
        let Self { runtime, operation_budget, clock, .. } = self;
        runtime.get_or_insert_with(|| Runtime::new(*operation_budget, clock.clone()))
    }

    /// Adds the woken tasks to those that a panic has left.
    fn collect_woken(&mut self, runtime: &Runtime) {
        if self.polled == self.woken.len() {
            self.woken.clear();
            self.polled = 0;
        }
        let known = self.woken.len();
        runtime.queue.take(&mut self.woken);
        self.clock.shuffle_tasks(&mut self.woken[known..]);
    }

    fn next_woken(&mut self) -> Option<TaskId> {
        let id = *self.woken.get(self.polled)?;
        self.polled += 1;
        Some(id)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if let Some(runtime) = &self.runtime {
            runtime.close();
        }
    }
}

/// A tasks' source as the selector's registration.
struct Watcher(Rc<dyn TaskSource>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.unregistered();
    }
}

impl<T: 'static> HandleEvent<T> for Watcher {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }

    fn call(self: Rc<Self>, event_loop: &mut EventLoop<T>, event: &Event) -> Answer {
        if self.0.deliver(event) {
            event_loop.tasks.runtime().push_changed(Rc::clone(&self.0));
        }
        Answer::Keep
    }

    fn source(&self) -> &dyn Any {
        // No key of the user's names this registration.
        &()
    }

    fn into_source(self: Rc<Self>) -> Option<Box<dyn Any>> {
        None
    }

    fn location(&self) -> &'static Location<'static> {
        self.0.location()
    }

    fn is_own(&self) -> bool {
        true
    }

    fn task_source(&self) -> Option<&Rc<dyn TaskSource>> {
        Some(&self.0)
    }
}

impl<T: 'static> EventLoop<T> {
    /// Spawns a task: `async` code that the loop runs beside its callbacks, on its thread, so that it may hold values
    /// that are not `Send`.
    ///
    /// It is polled for the first time in the next iteration, and then whenever it was woken: at most once in an
    /// iteration, after the calls. Does not block.
    ///
    /// The handle returns its result, and cancels it when dropped; [`JoinHandle::detach`] lets the task run on without
    /// a handle. While there are tasks, [`run`](Self::run) does not return.
    ///
    /// The first task needs a [`Waker`](crate::Waker), so that other threads can wake tasks. If that cannot be
    /// created, the next [`turn`](Self::turn) returns the error, and the one after it tries again.
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio};
    /// use std::{cell::Cell, rc::Rc, time::Duration};
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// let counter = Rc::new(Cell::new(0));
    /// for _ in 0..3 {
    ///     let counter = Rc::clone(&counter);
    ///     event_loop.spawn(async move {
    ///         asyncio::sleep(Duration::from_millis(1)).await;
    ///         counter.set(counter.get() + 1);
    ///     }).detach();
    /// }
    /// event_loop.run()?;
    /// assert_eq!(counter.get(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn<R: 'static>(
        &mut self,
        future: impl Future<Output = R> + 'static,
    ) -> JoinHandle<R> {
        self.tasks.runtime().spawn(future, Location::caller())
    }

    /// Spawns a task with a name, which [`tasks`](Self::tasks) and [`dump`](Self::dump) show; otherwise like
    /// [`spawn`](Self::spawn).
    ///
    /// See [`tasks`](Self::tasks) for an example.
    #[track_caller]
    pub fn spawn_named<R: 'static>(
        &mut self,
        name: impl Into<String>,
        future: impl Future<Output = R> + 'static,
    ) -> JoinHandle<R> {
        let name = Some(name.into().into_boxed_str());
        self.tasks.runtime().spawn_named(name, future, Location::caller())
    }

    /// Runs the loop until `future` is ready, and returns its output. Everything else of the loop runs
    /// meanwhile. The future may borrow from the caller.
    ///
    /// Tasks that are left, and bytes that a [`StreamWriter`](crate::asyncio::StreamWriter) still has to send, go on only
    /// while the loop runs again: await them before, or call [`run`](Self::run), or they end when the loop is dropped.
    ///
    /// # Errors
    ///
    /// - `Interrupted` if [`stop`](Self::stop) was called, or a callback replaced this loop; the
    ///   future is dropped unfinished;
    /// - `Deadlock` if the future waits, but nothing is left that could wake it: it has no waker anywhere, and the loop
    ///   has nothing that could call back;
    /// - the errors of [`turn`](Self::turn).
    ///
    /// The output of the future, also if it is an error, is the `Ok`.
    ///
    /// ```
    /// use polyselect::{EventLoop, asyncio};
    ///
    /// let (mut event_loop, text) = (EventLoop::new(())?, String::from("hello"));
    /// let length = event_loop.block_on(async {
    ///     asyncio::yield_now().await;
    ///     text.len()
    /// })?;
    /// assert_eq!(length, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn block_on<F: Future>(&mut self, future: F) -> io::Result<F::Output> {
        self.progress.check_idle()?;
        let runtime = Rc::clone(self.tasks.runtime());
        let notify = TaskWaker::new(TaskId::MAIN, Arc::clone(&runtime.queue));
        let waker = Waker::from(Arc::clone(&notify));
        let mut future = pin!(future);
        self.tasks.is_main_woken = true;
        loop {
            if std::mem::take(&mut self.tasks.is_main_woken) {
                notify.begin_poll();
                if let Some(output) = self.poll_main(&runtime, &waker, future.as_mut())? {
                    return Ok(output);
                }
            }
            // One owner is `notify`, and one is `waker`.
            let can_wake = Arc::strong_count(&notify) > 2 || self.has_woken_main();
            if !can_wake && !self.must_stop && self.has_nothing_left() {
                return Err(deadlock());
            }
            let must_stop = self.iterate_and_stop()?;
            if must_stop || !self.owns(&runtime) {
                return Err(interrupted(must_stop));
            }
        }
    }

    /// Polls the future of `block_on`, in an iteration of its own.
    fn poll_main<F: Future>(
        &mut self,
        runtime: &Rc<Runtime>,
        waker: &Waker,
        future: Pin<&mut F>,
    ) -> io::Result<Option<F::Output>> {
        let iteration = Iteration::begin(self)?;
        if !runtime.queue.has_selector() {
            runtime.queue.set_selector(self.sources.selector.waker()?);
        }
        let poll = |_: &mut Self| {
            let _current = runtime.enter();
            future.poll(&mut Context::from_waker(waker))
        };
        let (Ok(poll) | Err(Replaced(poll))) =
            self.call_user(&iteration, Registrant::Nothing, Place::MainFuture, poll);
        // What follows belongs to the loop, which is still here: the future cannot reach it.
        let _ = self.serve_requests(&iteration, runtime);
        match poll {
            Poll::Ready(output) => Ok(Some(output)),
            Poll::Pending => Ok(None),
        }
    }

    fn has_woken_main(&self) -> bool {
        self.tasks.is_main_woken || self.tasks.has_woken()
    }

    fn owns(&self, runtime: &Rc<Runtime>) -> bool {
        self.tasks.runtime.as_ref().is_some_and(|own| Rc::ptr_eq(own, runtime))
    }

    /// Serves, before the wait, the requests of tasks and their sources since the last iteration.
    pub(super) fn prepare_tasks(
        &mut self,
        iteration: &Iteration,
    ) -> io::Result<Result<(), Replaced>> {
        let Some(runtime) = self.tasks.runtime.clone() else { return Ok(Ok(())) };
        if !runtime.queue.has_selector() {
            runtime.queue.set_selector(self.sources.selector.waker()?);
        }
        Ok(self.serve_requests(iteration, &runtime))
    }

    /// Polls each task that was woken, once. A task that is woken meanwhile waits for the next iteration.
    #[inline]
    pub(super) fn poll_tasks(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        if self.tasks.has_woken() { self.poll_woken(iteration) } else { Ok(()) }
    }

    #[inline(never)]
    fn poll_woken(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        let Some(runtime) = self.tasks.runtime.clone() else { return Ok(()) };
        self.tasks.collect_woken(&runtime);
        log::trace!("{} tasks to poll", self.tasks.woken.len() - self.tasks.polled);
        {
            let _current = runtime.enter();
            while let Some(id) = self.tasks.next_woken() {
                if id == TaskId::MAIN {
                    self.tasks.is_main_woken = true;
                }
                let Some(task) = runtime.task(id) else { continue };
                self.stats.polls += 1;
                let place = Place::Task(task.location);
                let poll = |_: &mut Self| runtime.poll(task);
                self.call_user(iteration, Registrant::Nothing, place, poll)?;
            }
        }
        self.serve_requests(iteration, &runtime)
    }

    /// Serves the requests of tasks. Serving one may cause further ones.
    #[inline]
    fn serve_requests(&mut self, iteration: &Iteration, runtime: &Runtime) -> Result<(), Replaced> {
        while let Some(request) = runtime.next_request() {
            let serve = |event_loop: &mut Self| event_loop.serve(request);
            self.call_user(iteration, Registrant::Nothing, Place::Unknown, serve)?;
        }
        Ok(())
    }

    /// Serves one request: drops, wakers and `as_fd` are user code.
    #[inline(never)]
    fn serve(&mut self, request: Request) {
        match request {
            Request::Alarm(AlarmRequest::Set(alarm)) if alarm.is_cancelled.get() => {}
            Request::Alarm(AlarmRequest::Set(alarm)) => {
                let timer = self.set_alarm(Rc::clone(&alarm));
                alarm.timer.set(Some(timer));
            }
            Request::Alarm(AlarmRequest::Cancel(alarm)) => {
                drop(alarm.timer.take().and_then(|timer| self.timers.remove(timer)));
            }
            Request::Changed(source) => {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.watch(&source))) {
                    // The tasks that wait for this source would wait forever.
                    let message = "the source panicked when it was registered or unregistered";
                    source.fail(io::Error::other(message));
                    resume_unwind(panic);
                }
            }
        }
    }

    /// Registers, modifies or unregisters a source as the tasks that wait for it need.
    fn watch(&mut self, source: &Rc<dyn TaskSource>) {
        match source.take_order(self.backend()) {
            Order::Nothing => {}
            Order::Register(watch) => {
                match self.sources.insert(Handler(Rc::new(Watcher(Rc::clone(source)))), watch) {
                    Ok(key) => source.registered(key, watch),
                    Err(error) => source.fail(error),
                }
            }
            Order::Modify(key, interest) => match self.sources.selector.modify(key, interest) {
                Ok(()) => source.modified(interest),
                Err(error) => source.fail(error),
            },
            Order::Unregister(key) => match self.sources.remove(key) {
                Ok(removed) => drop(removed),
                Err(error) => log::debug!("{key}: {error}"),
            },
        }
    }

    /// Before another backend is put in place, on which edges may mean nothing: tasks' sources are unregistered, and
    /// registered again in the next iteration.
    pub(super) fn suspend_tasks_sources(&mut self) -> io::Result<()> {
        let registrations = self.sources.selector.iter();
        let sources =
            registrations.filter_map(|(key, found)| Some((key, found.source().0.task_source()?)));
        let sources: Vec<(Key, _)> =
            sources.map(|(key, source)| (key, Rc::clone(source))).collect();
        if !sources.is_empty() {
            // In a forked child nothing can be unregistered before.
            self.sources.selector.rebuild()?;
        }
        for (key, source) in sources {
            if source.suspend() {
                self.tasks.runtime().push_changed(Rc::clone(&source));
            }
            drop(self.sources.remove(key)?);
        }
        Ok(())
    }
}

#[cold]
fn deadlock() -> io::Error {
    let message = "the future waits, but nothing is left that could wake it: no waker of it exists, and the loop has \
                   no source, timer, call, signal, child, task or remote";
    io::Error::new(io::ErrorKind::Deadlock, message)
}

#[cold]
fn interrupted(is_stopped: bool) -> io::Error {
    let message = if is_stopped {
        "the event loop was stopped before the future was ready"
    } else {
        "a callback put another event loop in the place of this one before the future was ready"
    };
    io::Error::new(io::ErrorKind::Interrupted, message)
}
