//! Random programs, on the wheel and on sorted maps that do the same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::timer::wheel::{FEW, Handle, Wheel};

#[derive(Clone, Copy, Debug)]
enum Moment {
    /// From the present on; the bits of a distance are as probable as those of another.
    Ahead {
        bits: u32,
        fraction: u64,
    },
    /// Before the present.
    Past(u64),
    At(u64),
    /// That of a timer set before.
    Again(prop::sample::Index),
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Moment),
    /// Of any handle there ever was.
    Cancel(prop::sample::Index),
    Reschedule(prop::sample::Index, Moment),
    /// Begins a pass at a moment.
    Collect(Moment),
    /// Sleeps as a loop would, and begins a pass.
    Sleep,
    Pop,
    /// Like `Pop`, but the timer is kept.
    Park,
    Drain,
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        8 => (0..64_u32, any::<u64>()).prop_map(|(bits, fraction)| Moment::Ahead { bits, fraction }),
        4 => (0..20_u32, any::<u64>()).prop_map(|(bits, fraction)| Moment::Ahead { bits, fraction }),
        1 => any::<u64>().prop_map(Moment::Past),
        1 => prop_oneof![Just(0), Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()].prop_map(Moment::At),
        4 => any::<prop::sample::Index>().prop_map(Moment::Again),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => moment().prop_map(Step::Insert),
        4 => index().prop_map(Step::Cancel),
        2 => (index(), moment()).prop_map(|(which, moment)| Step::Reschedule(which, moment)),
        // A jump to the end of time would leave nothing to test after it.
        3 => (0..46_u32, any::<u64>())
            .prop_map(|(bits, fraction)| Step::Collect(Moment::Ahead { bits, fraction })),
        1 => moment().prop_map(Step::Collect),
        3 => Just(Step::Sleep),
        4 => Just(Step::Pop),
        1 => Just(Step::Park),
        1 => Just(Step::Drain),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Set,
    Due,
    Parked,
    Gone,
}

/// A timer that was set some time: its handle, its place among the others, and where it is.
struct Timer {
    handle: Handle,
    order: (u64, u64),
    place: Place,
}

#[derive(Default)]
struct Run {
    wheel: Wheel<usize>,
    timers: Vec<Timer>,
    /// By deadline, and by when they were set.
    set: BTreeMap<(u64, u64), usize>,
    due: BTreeMap<(u64, u64), usize>,
    settings: u64,
    present: u64,
    /// Never more at once than a search for the earliest looks at.
    few: bool,
}

impl Run {
    fn moment(&self, moment: Moment) -> u64 {
        match moment {
            Moment::Ahead { bits, fraction } => {
                self.present.saturating_add(fraction >> (63 - bits))
            }
            Moment::Past(fraction) => self.present - fraction % self.present.max(1),
            Moment::At(moment) => moment,
            Moment::Again(_) if self.timers.is_empty() => self.present,
            Moment::Again(which) => which.get(&self.timers).order.0,
        }
    }

    fn order(&mut self, deadline: u64) -> (u64, u64) {
        self.settings += 1;
        (deadline, self.settings)
    }

    fn forget(&mut self, id: usize, place: Place) {
        let timer = &mut self.timers[id];
        self.set.remove(&timer.order);
        self.due.remove(&timer.order);
        timer.place = place;
    }

    fn collect(&mut self, now: u64) {
        self.wheel.collect_due(now);
        self.present = self.present.max(now);
        let later = match self.present.checked_add(1) {
            Some(after) => self.set.split_off(&(after, 0)),
            None => BTreeMap::new(),
        };
        for (order, id) in std::mem::replace(&mut self.set, later) {
            self.timers[id].place = Place::Due;
            self.due.insert(order, id);
        }
    }

    fn pop(&mut self, park: bool) -> bool {
        let expected = self.due.first_key_value().map(|(_, &id)| id);
        let got = if park {
            self.wheel.next_due().map(|handle| (handle, self.wheel.get(handle).copied()))
        } else {
            self.wheel.pop_due().map(|(handle, id)| (handle, Some(id)))
        };
        assert_eq!(got, expected.map(|id| (self.timers[id].handle, Some(id))));
        if let Some(id) = expected {
            self.forget(id, if park { Place::Parked } else { Place::Gone });
        }
        expected.is_some()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert(moment) => {
                let deadline = self.moment(moment);
                let (id, order) = (self.timers.len(), self.order(deadline));
                let handle = self.wheel.insert(deadline, id);
                self.timers.push(Timer { handle, order, place: Place::Set });
                self.set.insert(order, id);
            }
            Step::Cancel(_) | Step::Reschedule(..) if self.timers.is_empty() => {}
            Step::Cancel(which) => {
                let id = which.index(self.timers.len());
                let live = self.timers[id].place != Place::Gone;
                assert_eq!(self.wheel.cancel(self.timers[id].handle), live.then_some(id));
                self.forget(id, Place::Gone);
            }
            Step::Reschedule(which, moment) => {
                let id = which.index(self.timers.len());
                let deadline = self.moment(moment);
                let live = self.timers[id].place != Place::Gone;
                assert_eq!(self.wheel.reschedule(self.timers[id].handle, deadline), live);
                if live {
                    self.forget(id, Place::Set);
                    self.timers[id].order = self.order(deadline);
                    self.set.insert(self.timers[id].order, id);
                }
            }
            Step::Collect(moment) => self.collect(self.moment(moment)),
            Step::Sleep => {
                if let Some(next) = self.wheel.next_deadline() {
                    self.collect(next);
                }
            }
            Step::Pop => drop(self.pop(false)),
            Step::Park => drop(self.pop(true)),
            Step::Drain => while self.pop(false) {},
        }
    }

    fn check(&mut self) {
        let live = self.timers.iter().filter(|timer| timer.place != Place::Gone).count();
        assert_eq!(self.wheel.len(), live);
        self.few &= live <= FEW;

        let first = |map: &BTreeMap<(u64, u64), usize>| map.first_key_value().map(|(at, _)| at.0);
        let exact = first(&self.set).into_iter().chain(first(&self.due)).min();
        let said = self.wheel.next_deadline();
        assert_eq!(said.is_some(), exact.is_some());
        if let (Some(said), Some(exact)) = (said, exact) {
            assert!(said <= exact, "said {said}, but {exact} is earlier");
            assert_eq!(said > self.present, exact > self.present);
            assert!(said == exact || !self.few || exact <= self.present, "{said} for {exact}");
        }
        for (id, timer) in self.timers.iter().enumerate() {
            let live = timer.place != Place::Gone;
            assert_eq!(self.wheel.get(timer.handle), live.then_some(&id));
            assert_eq!(self.wheel.deadline(timer.handle), live.then_some(timer.order.0));
        }
    }
}

fn run(steps: &[Step]) {
    let mut run = Run { few: true, ..Run::default() };
    for step in steps {
        run.step(step);
        run.check();
    }
    run.collect(u64::MAX);
    while run.pop(false) {}
    run.check();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn few_timers_do_as_a_sorted_map(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps);
    }

    #[test]
    fn many_timers_do_as_a_sorted_map(
        ahead in prop::collection::vec(moment(), 50..200),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let ahead = ahead.into_iter().map(Step::Insert);
        run(&ahead.chain(steps).collect::<Vec<_>>());
    }
}
