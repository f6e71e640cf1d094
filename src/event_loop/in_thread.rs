//! Blocking work for callbacks.

use super::EventLoop;
use crate::asyncio::{JoinError, to_thread};

impl<T: 'static> EventLoop<T> {
    /// Runs `work` on another thread, and then `then` on the loop, with the result.
    ///
    /// Only `work` and its result are sent, so that `then` may hold anything. The threads are those of
    /// [`asyncio::to_thread`](crate::asyncio::to_thread). While work is in progress, [`run`](Self::run) does not
    /// return. `then` gets a [`JoinError`] if `work` panics; it is dropped with the loop. Does not block.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::rc::Rc;
    ///
    /// let mut event_loop = EventLoop::new(0)?;
    /// let here = Rc::new(2);
    /// event_loop.run_in_thread(|| 6 * 7, move |event_loop, result| {
    ///     event_loop.state = *here * result.unwrap();
    /// });
    /// event_loop.run()?;
    /// assert_eq!(event_loop.state, 84);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn run_in_thread<R: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> R + Send + 'static,
        then: impl FnOnce(&mut Self, Result<R, JoinError>) + 'static,
    ) {
        let (local, work) = (self.local(), to_thread(work));
        self.spawn(async move {
            let result = work.await;
            // The loop polls this task, so it is there.
            local.call(move |event_loop| then(event_loop, result))
        })
        .detach();
    }
}
