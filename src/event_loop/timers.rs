//! Timers: calls at a certain time.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, mem};

use super::EventLoop;
use super::clock::{Clock, SystemClock};
use super::registered::OnPanic;
use super::wheel::{Handle, Wheel};
#[cfg(feature = "async")]
use crate::asyncio::Alarm;

/// Names a timer: what [`EventLoop::call_later`] and its like return and [`EventLoop::cancel`] takes.
///
/// It never names another timer, also not one of another loop.
///
/// ```
/// use polyselect::{EventLoop, TimerKey};
/// use std::time::Duration;
///
/// let mut event_loop = EventLoop::new(())?;
/// let timer: TimerKey = event_loop.call_later(Duration::from_secs(60), |_loop| {});
/// assert!(event_loop.cancel(timer));
/// assert!(!event_loop.cancel(timer));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerKey {
    timers: u32,
    handle: Handle,
}

impl fmt::Debug for TimerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimerKey({}, {:?})", self.timers, self.handle)
    }
}

type Once<T> = dyn FnOnce(&mut EventLoop<T>);
type Repeated<T> = dyn FnMut(&mut EventLoop<T>, TimerKey);

enum Timer<T> {
    Once(Box<Once<T>>, &'static Location<'static>),
    Every(Rc<Every<Repeated<T>>>),
    #[cfg(feature = "async")]
    Alarm(Rc<Alarm>),
}

struct Every<C: ?Sized> {
    period: u64,
    deadline: Cell<u64>,
    location: &'static Location<'static>,
    callback: RefCell<C>,
}

pub(super) struct Timers<T> {
    /// Tells the timers of one loop from those of another.
    id: u32,
    wheel: Wheel<Timer<T>>,
    clock: Box<dyn Clock>,
    /// What the clock said last, if nothing of the user's has run since.
    now: Option<u64>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self::with_clock(Box::new(SystemClock::start()))
    }
}

impl<T> Timers<T> {
    fn with_clock(clock: Box<dyn Clock>) -> Self {
        static IDS: AtomicU32 = AtomicU32::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        Self { id, wheel: Wheel::default(), clock, now: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wheel.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.wheel.len()
    }

    /// To be called when the user's code has run, or may have.
    #[inline]
    pub(super) fn forget_the_time(&mut self) {
        self.now = None;
    }

    /// How long until the next timer. The clock is read if there is one, and not just been read.
    #[inline]
    pub(super) fn time_left(&mut self) -> Option<Duration> {
        if self.wheel.is_empty() { None } else { self.time_left_of_first() }
    }

    #[inline(never)]
    fn time_left_of_first(&mut self) -> Option<Duration> {
        let deadline = self.wheel.next_deadline()?;
        let now = self.now.take().unwrap_or_else(|| self.clock.now());
        Some(Duration::from_nanos(deadline.saturating_sub(now)))
    }

    fn insert(&mut self, deadline: u64, timer: Timer<T>) -> TimerKey {
        if self.wheel.is_empty() {
            // It has stood still since the last timer.
            self.wheel.collect_due(self.clock.now());
        }
        TimerKey { timers: self.id, handle: self.wheel.insert(deadline, timer) }
    }

    fn remove(&mut self, key: TimerKey) -> Option<Timer<T>> {
        if key.timers == self.id { self.wheel.cancel(key.handle) } else { None }
    }

    /// Sets a repeating timer that has fired to its next deadline: of those that it was set for the
    /// first that is still to come, so that it neither drifts nor makes up for a stall.
    fn restart(&mut self, key: TimerKey, every: &Every<Repeated<T>>, now: u64) {
        if key.timers != self.id {
            return;
        }
        let missed = now.saturating_sub(every.deadline.get()) / every.period;
        let step = every.period.saturating_mul(missed.saturating_add(1));
        every.deadline.set(every.deadline.get().saturating_add(step));
        self.wheel.reschedule(key.handle, every.deadline.get());
    }
}

impl<T: 'static> EventLoop<T> {
    /// Runs `callback` once, when `delay` has passed; never earlier. Zero means when timers have their
    /// turn next: in this turn, if a source's callback sets it, else in the next one.
    ///
    /// Setting and cancelling take constant time, whatever the number of timers. Timers run in the
    /// order of their deadlines, which are kept to the nanosecond; equal ones in the order in which
    /// they were set.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new(Vec::new())?;
    /// event_loop.call_later(Duration::from_millis(200), |event_loop| event_loop.state.push("later"));
    /// event_loop.call_later(Duration::from_millis(1), |event_loop| event_loop.state.push("soon"));
    /// event_loop.run()?;
    /// assert_eq!(event_loop.state, ["soon", "later"]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_later(
        &mut self,
        delay: Duration,
        callback: impl FnOnce(&mut Self) + 'static,
    ) -> TimerKey {
        let deadline = self.timers.clock.now().saturating_add(nanoseconds(delay));
        self.timers.insert(deadline, Timer::Once(Box::new(callback), Location::caller()))
    }

    /// Runs `callback` once, at that moment or as soon after it as possible; when timers have
    /// their turn next if it has passed. As [`call_later`](Self::call_later).
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::{Duration, Instant};
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// let deadline = Instant::now() + Duration::from_millis(2);
    /// event_loop.call_at(deadline, move |_loop| assert!(Instant::now() >= deadline));
    /// event_loop.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_at(
        &mut self,
        deadline: Instant,
        callback: impl FnOnce(&mut Self) + 'static,
    ) -> TimerKey {
        let deadline = self.timers.clock.at(deadline);
        self.timers.insert(deadline, Timer::Once(Box::new(callback), Location::caller()))
    }

    /// Runs `callback` every `period`, for the first time when one has passed, until it is cancelled;
    /// the callback gets its own key.
    ///
    /// The deadlines are whole periods from now, whenever it really runs, so that it does not drift.
    /// What a stall made it miss is not made up for: it runs once, and goes on with the next
    /// deadline. A period of zero means every turn, and that the loop never sleeps.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new(0)?;
    /// event_loop.call_every(Duration::from_micros(100), |event_loop, timer| {
    ///     event_loop.state += 1;
    ///     if event_loop.state == 5 {
    ///         event_loop.cancel(timer);
    ///     }
    /// });
    /// event_loop.run()?;
    /// assert_eq!(event_loop.state, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_every(
        &mut self,
        period: Duration,
        callback: impl FnMut(&mut Self, TimerKey) + 'static,
    ) -> TimerKey {
        let period = nanoseconds(period).max(1);
        let deadline = self.timers.clock.now().saturating_add(period);
        let every = Every {
            period,
            deadline: Cell::new(deadline),
            location: Location::caller(),
            callback: RefCell::new(callback),
        };
        self.timers.insert(deadline, Timer::Every(Rc::new(every)))
    }

    /// Rings when the alarm's deadline has come.
    #[cfg(feature = "async")]
    pub(super) fn set_alarm(&mut self, alarm: Rc<Alarm>) -> TimerKey {
        let deadline = self.timers.clock.at(alarm.deadline);
        self.timers.insert(deadline, Timer::Alarm(alarm))
    }

    /// Ends a timer, and says whether it was still to run. A timer may end itself, and one whose
    /// deadline has passed but whose turn has not come.
    ///
    /// See [`TimerKey`] for an example.
    pub fn cancel(&mut self, timer: TimerKey) -> bool {
        self.timers.remove(timer).is_some()
    }

    #[inline]
    pub(super) fn fire_timers(&mut self) {
        if !self.timers.is_empty() {
            self.fire_due_timers();
        }
    }

    #[inline(never)]
    fn fire_due_timers(&mut self) {
        let now = self.timers.clock.now();
        self.timers.now = Some(now);
        self.timers.wheel.collect_due(now);
        while let Some(handle) = self.timers.wheel.next_due() {
            self.timers.forget_the_time();
            self.stats.timers += 1;
            self.fire(TimerKey { timers: self.timers.id, handle }, now);
        }
    }

    fn fire(&mut self, key: TimerKey, now: u64) {
        let watch = self.watchdog.start();
        let location = if let Some(Timer::Every(every)) = self.timers.wheel.get(key.handle) {
            let every = Rc::clone(every);
            let guard = OnPanic::new(self, |event_loop| {
                event_loop.cancel(key);
            });
            // It fails for one that is running, in a loop that it has put elsewhere.
            if let Ok(mut callback) = every.callback.try_borrow_mut() {
                callback(guard.event_loop, key);
            }
            mem::forget(guard);
            self.timers.restart(key, &every, now);
            every.location
        } else {
            match self.timers.remove(key) {
                Some(Timer::Once(callback, location)) => {
                    callback(self);
                    location
                }
                #[cfg(feature = "async")]
                Some(Timer::Alarm(alarm)) => return alarm.ring(),
                _ => return,
            }
        };
        log::trace!("the timer set at {location} has run");
        self.watchdog.check(watch, location, &mut self.stats);
    }
}

/// As far as they can be counted: 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
