//! Timers: calls at a certain time.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::call_user::{Iteration, Place, Registrant, Replaced};
use super::{EventLoop, errors};
#[cfg(feature = "async")]
use crate::asyncio::Alarm;
use crate::clock::{Clock, nanoseconds};
use crate::timer::wheel::{Handle, Wheel};
use crate::timer::{Owner, TimerClock, TimerKey};

type Once<T> = dyn FnOnce(&mut EventLoop<T>);
type Repeated<T> = dyn FnMut(&mut EventLoop<T>, TimerKey);

pub(super) enum Timer<T> {
    Once(Box<Once<T>>, &'static Location<'static>),
    Every(Rc<Every<Repeated<T>>>),
    #[cfg(feature = "async")]
    Alarm(Rc<Alarm>),
}

impl<T> Timer<T> {
    /// The place where the user set the timer; a task's timer has none of its own.
    fn place(&self) -> Option<&'static Location<'static>> {
        match self {
            Self::Once(_, location) => Some(location),
            Self::Every(every) => Some(every.location),
            #[cfg(feature = "async")]
            Self::Alarm(_) => None,
        }
    }
}

pub(super) struct Every<C: ?Sized> {
    period: u64,
    deadline: Cell<u64>,
    location: &'static Location<'static>,
    callback: RefCell<C>,
}

pub(super) struct Timers<T> {
    owner: Owner,
    wheel: Wheel<Timer<T>>,
    clock: TimerClock,
    /// The last time read from the clock, unless user code has run since.
    now: Option<u64>,
}

impl<T> Timers<T> {
    pub(super) fn new(clock: Clock) -> Self {
        let clock = TimerClock::start(clock);
        Self { owner: Owner::new(), wheel: Wheel::default(), clock, now: None }
    }

    pub(super) fn clock(&self) -> &Clock {
        self.clock.clock()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wheel.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.wheel.len()
    }

    /// The places where the user's timers were set.
    pub(super) fn places(&self) -> impl Iterator<Item = &'static Location<'static>> {
        self.wheel.values().filter_map(Timer::place)
    }

    /// Called when user code has run since the clock was read, or may have.
    #[inline]
    pub(super) fn forget_the_time(&mut self) {
        self.now = None;
    }

    /// The time until the next timer. The clock is read if there is one, unless it has just been read.
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

    /// The deadline of the first timer; `None` without a timer, or if the system's clock cannot represent it.
    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        let deadline = self.wheel.next_deadline()?;
        // The exact value of a deadline in the past does not matter.
        self.clock.moment(deadline)
    }

    fn insert(&mut self, deadline: u64, timer: Timer<T>) -> TimerKey {
        if self.wheel.is_empty() {
            // The wheel has stood still since the last timer.
            self.wheel.collect_due(self.clock.now());
        }
        self.owner.key(self.wheel.insert(deadline, timer))
    }

    pub(super) fn remove(&mut self, key: TimerKey) -> Option<Timer<T>> {
        self.wheel.cancel(self.owner.handle(key)?)
    }

    /// Puts due timers of equal deadlines into another order, if the loop is in a lab that does so.
    #[cfg(feature = "testing")]
    fn shuffle_equal(&mut self) {
        let clock = self.clock.clock().clone();
        self.wheel.each_equal(|timers| clock.shuffle_timers(timers));
    }

    /// Returns the deadline of the first timer that wakes the task with this waker.
    #[cfg(feature = "async")]
    pub(super) fn wake_of(&self, waker: &std::task::Waker) -> Option<Instant> {
        let alarms = self.wheel.values().filter_map(|timer| match timer {
            Timer::Alarm(alarm) if alarm.wakes(waker) => Some(alarm.deadline),
            _ => None,
        });
        alarms.min()
    }

    /// Takes the next due timer of this pass, and sets it again if it repeats.
    fn next_due(&mut self, now: u64) -> Option<(TimerKey, Timer<T>)> {
        let handle = self.wheel.next_due()?;
        let key = self.owner.key(handle);
        if let Some(Timer::Every(every)) = self.wheel.get(handle) {
            // Set before the callback runs, so that the timer continues wherever the callback moves the loop.
            let every = Rc::clone(every);
            self.restart(handle, &every, now);
            return Some((key, Timer::Every(every)));
        }
        Some((key, self.wheel.cancel(handle)?))
    }

    /// Sets a repeating timer to the first of its deadlines that is after `now`, so that it neither drifts nor makes up
    /// for a stall.
    fn restart(&mut self, handle: Handle, every: &Every<Repeated<T>>, now: u64) {
        let missed = now.saturating_sub(every.deadline.get()) / every.period;
        let step = every.period.saturating_mul(missed.saturating_add(1));
        every.deadline.set(every.deadline.get().saturating_add(step));
        self.wheel.reschedule(handle, every.deadline.get());
    }
}

impl<T: 'static> EventLoop<T> {
    /// Returns the present moment by the clock of the loop, by which its timers run.
    ///
    /// It is the system's monotonic clock, which each call reads. Does not block.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new(())?;
    /// let deadline = event_loop.now() + Duration::from_millis(2);
    /// event_loop.call_at(deadline, move |event_loop| assert!(event_loop.now() >= deadline));
    /// event_loop.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        self.timers.clock().now()
    }

    /// Runs `callback` once, when `delay` has passed; never earlier.
    ///
    /// With a `delay` of zero it runs with the next timers: in this iteration if the callback of a source sets it,
    /// otherwise in the next.
    ///
    /// Setting and cancelling take constant time, whatever the number of timers. Timers run in the
    /// order of their deadlines, which are kept to the nanosecond; equal ones in the order in which
    /// they were set. Does not block.
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

    /// Runs `callback` once, at `deadline` or as soon after it as possible; with the next timers if it has
    /// passed. Otherwise like [`call_later`](Self::call_later).
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
        let deadline = self.timers.clock.at(self.timers.clock().check(deadline));
        self.timers.insert(deadline, Timer::Once(Box::new(callback), Location::caller()))
    }

    /// Runs `callback` every `period` until it is cancelled; the first call is one `period` from now.
    /// The callback gets its own key.
    ///
    /// The deadlines are whole periods from now, however late the callback runs, so it does not drift. Deadlines that
    /// were missed during a stall are not made up for: the callback runs once, and continues with the next deadline. A
    /// period of zero runs it in every iteration, and the loop never sleeps.
    ///
    /// ```
    /// use polyselect::EventLoop;
    /// use std::time::Duration;
    ///
    /// let mut event_loop = EventLoop::new(0)?;
    /// event_loop.call_every(Duration::from_micros(100), |event_loop, timer| {
    ///     event_loop.state += 1;
    ///     if event_loop.state == 5 {
    ///         event_loop.cancel(timer).expect("is running");
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

    /// Sets a timer for the alarm.
    #[cfg(feature = "async")]
    pub(super) fn set_alarm(&mut self, alarm: Rc<Alarm>) -> TimerKey {
        let deadline = self.timers.clock.at(alarm.deadline);
        self.timers.insert(deadline, Timer::Alarm(alarm))
    }

    /// Cancels a timer: its callback does not run, and is dropped.
    ///
    /// A timer may cancel itself while it runs if it repeats, and any timer whose deadline has passed but whose callback
    /// has not been called. Does not block.
    ///
    /// # Errors
    ///
    /// `NotFound` if the key does not name a pending timer of this loop: it has run, was cancelled, or is another
    /// loop's. Where that may happen and does not matter, write `event_loop.cancel(timer).ok();`.
    ///
    /// See [`TimerKey`] for an example.
    pub fn cancel(&mut self, timer: TimerKey) -> io::Result<()> {
        let removed = self.timers.remove(timer).map(drop);
        removed.ok_or_else(|| errors::not_found(format_args!("{timer:?} names no timer")))
    }

    #[inline]
    pub(super) fn fire_timers(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        if self.timers.is_empty() { Ok(()) } else { self.fire_due_timers(iteration) }
    }

    #[inline(never)]
    fn fire_due_timers(&mut self, iteration: &Iteration) -> Result<(), Replaced> {
        let now = self.timers.clock.now();
        self.timers.now = Some(now);
        self.timers.wheel.collect_due(now);
        #[cfg(feature = "testing")]
        self.timers.shuffle_equal();
        while let Some((key, timer)) = self.timers.next_due(now) {
            self.stats.timers += 1;
            match timer {
                Timer::Once(callback, location) => {
                    let place = Place::Timer(location);
                    self.call_user(iteration, Registrant::Nothing, place, callback)?;
                }
                Timer::Every(every) => {
                    let place = Place::Timer(every.location);
                    let call = move |event_loop: &mut Self| {
                        (every.callback.borrow_mut())(event_loop, key);
                    };
                    self.call_user(iteration, Registrant::Timer(key), place, call)?;
                }
                #[cfg(feature = "async")]
                Timer::Alarm(alarm) => {
                    let ring = |_: &mut Self| alarm.ring();
                    self.call_user(iteration, Registrant::Nothing, Place::Unknown, ring)?;
                }
            }
        }
        Ok(())
    }
}
