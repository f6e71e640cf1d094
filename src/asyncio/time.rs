//! Time for tasks.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::requests::{Alarm, AlarmRequest};
use super::runtime::Runtime;
use crate::clock::Clock;

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Deadline,
    /// The loop that polled it last, and its timer.
    set: Option<(Weak<Runtime>, Rc<Alarm>)>,
}

#[derive(Debug)]
enum Deadline {
    At(Instant),
    After { start: Instant, delay: Duration },
}

impl Deadline {
    /// The moment, by the clock of the loop that polls the future; `None` is later than the clock can represent.
    fn moment(&self, clock: &Clock) -> Option<Instant> {
        match *self {
            Self::At(moment) => Some(clock.check(moment)),
            Self::After { start, delay } => clock.convert(start).checked_add(delay),
        }
    }
}

impl Sleep {
    fn give_up(&mut self) {
        if let Some((runtime, alarm)) = self.set.take()
            && !alarm.has_rung()
        {
            alarm.is_cancelled.set(true);
            if alarm.timer.get().is_some()
                && let Some(runtime) = runtime.upgrade()
            {
                runtime.push_alarm(AlarmRequest::Cancel(alarm));
            }
        }
    }
}

/// Returns the present moment by the clock of the loop that polls the caller, by which its timers run; outside
/// tasks by that of the system.
///
/// Deadlines that are computed from it stay right if the loop has another clock than the system's. Does not block.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::time::Duration;
///
/// EventLoop::new(())?.block_on(async {
///     let start = asyncio::now();
///     asyncio::sleep(Duration::from_millis(2)).await;
///     assert!(asyncio::now() - start >= Duration::from_millis(2));
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn now() -> Instant {
    Runtime::current_clock().now()
}

/// Completes when `delay` has passed since the call, never earlier. It uses a timer of the
/// loop: see [`EventLoop::call_later`](crate::EventLoop::call_later).
///
/// # Panics
///
/// When it is awaited outside a task of an [`EventLoop`](crate::EventLoop).
///
/// ```
/// use polyselect::{EventLoop, asyncio};
/// use std::time::{Duration, Instant};
///
/// let (delay, start) = (Duration::from_millis(2), Instant::now());
/// EventLoop::new(())?.block_on(asyncio::sleep(delay))?;
/// assert!(start.elapsed() >= delay);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn sleep(delay: Duration) -> Sleep {
    Sleep { deadline: Deadline::After { start: now(), delay }, set: None }
}

/// Completes at `deadline`, or in the next iteration if that has passed.
///
/// # Panics
///
/// Panics as [`sleep`] does.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
///
/// EventLoop::new(())?.block_on(asyncio::sleep_until(std::time::Instant::now()))?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline: Deadline::At(deadline), set: None }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &self.set {
            Some((_, alarm)) if alarm.has_rung() => return Poll::Ready(()),
            Some((runtime, alarm)) if runtime.as_ptr() == Runtime::current_address() => {
                alarm.set_waker(context.waker());
                return Poll::Pending;
            }
            // The loop that it was polled in before is gone, or is not the one that polls it now.
            _ => self.give_up(),
        }
        let runtime = Runtime::expect_current();
        let Some(deadline) = self.deadline.moment(runtime.clock()) else { return Poll::Pending };
        let alarm = Alarm::new(deadline, context.waker());
        runtime.push_alarm(AlarmRequest::Set(Rc::clone(&alarm)));
        self.set = Some((Rc::downgrade(&runtime), alarm));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Yields to everything else: the task goes on in the next iteration of the loop, after sources,
/// signals, timers and calls have run.
///
/// ```
/// use polyselect::{EventLoop, asyncio};
///
/// EventLoop::new(())?.block_on(async {
///     for _ in 0..3 {
///         asyncio::yield_now().await; // between pieces of a long computation
///     }
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
