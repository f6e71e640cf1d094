//! Calls from the loop's own thread, by code that has no `&mut EventLoop`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;
use std::rc::Rc;
use std::{fmt, io};

use super::EventLoop;
use super::call_user::{Iteration, Place, Registrant, Replaced};
use super::calls::Call;

struct LocalQueue<T> {
    calls: RefCell<VecDeque<(Call<T>, &'static Location<'static>)>>,
    is_closed: Cell<bool>,
}

/// A handle to the loop for code on its thread that has no reference to it: a task, a C
/// callback, an object that outlives the callback that created it. [`EventLoop::local`] returns it.
///
/// It can be cloned and kept anywhere on the thread. A call that is queued during an iteration runs at its end,
/// before the next wait; one that is queued between two iterations runs at the beginning of the next, before its
/// wait. [The order of an iteration](EventLoop#the-order-of-an-iteration) lists the other steps.
///
/// A handle does not keep [`EventLoop::run`] from returning; a queued call does, until it has run. When the loop is
/// dropped, queued calls are dropped without being run.
///
/// Other threads use a [`Remote`](crate::Remote).
///
/// ```
/// use polyselect::EventLoop;
/// use std::time::Duration;
///
/// /// Stops the loop when the last of its clones is dropped, wherever that happens.
/// struct Session(polyselect::Local<u32>);
///
/// impl Drop for Session {
///     fn drop(&mut self) {
///         // Fails if the loop was dropped before, and then there is nothing to stop.
///         let _ = self.0.call(|event_loop| {
///             event_loop.state += 1;
///             event_loop.stop();
///         });
///     }
/// }
///
/// let mut event_loop = EventLoop::new(0)?;
/// let session = Session(event_loop.local());
/// event_loop.call_every(Duration::from_secs(60), |_loop, _timer| {});
/// event_loop.call_soon(move |_loop| drop(session));
/// event_loop.run()?;
/// assert_eq!(event_loop.state, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Local<T>(Rc<LocalQueue<T>>);

impl<T: 'static> Local<T> {
    /// Queues `call`, which runs before the next wait of the loop, after the calls that were queued before.
    ///
    /// Does not block.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the loop has been dropped; `call` is dropped.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::io::ErrorKind;
    ///
    /// let mut event_loop = EventLoop::new(Vec::new())?;
    /// let local = event_loop.local();
    /// local.call(|event_loop| event_loop.state.push("called"))?;
    /// event_loop.run()?;
    /// assert_eq!(event_loop.state, ["called"]);
    ///
    /// drop(event_loop);
    /// let error = local.call(|_loop| unreachable!()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call(&self, call: impl FnOnce(&mut EventLoop<T>) + 'static) -> io::Result<()> {
        if self.0.is_closed.get() {
            return Err(gone());
        }
        self.0.calls.borrow_mut().push_back((Box::new(call), Location::caller()));
        Ok(())
    }
}

pub(super) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the event loop has been dropped")
}

impl<T> Clone for Local<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("closed", &self.0.is_closed.get()).finish_non_exhaustive()
    }
}

/// The loop's side of its [`Local`]s; nothing until the first.
pub(super) struct LocalCalls<T>(Option<Rc<LocalQueue<T>>>);

impl<T> Default for LocalCalls<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> LocalCalls<T> {
    #[inline]
    pub(super) fn has_calls(&self) -> bool {
        self.0.is_some() && self.len() > 0
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.calls.borrow().len())
    }

    fn next(&self) -> Option<(Call<T>, &'static Location<'static>)> {
        self.0.as_ref()?.calls.borrow_mut().pop_front()
    }
}

impl<T> Drop for LocalCalls<T> {
    fn drop(&mut self) {
        if let Some(queue) = &self.0 {
            queue.is_closed.set(true);
            // The calls may own handles of their own.
            drop(queue.calls.take());
        }
    }
}

impl<T: 'static> EventLoop<T> {
    /// Returns a handle with which code on this thread queues calls without a reference to the loop.
    ///
    /// See [`Local`] for an example.
    pub fn local(&mut self) -> Local<T> {
        let queue = self.local.0.get_or_insert_with(|| {
            Rc::new(LocalQueue { calls: RefCell::default(), is_closed: Cell::new(false) })
        });
        Local(Rc::clone(queue))
    }

    /// Runs the calls that are queued now, and returns whether there were any.
    #[inline]
    pub(super) fn run_local_calls(&mut self, iteration: &Iteration) -> Result<bool, Replaced> {
        if self.local.has_calls() {
            self.run_queued_local_calls(iteration)?;
            return Ok(true);
        }
        Ok(false)
    }

    #[inline(never)]
    fn run_queued_local_calls(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        // Calls that these queue run before the next wait, after sources, signals and timers.
        for _ in 0..self.local.len() {
            let Some((call, location)) = self.local.next() else { break };
            self.stats.calls += 1;
            self.call_user(iteration, Registrant::Nothing, Place::Call(location), call)?;
        }
        Ok(())
    }
}
