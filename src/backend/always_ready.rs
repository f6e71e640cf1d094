//! Files that a kernel refuses to watch because they never block, or watches differently: regular files,
//! directories, `/dev/null`. Reading and writing are ready at all times, as `select` and `poll` report.

use super::fd_map::FdMap;
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::Watch;
use crate::key::Token;
use crate::raw_event::bits;

#[derive(Debug, Default)]
pub(super) struct AlwaysReady {
    files: FdMap<File>,
    /// How many files have something to report.
    due: usize,
}

#[derive(Debug)]
struct File {
    token: Token,
    watch: Watch,
    /// Whether there is something to report: an edge or a one-shot is reported once.
    is_due: bool,
}

impl AlwaysReady {
    /// Updates a file that is here already; returns whether it is.
    #[inline]
    pub(super) fn update(&mut self, descriptor: Descriptor, token: Token, watch: Watch) -> bool {
        let is_here = self.contains(descriptor);
        if is_here {
            self.set(descriptor, token, watch);
        }
        is_here
    }

    #[inline]
    fn contains(&self, descriptor: Descriptor) -> bool {
        !self.files.is_empty() && self.files.position(descriptor).is_some()
    }

    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.due > 0
    }

    /// Sets the watch of a file; an empty interest removes it.
    pub(super) fn set(&mut self, descriptor: Descriptor, token: Token, watch: Watch) {
        if let Some((_, file)) = self.files.remove(descriptor) {
            self.due -= usize::from(file.is_due);
        }
        if !watch.interest().is_empty() {
            let is_due = readiness(watch) != 0;
            self.due += usize::from(is_due);
            self.files.insert(descriptor, File { token, watch, is_due });
        }
    }

    pub(super) fn report(&mut self, events: &mut Events) {
        if self.due == 0 {
            return;
        }
        for file in self.files.values_mut().filter(|file| file.is_due) {
            events.push(file.token, readiness(file.watch));
            if file.watch.repeats() {
                file.is_due = false;
                self.due -= 1;
            }
        }
    }
}

/// Such a file has no priority data.
fn readiness(watch: Watch) -> u32 {
    watch.interest().poll_bits() & (bits::IN | bits::OUT)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::interest::Interest;
    use crate::key::Key;

    fn token(slot: u32, watch: Watch) -> Token {
        Token::new(Key::new(slot, 1), watch.interest())
    }

    #[test]
    fn all_files_are_reported_in_every_wait() {
        let files: Vec<_> = (0..5).map(|_| File::open("/dev/null").unwrap()).collect();
        let mut always = AlwaysReady::default();
        for (slot, file) in (0..).zip(&files) {
            let watch = Interest::READABLE.into();
            always.set(Descriptor::of(file), token(slot, watch), watch);
        }
        for _ in 0..3 {
            let mut events = Events::with_capacity(2);
            always.report(&mut events);
            let slots: Vec<_> = events.iter().map(|event| event.key.slot()).collect();
            assert_eq!(slots, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn edges_and_one_shots_are_reported_once() {
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
