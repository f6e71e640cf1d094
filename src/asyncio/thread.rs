//! [`to_thread`]: blocking work off the loop.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use super::join::JoinError;
use super::runtime::Runtime;
use crate::clock::OutsideWork;

/// Runs `work` on another thread, and returns its result: asyncio's `to_thread`.
///
/// The work begins at the call, in a pool of threads that all loops of the process share: threads start on demand, end
/// when they have been idle for half a second, and are at most 500 (the environment variable
/// `BLOCKING_MAX_THREADS`). Further work waits for one.
///
/// Only `work` and its result are sent; the task that awaits them stays on its loop, which goes on meanwhile. When the
/// future is dropped, work that has not begun is dropped, and work that has begun runs to its end on its thread, where
/// the result is dropped.
///
/// # Errors
///
/// [`JoinError`] if `work` panics.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
///
/// let text = EventLoop::new(())?.block_on(async {
///     asyncio::to_thread(|| std::fs::read_to_string("Cargo.toml")).await
/// })???;
/// assert!(text.contains("polyselect"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn to_thread<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> ToThread<R> {
    let outside = Runtime::current_clock().outside_work();
    let task = blocking::unblock(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        // A lab's time goes on until the loop has been woken.
        (result, outside)
    });
    ToThread { task }
}

/// The future of [`to_thread`].
#[must_use = "the work may not begin if the future is dropped"]
pub struct ToThread<R> {
    task: blocking::Task<(thread::Result<R>, OutsideWork)>,
}

impl<R> Future for ToThread<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let done = Pin::new(&mut self.task).poll(context);
        done.map(|(result, _outside)| result.map_err(|panic| JoinError::of_panic("work", panic)))
    }
}

impl<R> fmt::Debug for ToThread<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToThread").finish_non_exhaustive()
    }
}
