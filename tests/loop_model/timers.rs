//! Timers: never early, in the order of their deadlines, and as often as set.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use polyselect::TimerKey;

use super::world::{Loop, Planned, World, panic_as_planned, pick};

struct Timer {
    id: usize,
    key: Option<TimerKey>,
    /// The earliest and the latest possible deadline.
    earliest: Instant,
    latest: Instant,
    delay: Duration,
    repeats: bool,
    turn: u64,
}

#[derive(Default)]
pub struct Timers(RefCell<Vec<Timer>>);

impl Timers {
    pub fn keys(&self) -> Vec<TimerKey> {
        self.0.borrow().iter().filter_map(|timer| timer.key).collect()
    }

    pub fn forget_all(&self) {
        self.0.take();
    }

    fn position(&self, id: usize) -> Option<usize> {
        self.0.borrow().iter().position(|timer| timer.id == id)
    }
}

impl World {
    fn set_timer(&self, delay: Duration, repeats: bool, set: impl FnOnce(usize) -> TimerKey) {
        let (id, before) = (self.new_id(), self.now());
        let key = Some(set(id));
        let (earliest, latest) = (before + delay, self.now() + at_least_one(delay, repeats));
        let turn = self.turn.get();
        let timer = Timer { id, key, earliest, latest, delay, repeats, turn };
        self.timers.0.borrow_mut().push(timer);
    }

    pub fn call_later(self: &Rc<Self>, delay: Duration, event_loop: &mut Loop) {
        let world = Rc::clone(self);
        self.set_timer(delay, false, |id| {
            event_loop.call_later(delay, move |event_loop| {
                world.timer_runs(id);
                world.act_and_panic(Some(event_loop));
            })
        });
    }

    pub fn call_every(self: &Rc<Self>, period: Duration, event_loop: &mut Loop) {
        let world = Rc::clone(self);
        self.set_timer(period, true, |id| {
            event_loop.call_every(period, move |event_loop, _key| {
                world.timer_runs(id);
                let panics = world.act(Some(event_loop));
                if panics || world.replaced.borrow().is_some() && id.is_multiple_of(3) {
                    world.forget_timer(id);
                    panic_as_planned();
                }
            })
        });
    }

    fn forget_timer(&self, id: usize) {
        if let Some(position) = self.timers.position(id) {
            self.timers.0.borrow_mut().remove(position);
        }
    }

    fn timer_runs(&self, id: usize) {
        let now = self.now();
        let Some(position) = self.timers.position(id) else {
            return self.wrong(format!("timer {id} runs after its end"));
        };
        let mut timers = self.timers.0.borrow_mut();
        let timer = &timers[position];
        self.check(now >= timer.earliest, || {
            format!("timer {id} runs {:?} early", timer.earliest - now)
        });
        let is_before = |other: &&Timer| {
            let is_set_before = other.id < id && other.delay <= timer.delay;
            let is_once = !other.repeats && !timer.repeats;
            other.turn < self.turn.get()
                && (other.latest < timer.earliest || is_once && is_set_before)
        };
        if let Some(other) = timers.iter().find(is_before) {
            self.wrong(format!("timer {id} runs, and timer {} was due before it", other.id));
        }
        if timers[position].repeats {
            let timer = &mut timers[position];
            // The first whole period after the time that this iteration read.
            timer.earliest += timer.delay;
            timer.latest = now + at_least_one(timer.delay, true);
            timer.turn = self.turn.get();
        } else {
            timers.remove(position);
        }
    }

    pub fn cancel_timer(self: &Rc<Self>, which: usize, event_loop: &mut Loop) {
        let length = self.timers.0.borrow().len();
        let Some(position) = pick(which, length) else { return };
        let timer = self.timers.0.borrow_mut().remove(position);
        let result = event_loop.cancel(timer.key.expect("is set"));
        self.check(result.is_ok(), || format!("timer {} is not known: {result:?}", timer.id));
    }

    /// Checks the timers after an iteration that ended normally.
    pub fn check_timers(&self) {
        let began = self.turn_began.get();
        let is_late = |timer: &&Timer| timer.turn < self.turn.get() && timer.latest <= began;
        if let Some(timer) = self.timers.0.borrow().iter().find(is_late) {
            let late = began - timer.latest;
            self.wrong(format!("timer {} has not run, {late:?} after its deadline", timer.id));
        }
    }
}

/// The time between two runs: a repeating timer runs once at a moment, also when the clock stands
/// still.
fn at_least_one(delay: Duration, repeats: bool) -> Duration {
    if repeats { delay.max(Duration::from_nanos(1)) } else { delay }
}

/// Whether a step requested the panic.
pub fn is_planned(panic: &(dyn std::any::Any + Send)) -> bool {
    panic.is::<Planned>()
}
