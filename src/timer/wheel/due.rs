//! Passes: expired timers are collected in order, and delivered one by one.

use super::{
    COLLECTED, EXPIRED, Handle, LEVELS, NIL, SLOTS_PER_LEVEL, Wheel, level_of, position_of,
};

/// The timers that a pass has collected. A timer that was cancelled since leaves its entry behind, which is skipped.
#[derive(Default)]
pub(super) struct Due {
    entries: Vec<Entry>,
    delivered: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct Entry {
    deadline: u64,
    handle: Handle,
}

impl<V> Wheel<V> {
    /// Begins a pass: collects the timers whose deadline is not after `now`.
    ///
    /// They are delivered in the order of their deadlines, and those of equal deadlines in the order
    /// in which they were set. Timers that an earlier pass has not delivered are part of this one. The time
    /// that has passed since the last pass costs nothing; time does not go back, and a `now` before the last
    /// counts as the last.
    pub(crate) fn collect_due(&mut self, now: u64) {
        let now = now.max(self.present);
        self.present = now;
        if self.is_empty() {
            // Every slot is empty, so that new timers can be sorted by the present.
            self.base = now;
            return;
        }
        // Most passes find nothing.
        if self.next_deadline().is_none_or(|next| next > now) {
            return;
        }
        self.forget_delivered();
        // These deadlines are before the last pass, like those that it left; all others are after it.
        self.collect(EXPIRED);
        self.due.entries.sort_by_key(|entry| entry.deadline);

        let top = level_of(self.base ^ now);
        self.base = now;
        let current = position_of(now, top);
        for level in 0..top {
            self.collect_level(level, u64::MAX);
        }
        self.collect_level(top, (1 << current) - 1);

        // The present time is within this slot: some of its timers may have expired. In the lowest level the rest
        // stays where it is, so that nothing needs to be done before its earliest is due.
        let slot = top * SLOTS_PER_LEVEL + current;
        if self.levels[top].occupied >> current & 1 != 0
            && (top > 0 || self.slots[slot].earliest <= now)
        {
            self.divide(slot);
        }
    }

    /// Parks the next timer of this pass: it will not become due by itself, but can still be
    /// reached, set again or cancelled. `None` ends the pass.
    #[inline]
    pub(crate) fn next_due(&mut self) -> Option<Handle> {
        self.first_due()?;
        let handle = self.due.entries[self.due.delivered].handle;
        self.due.delivered += 1;
        Some(handle)
    }

    /// Passes the due timers of each deadline that several have.
    #[allow(dead_code)] // For labs.
    pub(crate) fn each_equal(&mut self, mut change: impl FnMut(&mut [Entry])) {
        let due = &mut self.due.entries[self.due.delivered..];
        let equal = due.chunk_by_mut(|left, right| left.deadline == right.deadline);
        equal.filter(|timers| timers.len() > 1).for_each(&mut change);
    }

    /// The deadline of the timer that is delivered next.
    #[inline]
    pub(super) fn first_due(&mut self) -> Option<u64> {
        while let Some(entry) = self.due.entries.get(self.due.delivered) {
            if self.is_collected(entry.handle) {
                return Some(entry.deadline);
            }
            self.due.delivered += 1;
        }
        None
    }

    #[inline]
    fn is_collected(&self, handle: Handle) -> bool {
        self.node(handle).is_some_and(|node| node.slot == COLLECTED)
    }

    /// Forgets the entries that the last pass has delivered.
    #[inline]
    fn forget_delivered(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        due.entries.drain(..due.delivered);
        due.delivered = 0;
        due.entries.retain(|entry| self.is_collected(entry.handle));
        self.due = due;
    }

    /// Collects some slots of a level, all of whose timers are due.
    #[inline]
    fn collect_level(&mut self, level: usize, positions: u64) {
        debug_assert!(level < LEVELS);
        loop {
            let occupied = self.levels[level].occupied & positions;
            if occupied == 0 {
                return;
            }
            let start = self.due.entries.len();
            self.collect(level * SLOTS_PER_LEVEL + occupied.trailing_zeros() as usize);
            self.due.entries[start..].sort_by_key(|entry| entry.deadline);
        }
    }

    #[inline]
    fn collect(&mut self, slot: usize) {
        let mut id = self.clear(slot);
        while id != NIL {
            id = self.collect_node(id);
        }
    }

    /// Collects the due timers of a slot, and puts the others where they belong now.
    fn divide(&mut self, slot: usize) {
        let start = self.due.entries.len();
        let mut id = self.clear(slot);
        while id != NIL {
            let node = &self.nodes[id as usize];
            if node.deadline <= self.present {
                id = self.collect_node(id);
            } else {
                let (next, deadline) = (node.next, node.deadline);
                self.append(self.slot_of(deadline), id, deadline);
                id = next;
            }
        }
        self.due.entries[start..].sort_by_key(|entry| entry.deadline);
    }

    /// Collects a node of a slot that was cleared, and returns the next.
    #[inline]
    fn collect_node(&mut self, id: u32) -> u32 {
        let node = &mut self.nodes[id as usize];
        node.slot = COLLECTED;
        let handle = Handle { id, generation: node.generation };
        self.due.entries.push(Entry { deadline: node.deadline, handle });
        node.next
    }
}
