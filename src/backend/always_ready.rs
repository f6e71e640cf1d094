//! Files that a mechanism refuses because they never block: regular files, directories,
//! `/dev/null`. What was asked of them is true at all times, as `select` and `poll` say.

use crate::descriptor::{Descriptor, DescriptorTable};
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;

#[derive(Debug, Default)]
pub(super) struct AlwaysReady {
    files: Vec<File>,
    positions: DescriptorTable,
    /// How many have something to report.
    ready: usize,
    /// Where the next report starts.
    next: usize,
    /// Whether a single place is ours this time.
    our_turn: bool,
}

#[derive(Debug)]
struct File {
    descriptor: Descriptor,
    token: Token,
    watch: Watch,
    /// Whether there is something to report: an edge or a one-shot is reported once.
    ready: bool,
}

impl AlwaysReady {
    #[inline]
    pub(super) fn contains(&self, descriptor: Descriptor) -> bool {
        !self.files.is_empty() && self.positions.get(descriptor).is_some()
    }

    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.ready > 0
    }

    /// Watches a file, watches it for something else, or with an empty interest forgets it.
    pub(super) fn set(&mut self, descriptor: Descriptor, token: Token, watch: Watch) {
        if let Some(position) = self.positions.remove(descriptor) {
            let file = self.files.swap_remove(position);
            self.ready -= usize::from(file.ready);
            if let Some(moved) = self.files.get(position) {
                self.positions.insert(moved.descriptor, position);
            }
        }
        if !watch.interest().is_empty() {
            let ready = found(watch) != 0;
            self.ready += usize::from(ready);
            self.positions.insert(descriptor, self.files.len());
            self.files.push(File { descriptor, token, watch, ready });
        }
    }

    /// How many of `room` places to leave for [`report`](Self::report), when others want some too.
    pub(super) fn share(&mut self, room: usize) -> usize {
        if self.ready == 0 {
            return 0;
        }
        if room > 1 {
            return self.ready.min(room / 2);
        }
        self.our_turn = !self.our_turn;
        usize::from(self.our_turn)
    }

    /// Adds as many of the files as there is room for; the next call goes on from there.
    pub(super) fn report(&mut self, events: &mut Events) {
        for _ in 0..self.files.len() {
            self.next = if self.next < self.files.len() { self.next } else { 0 };
            let file = &mut self.files[self.next];
            if file.ready {
                if !events.push(file.token, found(file.watch)) {
                    return;
                }
                if file.watch.repeats() {
                    file.ready = false;
                    self.ready -= 1;
                }
            }
            self.next += 1;
        }
    }
}

/// The bits that a file reports: never `PRI`, for it has no priority data.
fn found(watch: Watch) -> u32 {
    let mut found = 0;
    if watch.interest().contains(Interest::READABLE) {
        found |= bits::IN;
    }
    if watch.interest().contains(Interest::WRITABLE) {
        found |= bits::OUT;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::key::Key;

    fn token(slot: u32, watch: Watch) -> Token {
        Token::new(Key::new(slot, 1), watch.interest())
    }

    #[test]
    fn all_get_their_turn() {
        let files: Vec<_> = (0..5).map(|_| File::open("/dev/null").unwrap()).collect();
        let mut always = AlwaysReady::default();
        for (slot, file) in (0..).zip(&files) {
            let watch = Interest::READABLE.into();
            always.set(Descriptor::of(file), token(slot, watch), watch);
        }
        let mut seen = Vec::new();
        for _ in 0..5 {
            let mut events = Events::with_capacity(2);
            always.report(&mut events);
            seen.extend(events.iter().map(|event| event.key.slot()));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_repeats_only_on_demand_is_reported_once() {
        let file = File::open("/dev/null").unwrap();
        let descriptor = Descriptor::of(&file);
        let mut always = AlwaysReady::default();
        for watch in [Interest::READABLE.edge(), Interest::WRITABLE.oneshot()] {
            always.set(descriptor, token(0, watch), watch);
            let mut events = Events::with_capacity(4);
            always.report(&mut events);
            assert_eq!((events.len(), always.is_ready()), (1, false));
        }
        always.set(descriptor, token(0, Interest::PRIORITY.into()), Interest::PRIORITY.into());
        assert!(always.contains(descriptor) && !always.is_ready());
        always.set(descriptor, token(0, Interest::empty().into()), Interest::empty().into());
        assert!(!always.contains(descriptor));
    }
}
