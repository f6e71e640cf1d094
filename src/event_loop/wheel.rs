//! [`Wheel`]: timers that are set and cancelled in constant time, and fire in exact order.
//!
//! A deadline is a number of nanoseconds. Below its lowest ten bits it is cut into nine digits of six
//! bits, and the wheel has a level for each digit and in it a list for each value. A timer is in the
//! level of the highest digit in which its deadline differs from the present, in the list of that
//! digit. So all of a lower level comes before all of a higher one, within a level the lists are in
//! order, and a bitmap a level finds the first in a few instructions. When the present reaches a
//! list of a higher level, its timers move down; a timer does so once a level at most, and one that
//! became due meanwhile, in a long stall say, goes straight to what is due.
//!
//! Lists keep the order of insertion, moving down included. Sorting what becomes due by deadline
//! alone, stably and a list at a time, therefore gives the exact order, and a node needs no number
//! that counts insertions.

mod due;

#[cfg(test)]
mod tests;

use std::fmt;

use due::Due;

/// The span of a list in the lowest level, about a microsecond. With it the digits come out even.
const LOWEST_BITS: u32 = 10;
const DIGIT_BITS: u32 = 6;
const LISTS_A_LEVEL: usize = 1 << DIGIT_BITS;
const LEVELS: usize = ((u64::BITS - LOWEST_BITS) / DIGIT_BITS) as usize;

/// The list of timers whose deadline had passed when they were set. They wait for the next pass.
const LATE: usize = LEVELS * LISTS_A_LEVEL;
const LISTS: usize = LATE + 1;
/// In place of a list: collected by a pass, and since then perhaps parked.
const COLLECTED: u16 = LISTS as u16;

/// No node.
const NIL: u32 = u32::MAX;
/// The generation of a slot that is used up; no handle has it.
const USED_UP: u32 = u32::MAX;

/// In a list with more timers than this, a new earliest one is not searched for.
const FEW: usize = 32;

/// Names one timer of a wheel, and never another one in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Handle {
    slot: u32,
    generation: u32,
}

/// 24 bytes and the value, for values of up to eight bytes' alignment that have a niche.
struct Node<V> {
    deadline: u64,
    /// In a list; of a vacant node, the next vacant one.
    next: u32,
    previous: u32,
    generation: u32,
    list: u16,
    value: Option<V>,
}

#[derive(Clone, Copy)]
struct List {
    /// Not after the earliest deadline in the list; before it only if that one was cancelled.
    earliest: u64,
    head: u32,
    tail: u32,
}

const EMPTY: List = List { earliest: u64::MAX, head: NIL, tail: NIL };

#[derive(Clone, Copy, Default)]
struct Level {
    /// The lists that are not empty.
    occupied: u64,
    /// The lists whose earliest timer was cancelled, and nobody has searched for the next. It may
    /// say so of one that was empty since; the search does no harm.
    outdated: u64,
}

/// A hierarchical timer wheel, in the time of its owner: nanoseconds since any moment.
///
/// Setting, cancelling and finding a timer take the same few steps however many there are. What is
/// due is delivered in passes: [`collect_due`](Self::collect_due) begins one, and
/// [`next_due`](Self::next_due) delivers it, timer by timer. A timer set meanwhile belongs to a later
/// pass even if its deadline has passed, so that each pass ends; one cancelled meanwhile is not
/// delivered any more.
///
/// Memory is kept for as many timers as there were at once, 24 bytes each beside the value, and 16
/// for each that was due in the largest pass. The lists take 9 KiB.
pub(crate) struct Wheel<V> {
    nodes: Vec<Node<V>>,
    /// The first vacant node.
    vacant: u32,
    len: usize,
    levels: [Level; LEVELS],
    lists: Box<[List]>,
    /// The latest moment that a pass began at.
    present: u64,
    /// The moment that the lists go by: the present, or what it was in the last pass that found
    /// anything. No timer lies between the two.
    origin: u64,
    due: Due,
}

impl<V> Default for Wheel<V> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            vacant: NIL,
            len: 0,
            levels: [Level::default(); LEVELS],
            lists: vec![EMPTY; LISTS].into(),
            present: 0,
            origin: 0,
            due: Due::default(),
        }
    }
}

impl<V> Wheel<V> {
    /// How many timers there are, with those that are due or parked.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no timer.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer. One whose deadline has passed is due in the next pass.
    ///
    /// # Panics
    ///
    /// With four thousand million timers at once.
    #[inline]
    pub(crate) fn insert(&mut self, deadline: u64, value: V) -> Handle {
        let (slot, generation) = match self.nodes.get_mut(self.vacant as usize) {
            Some(node) => {
                let slot = std::mem::replace(&mut self.vacant, node.next);
                node.value = Some(value);
                (slot, node.generation)
            }
            None => (self.push_node(value), 0),
        };
        self.len += 1;
        self.append(self.list_of(deadline), slot, deadline);
        Handle { slot, generation }
    }

    /// Ends a timer and gives its value back, whether it is set, due or parked.
    #[inline]
    pub(crate) fn cancel(&mut self, handle: Handle) -> Option<V> {
        self.node(handle)?;
        self.unlink(handle.slot);
        self.len -= 1;
        let node = &mut self.nodes[handle.slot as usize];
        node.generation += 1;
        // A slot that was used 2^32 times is left alone, or an old handle would name a new timer.
        if node.generation != USED_UP {
            node.next = std::mem::replace(&mut self.vacant, handle.slot);
        }
        node.value.take()
    }

    /// Sets a timer anew, as the last of those with the same deadline, whether it is set, due or
    /// parked; `false` if there is no such timer.
    pub(crate) fn reschedule(&mut self, handle: Handle, deadline: u64) -> bool {
        let found = self.node(handle).is_some();
        if found {
            self.unlink(handle.slot);
            self.append(self.list_of(deadline), handle.slot, deadline);
        }
        found
    }

    /// The value of a timer.
    pub(crate) fn get(&self, handle: Handle) -> Option<&V> {
        self.node(handle)?.value.as_ref()
    }

    /// How long to sleep: until the earliest deadline, be it in the future or past. `None` if
    /// nothing is set or due; parked timers do not count.
    ///
    /// It is never after the earliest deadline. It is before it in one case: where the first of
    /// more than 32 timers that are near to one another was cancelled, it may be the deadline of that
    /// one. Even then it is after the present unless a timer is due, and collecting at that moment
    /// brings the search down a level: a timer causes no more vain wakes than there are levels.
    #[inline]
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        let due = self.first_due();
        let late = &self.lists[LATE];
        if due.is_some() || late.head != NIL {
            return Some(due.unwrap_or(u64::MAX).min(late.earliest));
        }
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        let digit = self.levels[level].occupied.trailing_zeros() as usize;
        let list = level * LISTS_A_LEVEL + digit;
        if self.levels[level].outdated >> digit & 1 != 0 {
            self.search_earliest(list);
        }
        Some(self.lists[list].earliest)
    }

    #[inline]
    fn node(&self, handle: Handle) -> Option<&Node<V>> {
        self.nodes.get(handle.slot as usize).filter(|node| node.generation == handle.generation)
    }

    #[cold]
    fn push_node(&mut self, value: V) -> u32 {
        let slot = self.nodes.len() as u32;
        assert!(slot != NIL, "a timer wheel holds at most {NIL} timers");
        let value = Some(value);
        let (deadline, generation, list) = (0, 0, COLLECTED);
        self.nodes.push(Node { deadline, next: NIL, previous: NIL, generation, list, value });
        slot
    }

    /// Where a timer belongs at present.
    #[inline]
    fn list_of(&self, deadline: u64) -> usize {
        if deadline <= self.present {
            return LATE;
        }
        let level = level_of(deadline ^ self.origin);
        level * LISTS_A_LEVEL + digit_of(deadline, level)
    }

    /// Puts a node that is in no list at the end of one.
    #[inline]
    fn append(&mut self, index: usize, slot: u32, deadline: u64) {
        let list = &mut self.lists[index];
        let previous = std::mem::replace(&mut list.tail, slot);
        list.earliest = list.earliest.min(deadline);
        if previous == NIL {
            list.head = slot;
            if let Some(level) = self.levels.get_mut(index / LISTS_A_LEVEL) {
                level.occupied |= 1 << (index % LISTS_A_LEVEL);
            }
        } else {
            self.nodes[previous as usize].next = slot;
        }
        let node = &mut self.nodes[slot as usize];
        node.deadline = deadline;
        node.previous = previous;
        node.next = NIL;
        node.list = index as u16;
    }

    /// Takes a node out of its list, if it is in one.
    #[inline]
    fn unlink(&mut self, slot: u32) {
        let node = &self.nodes[slot as usize];
        let (next, previous, deadline) = (node.next, node.previous, node.deadline);
        let index = usize::from(node.list);
        let Some(list) = self.lists.get_mut(index) else { return };
        if previous == NIL {
            list.head = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        if next == NIL {
            list.tail = previous;
        } else {
            self.nodes[next as usize].previous = previous;
        }
        if list.head == NIL {
            self.clear(index);
        } else if list.earliest == deadline
            && let Some(level) = self.levels.get_mut(index / LISTS_A_LEVEL)
        {
            level.outdated |= 1 << (index % LISTS_A_LEVEL);
        }
    }

    /// Makes a list empty, and returns what was its first node.
    #[inline]
    fn clear(&mut self, index: usize) -> u32 {
        if let Some(level) = self.levels.get_mut(index / LISTS_A_LEVEL) {
            level.occupied &= !(1 << (index % LISTS_A_LEVEL));
        }
        std::mem::replace(&mut self.lists[index], EMPTY).head
    }

    #[cold]
    fn search_earliest(&mut self, index: usize) {
        let (level, digit) = (index / LISTS_A_LEVEL, index % LISTS_A_LEVEL);
        // Searched once for each first that was cancelled, whatever the result.
        self.levels[level].outdated &= !(1 << digit);
        let (mut earliest, mut slot) = (u64::MAX, self.lists[index].head);
        for _ in 0..FEW {
            let node = &self.nodes[slot as usize];
            earliest = earliest.min(node.deadline);
            slot = node.next;
            if slot == NIL {
                self.lists[index].earliest = earliest;
                return;
            }
        }
    }
}

/// The level of a timer whose deadline differs from the present in these bits.
#[inline]
fn level_of(difference: u64) -> usize {
    const LOWEST_LEVEL: u64 = (1 << (LOWEST_BITS + DIGIT_BITS)) - 1;
    ((difference | LOWEST_LEVEL).ilog2() - LOWEST_BITS) as usize / DIGIT_BITS as usize
}

/// The digit that counts in a level.
#[inline]
fn digit_of(moment: u64, level: usize) -> usize {
    (moment >> (LOWEST_BITS + DIGIT_BITS * level as u32)) as usize % LISTS_A_LEVEL
}

impl<V> fmt::Debug for Wheel<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, present) = (self.len, self.present);
        f.debug_struct("Wheel")
            .field("len", &len)
            .field("present", &present)
            .finish_non_exhaustive()
    }
}
