//! The timer wheel, compared with a sorted map.

use std::collections::BTreeMap;

use super::bytes::Bytes;
use super::sources::timer::wheel::{Handle, Wheel};

pub fn check(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut run = Run::default();
    while !bytes.is_empty() {
        run.step(&mut bytes);
        run.compare();
    }
    run.collect(u64::MAX);
    while run.next(false) {}
    run.compare();
    assert!(run.pending.is_empty() && run.due.is_empty());
}

/// By deadline, and for equal deadlines by the order of setting.
type Order = (u64, u64);

struct Timer {
    handle: Handle,
    order: Order,
    is_gone: bool,
}

#[derive(Default)]
struct Run {
    wheel: Wheel<usize>,
    timers: Vec<Timer>,
    pending: BTreeMap<Order, usize>,
    due: BTreeMap<Order, usize>,
    settings: u64,
    present: u64,
}

impl Run {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.below(12) {
            0..4 => {
                let order = self.order(bytes);
                let id = self.timers.len();
                let handle = self.wheel.insert(order.0, id);
                self.timers.push(Timer { handle, order, is_gone: false });
                self.pending.insert(order, id);
            }
            4..6 => {
                if let Some(id) = self.any(bytes) {
                    let expected = (!self.timers[id].is_gone).then_some(id);
                    assert_eq!(self.wheel.cancel(self.timers[id].handle), expected);
                    self.take_out(id);
                    self.timers[id].is_gone = true;
                }
            }
            6 => {
                if let Some(id) = self.any(bytes) {
                    let order = self.order(bytes);
                    let is_there = !self.timers[id].is_gone;
                    assert_eq!(self.wheel.reschedule(self.timers[id].handle, order.0), is_there);
                    if is_there {
                        self.take_out(id);
                        self.timers[id].order = order;
                        self.pending.insert(order, id);
                    }
                }
            }
            7 => {
                let moment = self.moment(bytes);
                self.collect(moment);
            }
            8 => {
                if let Some(next) = self.wheel.next_deadline() {
                    self.collect(next);
                }
            }
            9 => drop(self.next(false)),
            10 => drop(self.next(true)),
            _ => while self.next(false) {},
        }
    }

    /// Any timer that has ever been set.
    fn any(&self, bytes: &mut Bytes<'_>) -> Option<usize> {
        let number = usize::from(bytes.byte()) << 8 | usize::from(bytes.byte());
        number.checked_rem(self.timers.len())
    }

    fn order(&mut self, bytes: &mut Bytes<'_>) -> Order {
        self.settings += 1;
        (self.moment(bytes), self.settings)
    }

    /// Faults of a wheel show at the limits of its slots and levels.
    fn moment(&self, bytes: &mut Bytes<'_>) -> u64 {
        match bytes.below(8) {
            0 => self.present.saturating_add(u64::from(bytes.byte())),
            1 => self.present.saturating_sub(u64::from(bytes.byte())),
            2 => {
                let bit = 1_u64 << bytes.below(64);
                (self.present.saturating_add(bit) & !(bit - 1)).wrapping_sub(bytes.below(2) as u64)
            }
            3 => self.present ^ (1 << bytes.below(64)),
            4 => self.present | ((1 << bytes.below(64)) - 1),
            5 => self.any(bytes).map_or(self.present, |id| self.timers[id].order.0),
            6 => {
                let bits = bytes.below(64);
                self.present.saturating_add(bytes.number() >> bits)
            }
            _ => [0, 1, u64::MAX - 1, u64::MAX][bytes.below(4)],
        }
    }

    fn take_out(&mut self, id: usize) {
        self.pending.remove(&self.timers[id].order);
        self.due.remove(&self.timers[id].order);
    }

    fn collect(&mut self, now: u64) {
        self.wheel.collect_due(now);
        self.present = self.present.max(now);
        while let Some(first) = self.pending.first_entry()
            && first.key().0 <= self.present
        {
            let (order, id) = first.remove_entry();
            self.due.insert(order, id);
        }
    }

    /// Takes the next expired timer; a timer that `parks` can be set again.
    fn next(&mut self, parks: bool) -> bool {
        let expected = self.due.pop_first().map(|(_, id)| id);
        let got = self.wheel.next_due();
        assert_eq!(got, expected.map(|id| self.timers[id].handle));
        let Some(id) = expected else { return false };
        if !parks {
            assert_eq!(self.wheel.cancel(self.timers[id].handle), Some(id));
            self.timers[id].is_gone = true;
        }
        true
    }

    fn compare(&mut self) {
        let there = self.timers.iter().filter(|timer| !timer.is_gone).count();
        assert_eq!((self.wheel.len(), self.wheel.is_empty()), (there, there == 0));
        let first = |map: &BTreeMap<Order, usize>| map.first_key_value().map(|(order, _)| order.0);
        let exact = first(&self.pending).into_iter().chain(first(&self.due)).min();
        let said = self.wheel.next_deadline();
        assert_eq!(said.is_some(), exact.is_some());
        if let (Some(said), Some(exact)) = (said, exact) {
            assert!(said <= exact, "said {said}, but {exact} is earlier");
            assert_eq!(said > self.present, exact > self.present, "{said} for {exact}");
        }
        for (id, timer) in self.timers.iter().enumerate() {
            assert_eq!(self.wheel.get(timer.handle), (!timer.is_gone).then_some(&id));
        }
    }
}
