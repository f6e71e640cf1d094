//! A plain description of the order of a turn.

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use polyselect::{Interest, Ready};

pub type Id = usize;

/// When a timer is due, as far as one can tell without a clock: those of the past by how far they lie
/// in it, then those set for the moment, in the order in which that was. No two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Past(u8, u64),
    /// When it was set. One that repeats is due the next time just after the pass began in which it
    /// has fired, so it has the number of the pass, and of the firing.
    Now(u64, u64),
    Never(u64),
}

#[derive(Debug)]
pub struct Source {
    pub interest: Interest,
    pub is_oneshot: bool,
    pub is_armed: bool,
    /// What can be read of it.
    pub count: u64,
}

impl Source {
    fn ready(&self) -> Ready {
        let mut ready = Ready::from(self.interest);
        ready.set(Ready::READABLE, ready.contains(Ready::READABLE) && self.count > 0);
        // Such a descriptor has nothing to do with priority.
        ready & (Ready::READABLE | Ready::WRITABLE)
    }

    pub fn modify(&mut self, interest: Interest) {
        self.interest = interest;
        self.is_armed = true;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Events,
    Timers,
    Calls,
}

#[derive(Debug)]
pub struct Expected {
    pub sources: BTreeMap<Id, Source>,
    /// What the wait reported, and whose callback has not run.
    events: BTreeMap<Id, Ready>,
    /// Whether an event was collected for a source that is gone.
    has_stale_events: bool,
    /// A turn panicked and left nothing but, perhaps, stale events: if it did, there is no wait. Which
    /// it is depends on the order of the events, which is the mechanism's.
    may_skip_wait: bool,
    pub timers: BTreeMap<Due, Id>,
    /// The timers of the pass in progress.
    pass: VecDeque<Due>,
    calls: VecDeque<Id>,
    /// How many of them are this turn's.
    calls_due: usize,
    /// Sent as by another thread, and not yet collected.
    letters: VecDeque<Id>,
    phase: Phase,
    /// Counts what is set and the passes.
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
            timers: BTreeMap::new(),
            pass: VecDeque::new(),
            calls: VecDeque::new(),
            calls_due: 0,
            letters: VecDeque::new(),
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

    pub fn remove_source(&mut self, id: Id) {
        self.sources.remove(&id);
        self.has_stale_events |= self.events.remove(&id).is_some();
    }

    /// What the wait reports. Whether something is to be done, so that it must end.
    pub fn begin_turn(&mut self) -> bool {
        self.phase = Phase::Events;
        // What a turn that panicked has left takes the place of a wait.
        if self.events.is_empty() {
            self.may_skip_wait = mem::take(&mut self.has_stale_events);
            for (&id, source) in &mut self.sources {
                let ready = source.ready();
                if source.is_armed && !ready.is_empty() {
                    source.is_armed = !source.is_oneshot;
                    self.events.insert(id, ready);
                }
            }
        }
        self.calls.append(&mut self.letters);
        self.calls_due = self.calls.len();
        self.calls_due > 0 || !self.events.is_empty() || self.timers_due().next().is_some()
    }

    fn timers_due(&self) -> impl Iterator<Item = Due> {
        self.timers.keys().copied().filter(|due| !matches!(due, Due::Never(_)))
    }

    /// The callback of this source runs.
    pub fn event(&mut self, id: Id, ready: Ready) {
        assert_eq!(self.phase, Phase::Events, "an event for {id} after the events");
        self.may_skip_wait = false;
        let expected = self.events.remove(&id);
        assert_eq!(expected, Some(ready), "an event for {id}");
    }

    /// The callback of this timer runs. Returns when it is due the next time, should it repeat.
    pub fn timer(&mut self, id: Id) -> Due {
        assert!(self.phase <= Phase::Timers, "timer {id} after the calls");
        self.begin_timers();
        let due = self.next_of_pass().unwrap_or_else(|| panic!("timer {id}, and none is due"));
        assert_eq!(self.timers.remove(&due), Some(id), "of the timers");
        self.fired += 1;
        Due::Now(self.pass_began, self.fired)
    }

    fn begin_timers(&mut self) {
        if self.phase < Phase::Timers {
            if mem::take(&mut self.may_skip_wait) {
                for id in mem::take(&mut self.events).into_keys() {
                    self.sources.get_mut(&id).expect("nothing has run").is_armed = true;
                }
            }
            self.has_stale_events = false;
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

    /// This call runs.
    pub fn call(&mut self, id: Id) {
        self.begin_calls();
        assert!(self.calls_due > 0, "call {id} belongs to the next turn");
        self.calls_due -= 1;
        assert_eq!(self.calls.pop_front(), Some(id), "of the calls");
    }

    pub fn end_turn(&mut self) {
        self.begin_calls();
        assert_eq!(self.calls_due, 0, "calls that have not run");
    }

    /// A callback panicked: what is left is for the next turn.
    pub fn break_off(&mut self) {
        self.pass.clear();
    }
}
