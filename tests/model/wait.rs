//! The wait, and whether its events are true and complete.

use std::io;
use std::time::{Duration, Instant};

use polyselect::{Events, Interest, Ready};

use super::dimensions::Dimension;
#[cfg(unix)]
use super::poll_truth::truths;
use super::program::{Outcome, PLACES, Registered, Run, Standing};
#[cfg(windows)]
use super::subject::truths;
use super::truth::{GUARANTEED, HangUp, Truth, asked};

/// A wait that has a reason to return takes microseconds; the rest is for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(2);

impl Run<'_> {
    pub fn hang_up(&self) -> HangUp {
        HangUp::on(self.selector.backend())
    }

    /// The readiness of each registered subject.
    pub fn truths(&self) -> Vec<Truth> {
        let interest = |place: usize| {
            let registered = self.registered[place].as_ref();
            registered.map_or(Interest::empty(), |registered| registered.watch.interest())
        };
        let subjects = self.subjects.iter().enumerate();
        let asked: Vec<_> = subjects.map(|(place, subject)| (subject, interest(place))).collect();
        truths(&asked, self.hang_up())
    }

    pub fn select(&mut self, capacity: usize) -> Outcome {
        let truths = self.truths();
        let musts: Vec<_> =
            self.registered.iter().zip(&truths).map(|(entry, &truth)| must(entry, truth)).collect();
        let ready = musts.iter().filter(|must| !must.is_empty()).count();
        let mut events = Events::with_capacity(capacity);
        let start = Instant::now();
        let (result, failed) = self.wait(&mut events, ready > 0)?;
        if self.woken && !failed && start.elapsed() >= PATIENCE && events.is_empty() {
            return Err("a wake does not end the wait".into());
        }
        let owed = std::mem::replace(&mut self.owes_error, failed && result.is_ok());
        if failed {
            self.woken = false;
            self.doubt_changes();
        }
        let count = match result {
            Ok(count) => count,
            // Nothing is lost: all events that were due still are.
            Err(_) if failed || owed => return Ok(()),
            Err(error) => return Err(format!("select: {error}")),
        };
        let was_woken = std::mem::take(&mut self.woken);
        // A file that `unregister` could not remove may take the only place.
        let room = if self.has_failed && capacity < PLACES { 0 } else { capacity };
        let mut seen = [false; PLACES];
        for event in &events {
            let place = *self.selector.get(event.key).ok_or("a stale event")?.data();
            if std::mem::replace(&mut seen[place], true) {
                return Err(format!("two events for {place}: {events:?}"));
            }
            self.judge(place, event.ready, truths[place])?;
        }
        if count < ready.min(room) && !failed {
            let is_missing = |&place: &usize| !musts[place].is_empty() && !seen[place];
            let missing: Vec<_> = (0..PLACES).filter(is_missing).collect();
            return Err(format!("{missing:?} of {ready} events are missing: {events:?}"));
        }
        if failed {
            return Ok(());
        }
        self.has_just_failed = false;
        self.settle(&musts, &seen, count, capacity)?;
        // A wake may have left a trace, which the next wait finds.
        if count == 0 && !was_woken { self.check_nested_is_settled() } else { Ok(()) }
    }

    /// A system call has failed where changes are applied.
    pub fn doubt_changes(&mut self) {
        for registered in self.registered.iter_mut().flatten().filter(|entry| entry.changed) {
            registered.standing = Standing::Unsure;
        }
    }

    /// Calls `select`. If there is a reason to return, a wait without a timeout must return as
    /// well.
    fn wait(
        &mut self,
        events: &mut Events,
        is_ready: bool,
    ) -> Result<(io::Result<usize>, bool), String> {
        let has_reason = (is_ready || self.woken) && !self.owes_error;
        // Before the first failure a wait without a timeout is safe: the watchdog ends it, if it
        // has to.
        let is_endless = has_reason && self.has_waker && !self.has_failed;
        let timeout = match (has_reason, is_ready) {
            _ if is_endless => None,
            // Ready events are reported at once. Whether a wake is seen shows in the elapsed time.
            (true, false) => Some(PATIENCE),
            _ => Some(Duration::ZERO),
        };
        let Some(watchdog) = self.setting.watchdog.filter(|_| is_endless) else {
            return self.library("select", |selector| selector.select(events, timeout));
        };
        // Outside of `library`, because this call is not a step of the program.
        let waker = self.selector.waker().map_err(|error| format!("no waker: {error}"))?;
        let wait = || self.library("select", |selector| selector.select(events, timeout));
        let (result, ended) = watchdog.guard(waker, wait);
        if ended { Err("a wait that has a reason to return does not".into()) } else { result }
    }

    /// Checks the registrations without an event after a wait that succeeded.
    fn settle(&mut self, musts: &[Ready], seen: &[bool], count: usize, capacity: usize) -> Outcome {
        for (place, registered) in self.registered.iter_mut().enumerate() {
            let Some(registered) = registered else { continue };
            registered.changed = false;
            if count < capacity && registered.standing == Standing::Unsure && !seen[place] {
                // It would have been reported.
                (registered.standing, registered.superseded) = (Standing::Sound, false);
            }
            let passed_over = !musts[place].is_empty() && !seen[place];
            registered.passed_over = if passed_over { registered.passed_over + count } else { 0 };
            if registered.passed_over > 4 * PLACES && Dimension::Starvation.is_enabled() {
                return Err(format!("{place} starves: {registered:?}"));
            }
        }
        Ok(())
    }

    fn judge(&mut self, place: usize, ready: Ready, truth: Truth) -> Outcome {
        let entry = &self.registered[place];
        let must = must(entry, truth);
        let registered = entry.as_ref().ok_or("an event of a registration that is gone")?;
        let (watch, interest) = (registered.watch, registered.watch.interest());
        let found = format!("{place}: {ready:?}, {truth:?} is the truth, {registered:?}");
        let (mut standing, mut is_changed) = (registered.standing, registered.changed);
        if ready.contains(Ready::INVALID) {
            if !matches!(standing, Standing::Unsure | Standing::Free) {
                return Err(format!("INVALID without a reason: {found}"));
            }
            let is_refused = standing == Standing::Unsure && !registered.superseded;
            standing = if is_refused { Standing::Refused } else { Standing::Free };
            is_changed = false;
        } else if standing != Standing::Free {
            if !registered.armed || interest.is_empty() || standing == Standing::Refused {
                return Err(format!("should be silent: {found}"));
            }
            if !ready.contains(must) {
                return Err(format!("{must:?} is missing: {found}"));
            }
            let asked = asked(interest);
            if !asked.contains(ready & GUARANTEED) {
                return Err(format!("outside the interest: {found}"));
            }
            if !watch.is_edge() {
                if !ready.contains(truth.least) || !truth.most.contains(ready) {
                    return Err(format!("not true: {found}"));
                }
                let (readable, writable) = self.subjects[place].expected(interest, self.hang_up());
                for (flag, known) in [(Ready::READABLE, readable), (Ready::WRITABLE, writable)] {
                    let wrong = known.is_some_and(|known| known != ready.contains(flag));
                    if asked.contains(flag) && wrong {
                        return Err(format!("not what such a descriptor should report: {found}"));
                    }
                }
            }
        }
        let registered = self.registered[place].as_mut().expect("it is there");
        registered.due = Ready::empty();
        registered.armed = !watch.is_oneshot();
        (registered.standing, registered.changed) = (standing, is_changed);
        Ok(())
    }

    /// Pauses every ready registration. A wait then lasts; earlier events may end two of three at
    /// once.
    pub fn idle(&mut self) -> Outcome {
        const MOMENT: Duration = Duration::from_millis(2);

        let truths = self.truths();
        let is_ready = |place: &usize| !truths[*place].most.is_empty();
        let paused: Vec<_> = (0..PLACES).filter(is_ready).collect();
        let interest = |entry: &Registered| entry.watch.interest();
        let interests: Vec<_> =
            paused.iter().map(|&place| self.registered[place].as_ref().map(interest)).collect();
        for &place in &paused {
            self.modify(place, Interest::empty())?;
        }
        // This one consumes the wakes, and reports the changes that failed.
        self.select(64)?;
        let is_sound = |entry: &Registered| entry.standing == Standing::Sound;
        let mut is_over = self.owes_error || !self.registered.iter().flatten().all(is_sound);
        let mut events = Events::with_capacity(8);
        for _ in 0..3 {
            if is_over {
                break;
            }
            let start = Instant::now();
            let (result, failed) =
                self.library("select", |selector| selector.select(&mut events, MOMENT))?;
            match result {
                _ if failed => (self.owes_error, is_over) = (result.is_ok(), true),
                Ok(0) => is_over = start.elapsed() >= MOMENT,
                Ok(_) => return Err(format!("an event without a reason: {events:?}")),
                Err(error) => return Err(format!("select: {error}")),
            }
        }
        if !is_over {
            return Err("waits without a reason to return end at once, again and again".into());
        }
        for (&place, interest) in paused.iter().zip(interests) {
            self.modify(place, interest.expect("it is registered"))?;
        }
        Ok(())
    }
}

/// Returns the flags that a registration has to report, if there is room.
pub fn must(entry: &Option<Registered>, truth: Truth) -> Ready {
    let Some(registered) = entry else { return Ready::empty() };
    let due = if registered.watch.is_edge() { registered.due } else { GUARANTEED };
    let is_sound = registered.standing == Standing::Sound;
    if registered.armed && is_sound { truth.least & due } else { Ready::empty() }
}
