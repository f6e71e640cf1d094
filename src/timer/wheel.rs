//! [`Wheel`]: timers that are set and cancelled in constant time, and fire in exact order.
//!
//! A deadline is a number of nanoseconds. Above its lowest ten bits it is cut into nine groups of six
//! bits; the wheel has a level for each group, and in it a slot for each value of the group. A timer is in the
//! level of the highest group in which its deadline differs from the present, in the slot of that
//! group's value. So all timers of a lower level come before those of a higher one, the slots of a level are in
//! order, and a bitmap for each level finds the first in a few instructions. When the present reaches a
//! slot of a higher level, its timers move down; a timer moves down at most once for each level, and one that
//! expired meanwhile, in a long stall for example, goes straight to the expired timers.
//!
//! Slots keep the order of insertion, moving down included. Sorting the expired timers by deadline
//! alone, stably and a slot at a time, therefore gives the exact order, and a node needs no number
//! that counts insertions.

mod due;

#[cfg(test)]
mod tests;

use std::fmt;

use due::Due;

/// The span of a slot in the lowest level, about a microsecond. With it the groups come out even.
const LOWEST_BITS: u32 = 10;
const SLOT_BITS: u32 = 6;
const SLOTS_PER_LEVEL: usize = 1 << SLOT_BITS;
const LEVELS: usize = ((u64::BITS - LOWEST_BITS) / SLOT_BITS) as usize;

/// The slot of timers whose deadline had passed when they were set. They wait for the next pass.
const EXPIRED: usize = LEVELS * SLOTS_PER_LEVEL;
const SLOTS: usize = EXPIRED + 1;
/// In place of a slot: collected by a pass, and since then perhaps parked.
const COLLECTED: u16 = SLOTS as u16;

/// No node.
const NIL: u32 = u32::MAX;
/// The generation of a node that is used up; no handle has it.
const USED_UP: u32 = u32::MAX;

/// In a slot with more timers than this, a new earliest one is not searched for.
const FEW: usize = 32;

/// Names one timer of a wheel, and never another one in the same node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Handle {
    id: u32,
    generation: u32,
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.id, self.generation)
    }
}

/// 24 bytes and the value, for values of up to eight bytes' alignment that have a niche.
struct Node<V> {
    deadline: u64,
    /// The next in the slot; of a vacant node, the next vacant one.
    next: u32,
    previous: u32,
    generation: u32,
    slot: u16,
    value: Option<V>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// Not after the earliest deadline in the slot; before it only if that one was cancelled.
    earliest: u64,
    head: u32,
    tail: u32,
}

const EMPTY: Slot = Slot { earliest: u64::MAX, head: NIL, tail: NIL };

#[derive(Clone, Copy, Default)]
struct Level {
    /// The slots that are not empty.
    occupied: u64,
    /// The slots whose earliest timer was cancelled, and whose next one has not been searched for. A slot that was
    /// empty since may be among them; the search does no harm.
    outdated: u64,
}

/// A hierarchical timer wheel, in the time of its owner: nanoseconds since any moment.
///
/// Setting, cancelling and finding a timer take the same few steps however many there are. Expired timers
/// are delivered in passes: [`collect_due`](Self::collect_due) begins one, and
/// [`next_due`](Self::next_due) delivers it, timer by timer. A timer set meanwhile belongs to a later
/// pass even if its deadline has passed, so that each pass ends; one cancelled meanwhile is not
/// delivered any more.
///
/// Memory is kept for the highest number of simultaneous timers, 24 bytes each beside the value, and 16
/// for each that was due in the largest pass. The slots take 9 KiB.
pub(crate) struct Wheel<V> {
    nodes: Vec<Node<V>>,
    /// The first vacant node.
    vacant: u32,
    len: usize,
    levels: [Level; LEVELS],
    slots: Box<[Slot]>,
    /// The latest moment that a pass began at.
    present: u64,
    /// The moment by which timers are sorted into slots: the present, or the present of the last pass that found
    /// anything. No timer lies between the two.
    base: u64,
    due: Due,
}

impl<V> Default for Wheel<V> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            vacant: NIL,
            len: 0,
            levels: [Level::default(); LEVELS],
            slots: vec![EMPTY; SLOTS].into(),
            present: 0,
            base: 0,
            due: Due::default(),
        }
    }
}

impl<V> Wheel<V> {
    /// The number of timers, with those that are due or parked.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether the wheel has no timer.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer. One whose deadline has passed is due in the next pass.
    ///
    /// # Panics
    ///
    /// With 2^32 simultaneous timers.
    #[inline]
    pub(crate) fn insert(&mut self, deadline: u64, value: V) -> Handle {
        let (id, generation) = match self.nodes.get_mut(self.vacant as usize) {
            Some(node) => {
                let id = std::mem::replace(&mut self.vacant, node.next);
                node.value = Some(value);
                (id, node.generation)
            }
            None => (self.push_node(value), 0),
        };
        self.len += 1;
        self.append(self.slot_of(deadline), id, deadline);
        Handle { id, generation }
    }

    /// Ends a timer and returns its value, whether it is set, due or parked.
    #[inline]
    pub(crate) fn cancel(&mut self, handle: Handle) -> Option<V> {
        self.node(handle)?;
        self.unlink(handle.id);
        self.len -= 1;
        let node = &mut self.nodes[handle.id as usize];
        node.generation += 1;
        // A node that was used 2^32 times is left alone, or an old handle would name a new timer.
        if node.generation != USED_UP {
            node.next = std::mem::replace(&mut self.vacant, handle.id);
        }
        node.value.take()
    }

    /// Sets a timer to another deadline, as the last with that deadline, whether it is set, due or
    /// parked. Returns whether the handle names a timer.
    pub(crate) fn reschedule(&mut self, handle: Handle, deadline: u64) -> bool {
        let found = self.node(handle).is_some();
        if found {
            self.unlink(handle.id);
            self.append(self.slot_of(deadline), handle.id, deadline);
        }
        found
    }

    /// The values of all timers, in no particular order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.nodes.iter().filter_map(|node| node.value.as_ref())
    }

    /// The value of a timer.
    pub(crate) fn get(&self, handle: Handle) -> Option<&V> {
        self.node(handle)?.value.as_ref()
    }

    /// The moment until which to sleep: the earliest deadline, in the future or past. `None` if
    /// nothing is set or due; parked timers do not count.
    ///
    /// It is never after the earliest deadline. It is before it in one case: if the first of
    /// more than 32 timers that are near to one another was cancelled, it may be the deadline of that
    /// one. Even then it is after the present unless a timer is due, and collecting at that moment
    /// brings the search down a level: a timer causes no more vain wakes than there are levels.
    #[inline]
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        let due = self.first_due();
        let expired = &self.slots[EXPIRED];
        if due.is_some() || expired.head != NIL {
            return Some(due.unwrap_or(u64::MAX).min(expired.earliest));
        }
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        let position = self.levels[level].occupied.trailing_zeros() as usize;
        let slot = level * SLOTS_PER_LEVEL + position;
        if self.levels[level].outdated >> position & 1 != 0 {
            self.search_earliest(slot);
        }
        Some(self.slots[slot].earliest)
    }

    #[inline]
    fn node(&self, handle: Handle) -> Option<&Node<V>> {
        self.nodes.get(handle.id as usize).filter(|node| node.generation == handle.generation)
    }

    #[cold]
    fn push_node(&mut self, value: V) -> u32 {
        let id = self.nodes.len() as u32;
        assert!(id != NIL, "a timer wheel holds at most {NIL} timers");
        let value = Some(value);
        let (deadline, generation, slot) = (0, 0, COLLECTED);
        self.nodes.push(Node { deadline, next: NIL, previous: NIL, generation, slot, value });
        id
    }

    /// The slot of a timer at present.
    #[inline]
    fn slot_of(&self, deadline: u64) -> usize {
        if deadline <= self.present {
            return EXPIRED;
        }
        let level = level_of(deadline ^ self.base);
        level * SLOTS_PER_LEVEL + position_of(deadline, level)
    }

    /// Puts a node that is in no slot at the end of one.
    #[inline]
    fn append(&mut self, index: usize, id: u32, deadline: u64) {
        let slot = &mut self.slots[index];
        let previous = std::mem::replace(&mut slot.tail, id);
        slot.earliest = slot.earliest.min(deadline);
        if previous == NIL {
            slot.head = id;
            if let Some(level) = self.levels.get_mut(index / SLOTS_PER_LEVEL) {
                level.occupied |= 1 << (index % SLOTS_PER_LEVEL);
            }
        } else {
            self.nodes[previous as usize].next = id;
        }
        let node = &mut self.nodes[id as usize];
        node.deadline = deadline;
        node.previous = previous;
        node.next = NIL;
        node.slot = index as u16;
    }

    /// Takes a node out of its slot, if it is in one.
    #[inline]
    fn unlink(&mut self, id: u32) {
        let node = &self.nodes[id as usize];
        let (next, previous, deadline) = (node.next, node.previous, node.deadline);
        let index = usize::from(node.slot);
        let Some(slot) = self.slots.get_mut(index) else { return };
        if previous == NIL {
            slot.head = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        if next == NIL {
            slot.tail = previous;
        } else {
            self.nodes[next as usize].previous = previous;
        }
        if slot.head == NIL {
            self.clear(index);
        } else if slot.earliest == deadline
            && let Some(level) = self.levels.get_mut(index / SLOTS_PER_LEVEL)
        {
            level.outdated |= 1 << (index % SLOTS_PER_LEVEL);
        }
    }

    /// Makes a slot empty, and returns its first node.
    #[inline]
    fn clear(&mut self, index: usize) -> u32 {
        if let Some(level) = self.levels.get_mut(index / SLOTS_PER_LEVEL) {
            level.occupied &= !(1 << (index % SLOTS_PER_LEVEL));
        }
        std::mem::replace(&mut self.slots[index], EMPTY).head
    }

    #[cold]
    fn search_earliest(&mut self, index: usize) {
        let (level, position) = (index / SLOTS_PER_LEVEL, index % SLOTS_PER_LEVEL);
        // Searched once for each first timer that was cancelled, whatever the result.
        self.levels[level].outdated &= !(1 << position);
        let (mut earliest, mut id) = (u64::MAX, self.slots[index].head);
        for _ in 0..FEW {
            let node = &self.nodes[id as usize];
            earliest = earliest.min(node.deadline);
            id = node.next;
            if id == NIL {
                self.slots[index].earliest = earliest;
                return;
            }
        }
    }
}

/// The level of a timer whose deadline differs from the present in these bits.
#[inline]
fn level_of(difference: u64) -> usize {
    const LOWEST_LEVEL: u64 = (1 << (LOWEST_BITS + SLOT_BITS)) - 1;
    ((difference | LOWEST_LEVEL).ilog2() - LOWEST_BITS) as usize / SLOT_BITS as usize
}

/// The position of a moment's slot in a level.
#[inline]
fn position_of(moment: u64, level: usize) -> usize {
    (moment >> (LOWEST_BITS + SLOT_BITS * level as u32)) as usize % SLOTS_PER_LEVEL
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
