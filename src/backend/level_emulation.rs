//! Level-triggered delivery on top of a kernel interface that only hints where to look: io_uring, whose
//! completions describe the past, and mio, which is edge-triggered.
//!
//! A hint makes a level-triggered entry *hot*. After each wait one `poll` over the hot entries finds the
//! truth: an entry that is ready is reported and stays hot, the others cool down. So an event is true at
//! the end of the wait, however old its hint is, and readiness that lasts is reported again without a new
//! hint. An edge is reported as it was hinted; it may be spurious.

use std::io;
use std::time::Duration;

use slab::Slab;

use super::poll_set::PollSet;
use crate::descriptor::{Descriptor, DescriptorTable};
use crate::event::Events;
use crate::interest::Watch;
use crate::key::Token;
use crate::raw_event::bits;

/// The watched descriptors, with a backend's state for each.
#[derive(Debug)]
pub(super) struct LevelEmulation<T> {
    entries: Slab<Entry<T>>,
    positions: DescriptorTable,
    hot: PollSet,
    /// Positions of entries whose edge has not been reported. An entry that has been changed or removed
    /// since then has no edge any more.
    edges: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) descriptor: Descriptor,
    pub(super) token: Token,
    pub(super) watch: Watch,
    pub(super) state: T,
    /// The bits of an edge that has not been reported.
    edge: u32,
}

/// Why an entry is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silent {
    /// It was hot and is not ready any more: until the next hint.
    Cooled,
    /// It is a one-shot that has fired, or is not open: until it is changed.
    Fired,
}

impl<T> Default for LevelEmulation<T> {
    fn default() -> Self {
        Self {
            entries: Slab::new(),
            positions: DescriptorTable::default(),
            hot: PollSet::default(),
            edges: Vec::new(),
        }
    }
}

impl<T> LevelEmulation<T> {
    pub(super) fn position(&self, descriptor: Descriptor) -> Option<usize> {
        self.positions.get(descriptor)
    }

    pub(super) fn get_mut(&mut self, position: usize) -> Option<&mut Entry<T>> {
        self.entries.get_mut(position)
    }

    #[cfg(io_uring)]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Entry<T>)> {
        self.entries.iter_mut()
    }

    /// The position of the next entry that is inserted.
    #[cfg(mio)]
    pub(super) fn next_position(&self) -> usize {
        self.entries.vacant_key()
    }

    pub(super) fn insert(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        watch: Watch,
        state: T,
    ) -> usize {
        let position = self.entries.insert(Entry { descriptor, token, watch, state, edge: 0 });
        self.positions.insert(descriptor, position);
        position
    }

    /// Changes the watch of an entry; earlier hints are void.
    pub(super) fn change(&mut self, position: usize, token: Token, watch: Watch) {
        let entry = &mut self.entries[position];
        (entry.token, entry.watch, entry.edge) = (token, watch, 0);
        self.hot.remove(entry.descriptor);
    }

    pub(super) fn remove(&mut self, position: usize) {
        let entry = self.entries.remove(position);
        self.positions.remove(entry.descriptor);
        self.hot.remove(entry.descriptor);
    }

    /// Takes a hint in `poll`'s bits.
    #[inline]
    pub(super) fn hint(&mut self, position: usize, found: u32) {
        let Some(entry) = self.entries.get_mut(position) else { return };
        if !entry.watch.is_edge() {
            self.hot.insert(entry.descriptor, entry.token, entry.watch);
            return;
        }
        let unmasked = bits::ERR | bits::HUP | bits::RDHUP | bits::NVAL;
        let found = found & (entry.watch.interest().poll_bits() | unmasked);
        if found != 0 && entry.edge == 0 {
            self.edges.push(position as u32);
        }
        entry.edge |= found;
    }

    /// Whether there is nothing to report without a new hint.
    pub(super) fn is_idle(&self) -> bool {
        self.hot.is_empty() && self.edges.is_empty()
    }

    /// Reports the edges and every hot entry that is ready. `silenced` is called for each entry that is
    /// silent from now on.
    pub(super) fn report(
        &mut self,
        events: &mut Events,
        mut silenced: impl FnMut(&mut Entry<T>, usize, Silent),
    ) -> io::Result<()> {
        for position in self.edges.drain(..) {
            let position = position as usize;
            let Some(entry) = self.entries.get_mut(position) else { continue };
            let found = std::mem::take(&mut entry.edge);
            if found == 0 {
                continue;
            }
            events.push(entry.token, found);
            if entry.watch.is_oneshot() || found & bits::NVAL != 0 {
                events.note_invalid(found);
                silenced(entry, position, Silent::Fired);
            }
        }
        if self.hot.is_empty() {
            return Ok(());
        }
        let (entries, positions) = (&mut self.entries, &self.positions);
        let mut silence = |descriptor, why| {
            if let Some(position) = positions.get(descriptor) {
                silenced(&mut entries[position], position, why);
            }
        };
        self.hot.wait(events, Some(Duration::ZERO), |fired| silence(fired, Silent::Fired))?;
        self.hot.remove_unready(|cooled| silence(cooled, Silent::Cooled));
        Ok(())
    }

    /// The position of a hot entry.
    #[cfg(mio)]
    pub(super) fn any_hot(&self) -> Option<usize> {
        self.hot.any().and_then(|descriptor| self.positions.get(descriptor))
    }

    /// Cools an entry down, whether it is ready or not.
    #[cfg(mio)]
    pub(super) fn cool(&mut self, position: usize) {
        self.hot.remove(self.entries[position].descriptor);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{Read, Write, pipe};

    use super::*;
    use crate::interest::Interest;
    use crate::key::Key;
    use crate::ready::Ready;

    const R: Interest = Interest::READABLE;

    fn token(slot: u32, watch: Watch) -> Token {
        Token::new(Key::new(slot, 1), watch.interest())
    }

    fn report(emulation: &mut LevelEmulation<()>) -> (Vec<(usize, Ready)>, Vec<Silent>) {
        let mut events = Events::with_capacity(1);
        let mut silenced = Vec::new();
        emulation.report(&mut events, |_, _, why| silenced.push(why)).unwrap();
        (events.iter().map(|event| (event.key.slot(), event.ready)).collect(), silenced)
    }

    #[test]
    fn a_stale_hint_reports_nothing_and_cools_down() {
        let (mut reader, mut writer) = pipe().unwrap();
        let mut emulation = LevelEmulation::default();
        let watch = R.into();
        let position = emulation.insert(Descriptor::of(&reader), token(3, watch), watch, ());
        emulation.hint(position, bits::IN);
        assert_eq!(report(&mut emulation), (vec![], vec![Silent::Cooled]));
        assert!(emulation.is_idle());
        writer.write_all(b"!").unwrap();
        emulation.hint(position, bits::IN);
        for _ in 0..2 {
            // Without a further hint.
            assert_eq!(report(&mut emulation), (vec![(3, Ready::READABLE)], vec![]));
        }
        reader.read_exact(&mut [0]).unwrap();
        assert_eq!(report(&mut emulation), (vec![], vec![Silent::Cooled]));
    }

    #[test]
    fn an_edge_is_reported_once_with_all_its_bits() {
        let (reader, _writer) = pipe().unwrap();
        let mut emulation = LevelEmulation::default();
        let watch = R.edge();
        let position = emulation.insert(Descriptor::of(&reader), token(3, watch), watch, ());
        emulation.hint(position, bits::IN | bits::OUT);
        emulation.hint(position, bits::HUP);
        let ready = Ready::READABLE | Ready::READ_CLOSED | Ready::WRITE_CLOSED;
        assert_eq!(report(&mut emulation), (vec![(3, ready)], vec![]));
        assert!(emulation.is_idle());
        emulation.hint(position, bits::OUT);
        assert!(emulation.is_idle(), "OUT is not in the interest");
    }

    #[test]
    fn a_change_voids_earlier_hints() {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"!").unwrap();
        let mut emulation = LevelEmulation::default();
        for watch in [R.edge(), R.into()] {
            let position = emulation.insert(Descriptor::of(&reader), token(3, watch), watch, ());
            emulation.hint(position, bits::IN);
            emulation.change(position, token(3, watch), watch);
            assert_eq!(report(&mut emulation), (vec![], vec![]));
            emulation.hint(position, bits::IN);
            emulation.remove(position);
            assert_eq!(report(&mut emulation), (vec![], vec![]));
            assert!(emulation.is_idle());
        }
    }

    #[test]
    fn an_edge_hinted_again_after_a_change_is_reported_once() {
        let (reader, _writer) = pipe().unwrap();
        let mut emulation = LevelEmulation::default();
        let watch = R.edge();
        let position = emulation.insert(Descriptor::of(&reader), token(3, watch), watch, ());
        emulation.hint(position, bits::IN);
        emulation.change(position, token(3, watch), watch);
        emulation.hint(position, bits::IN);
        assert_eq!(report(&mut emulation), (vec![(3, Ready::READABLE)], vec![]));
    }

    #[test]
    fn edges_and_hot_entries_are_reported_beyond_the_capacity() {
        let (one, mut one_writer) = pipe().unwrap();
        let (two, _two_writer) = pipe().unwrap();
        one_writer.write_all(b"!").unwrap();
        let mut emulation = LevelEmulation::default();
        let level = emulation.insert(Descriptor::of(&one), token(1, R.into()), R.into(), ());
        let edge = emulation.insert(Descriptor::of(&two), token(2, R.edge()), R.edge(), ());
        emulation.hint(level, bits::IN);
        for _ in 0..3 {
            emulation.hint(edge, bits::IN);
            let slots: Vec<_> = report(&mut emulation).0.iter().map(|event| event.0).collect();
            assert_eq!(slots, [2, 1]);
        }
    }

    #[test]
    fn a_one_shot_fires_once() {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"!").unwrap();
        for watch in [R.oneshot(), R.edge().oneshot()] {
            let mut emulation = LevelEmulation::default();
            let position = emulation.insert(Descriptor::of(&reader), token(3, watch), watch, ());
            emulation.hint(position, bits::IN);
            assert_eq!(report(&mut emulation), (vec![(3, Ready::READABLE)], vec![Silent::Fired]));
            assert!(emulation.is_idle());
        }
    }
}
