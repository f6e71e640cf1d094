//! For mechanisms that only hint where to look: io_uring, whose completions tell of the past, and mio,
//! which is edge-triggered.
//!
//! A hint makes a level-triggered registration *hot*. After each wait one `poll` over what is hot
//! says what is true: that is reported and stays hot, the rest cools down. So an event is true at the
//! end of the wait, however old the hint is, and what is left undone is reported again without a new
//! hint. An edge is reported as it was hinted at; it may be spurious.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use slab::Slab;

use super::poll_set::PollSet;
use crate::descriptor::{Descriptor, DescriptorTable};
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;

/// What is watched, with what the mechanism needs to know of each, and what it has hinted at.
#[derive(Debug)]
pub(super) struct Hints<T> {
    watched: Slab<Watched<T>>,
    positions: DescriptorTable,
    hot: PollSet,
    /// Where edges may be that have not been reported.
    edges: VecDeque<u32>,
    /// How many there are.
    pending_edges: usize,
    edges_first: bool,
}

#[derive(Debug)]
pub(super) struct Watched<T> {
    pub(super) descriptor: Descriptor,
    pub(super) token: Token,
    pub(super) watch: Watch,
    pub(super) state: T,
    /// What an edge has brought that has not been reported.
    found: u32,
}

/// Why nothing more is reported of a registration, for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silenced {
    /// It was hot, and is not ready any more: the next hint counts.
    Cooled,
    /// It is a one-shot and has fired, or is not open: until it is changed.
    Spent,
}

impl<T> Default for Hints<T> {
    fn default() -> Self {
        Self {
            watched: Slab::new(),
            positions: DescriptorTable::default(),
            hot: PollSet::default(),
            edges: VecDeque::new(),
            pending_edges: 0,
            edges_first: false,
        }
    }
}

impl<T> Hints<T> {
    /// Where a descriptor is watched.
    pub(super) fn find(&self, descriptor: Descriptor) -> Option<usize> {
        self.positions.get(descriptor)
    }

    pub(super) fn get_mut(&mut self, position: usize) -> Option<&mut Watched<T>> {
        self.watched.get_mut(position)
    }

    #[cfg(io_uring)]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Watched<T>)> {
        self.watched.iter_mut()
    }

    pub(super) fn insert(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        watch: Watch,
        state: T,
    ) -> usize {
        let position = self.watched.insert(Watched { descriptor, token, watch, state, found: 0 });
        self.positions.insert(descriptor, position);
        position
    }

    /// Watches for something else from now on; hints of before are void.
    pub(super) fn change(&mut self, position: usize, token: Token, watch: Watch) {
        let watched = &mut self.watched[position];
        self.pending_edges -= usize::from(watched.found != 0);
        (watched.token, watched.watch, watched.found) = (token, watch, 0);
        self.hot.remove(watched.descriptor);
    }

    pub(super) fn remove(&mut self, position: usize) {
        let watched = self.watched.remove(position);
        self.pending_edges -= usize::from(watched.found != 0);
        self.positions.remove(watched.descriptor);
        self.hot.remove(watched.descriptor);
    }

    /// Takes note of what a mechanism said, in `poll`'s bits.
    pub(super) fn hint(&mut self, position: usize, found: u32) {
        let Some(watched) = self.watched.get_mut(position) else { return };
        if !watched.watch.is_edge() {
            self.hot.insert(watched.descriptor, watched.token, watched.watch);
            return;
        }
        let asked = watched.watch.interest();
        let mut wanted = bits::ERR | bits::HUP | bits::RDHUP | bits::NVAL;
        for (interest, bit) in [
            (Interest::READABLE, bits::IN),
            (Interest::WRITABLE, bits::OUT),
            (Interest::PRIORITY, bits::PRI),
        ] {
            wanted |= if asked.contains(interest) { bit } else { 0 };
        }
        let found = found & wanted;
        if found != 0 {
            if watched.found == 0 {
                self.edges.push_back(position as u32);
                self.pending_edges += 1;
            }
            watched.found |= found;
        }
    }

    /// Whether there is nothing to report without a new hint.
    pub(super) fn is_idle(&self) -> bool {
        self.hot.is_empty() && self.pending_edges == 0
    }

    /// Adds what is true to the events. Where there is not room for all, edges and the others take
    /// turns in being first.
    pub(super) fn report(
        &mut self,
        events: &mut Events,
        mut silenced: impl FnMut(&mut Watched<T>, usize, Silenced),
    ) -> io::Result<()> {
        if events.room() == 0 {
            return Ok(()); // and nobody has had a turn
        }
        self.edges_first = !self.edges_first;
        if self.edges_first {
            self.report_edges(events, &mut silenced);
        }
        if !self.hot.is_empty() && events.room() > 0 {
            let (watched, positions) = (&mut self.watched, &self.positions);
            let mut silence = |descriptor, why| {
                if let Some(position) = positions.get(descriptor) {
                    silenced(&mut watched[position], position, why);
                }
            };
            self.hot.wait(events, Some(Duration::ZERO), |left| silence(left, Silenced::Spent))?;
            self.hot.remove_unready(|cooled| silence(cooled, Silenced::Cooled));
        }
        if !self.edges_first {
            self.report_edges(events, &mut silenced);
        }
        Ok(())
    }

    fn report_edges(
        &mut self,
        events: &mut Events,
        silenced: &mut impl FnMut(&mut Watched<T>, usize, Silenced),
    ) {
        while let Some(&position) = self.edges.front() {
            let position = position as usize;
            // A registration that has gone or was changed since then has nothing found.
            if let Some(watched) =
                self.watched.get_mut(position).filter(|watched| watched.found != 0)
            {
                if !events.push(watched.token, watched.found) {
                    return;
                }
                let found = std::mem::take(&mut watched.found);
                self.pending_edges -= 1;
                if watched.watch.is_oneshot() || found & bits::NVAL != 0 {
                    silenced(watched, position, Silenced::Spent);
                }
            }
            self.edges.pop_front();
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::{Read, Write, pipe};

    use super::*;
    use crate::event::Ready;
    use crate::key::Key;

    const R: Interest = Interest::READABLE;

    fn token(slot: u32, watch: Watch) -> Token {
        Token::new(Key::new(slot, 1), watch.interest())
    }

    fn report(hints: &mut Hints<()>, room: usize) -> (Vec<(usize, Ready)>, Vec<Silenced>) {
        let mut events = Events::with_capacity(room);
        let mut silenced = Vec::new();
        hints.report(&mut events, |_, _, why| silenced.push(why)).unwrap();
        (events.iter().map(|event| (event.key.slot(), event.ready)).collect(), silenced)
    }

    #[test]
    fn a_stale_hint_reports_nothing_and_cools_down() {
        let (mut reader, mut writer) = pipe().unwrap();
        let mut hints = Hints::default();
        let watch = R.into();
        let position = hints.insert(Descriptor::of(&reader), token(3, watch), watch, ());
        hints.hint(position, bits::IN);
        assert_eq!(report(&mut hints, 8), (vec![], vec![Silenced::Cooled]));
        assert!(hints.is_idle());
        writer.write_all(b"!").unwrap();
        hints.hint(position, bits::IN);
        for _ in 0..2 {
            // Without a further hint.
            assert_eq!(report(&mut hints, 8), (vec![(3, Ready::READABLE)], vec![]));
        }
        reader.read_exact(&mut [0]).unwrap();
        assert_eq!(report(&mut hints, 8), (vec![], vec![Silenced::Cooled]));
    }

    #[test]
    fn an_edge_is_reported_once_with_all_it_brought() {
        let (reader, _writer) = pipe().unwrap();
        let mut hints = Hints::default();
        let watch = R.edge();
        let position = hints.insert(Descriptor::of(&reader), token(3, watch), watch, ());
        hints.hint(position, bits::IN | bits::OUT);
        hints.hint(position, bits::HUP);
        let ready = Ready::READABLE | Ready::READ_CLOSED | Ready::WRITE_CLOSED;
        assert_eq!(report(&mut hints, 8), (vec![(3, ready)], vec![]));
        assert!(hints.is_idle());
        hints.hint(position, bits::OUT);
        assert!(hints.is_idle(), "nobody asked for that");
    }

    #[test]
    fn a_change_voids_what_was_hinted_before() {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"!").unwrap();
        let mut hints = Hints::default();
        for watch in [R.edge(), R.into()] {
            let position = hints.insert(Descriptor::of(&reader), token(3, watch), watch, ());
            hints.hint(position, bits::IN);
            hints.change(position, token(3, watch), watch);
            assert_eq!(report(&mut hints, 8), (vec![], vec![]));
            hints.hint(position, bits::IN);
            hints.remove(position);
            assert_eq!(report(&mut hints, 8), (vec![], vec![]));
            assert!(hints.is_idle());
        }
    }

    #[test]
    fn edges_and_the_others_take_turns() {
        let (one, mut one_writer) = pipe().unwrap();
        let (two, _two_writer) = pipe().unwrap();
        one_writer.write_all(b"!").unwrap();
        let mut hints = Hints::default();
        let level = hints.insert(Descriptor::of(&one), token(1, R.into()), R.into(), ());
        let edge = hints.insert(Descriptor::of(&two), token(2, R.edge()), R.edge(), ());
        hints.hint(level, bits::IN);
        let mut seen = [0, 0];
        for _ in 0..10 {
            hints.hint(edge, bits::IN);
            for (slot, _) in report(&mut hints, 1).0 {
                seen[slot - 1] += 1;
            }
        }
        assert_eq!(seen, [5, 5]);
    }

    #[test]
    fn one_shots_are_spent() {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"!").unwrap();
        for watch in [R.oneshot(), R.edge().oneshot()] {
            let mut hints = Hints::default();
            let position = hints.insert(Descriptor::of(&reader), token(3, watch), watch, ());
            hints.hint(position, bits::IN);
            assert_eq!(report(&mut hints, 8), (vec![(3, Ready::READABLE)], vec![Silenced::Spent]));
            assert!(hints.is_idle());
        }
    }
}
