//! A plain model of the order within an iteration.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use polyselect::{Interest, Ready};

pub type Id = usize;

/// The order of timers, as far as it is known without a clock: those of the past by their distance
/// from the present, then those set for the present in the order in which they were set. No two are
/// equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Past(u8, u64),
    /// When the timer was set. A repeating timer is next due just after the pass in which it fired
    /// began, so it gets the number of the pass and of the firing.
    Now(u64, u64),
    Never(u64),
}

/// Whether a wait can report a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    Yes,
    No,
    /// It is a one-shot, and whether it was reported depends on the order of the events, which is the backend's.
    Unknown,
}

#[derive(Debug)]
pub struct Source {
    pub interest: Interest,
    pub is_oneshot: bool,
    pub armed: Armed,
    /// The data that can be read.
    pub count: u64,
}

impl Source {
    fn ready(&self) -> Ready {
        let mut ready = wanted(self.interest);
        ready.set(Ready::READABLE, ready.contains(Ready::READABLE) && self.count > 0);
        // Such a descriptor never has priority data.
        ready & (Ready::READABLE | Ready::WRITABLE)
    }
}

fn wanted(interest: Interest) -> Ready {
    let mut wanted = Ready::empty();
    wanted.set(Ready::READABLE, interest.contains(Interest::READABLE));
    wanted.set(Ready::WRITABLE, interest.contains(Interest::WRITABLE));
    wanted
}

/// An event that was collected, and whose callback has not run.
#[derive(Debug)]
struct Pending {
    /// The readiness that was collected; two if either of two waits may have collected it.
    ready: Vec<Ready>,
    /// Whether the callback may not run: the interest excluded the event for a time, or the wait is uncertain.
    is_optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Local calls that were queued before the iteration; the wait comes after them.
    Start,
    Events,
    Timers,
    Calls,
    LocalCalls,
}

#[derive(Debug)]
pub struct Expected {
    pub sources: BTreeMap<Id, Source>,
    events: BTreeMap<Id, Pending>,
    /// Whether an event was collected for a source that has been removed.
    has_stale_events: bool,
    /// An iteration panicked and may have left stale events only: if it did, the next wait is
    /// skipped. Whether it did depends on the order of the events, which is the backend's.
    may_skip_wait: bool,
    /// An iteration panicked and left events that may have been withheld before: if any of them is
    /// left, the wait is skipped.
    is_wait_uncertain: bool,
    pub timers: BTreeMap<Due, Id>,
    /// The timers of the pass in progress.
    pass: VecDeque<Due>,
    calls: VecDeque<Id>,
    /// The number of them that belong to this iteration.
    calls_due: usize,
    /// Calls sent as by another thread, and not collected yet.
    letters: VecDeque<Id>,
    local_calls: VecDeque<Id>,
    /// The number of them that belong to this phase.
    local_calls_due: usize,
    phase: Phase,
    /// Counts settings and passes.
    moment: u64,
    pass_began: u64,
    fired: u64,
}

impl Expected {
    pub fn new() -> Self {
        Self {
            sources: BTreeMap::new(),
            events: BTreeMap::new(),
            has_stale_events: false,
            may_skip_wait: false,
            is_wait_uncertain: false,
            timers: BTreeMap::new(),
            pass: VecDeque::new(),
            calls: VecDeque::new(),
            calls_due: 0,
            letters: VecDeque::new(),
            local_calls: VecDeque::new(),
            local_calls_due: 0,
            phase: Phase::Events,
            moment: 0,
            pass_began: 0,
            fired: 0,
        }
    }

    pub fn next_moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    pub fn queue_call(&mut self, id: Id) {
        self.calls.push_back(id);
    }

    pub fn send_call(&mut self, id: Id) {
        self.letters.push_back(id);
    }

    pub fn queue_local_call(&mut self, id: Id) {
        self.local_calls.push_back(id);
    }

    pub fn modify_source(&mut self, id: Id, interest: Interest) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.interest = interest;
        source.armed = Armed::Yes;
        if let Some(pending) = self.events.get_mut(&id) {
            let is_excluded = |ready: &Ready| !ready.intersects(wanted(interest));
            pending.is_optional |= pending.ready.iter().any(is_excluded);
        }
    }

    pub fn remove_source(&mut self, id: Id) {
        self.sources.remove(&id);
        self.has_stale_events |= self.events.remove(&id).is_some();
    }

    /// Begins an iteration. Returns whether work is due, so that its wait must end.
    pub fn begin_turn(&mut self) -> bool {
        self.phase = Phase::Start;
        self.local_calls_due = self.local_calls.len();
        if self.local_calls_due > 0 {
            return true;
        }
        self.wait();
        let must_deliver = self.events.values().any(|pending| !pending.is_optional);
        self.calls_due > 0 || must_deliver || self.timers_due().next().is_some()
    }

    /// Models the wait: collects the events that it reports.
    fn wait(&mut self) {
        if self.phase > Phase::Start {
            return;
        }
        assert_eq!(self.local_calls_due, 0, "local calls that have not run before the wait");
        self.phase = Phase::Events;
        // The rest of an iteration that panicked replaces a wait.
        if self.events.values().all(|pending| pending.is_optional) {
            self.may_skip_wait = mem::take(&mut self.has_stale_events);
            self.is_wait_uncertain = !self.events.is_empty();
            self.collect();
        }
        self.calls.append(&mut self.letters);
        self.calls_due = self.calls.len();
    }

    fn collect(&mut self) {
        for (&id, source) in &mut self.sources {
            let ready = source.ready();
            if ready.is_empty() || source.armed == Armed::No {
                continue;
            }
            let is_optional = self.is_wait_uncertain || source.armed == Armed::Unknown;
            if source.is_oneshot {
                source.armed = if self.is_wait_uncertain { Armed::Unknown } else { Armed::No };
            }
            let empty = || Pending { ready: Vec::new(), is_optional };
            self.events.entry(id).or_insert_with(empty).ready.push(ready);
        }
    }

    fn timers_due(&self) -> impl Iterator<Item = Due> {
        self.timers.keys().copied().filter(|due| !matches!(due, Due::Never(_)))
    }

    /// Checks that this source is due a callback, which is running.
    pub fn event(&mut self, id: Id, ready: Ready) {
        self.wait();
        assert_eq!(self.phase, Phase::Events, "an event for {id} after the events");
        self.may_skip_wait = false;
        let pending = self.events.remove(&id).unwrap_or_else(|| panic!("an event for {id}"));
        let wanted = wanted(self.sources[&id].interest);
        let is_expected = pending.ready.iter().any(|&collected| collected & wanted == ready);
        assert!(is_expected && !ready.is_empty(), "{ready:?} for {id}, not {pending:?}");
    }

    /// Checks that this timer is due; its callback is running. Returns its next deadline, should it
    /// repeat.
    pub fn timer(&mut self, id: Id) -> Due {
        assert!(self.phase <= Phase::Timers, "timer {id} after the calls");
        self.begin_timers();
        let due = self.next_of_pass().unwrap_or_else(|| panic!("timer {id}, and none is due"));
        assert_eq!(self.timers.remove(&due), Some(id), "of the timers");
        self.fired += 1;
        Due::Now(self.pass_began, self.fired)
    }

    fn begin_timers(&mut self) {
        self.wait();
        if self.phase < Phase::Timers {
            if mem::take(&mut self.may_skip_wait) && !self.is_wait_uncertain {
                for (id, pending) in mem::take(&mut self.events) {
                    let was_unknown = pending.is_optional;
                    let source = self.sources.get_mut(&id).expect("nothing has run");
                    source.armed = if was_unknown { Armed::Unknown } else { Armed::Yes };
                }
            }
            self.has_stale_events = false;
            self.events.retain(|_, pending| !pending.is_optional);
            assert!(self.events.is_empty(), "no callback for the events {:?}", self.events);
            self.phase = Phase::Timers;
            self.pass = self.timers_due().collect();
            self.pass_began = self.next_moment();
        }
    }

    fn next_of_pass(&mut self) -> Option<Due> {
        while let Some(due) = self.pass.pop_front() {
            // Another callback may have cancelled it.
            if self.timers.contains_key(&due) {
                return Some(due);
            }
        }
        None
    }

    fn begin_calls(&mut self) {
        if self.phase < Phase::Calls {
            self.begin_timers();
            let missing = self.next_of_pass();
            assert!(missing.is_none(), "the timer {missing:?} has not run");
            self.phase = Phase::Calls;
        }
    }

    /// Checks that this call is due; it is running.
    pub fn call(&mut self, id: Id) {
        self.begin_calls();
        assert!(self.calls_due > 0, "call {id} belongs to the next iteration");
        self.calls_due -= 1;
        assert_eq!(self.calls.pop_front(), Some(id), "of the calls");
    }

    fn begin_local_calls(&mut self) {
        if self.phase < Phase::LocalCalls {
            self.begin_calls();
            assert_eq!(self.calls_due, 0, "calls that have not run");
            self.phase = Phase::LocalCalls;
            self.local_calls_due = self.local_calls.len();
        }
    }

    /// Checks that this local call is due; it is running.
    pub fn local_call(&mut self, id: Id) {
        if self.phase > Phase::Start || self.local_calls_due == 0 {
            self.begin_local_calls();
        }
        assert!(self.local_calls_due > 0, "local call {id} belongs to the next iteration");
        self.local_calls_due -= 1;
        assert_eq!(self.local_calls.pop_front(), Some(id), "of the local calls");
    }

    pub fn end_turn(&mut self) {
        self.begin_local_calls();
        assert_eq!(self.local_calls_due, 0, "local calls that have not run");
    }

    /// Handles the panic of a callback: the rest is left for the next iteration.
    pub fn break_off(&mut self) {
        self.pass.clear();
    }
}
