//! The timers' wheel: setting and cancelling take the same few steps, whatever the number of timers.
//!
//! Time is cut into ticks of 2^16 ns. A deadline's tick is a number of eight digits to the base 64,
//! and there is a level of 64 slots for each digit. A timer hangs in the level of the highest digit
//! in which its tick differs from the current one, in the slot of that digit's value. So everything
//! in a lower level comes before everything in a higher one, and the slots of a level are in order.
//! When the current tick enters a slot of a higher level, its timers move to lower levels. The lists
//! keep the order of insertion; what becomes due is sorted by deadline, which keeps it among equals.

const TICK_BITS: u32 = 16;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// Enough for every tick of a `u64` of nanoseconds.
const LEVELS: usize = ((u64::BITS - TICK_BITS) / DIGIT_BITS) as usize;

/// No node.
const NIL: u32 = u32::MAX;

/// Where a node is: the number of a list, or one of these.
type Place = u16;
const DUE: Place = (LEVELS * SLOTS) as Place;
const PARKED: Place = DUE + 1;
const FREE: Place = DUE + 2;
/// Those of the slots, and that of what is due.
const LISTS: usize = LEVELS * SLOTS + 1;

/// In a slot with more timers than this the earliest is not looked for.
const FEW: usize = 64;

/// Names a timer, and never another that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Handle {
    slot: u32,
    generation: u32,
}

struct Node<V> {
    deadline: u64,
    /// In a circle; of a free node, the next free one.
    next: u32,
    previous: u32,
    generation: u32,
    place: Place,
    value: Option<V>,
}

pub(crate) struct Wheel<V> {
    nodes: Vec<Node<V>>,
    free: u32,
    len: usize,
    /// The first node of each list.
    heads: Box<[u32]>,
    /// For each level, which slots have timers.
    occupied: [u64; LEVELS],
    /// Every timer whose tick is lower has been collected.
    tick: u64,
    /// What [`find_earliest`](Self::find_earliest) said, while that holds.
    earliest: Option<u64>,
    /// What is being sorted.
    sorting: Vec<u32>,
}

impl<V> Default for Wheel<V> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: NIL,
            len: 0,
            heads: vec![NIL; LISTS].into(),
            occupied: [0; LEVELS],
            tick: 0,
            earliest: None,
            sorting: Vec::new(),
        }
    }
}

impl<V> Wheel<V> {
    /// How many timers there are: set, due or parked.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer; a deadline that has passed is due with the next collection.
    pub(crate) fn insert(&mut self, deadline: u64, value: V) -> Handle {
        let index = self.free;
        let slot = if let Some(node) = self.nodes.get_mut(index as usize) {
            self.free = node.next;
            node.deadline = deadline;
            node.value = Some(value);
            index
        } else {
            let index = self.nodes.len() as u32;
            assert!(index < NIL, "no room for more than {NIL} timers");
            let (next, previous) = (NIL, NIL);
            let value = Some(value);
            self.nodes.push(Node { deadline, next, previous, generation: 0, place: FREE, value });
            index
        };
        self.len += 1;
        self.schedule(slot);
        Handle { slot, generation: self.nodes[slot as usize].generation }
    }

    /// Ends a timer, be it set, due or parked.
    pub(crate) fn remove(&mut self, handle: Handle) -> Option<V> {
        self.node(handle)?;
        self.unlink(handle.slot);
        self.len -= 1;
        let free = self.free;
        let node = &mut self.nodes[handle.slot as usize];
        node.place = FREE;
        node.generation = node.generation.wrapping_add(1);
        node.next = free;
        self.free = handle.slot;
        node.value.take()
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&V> {
        self.node(handle)?.value.as_ref()
    }

    /// Sets a timer anew, be it set, due or parked; `false` if it is none any more.
    pub(crate) fn reschedule(&mut self, handle: Handle, deadline: u64) -> bool {
        if self.node(handle).is_none() {
            return false;
        }
        self.unlink(handle.slot);
        self.nodes[handle.slot as usize].deadline = deadline;
        self.schedule(handle.slot);
        true
    }

    /// When to look for due timers: the earliest deadline, or a moment before it if many timers are
    /// set for about the same time, far ahead. `None` if none is set or due.
    #[inline]
    pub(crate) fn next_deadline(&mut self) -> Option<u64> {
        let due = self.heads[usize::from(DUE)];
        if let Some(due) = self.nodes.get(due as usize) {
            return Some(due.deadline);
        }
        if self.earliest.is_none() {
            self.earliest = self.find_earliest();
        }
        self.earliest
    }

    /// Moves all timers whose deadline is not after `now` to those that are due, in the order of
    /// their deadlines, and of equal ones in the order of setting; behind what was due before.
    pub(crate) fn collect_due(&mut self, now: u64) {
        let now_tick = now >> TICK_BITS;
        while let Some((level, slot)) = self.first_slot() {
            let start = self.start_of(level, slot);
            if start > now_tick {
                break;
            }
            let shift = DIGIT_BITS * level as u32;
            let last = start | ((1 << shift) - 1);
            if last < now_tick {
                self.tick = last + 1;
                self.take_due(level, slot, u64::MAX);
            } else if level == 0 {
                self.tick = start;
                self.take_due(level, slot, now);
                break; // What is left in this slot is later, and so is everything else.
            } else {
                self.tick = start;
                self.spread(level, slot);
            }
        }
        self.tick = self.tick.max(now_tick);
        self.earliest = None;
    }

    /// Takes the next one that is due, and parks it: it is still there, and can be removed or set
    /// anew, but it will not become due by itself.
    pub(crate) fn next_due(&mut self) -> Option<Handle> {
        let slot = self.heads[usize::from(DUE)];
        if slot == NIL {
            return None;
        }
        self.unlink(slot);
        let node = &mut self.nodes[slot as usize];
        node.place = PARKED;
        Some(Handle { slot, generation: node.generation })
    }

    #[inline]
    fn node(&self, handle: Handle) -> Option<&Node<V>> {
        let node = self.nodes.get(handle.slot as usize)?;
        (node.generation == handle.generation && node.place != FREE).then_some(node)
    }

    /// Hangs a node that is in no list where its deadline belongs.
    #[inline]
    fn schedule(&mut self, index: u32) {
        let deadline = self.nodes[index as usize].deadline;
        let tick = (deadline >> TICK_BITS).max(self.tick);
        let highest_difference = (u64::BITS - 1).saturating_sub((tick ^ self.tick).leading_zeros());
        let level = (highest_difference / DIGIT_BITS) as usize;
        let slot = (tick >> (DIGIT_BITS * level as u32)) as usize % SLOTS;
        self.occupied[level] |= 1 << slot;
        self.append((level * SLOTS + slot) as Place, index);
        if self.earliest.is_some_and(|earliest| deadline < earliest) {
            self.earliest = Some(deadline);
        }
    }

    #[inline]
    fn append(&mut self, place: Place, index: u32) {
        let head = self.heads[usize::from(place)];
        let (next, previous) = if head == NIL {
            self.heads[usize::from(place)] = index;
            (index, index)
        } else {
            let tail = std::mem::replace(&mut self.nodes[head as usize].previous, index);
            self.nodes[tail as usize].next = index;
            (head, tail)
        };
        let node = &mut self.nodes[index as usize];
        (node.next, node.previous, node.place) = (next, previous, place);
    }

    /// Takes a node out of its list, if it is in one.
    #[inline]
    fn unlink(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let (next, previous, place) = (node.next, node.previous, node.place);
        let Some(head) = self.heads.get_mut(usize::from(place)) else { return };
        if self.earliest == Some(node.deadline) {
            self.earliest = None;
        }
        if next == index {
            *head = NIL;
            if let Some(occupied) = self.occupied.get_mut(usize::from(place) / SLOTS) {
                *occupied &= !(1 << (usize::from(place) % SLOTS));
            }
            return;
        }
        if *head == index {
            *head = next;
        }
        self.nodes[next as usize].previous = previous;
        self.nodes[previous as usize].next = next;
    }

    /// The first slot with timers, in the order of time.
    #[inline]
    fn first_slot(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|&occupied| occupied != 0)?;
        // Slots before the current one are empty: what was in them has been collected.
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The first tick of a slot.
    fn start_of(&self, level: usize, slot: usize) -> u64 {
        let shift = DIGIT_BITS * level as u32;
        let above = self.tick >> shift >> DIGIT_BITS << DIGIT_BITS;
        (above | slot as u64) << shift
    }

    /// Empties a slot of a higher level into lower ones; the current tick is the slot's first.
    fn spread(&mut self, level: usize, slot: usize) {
        let place = level * SLOTS + slot;
        while self.heads[place] != NIL {
            let index = self.heads[place];
            self.unlink(index);
            self.schedule(index);
        }
    }

    /// Moves what is due from a slot, sorted, behind what is due already.
    fn take_due(&mut self, level: usize, slot: usize, now: u64) {
        let mut sorting = std::mem::take(&mut self.sorting);
        let in_slot = self.walk((level * SLOTS + slot) as Place);
        sorting.extend(in_slot.filter(|&index| self.nodes[index as usize].deadline <= now));
        sorting.sort_by_key(|&index| self.nodes[index as usize].deadline);
        for &index in &sorting {
            self.unlink(index);
            self.append(DUE, index);
        }
        sorting.clear();
        self.sorting = sorting;
    }

    /// The nodes of a list.
    fn walk(&self, place: Place) -> impl Iterator<Item = u32> {
        let head = self.heads[usize::from(place)];
        let first = (head != NIL).then_some(head);
        std::iter::successors(first, move |&index| {
            Some(self.nodes[index as usize].next).filter(|&next| next != head)
        })
    }

    fn find_earliest(&self) -> Option<u64> {
        let (level, slot) = self.first_slot()?;
        // Those of the current tick and the like are few, or due by the time that it takes.
        let looked_at = if level == 0 { usize::MAX } else { FEW };
        let mut in_slot = self.walk((level * SLOTS + slot) as Place);
        let deadline = |index: u32| self.nodes[index as usize].deadline;
        let earliest = in_slot.by_ref().take(looked_at).map(deadline).min();
        if in_slot.next().is_none() {
            return earliest;
        }
        Some(self.start_of(level, slot) << TICK_BITS)
    }
}
