//! Coroutines: what the loop does for them, and when.

use std::any::Any;
use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::{io, mem};

use rustix::fd::BorrowedFd;

use super::registered::{Answer, Registration};
use super::{EventLoop, Turn};
use crate::asyncio::{AlarmRequest, JoinHandle, Notice, Order, Requests, Runtime, TaskId, Watched};
use crate::event::Event;
use crate::interest::Watch;
use crate::key::Key;

/// The loop's side; nothing until the first coroutine.
#[derive(Default)]
pub(super) struct Coroutines {
    runtime: Option<Rc<Runtime>>,
    /// Who was woken, while they are polled; else empty, and kept for its memory.
    batch: Vec<TaskId>,
    /// As `batch`.
    requests: Requests,
    /// Whether the future of `block_on` was woken.
    is_main_woken: bool,
    /// How many of the selector's registrations are coroutines' sources.
    sources: usize,
}

impl Coroutines {
    #[inline]
    pub(super) fn has_woken(&self) -> bool {
        self.runtime.as_ref().is_some_and(|runtime| runtime.queue.has_woken())
    }

    pub(super) fn tasks(&self) -> usize {
        self.runtime.as_ref().map_or(0, |runtime| runtime.tasks())
    }

    pub(super) fn sources(&self) -> usize {
        self.sources
    }

    fn runtime(&mut self) -> &Rc<Runtime> {
        self.runtime.get_or_insert_with(Runtime::new)
    }
}

impl Drop for Coroutines {
    fn drop(&mut self) {
        if let Some(runtime) = &self.runtime {
            runtime.close();
        }
    }
}

/// A coroutine's source as the selector's registration.
struct Watcher(Rc<dyn Watched>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.state().unregistered();
    }
}

impl<T: 'static> Registration<T> for Watcher {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }

    fn call(self: Rc<Self>, _event_loop: &mut EventLoop<T>, event: &Event) -> Answer {
        self.0.state().deliver(event, || Rc::clone(&self.0));
        Answer::Keep
    }

    fn source(&self) -> &dyn Any {
        // The loop reaches it by no key of the user's.
        &()
    }

    fn into_source(self: Rc<Self>) -> Option<Box<dyn Any>> {
        None
    }

    fn location(&self) -> &'static Location<'static> {
        self.0.state().location
    }

    fn is_own(&self) -> bool {
        true
    }

    fn watched(&self) -> Option<&Rc<dyn Watched>> {
        Some(&self.0)
    }
}

impl<T: 'static> EventLoop<T> {
    /// Starts a coroutine: `async` code that the loop runs beside its callbacks, on its thread, so
    /// that it may hold what cannot be sent. It is polled for the first time in the next turn, and
    /// then whenever it was woken: once a turn, after the calls.
    ///
    /// The handle gives its result, and cancels it when dropped; for a coroutine that is to go on by
    /// itself see [`JoinHandle::detach`]. While there are coroutines, [`run`](Self::run) goes on.
    ///
    /// The first needs a [`Waker`](crate::Waker), so that other threads can wake coroutines. If that
    /// cannot be had, the next [`turn`](Self::turn) returns the error, and the one after it tries
    /// again.
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
        self.coroutines.runtime().spawn(future, Location::caller())
    }

    /// Turns until the future is ready, and returns what it gives. Everything else of the loop runs
    /// meanwhile. The future may borrow from the caller.
    ///
    /// # Errors
    ///
    /// `Interrupted` if [`stop`](Self::stop) was called, for the future is dropped unfinished then;
    /// and as [`turn`](Self::turn). What the future itself returns, be it an error, is the `Ok`.
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
        drop(Turn::begin(&self.in_turn)?);
        let runtime = Rc::clone(self.coroutines.runtime());
        self.prepare_coroutines()?;
        let notice = Notice::new(TaskId::MAIN, Arc::clone(&runtime.queue));
        let waker = Waker::from(Arc::clone(&notice));
        let mut future = pin!(future);
        self.coroutines.is_main_woken = true;
        loop {
            if mem::take(&mut self.coroutines.is_main_woken) {
                notice.begin_poll();
                let poll = {
                    let _current = runtime.enter();
                    future.as_mut().poll(&mut Context::from_waker(&waker))
                };
                self.timers.forget_the_time();
                self.heed(&runtime);
                if let Poll::Ready(output) = poll {
                    return Ok(output);
                }
            }
            if self.turn_is_last()? {
                let message = "the event loop was stopped before the future was ready";
                return Err(io::Error::new(io::ErrorKind::Interrupted, message));
            }
        }
    }

    /// Before the wait: what coroutines' things wanted that callbacks have dropped, or others.
    #[inline]
    pub(super) fn prepare_coroutines(&mut self) -> io::Result<()> {
        let Some(runtime) = &self.coroutines.runtime else { return Ok(()) };
        if !runtime.queue.has_selector() {
            runtime.queue.set_selector(self.selector.waker()?);
        }
        if runtime.has_requests() {
            let runtime = Rc::clone(runtime);
            self.heed(&runtime);
        }
        Ok(())
    }

    /// Polls each coroutine that was woken once. Who is woken meanwhile waits for the next turn.
    #[inline]
    pub(super) fn run_coroutines(&mut self) {
        if self.coroutines.has_woken() {
            self.poll_woken();
        }
    }

    #[inline(never)]
    fn poll_woken(&mut self) {
        let Some(runtime) = self.coroutines.runtime.clone() else { return };
        let mut batch = mem::take(&mut self.coroutines.batch);
        runtime.queue.take(&mut batch);
        log::trace!("{} coroutines to poll", batch.len());
        {
            let _current = runtime.enter();
            for id in batch.drain(..) {
                if id == TaskId::MAIN {
                    self.coroutines.is_main_woken = true;
                }
                let Some(task) = runtime.task(id) else { continue };
                self.stats.polls += 1;
                let watch = self.watchdog.start();
                runtime.poll(&task);
                self.watchdog.check(watch, task.location, &mut self.stats);
            }
        }
        self.coroutines.batch = batch;
        self.timers.forget_the_time();
        self.heed(&runtime);
    }

    /// Does what coroutines have asked for.
    #[inline]
    fn heed(&mut self, runtime: &Runtime) {
        // What is dropped here may ask for more.
        while runtime.has_requests() {
            self.heed_once(runtime);
        }
    }

    #[inline(never)]
    fn heed_once(&mut self, runtime: &Runtime) {
        let mut requests = mem::take(&mut self.coroutines.requests);
        runtime.take_requests(&mut requests);
        for request in requests.alarms.drain(..) {
            match request {
                AlarmRequest::Set(alarm) if alarm.is_cancelled.get() => {}
                AlarmRequest::Set(alarm) => {
                    let timer = self.set_alarm(Rc::clone(&alarm));
                    alarm.timer.set(Some(timer));
                }
                AlarmRequest::Cancel(alarm) => {
                    if let Some(timer) = alarm.timer.take() {
                        self.cancel(timer);
                    }
                }
            }
        }
        for watched in requests.changed.drain(..) {
            self.watch(&watched);
        }
        self.coroutines.requests = requests;
    }

    /// Lets `change` put another mechanism in place, on which edges may mean nothing: coroutines'
    /// sources are registered anew.
    pub(super) fn across_mechanisms(
        &mut self,
        change: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let registrations = self.selector.iter();
        let watched =
            registrations.filter_map(|(key, found)| Some((key, found.source().0.watched()?)));
        let watched: Vec<_> = watched.map(|(key, watched)| (key, Rc::clone(watched))).collect();
        if !watched.is_empty() {
            // In a forked child nothing can be unregistered before.
            self.selector.rebuild()?;
        }
        for (key, watched) in watched {
            watched.state().suspend(|| Rc::clone(&watched));
            self.unwatch(key)?;
        }
        let result = change(self);
        if let Some(runtime) = self.coroutines.runtime.clone() {
            self.heed(&runtime);
        }
        result
    }

    fn watch(&mut self, watched: &Rc<dyn Watched>) {
        match watched.state().take_order() {
            Order::Nothing => {}
            Order::Register(interest) => {
                let is_edge = self.selector.backend().capabilities().edge;
                let level = Watch::from(interest);
                let watch = if is_edge { level.edge() } else { level };
                match self.insert(Rc::new(Watcher(Rc::clone(watched))), watch) {
                    Ok(key) => {
                        self.coroutines.sources += 1;
                        watched.state().registered(key, interest, is_edge);
                    }
                    Err(error) => watched.state().fail(error),
                }
            }
            Order::Modify(key, interest) => match self.selector.modify(key, interest) {
                Ok(()) => watched.state().modified(interest),
                Err(error) => watched.state().fail(error),
            },
            Order::Unregister(key) => {
                if let Err(error) = self.unwatch(key) {
                    log::debug!("{key}: {error}");
                }
            }
        }
    }

    fn unwatch(&mut self, key: Key) -> io::Result<()> {
        self.remove_own(key)?;
        self.coroutines.sources -= 1;
        Ok(())
    }
}
