//! Limits for futures: [`timeout`], [`timeout_at`], and [`Timeout`], whose deadline can be moved.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use std::{error, fmt, io};

use super::time::{Sleep, now, sleep, sleep_until};

/// The error of [`timeout`]: the deadline has elapsed.
///
/// ```
/// let error: std::io::Error = polyselect::asyncio::Elapsed.into();
/// assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl error::Error for Elapsed {}

/// Returns an error of the kind `TimedOut`.
impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// Returns the output of `future` if it is ready before `limit` has passed since the call; otherwise drops the future
/// where it waits.
///
/// A future that is ready when it is polled wins over a limit that has passed.
///
/// # Errors
///
/// [`Elapsed`] if the limit has passed.
///
/// # Panics
///
/// Panics as [`sleep`] does.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::{future::pending, time::Duration};
///
/// let mut event_loop = EventLoop::new(())?;
/// let result = event_loop.block_on(asyncio::timeout(Duration::from_millis(1), pending::<()>()))?;
/// assert_eq!(result, Err(asyncio::Elapsed));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn timeout<F: Future>(
    limit: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    limited(sleep(limit), future)
}

/// Returns the output of `future` if it is ready before `deadline`: [`timeout`] with a moment.
///
/// # Errors
///
/// [`Elapsed`] if the deadline has passed.
///
/// # Panics
///
/// Panics as [`sleep`] does.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::{future::pending, time::Duration};
///
/// let result = EventLoop::new(())?.block_on(async {
///     let deadline = asyncio::now() + Duration::from_millis(1);
///     asyncio::timeout_at(deadline, pending::<()>()).await
/// })?;
/// assert_eq!(result, Err(asyncio::Elapsed));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    limited(sleep_until(deadline), future)
}

async fn limited<F: Future>(mut sleep: Sleep, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut sleep).poll(context).map(|()| Err(Elapsed))
    })
    .await
}

/// A limit whose deadline can be moved while the future runs: asyncio's `timeout()` with its `reschedule`.
///
/// Clones share the deadline, so that the future itself can postpone it, for example when data arrives.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::time::Duration;
///
/// let steps = EventLoop::new(())?.block_on(async {
///     let idle = Duration::from_millis(50);
///     let timeout = asyncio::Timeout::after(idle);
///     let work = async {
///         for _ in 0..3 {
///             asyncio::sleep(idle / 2).await;
///             timeout.reschedule(asyncio::now() + idle); // there is progress
///         }
///         3
///     };
///     timeout.run(work).await
/// })?;
/// assert_eq!(steps, Ok(3));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Timeout(Rc<Shared>);

struct Shared {
    deadline: Cell<Option<Instant>>,
    /// Wakes the task that runs the future.
    waker: Cell<Option<Waker>>,
}

impl Timeout {
    /// Creates a limit with this deadline, or without one.
    ///
    /// ```
    /// use polyselect::asyncio::Timeout;
    ///
    /// let timeout = Timeout::at(None);
    /// assert_eq!(timeout.deadline(), None);
    /// ```
    #[must_use]
    pub fn at(deadline: impl Into<Option<Instant>>) -> Self {
        let deadline = Cell::new(deadline.into());
        Self(Rc::new(Shared { deadline, waker: Cell::new(None) }))
    }

    /// Creates a limit whose deadline is `limit` after the call.
    ///
    /// See [`Timeout`] for an example.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self::at(now().checked_add(limit))
    }

    /// Returns the deadline, if there is one.
    ///
    /// See [`at`](Self::at) for an example.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get()
    }

    /// Moves the deadline, also of a future that runs; `None` removes it.
    ///
    /// See [`Timeout`] for an example.
    pub fn reschedule(&self, deadline: impl Into<Option<Instant>>) {
        self.0.deadline.set(deadline.into());
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }

    /// Returns the output of `future` if it is ready before the deadline; otherwise drops the future where it waits.
    ///
    /// One future at a time is woken when the deadline is moved: the one that was polled last.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] if the deadline has passed.
    ///
    /// # Panics
    ///
    /// Panics as [`sleep`] does.
    ///
    /// See [`Timeout`] for an example.
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut set: Option<(Instant, Sleep)> = None;
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            // The future may have moved the deadline, too.
            self.0.waker.set(Some(context.waker().clone()));
            let Some(deadline) = self.deadline() else {
                set = None;
                return Poll::Pending;
            };
            if set.as_ref().is_none_or(|(of, _)| *of != deadline) {
                set = Some((deadline, sleep_until(deadline)));
            }
            let (_, sleep) = set.as_mut().expect("was just set");
            Pin::new(sleep).poll(context).map(|()| Err(Elapsed))
        })
        .await
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("deadline", &self.deadline()).finish_non_exhaustive()
    }
}
