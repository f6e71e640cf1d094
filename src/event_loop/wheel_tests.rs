//! The wheel against a sorted map, and at its edges.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::wheel::{Handle, Wheel};

/// Everything that is due by then, in order.
fn fire(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
    wheel.collect_due(now);
    let due = std::iter::from_fn(|| wheel.next_due()).collect::<Vec<_>>();
    due.into_iter().map(|handle| wheel.remove(handle).expect("is parked")).collect()
}

#[test]
fn deadlines_are_kept_to_the_nanosecond_and_equal_ones_in_order() {
    let mut wheel = Wheel::default();
    for (value, deadline) in [5, 3, 5, 4, 3, 1_000_000, 999_999].into_iter().enumerate() {
        wheel.insert(deadline, value as u32);
    }
    assert_eq!(wheel.next_deadline(), Some(3));
    assert!(fire(&mut wheel, 2).is_empty());
    assert_eq!(fire(&mut wheel, 3), [1, 4]);
    assert_eq!(fire(&mut wheel, 999_999), [3, 0, 2, 6]);
    assert_eq!(fire(&mut wheel, 1_000_000), [5]);
    assert!(wheel.is_empty());
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn the_past_and_the_end_of_time_are_deadlines() {
    let mut wheel = Wheel::default();
    wheel.collect_due(1 << 40);
    wheel.insert(u64::MAX, 0);
    wheel.insert(7, 1);
    assert_eq!(wheel.next_deadline(), Some(7));
    assert_eq!(fire(&mut wheel, 1 << 40), [1]);
    assert_eq!(wheel.next_deadline(), Some(u64::MAX));
    assert!(fire(&mut wheel, u64::MAX - 1).is_empty());
    assert_eq!(fire(&mut wheel, u64::MAX), [0]);
    // And time may stand still there.
    wheel.insert(u64::MAX, 2);
    assert_eq!(fire(&mut wheel, u64::MAX), [2]);
}

#[test]
fn around_the_borders_of_every_level() {
    for level in 0..8 {
        for start in [0, 1, 12_345_678_901] {
            let border = 1_u64 << (16 + 6 * level);
            let base = start / border * border;
            let mut wheel = Wheel::default();
            wheel.collect_due(start);
            let deadlines = [base + border - 1, base + border, base + border + 1];
            for (value, deadline) in deadlines.into_iter().enumerate() {
                wheel.insert(deadline.max(start), value as u32);
            }
            for (value, deadline) in deadlines.into_iter().enumerate() {
                let deadline = deadline.max(start);
                assert_eq!(wheel.next_deadline(), Some(deadline));
                if deadline > start {
                    assert!(fire(&mut wheel, deadline - 1).is_empty(), "level {level}");
                }
                assert_eq!(fire(&mut wheel, deadline), [value as u32], "level {level}");
            }
        }
    }
}

#[test]
fn an_old_handle_names_nothing_in_a_slot_that_is_used_again() {
    let mut wheel = Wheel::default();
    let old = wheel.insert(10, 'a');
    assert_eq!(wheel.remove(old), Some('a'));
    let new = wheel.insert(10, 'b');
    assert_ne!(old, new);
    assert_eq!((wheel.remove(old), wheel.get(old)), (None, None));
    assert!(!wheel.reschedule(old, 20));
    assert_eq!(wheel.get(new), Some(&'b'));
}

#[test]
fn many_timers_of_one_slot_far_ahead_are_looked_for_a_little_early_and_never_late() {
    let mut wheel = Wheel::default();
    let hour = 3_600_000_000_000;
    for number in 0..1000 {
        wheel.insert(hour + number, number as u32);
    }
    let mut looks = 0;
    let mut fired = Vec::new();
    while let Some(next) = wheel.next_deadline() {
        looks += 1;
        assert!(next <= hour + fired.len() as u64);
        fired.extend(fire(&mut wheel, next));
    }
    assert!(fired.into_iter().eq(0..1000));
    assert!(looks <= 1000 + 8, "{looks}: one look in vain a level at most");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u64),
    Remove(usize),
    Reschedule(usize, u64),
    Advance(u64),
    /// Takes one that is due, and removes it or sets it anew.
    Take(Option<u64>),
}

/// Any magnitude is as likely as any other.
fn distance() -> impl Strategy<Value = u64> {
    (0..64_u32, any::<u64>()).prop_map(|(bits, random)| random >> bits)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => distance().prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Remove),
        2 => (any::<usize>(), distance()).prop_map(|(which, delay)| Step::Reschedule(which, delay)),
        2 => distance().prop_map(|distance| Step::Advance(distance >> 20)),
        1 => distance().prop_map(Step::Advance),
        4 => proptest::option::of(distance()).prop_map(Step::Take),
    ]
}

/// What the wheel should be: sorted by deadline, then by the order of setting.
#[derive(Default)]
struct Model {
    now: u64,
    order: u64,
    set: BTreeMap<(u64, u64), u32>,
    due: Vec<(u64, u64, u32)>,
}

impl Model {
    fn insert(&mut self, deadline: u64, value: u32) {
        self.order += 1;
        self.set.insert((deadline, self.order), value);
    }

    fn remove(&mut self, value: u32) {
        self.set.retain(|_, other| *other != value);
        self.due.retain(|&(.., other)| other != value);
    }

    fn advance(&mut self, distance: u64) {
        self.now = self.now.saturating_add(distance);
        while let Some((&(deadline, order), &value)) = self.set.first_key_value() {
            if deadline > self.now {
                break;
            }
            self.set.remove(&(deadline, order));
            self.due.push((deadline, order, value));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_a_sorted_map_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut wheel = Wheel::default();
        let mut model = Model::default();
        let mut handles: Vec<(Handle, u32)> = Vec::new();
        let mut values = 0..;
        for step in steps {
            match step {
                Step::Insert(delay) => {
                    // Half of them in the past.
                    let deadline = if delay % 2 == 0 { model.now / 2 } else { model.now }.saturating_add(delay);
                    let value = values.next().expect("is endless");
                    handles.push((wheel.insert(deadline, value), value));
                    model.insert(deadline, value);
                }
                Step::Remove(which) if !handles.is_empty() => {
                    let (handle, value) = handles.swap_remove(which % handles.len());
                    prop_assert_eq!(wheel.remove(handle), Some(value));
                    prop_assert_eq!(wheel.remove(handle), None);
                    model.remove(value);
                }
                Step::Reschedule(which, delay) if !handles.is_empty() => {
                    let (handle, value) = handles[which % handles.len()];
                    let deadline = model.now.saturating_add(delay);
                    prop_assert!(wheel.reschedule(handle, deadline));
                    model.remove(value);
                    model.insert(deadline, value);
                }
                Step::Advance(distance) => {
                    model.advance(distance);
                    wheel.collect_due(model.now);
                }
                Step::Take(again) => {
                    let taken = wheel.next_due();
                    let expected = (!model.due.is_empty()).then(|| model.due.remove(0).2);
                    prop_assert_eq!(taken.and_then(|handle| wheel.get(handle).copied()), expected);
                    if let (Some(handle), Some(value)) = (taken, expected) {
                        if let Some(delay) = again {
                            let deadline = model.now.saturating_add(delay);
                            prop_assert!(wheel.reschedule(handle, deadline));
                            model.insert(deadline, value);
                        } else {
                            prop_assert_eq!(wheel.remove(handle), Some(value));
                            handles.retain(|&(other, _)| other != handle);
                        }
                    }
                }
                Step::Remove(_) | Step::Reschedule(..) => {}
            }
            prop_assert_eq!(wheel.len(), handles.len());
            let earliest = model.set.first_key_value().map(|(&(deadline, _), _)| deadline);
            if model.due.is_empty() {
                prop_assert_eq!(wheel.next_deadline(), earliest);
            } else {
                prop_assert!(wheel.next_deadline().is_some_and(|deadline| deadline <= model.now));
            }
        }
        model.advance(u64::MAX);
        wheel.collect_due(u64::MAX);
        for (_, _, value) in model.due {
            let handle = wheel.next_due().expect("the model has one");
            prop_assert_eq!(wheel.remove(handle), Some(value));
        }
        prop_assert!(wheel.is_empty());
    }
}
