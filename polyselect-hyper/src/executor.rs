//! [`LoopExecutor`]: hyper's tasks on the loop.

use std::future::Future;

use hyper::rt::Executor;
use polyselect::asyncio;

/// Spawns hyper's tasks on the loop that polls the caller, as [`asyncio::spawn`] does.
///
/// Neither the tasks nor their results need be `Send`. They run until they end, also after the connection that
/// spawned them; the loop logs a panic and continues. A connection is polled in a task of the loop, and so its tasks are
/// spawned in one.
///
/// # Panics
///
/// [`execute`](Executor::execute) panics outside a task of an [`EventLoop`](polyselect::EventLoop).
///
/// ```
/// use hyper::rt::Executor;
/// use polyselect::{EventLoop, asyncio};
/// use polyselect_hyper::LoopExecutor;
/// use std::{cell::Cell, rc::Rc};
///
/// let has_run = Rc::new(Cell::new(false));
/// EventLoop::new(())?.block_on(async {
///     let has_run = Rc::clone(&has_run);
///     LoopExecutor.execute(async move { has_run.set(true) });
///     asyncio::yield_now().await;
/// })?;
/// assert!(has_run.get());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopExecutor;

impl<F> Executor<F> for LoopExecutor
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        asyncio::spawn(async {
            future.await;
        })
        .detach();
    }
}
