//! The end of a task, and the handle that waits for it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{error, fmt, io};

/// A future that keeps its output in its [`Outcome`].
pub(super) type Coroutine = Pin<Box<dyn Future<Output = ()>>>;

/// The error of a task without a result: it panicked, or it was cancelled. Also that of
/// [work on another thread](super::to_thread) that panicked.
///
/// ```
/// use polyselect::EventLoop;
///
/// let mut event_loop = EventLoop::new(())?;
/// let failing = event_loop.spawn(async { panic!("on purpose") });
/// let error = event_loop.block_on(failing)?.unwrap_err();
/// assert!(error.is_panic());
/// assert_eq!(error.to_string(), "the task panicked: on purpose");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct JoinError(Option<Panic>);

struct Panic {
    /// The noun for the code that panicked.
    of: &'static str,
    /// The lock is never contended; it makes the error `Sync`, as other error types require.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl JoinError {
    const CANCELLED: Self = Self(None);

    pub(super) fn of_panic(of: &'static str, payload: Box<dyn Any + Send>) -> Self {
        Self(Some(Panic { of, payload: Mutex::new(payload) }))
    }

    /// Returns whether the task panicked; otherwise it was cancelled, or its loop was dropped.
    ///
    /// See [`JoinError`] for an example.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.0.is_some()
    }

    /// Panics with the task's panic; returns the error if the task did not panic.
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
    #[must_use = "this is the error, if the task did not panic"]
    pub fn resume_panic(self) -> Self {
        match self.0 {
            Some(panic) => {
                resume_unwind(panic.payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
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
        let Some(panic) = &self.0 else { return f.write_str("the task was cancelled") };
        let of = panic.of;
        let payload = panic.payload.lock().unwrap_or_else(PoisonError::into_inner);
        let text = payload.downcast_ref::<&str>().copied();
        match text.or_else(|| payload.downcast_ref().map(String::as_str)) {
            Some(text) => write!(f, "the {of} panicked: {text}"),
            None => write!(f, "the {of} panicked with a non-string payload"),
        }
    }
}

impl error::Error for JoinError {}

/// An error of the kind `Other`, with the same message.
impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> Self {
        Self::other(error)
    }
}

/// The output of a task that can be detached: `()`, a `Result` whose error can be displayed, or nothing at all.
///
/// A detached task has no handle for its output, so [`JoinHandle::detach`] requires one that loses no information: an
/// `Err` is logged. To drop another output, end the task with a semicolon, or use `map_err`.
///
/// This trait cannot be implemented outside this crate.
///
/// ```
/// use polyselect::EventLoop;
///
/// let mut event_loop = EventLoop::new(())?;
/// event_loop.spawn(async { println!("hello") }).detach();
/// event_loop.spawn(async { std::fs::remove_file("/nonexistent") }).detach(); // logs why that fails
/// event_loop.spawn(async { _ = 6 * 7; }).detach();
/// event_loop.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The result of this task would be lost:
///
/// ```compile_fail
/// let mut event_loop = polyselect::EventLoop::new(()).unwrap();
/// event_loop.spawn(async { 6 * 7 }).detach();
/// ```
#[diagnostic::on_unimplemented(
    message = "a detached task cannot return `{Self}`",
    label = "nothing would receive the `{Self}` that this task returns",
    note = "keep the handle and await it, or end the task with `;`; `()` and `Result<_, impl Display>` can be detached"
)]
pub trait DetachedOutput: sealed::Sealed {}

impl DetachedOutput for () {}
impl DetachedOutput for Infallible {}
impl DetachedOutput for Never {}
impl<T, E: fmt::Display> DetachedOutput for Result<T, E> {}

/// The output of `async { loop { … } }`.
type Never = <fn() -> ! as sealed::Function>::Output;

mod sealed {
    use std::convert::Infallible;
    use std::fmt::Display;

    /// Names the type `!`, which stable Rust allows only as the output of a function.
    pub trait Function {
        type Output;
    }

    impl<R> Function for fn() -> R {
        type Output = R;
    }

    pub trait Sealed {
        /// The error, if there is one.
        fn failure(&self) -> Option<&dyn Display> {
            None
        }
    }

    impl Sealed for () {}
    impl Sealed for Infallible {}
    impl Sealed for super::Never {}

    impl<T, E: Display> Sealed for Result<T, E> {
        fn failure(&self) -> Option<&dyn Display> {
            self.as_ref().err().map(|error| error as _)
        }
    }
}

/// Shared by the task and its handle.
pub(super) struct Outcome<R> {
    result: RefCell<Option<Result<R, JoinError>>>,
    /// The waker of the task that awaits the handle.
    joiner: Cell<Option<Waker>>,
    /// Wakes the task, so that it notices that it was cancelled.
    task: Waker,
    location: &'static Location<'static>,
    is_ended: Cell<bool>,
    is_cancelled: Cell<bool>,
    /// Set by `detach`: looks at the output.
    report: Cell<Option<Report<R>>>,
}

type Report<R> = fn(&R, &'static Location<'static>);

/// Wakes the joiner, also when the task is dropped before its end.
struct Settled<R>(Rc<Outcome<R>>);

impl<R> Drop for Settled<R> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<R> Outcome<R> {
    pub(super) fn new(task: Waker, location: &'static Location<'static>) -> Rc<Self> {
        Rc::new(Self {
            result: RefCell::new(None),
            joiner: Cell::new(None),
            task,
            location,
            is_ended: Cell::new(false),
            is_cancelled: Cell::new(false),
            report: Cell::new(None),
        })
    }

    /// The task is over; without a result it was cancelled.
    pub(super) fn end(&self) {
        self.is_ended.set(true);
        self.result.borrow_mut().get_or_insert(Err(JoinError::CANCELLED));
        if let Some(joiner) = self.joiner.take() {
            joiner.wake();
        }
    }

    /// Keeps the result for the handle, or logs a failure if the task is detached.
    fn settle(&self, result: Result<R, JoinError>) {
        let Some(report) = self.report.get() else {
            self.result.replace(Some(result));
            return;
        };
        match result {
            Ok(output) => report(&output, self.location),
            Err(error) => self.log_panic(&error),
        }
    }

    /// For a panic that no handle returns.
    fn log_panic(&self, error: &JoinError) {
        if error.is_panic() {
            log::error!("the task spawned at {}: {error}", self.location);
        }
    }
}

impl<R: 'static> Outcome<R> {
    /// Returns the future of the task, which stores its result for the handle.
    pub(super) fn run(self: Rc<Self>, future: impl Future<Output = R> + 'static) -> Coroutine {
        let settled = Settled(self);
        Box::pin(async move {
            let outcome = &*settled.0;
            let result = {
                // In a separate block, so that the task's values are dropped before its result is visible; a panic of
                // their destructors is caught below too.
                #[expect(clippy::redundant_async_block, reason = "it drops the future inside")]
                let mut body = pin!(async move { future.await });
                let guarded = poll_fn(|context| {
                    if outcome.is_cancelled.get() {
                        return Poll::Ready(Err(JoinError::CANCELLED));
                    }
                    match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(context))) {
                        Ok(poll) => poll.map(Ok),
                        Err(panic) => Poll::Ready(Err(JoinError::of_panic("task", panic))),
                    }
                });
                guarded.await
            };
            outcome.settle(result);
        })
    }
}

/// The handle of a task: [`EventLoop::spawn`](crate::EventLoop::spawn) and [`spawn`](super::spawn)
/// return it. Await it for the task's output.
///
/// Dropping it cancels the task; [`detach`](Self::detach) lets it run on.
///
/// ```
/// use polyselect::EventLoop;
///
/// let mut event_loop = EventLoop::new(())?;
/// let sum = event_loop.spawn(async { 1 + 2 });
/// assert_eq!(event_loop.block_on(sum)?.unwrap(), 3);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "dropping it cancels the task; detach() lets it run on"]
pub struct JoinHandle<R: 'static>(Rc<Outcome<R>>);

impl<R: 'static> JoinHandle<R> {
    pub(super) fn new(outcome: Rc<Outcome<R>>) -> Self {
        Self(outcome)
    }

    /// Cancels the task: it is dropped where it waits, in the next iteration of the loop. A task that
    /// has ended is not changed, and its result stays.
    ///
    /// See [`JoinError::resume_panic`] for an example.
    pub fn cancel(&self) {
        if !self.is_finished() {
            self.0.is_cancelled.set(true);
            self.0.task.wake_by_ref();
        }
    }

    /// Lets the task run on without a handle.
    ///
    /// If the task returns an `Err`, or panics, that is logged (`log::error!`) with the place where the task was
    /// spawned. An output that would be lost cannot be detached: see [`DetachedOutput`].
    ///
    /// ```
    /// # use polyselect::EventLoop;
    /// # let mut event_loop = EventLoop::new(())?;
    /// event_loop.spawn(async { println!("hello") }).detach();
    /// event_loop.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn detach(self)
    where
        R: DetachedOutput,
    {
        let report = |output: &R, location| {
            if let Some(failure) = output.failure() {
                log::error!("the task spawned at {location} failed: {failure}");
            }
        };
        self.report_to(report);
    }

    /// Lets the task run on, and drops its output; a panic is logged.
    pub(super) fn release(self) {
        self.report_to(|_, _| {});
    }

    fn report_to(self, report: Report<R>) {
        self.0.report.set(Some(report));
        // It may have ended already.
        let result = self.0.result.take();
        if let Some(result) = result {
            self.0.settle(result);
        }
    }

    /// Returns whether the task has ended.
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

/// Ready when the task has ended.
impl<R: 'static> Future for JoinHandle<R> {
    type Output = Result<R, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = if self.is_finished() { self.0.result.take() } else { None };
        match result {
            Some(result) => Poll::Ready(result),
            None => {
                let waker = context.waker().clone();
                // The waker of an earlier poll is dropped, which is user code, when the cell has the new one.
                drop(self.0.joiner.replace(Some(waker)));
                Poll::Pending
            }
        }
    }
}

impl<R: 'static> Drop for JoinHandle<R> {
    fn drop(&mut self) {
        if self.0.report.get().is_some() {
            return;
        }
        self.cancel();
        // No other handle returns the panic. A logger is user code, so nothing is borrowed while it runs.
        let result = self.0.result.take();
        if let Some(Err(error)) = result {
            self.0.log_panic(&error);
        }
    }
}

impl<R: 'static> fmt::Debug for JoinHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}
