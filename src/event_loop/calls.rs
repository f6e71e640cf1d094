//! Calls that run in the next iteration.

use std::collections::VecDeque;
use std::panic::Location;

use super::EventLoop;
use super::call_user::{Iteration, Place, Registrant, Replaced};

pub(super) type Call<T> = Box<dyn FnOnce(&mut EventLoop<T>)>;

pub(super) struct Calls<T> {
    queue: VecDeque<(Call<T>, &'static Location<'static>)>,
    /// The number of calls of this iteration.
    due: usize,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), due: 0 }
    }
}

impl<T> Calls<T> {
    pub(super) fn push(&mut self, call: Call<T>, location: &'static Location<'static>) {
        self.queue.push_back((call, location));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn begin_iteration(&mut self) {
        self.due = self.queue.len();
    }

    fn next_due(&mut self) -> Option<(Call<T>, &'static Location<'static>)> {
        self.due = self.due.checked_sub(1)?;
        self.queue.pop_front()
    }
}

impl<T: 'static> EventLoop<T> {
    /// Runs `call` in the next iteration, after the calls that were queued before.
    ///
    /// Does not block. An iteration does not wait while calls are queued. For code that has no
    /// `&mut EventLoop` see [`local`](Self::local).
    ///
    /// ```
    /// use polyselect::EventLoop;
    ///
    /// let mut event_loop = EventLoop::new(Vec::new())?;
    /// event_loop.call_soon(|event_loop| {
    ///     event_loop.call_soon(|event_loop| event_loop.state.push("third"));
    ///     event_loop.state.push("first");
    /// });
    /// event_loop.call_soon(|event_loop| event_loop.state.push("second"));
    /// event_loop.run()?;
    /// assert_eq!(event_loop.state, ["first", "second", "third"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_soon(&mut self, call: impl FnOnce(&mut Self) + 'static) {
        self.calls.push(Box::new(call), Location::caller());
    }

    #[inline]
    pub(super) fn run_calls(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        if self.calls.due > 0 { self.run_due_calls(iteration) } else { Ok(()) }
    }

    #[inline(never)]
    fn run_due_calls(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        log::trace!("{} calls to run", self.calls.due);
        while let Some((call, location)) = self.calls.next_due() {
            self.stats.calls += 1;
            self.call_user(iteration, Registrant::Nothing, Place::Call(location), call)?;
        }
        Ok(())
    }
}
