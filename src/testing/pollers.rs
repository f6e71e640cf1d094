//! What the backends of a lab watch, and which descriptors it keeps silent.

use std::collections::{BTreeMap, BTreeSet};

use slab::Slab;

use crate::backend::Backend;
use crate::descriptor::{Descriptor, FileId};
use crate::interest::Watch;
use crate::key::Token;

#[derive(Default)]
pub(super) struct Pollers {
    open: Slab<OpenPoller>,
    /// Descriptors that are not reported before a moment.
    silent: BTreeMap<Descriptor, u64>,
    /// The files that were registered.
    seen: BTreeSet<(Descriptor, FileId)>,
}

/// A backend that is open in the lab.
pub(super) struct OpenPoller {
    pub(super) backend: Backend,
    /// The registrations, by their slot.
    pub(super) watched: BTreeMap<usize, Watched>,
    /// The slot of each descriptor.
    slots: BTreeMap<Descriptor, usize>,
    /// The slots that may be reported without an edge; a one-shot may be disarmed.
    repeated_edges: BTreeSet<usize>,
    /// Descriptors that have been silent, whose edges are reported again.
    rearm: Vec<Descriptor>,
    pub(super) has_waker: bool,
    /// Whether another loop waits for its kernel object, which shows what the lab withholds.
    pub(super) is_nested: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Watched {
    pub(super) descriptor: Descriptor,
    pub(super) token: Token,
    pub(super) watch: Watch,
    /// Whether an event has been withheld since the last update.
    is_owed: bool,
}

impl Pollers {
    pub(super) fn open(&mut self, backend: Backend) -> usize {
        self.open.insert(OpenPoller {
            backend,
            watched: BTreeMap::new(),
            slots: BTreeMap::new(),
            repeated_edges: BTreeSet::new(),
            rearm: Vec::new(),
            has_waker: false,
            is_nested: false,
        })
    }

    pub(super) fn close(&mut self, id: usize) {
        let poller = self.open.remove(id);
        for watched in poller.watched.values() {
            self.forget(watched.descriptor);
        }
    }

    pub(super) fn get(&mut self, id: usize) -> &mut OpenPoller {
        &mut self.open[id]
    }

    pub(super) fn seen(&self) -> impl Iterator<Item = (Descriptor, FileId)> {
        self.seen.iter().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OpenPoller> {
        self.open.iter().map(|(_, poller)| poller)
    }

    /// Follows an update that the backend has made.
    pub(super) fn update(&mut self, id: usize, descriptor: Descriptor, token: Token, watch: Watch) {
        let poller = &mut self.open[id];
        let is_watched = !watch.interest().is_empty();
        if token == Token::WAKER {
            poller.has_waker = is_watched;
            return;
        }
        let slot = token.key().slot();
        poller.repeated_edges.remove(&slot);
        if is_watched {
            self.seen.extend(descriptor.file_id().map(|file| (descriptor, file)));
            if watch.is_edge() && !watch.is_oneshot() {
                poller.repeated_edges.insert(slot);
            }
            poller.slots.insert(descriptor, slot);
            poller.watched.insert(slot, Watched { descriptor, token, watch, is_owed: false });
        } else {
            poller.slots.remove(&descriptor);
            poller.watched.remove(&slot);
            self.forget(descriptor);
        }
    }

    /// Ends the silence of a descriptor that no backend watches: its number may be another's next.
    pub(super) fn forget(&mut self, descriptor: Descriptor) {
        if self.silent.contains_key(&descriptor)
            && !self.iter().any(|poller| poller.find(descriptor).is_some())
        {
            self.silent.remove(&descriptor);
        }
    }

    /// Keeps a descriptor silent until a moment; one that has passed means until the next look.
    pub(super) fn silence(&mut self, descriptor: Descriptor, until: u64) {
        let known = self.silent.entry(descriptor).or_insert(until);
        *known = until.max(*known);
    }

    pub(super) fn is_silent(&self, descriptor: Descriptor, now: u64) -> bool {
        self.silent.get(&descriptor).is_some_and(|until| *until > now)
    }

    /// Whether an event is withheld; if so, it is reported later.
    pub(super) fn withholds(&mut self, id: usize, slot: usize) -> bool {
        let Some(watched) = self.open[id].watched.get_mut(&slot) else { return false };
        watched.is_owed |= self.silent.contains_key(&watched.descriptor);
        watched.is_owed
    }

    /// The end of the first silence.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.silent.values().copied().min()
    }

    /// Ends the silences that are over, and returns the registrations that this backend has to re-arm.
    pub(super) fn rearm(&mut self, id: usize, now: u64) -> Vec<Watched> {
        if !self.silent.is_empty() {
            let Self { open, silent, .. } = self;
            silent.retain(|descriptor, until| {
                let lasts = *until > now;
                if !lasts {
                    open.iter_mut().for_each(|(_, poller)| poller.end_silence(*descriptor));
                }
                lasts
            });
        }
        let poller = &mut self.open[id];
        let again = std::mem::take(&mut poller.rearm);
        again.into_iter().filter_map(|descriptor| poller.find(descriptor).copied()).collect()
    }
}

impl OpenPoller {
    fn end_silence(&mut self, descriptor: Descriptor) {
        let slot = self.slots.get(&descriptor);
        if let Some(watched) = slot.and_then(|slot| self.watched.get_mut(slot)) {
            // A one-shot that was reported is re-armed by its owner alone.
            let is_told_again =
                if watched.watch.is_oneshot() { watched.is_owed } else { watched.watch.is_edge() };
            watched.is_owed = false;
            if is_told_again {
                self.rearm.push(descriptor);
            }
        }
    }

    fn find(&self, descriptor: Descriptor) -> Option<&Watched> {
        self.watched.get(self.slots.get(&descriptor)?)
    }

    /// The registrations that may be reported without an edge.
    pub(super) fn may_be_spurious(&self) -> Vec<Watched> {
        self.repeated_edges.iter().map(|slot| self.watched[slot]).collect()
    }
}
