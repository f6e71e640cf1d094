//! Passes: what is due is collected in order, and delivered timer by timer.

use super::{COLLECTED, Handle, LATE, LEVELS, LISTS_A_LEVEL, NIL, Wheel, digit_of, level_of};

/// What a pass has collected. Timers cancelled since leave their entry behind, which is passed over.
#[derive(Default)]
pub(super) struct Due {
    entries: Vec<Entry>,
    delivered: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    deadline: u64,
    handle: Handle,
}

impl<V> Wheel<V> {
    /// Begins a pass: collects the timers whose deadline is not after `now`.
    ///
    /// They are delivered in the order of their deadlines, and those of equal deadlines in the order
    /// in which they were set. What an earlier pass has not delivered is part of this one. The time
    /// that passed since the last pass costs nothing; time does not go back, and an earlier `now`
    /// than the last counts as that.
    pub(crate) fn collect_due(&mut self, now: u64) {
        let now = now.max(self.present);
        self.present = now;
        // Most passes of a loop are for something else than timers.
        if self.next_deadline().is_none_or(|next| next > now) {
            return;
        }
        self.forget_delivered();
        // What was late is before the last pass, as is what that left; everything else is after it.
        self.collect(LATE);
        self.due.entries.sort_by_key(|entry| entry.deadline);

        let top = level_of(self.origin ^ now);
        self.origin = now;
        let current = digit_of(now, top);
        for level in 0..top {
            self.collect_level(level, u64::MAX);
        }
        self.collect_level(top, (1 << current) - 1);

        // The present lies within this list: part of it may be due. In the lowest level the rest
        // stays where it is, so that nothing needs to be done before its earliest is due.
        let list = top * LISTS_A_LEVEL + current;
        if self.levels[top].occupied >> current & 1 != 0
            && (top > 0 || self.lists[list].earliest <= now)
        {
            self.divide(list);
        }
    }

    /// Parks the next timer of this pass: it will not become due by itself, but can still be
    /// reached, set anew or cancelled. `None` ends the pass.
    #[inline]
    pub(crate) fn next_due(&mut self) -> Option<Handle> {
        self.first_due()?;
        let handle = self.due.entries[self.due.delivered].handle;
        self.due.delivered += 1;
        Some(handle)
    }

    /// The deadline of what is delivered next.
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
        self.node(handle).is_some_and(|node| node.list == COLLECTED)
    }

    /// Keeps of the last pass only what it has yet to deliver.
    #[inline]
    fn forget_delivered(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        due.entries.drain(..due.delivered);
        due.delivered = 0;
        due.entries.retain(|entry| self.is_collected(entry.handle));
        self.due = due;
    }

    /// Collects some lists of a level, all of whose timers are due.
    #[inline]
    fn collect_level(&mut self, level: usize, digits: u64) {
        debug_assert!(level < LEVELS);
        loop {
            let occupied = self.levels[level].occupied & digits;
            if occupied == 0 {
                return;
            }
            let start = self.due.entries.len();
            self.collect(level * LISTS_A_LEVEL + occupied.trailing_zeros() as usize);
            self.due.entries[start..].sort_by_key(|entry| entry.deadline);
        }
    }

    #[inline]
    fn collect(&mut self, list: usize) {
        let mut slot = self.clear(list);
        while slot != NIL {
            slot = self.collect_node(slot);
        }
    }

    /// Collects what is due of a list, and puts the rest where it belongs now.
    fn divide(&mut self, list: usize) {
        let start = self.due.entries.len();
        let mut slot = self.clear(list);
        while slot != NIL {
            let node = &self.nodes[slot as usize];
            if node.deadline <= self.present {
                slot = self.collect_node(slot);
            } else {
                let (next, deadline) = (node.next, node.deadline);
                self.append(self.list_of(deadline), slot, deadline);
                slot = next;
            }
        }
        self.due.entries[start..].sort_by_key(|entry| entry.deadline);
    }

    /// Collects a node of a list that was cleared, and returns the next.
    #[inline]
    fn collect_node(&mut self, slot: u32) -> u32 {
        let node = &mut self.nodes[slot as usize];
        node.list = COLLECTED;
        let handle = Handle { slot, generation: node.generation };
        self.due.entries.push(Entry { deadline: node.deadline, handle });
        node.next
    }
}
