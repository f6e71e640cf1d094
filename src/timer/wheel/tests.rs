//! The wheel at its edges, and against a sorted map.

mod model;

use super::*;

/// What only tests ask for.
impl<V> Wheel<V> {
    /// Takes the next of what is due.
    pub(super) fn pop_due(&mut self) -> Option<(Handle, V)> {
        let handle = self.next_due()?;
        self.cancel(handle).map(|value| (handle, value))
    }

    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut V> {
        self.node(handle)?;
        self.nodes[handle.id as usize].value.as_mut()
    }

    pub(super) fn deadline(&self, handle: Handle) -> Option<u64> {
        self.node(handle).map(|node| node.deadline)
    }
}

/// One pass, as values.
fn fire<V>(wheel: &mut Wheel<V>, now: u64) -> Vec<V> {
    wheel.collect_due(now);
    std::iter::from_fn(|| wheel.pop_due()).map(|(_, value)| value).collect()
}

/// The first and the last moment of a slot of each level, and their neighbours.
fn boundaries() -> impl Iterator<Item = u64> {
    (0..LEVELS as u32).flat_map(|level| {
        let span = 1_u64 << (LOWEST_BITS + SLOT_BITS * level);
        [1, 2, 62, 63].map(|times| span * times).into_iter().flat_map(|at| at - 1..=at + 1)
    })
}

#[test]
fn a_node_is_24_bytes_beside_its_value() {
    assert_eq!(size_of::<Node<Box<u8>>>(), 24 + size_of::<Box<u8>>());
    assert_eq!(size_of::<Node<Box<dyn FnMut()>>>(), 24 + size_of::<Box<dyn FnMut()>>());
}

#[test]
fn timers_fire_in_order_and_never_early() {
    let mut wheel = Wheel::default();
    for (value, deadline) in [700_000, 5, 900_000, 30, 5, 1_000_000, 900_000].iter().enumerate() {
        wheel.insert(*deadline, value);
    }
    assert_eq!(wheel.next_deadline(), Some(5));
    assert!(fire(&mut wheel, 4).is_empty());
    assert_eq!(fire(&mut wheel, 5), [1, 4]);
    assert_eq!(fire(&mut wheel, 999_999), [3, 0, 2, 6]);
    assert_eq!(wheel.next_deadline(), Some(1_000_000));
    assert_eq!(fire(&mut wheel, u64::MAX), [5]);
    assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
}

#[test]
fn equal_deadlines_keep_their_order_from_level_to_level() {
    let deadline = (3 << 34) + 12_345;
    let mut wheel = Wheel::default();
    let mut value = 0;
    // Each is set nearer to the deadline, that is in a lower level.
    for moment in (0..=40).rev().map(|bits| deadline - (1 << bits).min(deadline)) {
        assert!(fire(&mut wheel, moment).is_empty());
        wheel.insert(deadline, value);
        value += 1;
    }
    assert_eq!(fire(&mut wheel, deadline), (0..value).collect::<Vec<_>>());
}

#[test]
fn what_is_set_for_the_past_is_for_the_next_pass() {
    let mut wheel = Wheel::default();
    wheel.insert(100, 'a');
    wheel.collect_due(100);
    wheel.insert(7, 'b');
    wheel.insert(100, 'c');
    assert_eq!(wheel.next_deadline(), Some(7));
    assert_eq!(wheel.pop_due().map(|(_, value)| value), Some('a'));
    assert_eq!(wheel.pop_due(), None);
    assert_eq!(fire(&mut wheel, 100), ['b', 'c']);
}

#[test]
fn what_a_pass_leaves_is_part_of_the_next() {
    let mut wheel = Wheel::default();
    for (deadline, value) in [(10, 'a'), (20, 'b'), (20, 'c')] {
        wheel.insert(deadline, value);
    }
    wheel.collect_due(50);
    assert_eq!(wheel.pop_due().map(|(_, value)| value), Some('a'));
    for (deadline, value) in [(20, 'd'), (15, 'e'), (60, 'f')] {
        wheel.insert(deadline, value);
    }
    assert_eq!(fire(&mut wheel, 60), ['e', 'b', 'c', 'd', 'f']);
}

#[test]
fn a_timer_set_in_delivery_does_not_make_it_endless() {
    let mut wheel = Wheel::default();
    wheel.insert(0, ());
    for now in 0..3 {
        wheel.collect_due(now);
        let mut delivered = 0;
        while wheel.pop_due().is_some() {
            delivered += 1;
            wheel.insert(0, ());
        }
        assert_eq!(delivered, 1);
    }
}

#[test]
fn what_is_due_can_still_be_cancelled_or_set_anew() {
    let mut wheel = Wheel::default();
    let [_, b, c] = ['a', 'b', 'c'].map(|value| wheel.insert(5, value));
    wheel.collect_due(5);
    assert_eq!(wheel.cancel(b), Some('b'));
    assert!(wheel.reschedule(c, 5));
    assert_eq!(wheel.pop_due().map(|(_, value)| value), Some('a'));
    assert_eq!(wheel.pop_due(), None);
    assert_eq!(fire(&mut wheel, 5), ['c']);
}

#[test]
fn a_parked_timer_can_be_set_anew_under_its_handle() {
    let mut wheel = Wheel::default();
    let handle = wheel.insert(1_000, 0);
    for round in 1..100_u64 {
        wheel.collect_due(round * 1_000);
        assert_eq!(wheel.next_due(), Some(handle));
        assert_eq!((wheel.next_due(), wheel.next_deadline()), (None, None));
        *wheel.get_mut(handle).expect("is parked") += 1;
        assert!(wheel.reschedule(handle, (round + 1) * 1_000));
        assert_eq!(wheel.deadline(handle), Some((round + 1) * 1_000));
    }
    assert_eq!((wheel.cancel(handle), wheel.len()), (Some(99), 0));
}

#[test]
fn an_old_handle_finds_nothing() {
    let mut wheel = Wheel::default();
    let old = wheel.insert(10, 'a');
    assert_eq!(wheel.cancel(old), Some('a'));
    let new = wheel.insert(10, 'b');
    assert_eq!(new.id, old.id);
    assert_eq!((wheel.get(old), wheel.deadline(old)), (None, None));
    assert_eq!(wheel.cancel(old), None);
    assert!(!wheel.reschedule(old, 20) && wheel.get_mut(old).is_none());
    assert_eq!(fire(&mut wheel, 10), ['b']);
    assert_eq!((wheel.cancel(new), wheel.len()), (None, 0));
}

#[test]
fn a_node_that_is_used_up_is_left_alone() {
    let mut wheel = Wheel::default();
    let first = wheel.insert(10, 'a');
    wheel.nodes[0].generation = USED_UP - 1;
    let last = Handle { generation: USED_UP - 1, ..first };
    assert_eq!(wheel.cancel(last), Some('a'));
    let next = wheel.insert(10, 'b');
    assert_ne!(next.id, first.id);
    assert_eq!((wheel.cancel(first), wheel.cancel(last)), (None, None));
    assert_eq!(fire(&mut wheel, 10), ['b']);
}

#[test]
fn the_last_moment_can_be_waited_for() {
    let mut wheel = Wheel::default();
    wheel.insert(u64::MAX, 'a');
    wheel.insert(u64::MAX - 1, 'b');
    assert_eq!(fire(&mut wheel, u64::MAX - 1), ['b']);
    assert_eq!(wheel.next_deadline(), Some(u64::MAX));
    assert_eq!(fire(&mut wheel, u64::MAX), ['a']);
    wheel.insert(u64::MAX, 'c');
    assert_eq!(fire(&mut wheel, u64::MAX), ['c']);
}

#[test]
fn time_does_not_go_back() {
    let mut wheel = Wheel::default();
    wheel.collect_due(1_000_000);
    wheel.insert(2_000, 'a');
    assert_eq!(fire(&mut wheel, 1_000), ['a']);
}

#[test]
fn timers_at_the_boundaries_of_slots_fire_when_they_should() {
    for start in [0, 1023, 1024, (1 << 40) - 1, 1 << 40, u64::MAX >> 1] {
        let mut deadlines: Vec<_> = boundaries().filter_map(|at| start.checked_add(at)).collect();
        deadlines.sort_unstable();
        deadlines.dedup();

        let mut wheel = Wheel::default();
        wheel.collect_due(start);
        // From the last to the first, so that the order of insertion does not happen to be right.
        for &deadline in deadlines.iter().rev() {
            wheel.insert(deadline, deadline);
        }
        for &deadline in deadlines.iter().filter(|&&deadline| deadline > start) {
            wheel.collect_due(deadline - 1);
            while let Some((_, early)) = wheel.pop_due() {
                assert!(early < deadline, "{early} fired at {}", deadline - 1);
            }
            assert_eq!(wheel.next_deadline(), Some(deadline));
            assert_eq!(fire(&mut wheel, deadline), [deadline]);
        }
        assert!(wheel.is_empty());
    }
}

#[test]
fn a_stall_fires_everything_in_order() {
    let mut wheel = Wheel::default();
    // Consecutive multiples of a large odd number, folded into three hours, come in no order.
    let hours = 3 * 3_600_000_000_000_u64;
    let mut deadlines: Vec<_> =
        (1..10_000_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % hours).collect();
    for &deadline in &deadlines {
        wheel.insert(deadline, deadline);
    }
    deadlines.sort_unstable();
    assert_eq!(fire(&mut wheel, hours), deadlines);
}

#[test]
fn the_earliest_of_a_few_is_exact_after_any_cancelling() {
    let base = 5 << 40;
    let mut wheel = Wheel::default();
    let handles: Vec<_> = (0..=FEW as u64).map(|i| wheel.insert(base + i, i)).collect();
    for (i, handle) in handles.into_iter().enumerate().take(FEW) {
        wheel.cancel(handle);
        assert_eq!(wheel.next_deadline(), Some(base + i as u64 + 1));
    }
}

#[test]
fn timers_move_down_when_their_time_comes_near() {
    let base = 1 << 40;
    let mut wheel = Wheel::default();
    wheel.insert(base, 'a');
    let handle = wheel.insert(base + (1 << 20), 'b');
    let level = |wheel: &Wheel<char>| wheel.nodes[handle.id as usize].slot / 64;
    assert_eq!(level(&wheel), 5);
    assert_eq!(fire(&mut wheel, base), ['a']);
    assert_eq!(level(&wheel), 1);
}

/// More than are searched, all in one slot, and the earliest cancelled: the one case of a wake in
/// vain, which comes after the present, and not twice at the same moment.
#[test]
fn wakes_in_vain_are_few() {
    let base = 5 << 40;
    let mut wheel = Wheel::default();
    let handles: Vec<_> = (0..1_000).map(|i| wheel.insert(base + i * 1_000, i)).collect();
    for handle in &handles[..999] {
        wheel.cancel(*handle);
        assert!(wheel.next_deadline().is_some_and(|next| next <= base + 999_000));
    }
    let (mut vain, mut present) = (0, 0);
    loop {
        let next = wheel.next_deadline().expect("a timer is left");
        assert!(next > present);
        present = next;
        if let [value] = fire(&mut wheel, present)[..] {
            assert_eq!((value, present), (999, base + 999_000));
            break;
        }
        vain += 1;
    }
    assert!(vain <= LEVELS, "{vain} wakes in vain");
}

#[test]
fn the_values_of_timers_are_dropped_with_the_wheel() {
    let counted = std::rc::Rc::new(());
    let mut wheel = Wheel::default();
    for deadline in 0..10 {
        wheel.insert(deadline, counted.clone());
    }
    wheel.collect_due(5);
    drop(wheel.pop_due());
    assert_eq!(std::rc::Rc::strong_count(&counted), 10);
    drop(wheel);
    assert_eq!(std::rc::Rc::strong_count(&counted), 1);
}
