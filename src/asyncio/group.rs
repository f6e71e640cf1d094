//! Several futures at the same time: [`TaskGroup`], [`gather`] and [`shield`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::join::{JoinError, JoinHandle};
use super::runtime::Runtime;
use super::spawn;

/// Tasks that succeed or end together: asyncio's `TaskGroup`.
///
/// The first task that returns an `Err` or panics ends the group: the others are cancelled immediately, and so are
/// tasks that are spawned later; [`join`](Self::join) returns that error when all have ended. So no task outlives
/// `join`. Dropping the group cancels its tasks.
///
/// The group keeps every result until `join`. For an endless series of tasks, such as one for each connection,
/// [`detach`](JoinHandle::detach) them instead.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::{io, time::Duration};
///
/// let sum: io::Result<u32> = EventLoop::new(())?.block_on(async {
///     let mut group = asyncio::TaskGroup::<u32, io::Error>::new();
///     for number in 1..=3 {
///         group.spawn(async move {
///             asyncio::sleep(Duration::from_millis(1)).await;
///             Ok(number)
///         });
///     }
///     Ok(group.join().await?.iter().sum())
/// })?;
/// assert_eq!(sum?, 6);
/// # Ok::<(), io::Error>(())
/// ```
pub struct TaskGroup<R: 'static, E: 'static = std::io::Error> {
    members: Rc<Members<R, E>>,
}

/// A task of a group, until it is joined.
type Member<R, E> = Option<JoinHandle<Result<R, E>>>;

/// Shared by a group and its tasks.
struct Members<R: 'static, E: 'static> {
    tasks: RefCell<Vec<Member<R, E>>>,
    /// The indices of the tasks that have ended, the first to end first.
    ended: RefCell<VecDeque<usize>>,
    has_failed: Cell<bool>,
    /// The waker of the task that joins.
    waker: Cell<Option<Waker>>,
}

/// Reports that a task has ended, also if it panics or is cancelled.
struct Notice<R: 'static, E: 'static> {
    members: Rc<Members<R, E>>,
    number: usize,
    has_succeeded: bool,
}

impl<R: 'static, E: 'static> Drop for Notice<R, E> {
    fn drop(&mut self) {
        let members = &*self.members;
        members.ended.borrow_mut().push_back(self.number);
        if !self.has_succeeded && !members.has_failed.replace(true) {
            members.cancel_all();
        }
        if let Some(waker) = members.waker.take() {
            waker.wake();
        }
    }
}

impl<R: 'static, E: 'static> TaskGroup<R, E> {
    /// Creates a group without tasks.
    ///
    /// See [`TaskGroup`] for an example.
    #[must_use]
    pub fn new() -> Self {
        let members = Members {
            tasks: RefCell::default(),
            ended: RefCell::default(),
            has_failed: Cell::new(false),
            waker: Cell::new(None),
        };
        Self { members: Rc::new(members) }
    }

    /// Spawns a task that belongs to the group.
    ///
    /// # Panics
    ///
    /// If it is called outside a task of an [`EventLoop`](crate::EventLoop).
    ///
    /// See [`TaskGroup`] for an example.
    #[track_caller]
    pub fn spawn(&mut self, future: impl Future<Output = Result<R, E>> + 'static) {
        let runtime = Runtime::expect_current();
        let members = Rc::clone(&self.members);
        let notice = Notice { members, number: self.len(), has_succeeded: false };
        let task = async move {
            let mut notice = notice;
            let result = future.await;
            notice.has_succeeded = result.is_ok();
            result
        };
        let task = runtime.spawn(task, Location::caller());
        if self.members.has_failed.get() {
            task.cancel();
        }
        self.members.tasks.borrow_mut().push(Some(task));
    }

    /// Returns the number of tasks that were spawned.
    ///
    /// ```
    /// use polyselect::asyncio::TaskGroup;
    ///
    /// assert_eq!(TaskGroup::<()>::new().len(), 0);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.tasks.borrow().len()
    }

    /// Returns whether no task was spawned.
    ///
    /// ```
    /// use polyselect::asyncio::TaskGroup;
    ///
    /// assert!(TaskGroup::<()>::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.tasks.borrow().is_empty()
    }

    /// Waits until all tasks have ended, and returns their results in the order of `spawn`.
    ///
    /// If `join` is cancelled, the tasks are cancelled.
    ///
    /// # Errors
    ///
    /// The first error. Later errors are dropped; later panics are logged (`log::error!`).
    ///
    /// See [`TaskGroup`] for an example.
    pub async fn join(self) -> Result<Vec<R>, E>
    where
        E: From<JoinError>,
    {
        let members = &*self.members;
        let mut results: Vec<Option<R>> = (0..self.len()).map(|_| None).collect();
        let mut failure = None;
        for _ in 0..self.len() {
            let number = poll_fn(|context| members.poll_ended(context)).await;
            let task = members.tasks.borrow_mut()[number].take().expect("a task ends once");
            if failure.is_some() {
                // Dropping the handle logs a panic.
                drop(task);
                continue;
            }
            match task.await {
                Ok(Ok(result)) => results[number] = Some(result),
                Ok(Err(error)) => failure = Some(error),
                Err(error) => failure = Some(E::from(error)),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(results.into_iter().flatten().collect()),
        }
    }
}

impl<R: 'static, E: 'static> Drop for TaskGroup<R, E> {
    fn drop(&mut self) {
        // Dropping a handle runs user code, so nothing is borrowed then.
        let tasks = self.members.tasks.take();
        drop(tasks);
    }
}

impl<R: 'static, E: 'static> Members<R, E> {
    fn cancel_all(&self) {
        self.tasks.borrow().iter().flatten().for_each(JoinHandle::cancel);
    }

    fn poll_ended(&self, context: &Context<'_>) -> Poll<usize> {
        let number = self.ended.borrow_mut().pop_front();
        match number {
            Some(number) => Poll::Ready(number),
            None => {
                drop(self.waker.replace(Some(context.waker().clone())));
                Poll::Pending
            }
        }
    }
}

impl<R: 'static, E: 'static> Default for TaskGroup<R, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: 'static, E: 'static> fmt::Debug for TaskGroup<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup").field("tasks", &self.len()).finish_non_exhaustive()
    }
}

/// Runs futures of one type at the same time, and returns their outputs in the given order: asyncio's `gather`.
///
/// They run within the task that awaits this, so they may borrow from it; each wake polls all that are not ready. For
/// many, or where an error should end the others, see [`TaskGroup`].
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::time::Duration;
///
/// let names = ["a", "b", "c"];
/// let greetings = EventLoop::new(())?.block_on(asyncio::gather(names.iter().map(|name| async move {
///     asyncio::sleep(Duration::from_millis(1)).await;
///     format!("hello {name}")
/// })))?;
/// assert_eq!(greetings, ["hello a", "hello b", "hello c"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn gather<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Option<Pin<Box<F>>>> =
        futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut is_ready = true;
        for (future, output) in running.iter_mut().zip(&mut outputs) {
            let Some(pending) = future else { continue };
            match pending.as_mut().poll(context) {
                Poll::Ready(ready) => {
                    *output = Some(ready);
                    *future = None;
                }
                Poll::Pending => is_ready = false,
            }
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// Runs a future as a task that goes on if the wait for it is cancelled: asyncio's `shield`.
///
/// The task begins at the call. A result that comes after the wait was cancelled is dropped.
///
/// # Errors
///
/// [`JoinError`] if the task panics, or its loop is dropped.
///
/// # Panics
///
/// If it is called outside a task of an [`EventLoop`](crate::EventLoop).
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::{cell::Cell, rc::Rc, time::Duration};
///
/// let (saved, mut event_loop) = (Rc::new(Cell::new(false)), EventLoop::new(())?);
/// let of_task = Rc::clone(&saved);
/// event_loop.block_on(async move {
///     let save = asyncio::shield(async move {
///         asyncio::sleep(Duration::from_millis(2)).await;
///         of_task.set(true);
///     });
///     asyncio::timeout(Duration::ZERO, save).await.unwrap_err();
/// })?;
/// event_loop.run()?;
/// assert!(saved.get());
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn shield<R: 'static>(future: impl Future<Output = R> + 'static) -> Shield<R> {
    Shield(Some(spawn(future)))
}

/// The future of [`shield`].
#[derive(Debug)]
#[must_use = "without waiting, `spawn` and `detach` do the same"]
pub struct Shield<R: 'static>(Option<JoinHandle<R>>);

impl<R: 'static> Future for Shield<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let handle = self.0.as_mut().expect("has a handle until it is dropped");
        Pin::new(handle).poll(context)
    }
}

impl<R: 'static> Drop for Shield<R> {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.release();
        }
    }
}
