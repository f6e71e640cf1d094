//! What becomes of a coroutine, and who waits for it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::{error, fmt, io};

use super::runtime::Coroutine;

/// Why a coroutine gave no result: it panicked, or it was cancelled.
///
/// ```
/// use polyselect::EventLoop;
///
/// let mut event_loop = EventLoop::new(())?;
/// let failing = event_loop.spawn(async { panic!("on purpose") });
/// let error = event_loop.block_on(failing)?.unwrap_err();
/// assert!(error.is_panic());
/// assert_eq!(error.to_string(), "the coroutine panicked: on purpose");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct JoinError(Option<Box<dyn Any + Send>>);

impl JoinError {
    const CANCELLED: Self = Self(None);

    /// Whether it panicked; else it was cancelled, or its loop was dropped.
    ///
    /// See [`JoinError`] for an example.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.0.is_some()
    }

    /// Panics with what the coroutine panicked with; gives the error back if it did not.
    ///
    /// ```
    /// # use polyselect::EventLoop;
    /// # let mut event_loop = EventLoop::new(())?;
    /// let endless = event_loop.spawn(std::future::pending::<()>());
    /// endless.cancel();
    /// let error = event_loop.block_on(endless)?.unwrap_err();
    /// assert!(!error.resume_panic().is_panic());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use = "this is the error, if it is no panic"]
    pub fn resume_panic(self) -> Self {
        match self.0 {
            Some(panic) => resume_unwind(panic),
            None => self,
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(panic) = &self.0 else { return f.write_str("the coroutine was cancelled") };
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref().map(String::as_str));
        write!(f, "the coroutine panicked: {}", text.unwrap_or("with what is no text"))
    }
}

impl error::Error for JoinError {}

/// Of the kind `Other`, with the same message.
impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        Self::other(error.to_string())
    }
}

/// Shared by the coroutine and its handle.
pub(super) struct Outcome<R> {
    result: RefCell<Option<Result<R, JoinError>>>,
    /// Who waits for the result.
    joiner: Cell<Option<Waker>>,
    /// Wakes the coroutine, so that it notices that it was cancelled.
    task: Waker,
    location: &'static Location<'static>,
    is_ended: Cell<bool>,
    is_cancelled: Cell<bool>,
    is_detached: Cell<bool>,
}

/// Tells the joiner, also when the coroutine is dropped before its end.
struct Settled<R>(Rc<Outcome<R>>);

impl<R> Drop for Settled<R> {
    fn drop(&mut self) {
        let outcome = &*self.0;
        outcome.is_ended.set(true);
        outcome.result.borrow_mut().get_or_insert(Err(JoinError::CANCELLED));
        if let Some(joiner) = outcome.joiner.take() {
            joiner.wake();
        }
    }
}

impl<R: 'static> Outcome<R> {
    pub(super) fn new(task: Waker, location: &'static Location<'static>) -> Rc<Self> {
        Rc::new(Self {
            result: RefCell::new(None),
            joiner: Cell::new(None),
            task,
            location,
            is_ended: Cell::new(false),
            is_cancelled: Cell::new(false),
            is_detached: Cell::new(false),
        })
    }

    /// For a panic of which no handle will tell.
    fn log_panic(&self, result: &Result<R, JoinError>) {
        if let Err(error) = result
            && error.is_panic()
        {
            log::error!("the coroutine spawned at {}: {error}", self.location);
        }
    }

    /// The coroutine, with its result going where the handle finds it.
    pub(super) fn settle(self: Rc<Self>, future: impl Future<Output = R> + 'static) -> Coroutine {
        let settled = Settled(self);
        Box::pin(async move {
            let outcome = &*settled.0;
            let result = {
                // In a block of its own, what the coroutine had is gone before anybody hears of the
                // result; and a panic of that, too, is caught below.
                #[expect(clippy::redundant_async_block, reason = "it drops the future inside")]
                let mut body = pin!(async move { future.await });
                let guarded = poll_fn(|context| {
                    if outcome.is_cancelled.get() {
                        return Poll::Ready(Err(JoinError::CANCELLED));
                    }
                    match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(context))) {
                        Ok(poll) => poll.map(Ok),
                        Err(panic) => Poll::Ready(Err(JoinError(Some(panic)))),
                    }
                });
                guarded.await
            };
            if outcome.is_detached.get() {
                outcome.log_panic(&result);
            } else {
                outcome.result.replace(Some(result));
            }
        })
    }
}

/// A coroutine's handle: what [`EventLoop::spawn`](crate::EventLoop::spawn) and [`spawn`](super::spawn)
/// return. Await it for the result.
///
/// Dropping it cancels the coroutine; [`detach`](Self::detach) lets it go on.
///
/// ```
/// use polyselect::EventLoop;
///
/// let mut event_loop = EventLoop::new(())?;
/// let sum = event_loop.spawn(async { 1 + 2 });
/// assert_eq!(event_loop.block_on(sum)?.unwrap(), 3);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "dropping it cancels the coroutine; detach() lets it go on"]
pub struct JoinHandle<R: 'static>(Rc<Outcome<R>>);

impl<R: 'static> JoinHandle<R> {
    pub(super) fn new(outcome: Rc<Outcome<R>>) -> Self {
        Self(outcome)
    }

    /// Cancels the coroutine: it is dropped where it waits, in the next turn of the loop. One that
    /// has ended is not changed by it, and its result stays.
    ///
    /// See [`JoinError::resume_panic`] for an example.
    pub fn cancel(&self) {
        if !self.is_finished() {
            self.0.is_cancelled.set(true);
            self.0.task.wake_by_ref();
        }
    }

    /// Lets the coroutine go on without a handle. If it panics, that is logged (`log::error!`).
    ///
    /// ```
    /// # use polyselect::EventLoop;
    /// # let mut event_loop = EventLoop::new(())?;
    /// event_loop.spawn(async { println!("hello") }).detach();
    /// event_loop.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn detach(self) {
        self.0.is_detached.set(true);
        if let Some(result) = &*self.0.result.borrow() {
            self.0.log_panic(result);
        }
    }

    /// Whether the coroutine has ended.
    ///
    /// ```
    /// # use polyselect::EventLoop;
    /// # let mut event_loop = EventLoop::new(())?;
    /// let handle = event_loop.spawn(async {});
    /// assert!(!handle.is_finished());
    /// event_loop.turn(None)?;
    /// assert!(handle.is_finished());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_ended.get()
    }
}

/// Ready when the coroutine has ended.
impl<R: 'static> Future for JoinHandle<R> {
    type Output = Result<R, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = if self.is_finished() { self.0.result.take() } else { None };
        match result {
            Some(result) => Poll::Ready(result),
            None => {
                self.0.joiner.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<R: 'static> Drop for JoinHandle<R> {
    fn drop(&mut self) {
        if !self.0.is_detached.get() {
            self.cancel();
        }
    }
}

impl<R: 'static> fmt::Debug for JoinHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}
