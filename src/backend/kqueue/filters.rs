//! The watched descriptors: which filters the kernel has of each, which it should have, and what its answers
//! mean. No system call is made here.

use slab::Slab;

use super::kind::Kind;
use super::sys::{Action, Filter, Kevent};
use crate::descriptor::{Descriptor, DescriptorTable};
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;

/// The behaviour of a filter in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Level,
    Edge,
}

/// A filter of each kind, with its mode.
type Modes = [Option<Mode>; Filter::ALL.len()];

#[derive(Debug, Default)]
pub(super) struct Filters {
    entries: Slab<Entry>,
    positions: DescriptorTable,
    /// Positions of entries whose filters differ from what they should be, and perhaps of others.
    changed: Vec<u32>,
    /// Positions of entries that were answered in this batch.
    answered: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) descriptor: Descriptor,
    pub(super) token: Token,
    pub(super) watch: Watch,
    pub(super) kind: Kind,
    /// The filters that the kernel has.
    kernel: Modes,
    /// Whether filters are taken out and added again: they must report again, or the last call has failed and
    /// it is not known which of them the kernel has.
    is_renewed: bool,
    is_changed: bool,
    /// Whether it is silent: a one-shot has fired, or its descriptor is not open.
    has_fired: bool,
    /// Whether the other end of a pipe was gone when the kernel answered last.
    is_broken: bool,
    /// Filters that the kernel refused because the other end of a pipe is gone, or that are over.
    over: [bool; Filter::ALL.len()],
    /// The bits found in this batch.
    found: u32,
    /// Whether the end of writing was among them.
    ends_writing: bool,
    /// The filters that were answered in this batch.
    answers: [bool; Filter::ALL.len()],
}

impl Entry {
    /// The filters that the kernel should have.
    fn wanted(&self) -> Modes {
        let mut wanted = [None; Filter::ALL.len()];
        if self.has_fired {
            return wanted;
        }
        let mode = if self.watch.is_edge() { Mode::Edge } else { Mode::Level };
        for filter in Filter::ALL {
            if self.watch.interest().contains(direction(filter)) && !self.over[filter as usize] {
                wanted[filter as usize] = Some(mode);
            }
        }
        if self.is_guarded() {
            // As an edge, because a pipe of FreeBSD has data in both directions. Its end lasts.
            let mode = if self.is_broken { mode } else { Mode::Edge };
            wanted[Filter::Read as usize] = Some(mode);
        }
        wanted
    }

    /// Whether the filter for reading is there only to see that the other end of a pipe goes: some kernels do not
    /// report that to the filter for writing while the pipe is full, or refuse the filter afterwards.
    fn is_guarded(&self) -> bool {
        let interest = self.watch.interest();
        matches!(self.kind, Kind::Pipe { .. })
            && interest.contains(Interest::WRITABLE)
            && !interest.contains(Interest::READABLE)
    }

    /// The changes that lead from the filters that the kernel has to those that it should have.
    pub(super) fn plan(&self) -> impl Iterator<Item = Kevent> + use<> {
        let (wanted, kernel, is_renewed) = (self.wanted(), self.kernel, self.is_renewed);
        let (ident, udata) = (self.descriptor.number(), self.token.key().generation());
        Filter::ALL.into_iter().flat_map(move |filter| {
            let (has, wants) = (kernel[filter as usize], wanted[filter as usize]);
            let is_deleted = has.is_some() && (has != wants || is_renewed);
            let added = wants.filter(|_| has != wants || is_renewed);
            let delete = is_deleted.then_some(Action::Delete);
            let add = added.map(|mode| Action::Add { edge: mode == Mode::Edge });
            let changes = delete.into_iter().chain(add);
            changes.map(move |action| Kevent::change(ident, filter, action, udata))
        })
    }

    /// Whether the plan takes a filter out and adds it again. Only receipts distinguish its errors.
    pub(super) fn replaces(&self) -> bool {
        let wanted = self.wanted();
        Filter::ALL.into_iter().any(|filter| {
            let (has, wants) = (self.kernel[filter as usize], wanted[filter as usize]);
            has.is_some() && wants.is_some() && (has != wants || self.is_renewed)
        })
    }

    /// The deletion of every filter that the kernel has.
    pub(super) fn removal(&self) -> impl Iterator<Item = Kevent> + use<> {
        let (kernel, ident) = (self.kernel, self.descriptor.number());
        let has = Filter::ALL.into_iter().filter(move |filter| kernel[*filter as usize].is_some());
        has.map(move |filter| Kevent::change(ident, filter, Action::Delete, 0))
    }

    pub(super) fn has(&self, filter: Filter) -> bool {
        self.kernel[filter as usize].is_some()
    }

    /// The kernel does not have this filter.
    pub(super) fn lacks(&mut self, filter: Filter) {
        self.kernel[filter as usize] = None;
    }

    /// The kernel refused the filter because the other end is gone, so that only the end is reported.
    pub(super) fn set_over(&mut self, filter: Filter) {
        self.over[filter as usize] = true;
    }

    /// The kernel has made the planned changes.
    pub(super) fn commit(&mut self) {
        self.kernel = self.wanted();
        (self.is_renewed, self.is_changed) = (false, false);
    }

    /// Whether an answer may hide that other directions are ready, too.
    fn is_partial(&self) -> bool {
        let interest = self.watch.interest();
        Filter::ALL.into_iter().any(|filter| {
            interest.contains(direction(filter))
                && !self.over[filter as usize]
                && !self.answers[filter as usize]
        })
    }

    /// Returns the readiness of an answer, in `poll`'s bits.
    fn take(&mut self, filter: Filter, answer: &Kevent) {
        self.answers[filter as usize] = true;
        let error = if answer.pending_error() == 0 { 0 } else { bits::ERR };
        self.found |= match (filter, answer.is_eof()) {
            (Filter::Read, is_eof) if matches!(self.kind, Kind::Pipe { .. }) => {
                self.is_broken = is_eof;
                let read = if self.is_guarded() { 0 } else { bits::IN };
                match self.kind {
                    // A write fails, and does not block.
                    Kind::Pipe { writes: true } if is_eof => read | bits::OUT,
                    _ if is_eof => read | bits::HUP,
                    _ => read,
                }
            }
            // Data that was sent before the end is still there.
            (Filter::Read, true) => bits::IN | bits::RDHUP | error,
            (Filter::Read, false) => bits::IN,
            // The end of writing may be this side's own doing, and has nothing to do with reading.
            (Filter::Write, is_eof) => {
                self.ends_writing |= is_eof;
                bits::OUT | error
            }
            (Filter::Except, _) if answer.is_out_of_band() => bits::PRI,
            (Filter::Except, _) => {
                // The end of the stream: there will be no priority data.
                self.set_over(Filter::Except);
                0
            }
        };
    }
}

fn direction(filter: Filter) -> Interest {
    match filter {
        Filter::Read => Interest::READABLE,
        Filter::Write => Interest::WRITABLE,
        Filter::Except => Interest::PRIORITY,
    }
}

/// The subject of an answer.
pub(super) enum About {
    /// A filter of the entry at this position.
    Entry(usize, Filter),
    /// A filter that should not be in the kernel.
    Stray(Filter),
    Nothing,
}

impl Filters {
    pub(super) fn position(&self, descriptor: Descriptor) -> Option<usize> {
        self.positions.get(descriptor)
    }

    pub(super) fn get_mut(&mut self, position: usize) -> &mut Entry {
        &mut self.entries[position]
    }

    pub(super) fn insert(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        watch: Watch,
        kind: Kind,
    ) -> usize {
        let position = self.entries.insert(Entry {
            descriptor,
            token,
            watch,
            kind,
            kernel: [None; Filter::ALL.len()],
            is_renewed: false,
            is_changed: false,
            has_fired: false,
            is_broken: false,
            over: [false; Filter::ALL.len()],
            found: 0,
            ends_writing: false,
            answers: [false; Filter::ALL.len()],
        });
        self.positions.insert(descriptor, position);
        position
    }

    /// Sets the watch of an entry: an edge or a one-shot that was reported is reported again.
    pub(super) fn change(&mut self, position: usize, token: Token, watch: Watch) {
        let entry = &mut self.entries[position];
        (entry.token, entry.watch) = (token, watch);
        entry.is_renewed |= watch.is_edge();
        (entry.has_fired, entry.is_broken) = (false, false);
        entry.over = [false; Filter::ALL.len()];
        self.set_changed(position);
    }

    /// Remembers that the kernel's filters differ from what they should be.
    pub(super) fn set_changed(&mut self, position: usize) {
        if !std::mem::replace(&mut self.entries[position].is_changed, true) {
            self.changed.push(position as u32);
        }
    }

    /// The last call that changed this entry's filters failed: any of them may be in the kernel.
    pub(super) fn set_unknown(&mut self, position: usize) {
        let Some(entry) = self.entries.get_mut(position) else { return };
        let wanted = entry.wanted();
        for (has, wants) in entry.kernel.iter_mut().zip(wanted) {
            *has = has.or(wants);
        }
        entry.is_renewed = true;
        entry.is_changed = false;
        self.set_changed(position);
    }

    /// The next entry whose filters differ from what they should be.
    pub(super) fn next_changed(&mut self) -> Option<usize> {
        while let Some(position) = self.changed.pop() {
            let position = position as usize;
            if self.entries.get(position).is_some_and(|entry| entry.is_changed) {
                return Some(position);
            }
        }
        None
    }

    /// The number of entries that [`next_changed`](Self::next_changed) returns at most.
    pub(super) fn changes(&self) -> usize {
        self.changed.len()
    }

    pub(super) fn remove(&mut self, position: usize) -> Entry {
        let entry = self.entries.remove(position);
        self.positions.remove(entry.descriptor);
        entry
    }

    /// Makes an entry silent and reports why.
    pub(super) fn reject(&mut self, position: usize, token: Token, events: &mut Events) {
        let entry = self.entries.get_mut(position).filter(|entry| entry.token == token);
        if entry.is_some_and(|entry| std::mem::replace(&mut entry.has_fired, true)) {
            return; // Another filter of it was refused, too.
        }
        events.push(token, bits::NVAL);
        events.note_invalid(bits::NVAL);
        if self.entries.get(position).is_some_and(|entry| entry.token == token) {
            self.set_changed(position);
        }
    }

    /// Takes out the filters of an entry and adds them again.
    pub(super) fn renew(&mut self, position: usize) {
        self.entries[position].is_renewed = true;
        self.set_changed(position);
    }

    /// Finds the entry that an answer is about. A descriptor is registered once, so its number and the
    /// generation of its key, which is the answer's `udata` and fits into 32 bits, name one registration.
    pub(super) fn about(&mut self, answer: &Kevent) -> About {
        let (number, Some(filter)) = (answer.ident(), answer.filter()) else {
            return About::Nothing;
        };
        let descriptor = Descriptor::from_number(number);
        let Some(position) = self.positions.get(descriptor) else { return About::Stray(filter) };
        let entry = &mut self.entries[position];
        if entry.token.key().generation() == answer.udata() {
            return About::Entry(position, filter);
        }
        // The filter of a registration that is gone; it is taken out with the changes of this one.
        if entry.kernel[filter as usize].is_none() {
            self.set_left(position, filter);
        }
        About::Nothing
    }

    /// The kernel has a filter that it should not have, in a mode that is not known.
    pub(super) fn set_left(&mut self, position: usize, filter: Filter) {
        let entry = &mut self.entries[position];
        entry.kernel[filter as usize] = Some(Mode::Level);
        entry.is_renewed = true;
        self.set_changed(position);
    }

    /// Takes an answer that is not an error; returns whether it is the first of its filter in this batch.
    pub(super) fn take(&mut self, position: usize, filter: Filter, answer: &Kevent) -> bool {
        let entry = &mut self.entries[position];
        if entry.has_fired {
            return false;
        }
        let is_first = !entry.answers[filter as usize];
        if entry.answers == [false; Filter::ALL.len()] {
            self.answered.push(position as u32);
        }
        entry.take(filter, answer);
        if entry.wanted() != entry.kernel {
            self.set_changed(position);
        }
        is_first
    }

    /// How many entries have something to report.
    pub(super) fn found(&self) -> usize {
        let entries = self.answered.iter().map(|&position| &self.entries[position as usize]);
        entries.filter(|entry| entry.found != 0).count()
    }

    /// The entries of this batch of which more may be ready than was answered.
    pub(super) fn partial(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let answered = self.answered.iter().map(|&position| position as usize);
        answered
            .map(|position| (position, &self.entries[position]))
            .filter(|(_, entry)| entry.found != 0 && entry.is_partial())
    }

    /// Adds the readiness that `poll` reports for an entry of this batch.
    pub(super) fn complete(&mut self, position: usize, found: u32) {
        let has = |bits| found & bits != 0;
        let entry = &mut self.entries[position];
        entry.found |= found & (bits::IN | bits::OUT | bits::PRI);
        entry.found |= if has(bits::HUP | bits::ERR | bits::RDHUP) { bits::IN } else { 0 };
        entry.found |= if has(bits::HUP | bits::ERR) { bits::OUT } else { 0 };
    }

    /// Reports the entries that were answered, each as one event.
    pub(super) fn report(&mut self, events: &mut Events) {
        for index in 0..self.answered.len() {
            let position = self.answered[index] as usize;
            let entry = &mut self.entries[position];
            let unmasked = bits::ERR | bits::HUP;
            let mut found = std::mem::take(&mut entry.found);
            found &= entry.watch.interest().poll_bits() | unmasked;
            entry.answers = [false; Filter::ALL.len()];
            if std::mem::take(&mut entry.ends_writing) && found & bits::RDHUP != 0 {
                found |= bits::HUP;
            }
            if found == 0 {
                continue;
            }
            events.push(entry.token, found);
            if entry.watch.is_oneshot() {
                entry.has_fired = true;
                self.set_changed(position);
            }
        }
        self.answered.clear();
    }
}
