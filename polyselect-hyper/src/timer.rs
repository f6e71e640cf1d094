//! [`LoopTimer`]: hyper's sleeps.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use polyselect::asyncio;

/// Sleeps for hyper, by the timers of the loop that polls them.
///
/// hyper asks for sleeps that are `Send`, and those of the loop are not. So these are entries of a list behind a lock,
/// which belongs to the timer and its clones, and one task of the loop sleeps for the earliest of them and wakes those
/// whose deadline has come. The task is spawned when the first sleep is polled and ends with the last one, so that a
/// timer without sleeps does not keep the loop from ending. A sleep costs two locks, which nothing contends for, and an
/// entry in a sorted map.
///
/// One timer may serve several loops, each on its thread. Then the loop that polled first wakes the others' tasks;
/// when it is dropped, another takes over. A timer for each loop saves these wakes.
///
/// ```
/// use hyper::rt::Timer;
/// use polyselect::{EventLoop, asyncio};
/// use polyselect_hyper::LoopTimer;
/// use std::time::Duration;
///
/// let (timer, delay) = (LoopTimer::new(), Duration::from_millis(2));
/// EventLoop::new(())?.block_on(async {
///     let start = asyncio::now();
///     timer.sleep(delay).await;
///     assert!(asyncio::now() - start >= delay);
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct LoopTimer(Arc<Mutex<Sleeps>>);

/// The number distinguishes sleeps with the same deadline.
type Id = (Instant, u64);

#[derive(Default)]
struct Sleeps {
    /// Those that have been polled and whose deadline has not come.
    wakers: BTreeMap<Id, Waker>,
    next: u64,
    /// The task that sleeps for the earliest, if one runs.
    driver: Option<Waker>,
    is_driven: bool,
}

impl LoopTimer {
    /// Creates a timer without sleeps. Can be called outside of tasks.
    ///
    /// See [`LoopTimer`] for an example.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Sleeps> {
        // No code of others runs under the lock but the clone of a waker.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, deadline: Instant) -> LoopSleep {
        let mut sleeps = self.lock();
        sleeps.next += 1;
        LoopSleep { timer: self.clone(), id: (deadline, sleeps.next), is_listed: false }
    }

    /// Wakes sleeps when their deadlines have come, until there are none.
    async fn drive(driving: Driving) {
        let timer = &driving.0;
        while let Some(earliest) = timer.next_deadline() {
            let mut sleep = pin!(asyncio::sleep_until(earliest));
            // It also ends when another sleep is the earliest.
            poll_fn(|context| {
                timer.lock().driver = Some(context.waker().clone());
                if timer.next_deadline() != Some(earliest) {
                    return Poll::Ready(());
                }
                sleep.as_mut().poll(context)
            })
            .await;
            timer.wake_until(asyncio::now());
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.lock().wakers.first_key_value().map(|(&(deadline, _), _)| deadline)
    }

    fn wake_until(&self, now: Instant) {
        let mut sleeps = self.lock();
        let later = sleeps.wakers.split_off(&(now, u64::MAX));
        let expired = std::mem::replace(&mut sleeps.wakers, later);
        drop(sleeps);
        expired.into_values().for_each(Waker::wake);
    }
}

/// The task that sleeps for all; when it ends, also with its loop, those that are left find another.
struct Driving(LoopTimer);

impl Drop for Driving {
    fn drop(&mut self) {
        let mut sleeps = self.0.lock();
        sleeps.is_driven = false;
        sleeps.driver = None;
        let left = std::mem::take(&mut sleeps.wakers);
        drop(sleeps);
        left.into_values().for_each(Waker::wake);
    }
}

impl Timer for LoopTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        match asyncio::now().checked_add(duration) {
            Some(deadline) => self.sleep_until(deadline),
            // Later than the clock can say.
            None => Box::pin(Never),
        }
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(self.entry(deadline))
    }

    fn now(&self) -> Instant {
        asyncio::now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<LoopSleep>() {
            // The memory is used again.
            Some(mut sleep) => *sleep = self.entry(new_deadline),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

impl fmt::Debug for LoopTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopTimer").field("sleeps", &self.lock().wakers.len()).finish()
    }
}

/// A sleep of a [`LoopTimer`].
struct LoopSleep {
    timer: LoopTimer,
    id: Id,
    is_listed: bool,
}

impl Future for LoopSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (deadline, _) = self.id;
        if asyncio::now() >= deadline {
            return Poll::Ready(());
        }
        self.is_listed = true;
        let mut sleeps = self.timer.lock();
        // A waker may own a task, which is not dropped under the lock.
        let before = sleeps.wakers.insert(self.id, context.waker().clone());
        let is_first = sleeps.wakers.first_key_value().is_some_and(|(&id, _)| id == self.id);
        let driver = if is_first { sleeps.driver.clone() } else { None };
        let is_driven = std::mem::replace(&mut sleeps.is_driven, true);
        drop(sleeps);
        drop(before);
        if let Some(driver) = driver {
            driver.wake();
        }
        if !is_driven {
            asyncio::spawn(LoopTimer::drive(Driving(self.timer.clone()))).detach();
        }
        Poll::Pending
    }
}

impl Sleep for LoopSleep {}

impl Drop for LoopSleep {
    fn drop(&mut self) {
        if !self.is_listed {
            return;
        }
        let mut sleeps = self.timer.lock();
        let waker = sleeps.wakers.remove(&self.id);
        // The task ends with the last sleep.
        let driver = if sleeps.wakers.is_empty() { sleeps.driver.clone() } else { None };
        drop(sleeps);
        drop(waker);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// A sleep without an end.
struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Sleep for Never {}
