//! What kqueue was told and what its answers mean, apart from the system calls, so that it can be
//! tested with recorded answers on any system.

use slab::Slab;

use crate::descriptor::{Descriptor, DescriptorTable};
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;

/// kqueue watches each direction by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Read,
    Write,
}

const FILTERS: [(Interest, Filter); 2] =
    [(Interest::READABLE, Filter::Read), (Interest::WRITABLE, Filter::Write)];

/// An entry of the change list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) descriptor: Descriptor,
    pub(super) filter: Filter,
    pub(super) action: Action,
    /// What comes back with each event, as `udata`.
    pub(super) name: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Add { edge: bool },
    Delete,
}

/// An entry of the event list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) filter: Filter,
    pub(super) name: usize,
    /// `EV_EOF`
    pub(super) eof: bool,
    /// `EV_ERROR`, and the error number in `data`; zero in a receipt means that all is well.
    pub(super) error: Option<i32>,
}

/// What the receipts for the changes of one descriptor say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// The system cannot watch this kind of file with kqueue.
    WrongKind,
    /// An error number.
    Refused(i32),
}

#[derive(Debug, Default)]
pub(super) struct Filters {
    watched: Slab<Watched>,
    positions: DescriptorTable,
    /// Increases with each registration, so that a name of before is recognised.
    generation: u32,
    /// Positions with something found in this batch, in the order of the answers.
    found: Vec<usize>,
}

#[derive(Debug)]
struct Watched {
    descriptor: Descriptor,
    token: Token,
    watch: Watch,
    name: usize,
    /// The filters that the kernel has.
    filters: Interest,
    found: u32,
}

impl Filters {
    /// The changes that make the kernel watch `new`, and nothing else. An empty interest forgets the
    /// descriptor.
    pub(super) fn plan(&mut self, descriptor: Descriptor, token: Token, new: Watch) -> Vec<Change> {
        let interest = new.interest();
        let position = match self.positions.get(descriptor) {
            Some(position) => position,
            None if interest.is_empty() => return Vec::new(),
            None => self.enter(descriptor, token, new),
        };
        let watched = &mut self.watched[position];
        (watched.token, watched.watch) = (token, new);
        let mut changes = Vec::with_capacity(4);
        let mut change = |filter, action| {
            changes.push(Change { descriptor, filter, action, name: watched.name });
        };
        for (direction, filter) in FILTERS {
            let (has, wants) = (watched.filters.contains(direction), interest.contains(direction));
            // What is watched already is taken out and put in again where that is an event in itself:
            // an edge is reported anew, and a one-shot armed.
            if has && (!wants || new.repeats()) {
                change(filter, Action::Delete);
            }
            if wants && (!has || new.repeats()) {
                change(filter, Action::Add { edge: new.is_edge() });
            }
        }
        watched.filters = interest & (Interest::READABLE | Interest::WRITABLE);
        if interest.is_empty() {
            self.forget(descriptor);
        }
        changes
    }

    fn enter(&mut self, descriptor: Descriptor, token: Token, watch: Watch) -> usize {
        self.generation = self.generation.wrapping_add(1);
        let position = self.watched.insert(Watched {
            descriptor,
            token,
            watch,
            name: 0,
            filters: Interest::empty(),
            found: 0,
        });
        self.watched[position].name = name(position, self.generation);
        self.positions.insert(descriptor, position);
        position
    }

    pub(super) fn forget(&mut self, descriptor: Descriptor) {
        if let Some(position) = self.positions.remove(descriptor) {
            self.watched.remove(position);
        }
    }

    /// Whether this descriptor is watched, or was until its one-shot fired.
    pub(super) fn contains(&self, descriptor: Descriptor) -> bool {
        self.positions.get(descriptor).is_some()
    }

    /// Adds an event for each registration that the answers are about, whatever number of answers
    /// there are for it. Returns the changes that silence the one-shots among them.
    pub(super) fn report(
        &mut self,
        answers: impl IntoIterator<Item = Answer>,
        events: &mut Events,
    ) -> Vec<Change> {
        for answer in answers {
            let position = position(answer.name);
            let Some(watched) = self.watched.get_mut(position) else { continue };
            if watched.name != answer.name {
                continue; // of a registration that is gone
            }
            if watched.found == 0 {
                self.found.push(position);
            }
            watched.found |= meaning(answer);
        }
        let mut silencing = Vec::new();
        for position in self.found.drain(..) {
            let watched = &mut self.watched[position];
            let found = std::mem::take(&mut watched.found);
            events.push(watched.token, found);
            if watched.watch.is_oneshot() || found & bits::NVAL != 0 {
                let (descriptor, name) = (watched.descriptor, watched.name);
                let filters = FILTERS.iter().filter(|(it, _)| watched.filters.contains(*it));
                silencing.extend(filters.map(|&(_, filter)| Change {
                    descriptor,
                    filter,
                    action: Action::Delete,
                    name,
                }));
                watched.filters = Interest::empty();
            }
        }
        silencing
    }
}

/// What receipts say, one for each of the changes, all of the same descriptor. A bad one does not
/// hide the others: what was accepted stays in effect.
pub(super) fn verdict(changes: &[Change], receipts: &[Answer]) -> Verdict {
    let mut verdict = Verdict::Accepted;
    for (change, receipt) in changes.iter().zip(receipts) {
        let is_deletion = change.action == Action::Delete;
        match receipt.error {
            None | Some(0) => {}
            // It had gone already, by firing or by being closed.
            Some(libc::ENOENT) if is_deletion => {}
            Some(libc::EINVAL | libc::EPERM | libc::ENODEV | libc::EOPNOTSUPP) if !is_deletion => {
                verdict = Verdict::WrongKind;
            }
            Some(error) => return Verdict::Refused(error),
        }
    }
    verdict
}

/// What an answer means, in `poll`'s bits.
fn meaning(answer: Answer) -> u32 {
    match answer {
        Answer { error: Some(libc::EBADF | libc::ENOENT), .. } => bits::NVAL,
        Answer { error: Some(1..), .. } => bits::ERR,
        // Data that was sent before the end is still there.
        Answer { filter: Filter::Read, eof: true, .. } => bits::IN | bits::RDHUP,
        Answer { filter: Filter::Read, .. } => bits::IN,
        // `EOF` of this filter may be our own doing (`SHUT_WR`), and says nothing of reading.
        Answer { filter: Filter::Write, .. } => bits::OUT,
    }
}

/// On 32-bit systems there is no room for the generation. Names cannot be stale there either as long
/// as descriptors are unregistered before they are closed.
fn name(position: usize, generation: u32) -> usize {
    #[cfg(target_pointer_width = "64")]
    return position | (generation as usize) << 32;
    #[cfg(not(target_pointer_width = "64"))]
    {
        let _ = generation;
        position
    }
}

fn position(name: usize) -> usize {
    #[cfg(target_pointer_width = "64")]
    return name & 0xffff_ffff;
    #[cfg(not(target_pointer_width = "64"))]
    return name;
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, pipe};

    use super::*;
    use crate::event::Ready;
    use crate::key::Key;

    const R: Interest = Interest::READABLE;
    const W: Interest = Interest::WRITABLE;

    fn token(slot: u32, interest: Interest) -> Token {
        Token::new(Key::new(slot, 1), interest)
    }

    fn descriptor() -> (PipeReader, Descriptor) {
        let reader = pipe().unwrap().0;
        let descriptor = Descriptor::of(&reader);
        (reader, descriptor)
    }

    fn plan(filters: &mut Filters, descriptor: Descriptor, watch: impl Into<Watch>) -> Vec<Change> {
        let watch = watch.into();
        filters.plan(descriptor, token(3, watch.interest()), watch)
    }

    fn actions(changes: &[Change]) -> Vec<(Filter, Action)> {
        changes.iter().map(|change| (change.filter, change.action)).collect()
    }

    const fn ready(filter: Filter, name: usize) -> Answer {
        Answer { filter, name, eof: false, error: None }
    }

    fn report(filters: &mut Filters, answers: &[Answer]) -> (Vec<Ready>, Vec<Change>) {
        let mut events = Events::with_capacity(8);
        let silencing = filters.report(answers.iter().copied(), &mut events);
        (events.iter().map(|event| event.ready).collect(), silencing)
    }

    const ADD: Action = Action::Add { edge: false };

    #[test]
    fn changes_are_the_difference() {
        let (_reader, descriptor) = descriptor();
        let mut filters = Filters::default();
        assert_eq!(actions(&plan(&mut filters, descriptor, R)), [(Filter::Read, ADD)]);
        assert_eq!(actions(&plan(&mut filters, descriptor, R | W)), [(Filter::Write, ADD)]);
        assert_eq!(actions(&plan(&mut filters, descriptor, W)), [(Filter::Read, Action::Delete)]);
        let nothing = Interest::empty();
        assert_eq!(
            actions(&plan(&mut filters, descriptor, nothing)),
            [(Filter::Write, Action::Delete)]
        );
        assert!(!filters.contains(descriptor));
        assert_eq!(actions(&plan(&mut filters, descriptor, nothing)), []);
    }

    #[test]
    fn an_edge_is_put_in_anew_to_be_reported_again() {
        let (_reader, descriptor) = descriptor();
        let mut filters = Filters::default();
        let add = Action::Add { edge: true };
        assert_eq!(actions(&plan(&mut filters, descriptor, R.edge())), [(Filter::Read, add)]);
        assert_eq!(
            actions(&plan(&mut filters, descriptor, R.edge())),
            [(Filter::Read, Action::Delete), (Filter::Read, add)]
        );
    }

    #[test]
    fn both_filters_are_one_event() {
        let (_reader, descriptor) = descriptor();
        let mut filters = Filters::default();
        let name = plan(&mut filters, descriptor, R | W)[0].name;
        let answers = [ready(Filter::Write, name), ready(Filter::Read, name)];
        assert_eq!(
            report(&mut filters, &answers),
            (vec![Ready::READABLE | Ready::WRITABLE], vec![])
        );
        assert_eq!(report(&mut filters, &answers[..1]), (vec![Ready::WRITABLE], vec![]));
    }

    #[test]
    fn end_of_a_socket_with_data_left_is_readable_and_closed() {
        let (_reader, descriptor) = descriptor();
        let mut filters = Filters::default();
        let name = plan(&mut filters, descriptor, R | W)[0].name;
        let end = Answer { eof: true, ..ready(Filter::Read, name) };
        assert_eq!(report(&mut filters, &[end]).0, [Ready::READABLE | Ready::READ_CLOSED]);
        // Our own shutdown of writing must not look like data.
        let end = Answer { eof: true, ..ready(Filter::Write, name) };
        assert_eq!(report(&mut filters, &[end]).0, [Ready::WRITABLE]);
    }

    #[test]
    fn a_stale_name_reaches_nobody() {
        let (_reader, descriptor) = descriptor();
        let mut filters = Filters::default();
        let old = plan(&mut filters, descriptor, R)[0].name;
        plan(&mut filters, descriptor, Interest::empty());
        assert_eq!(report(&mut filters, &[ready(Filter::Read, old)]).0, []);
        let new = plan(&mut filters, descriptor, R)[0].name;
        assert_eq!(position(old), position(new), "the same place");
        assert_eq!(report(&mut filters, &[ready(Filter::Read, old)]).0, []);
        assert_eq!(report(&mut filters, &[ready(Filter::Read, new)]).0, [Ready::READABLE]);
    }

    #[test]
    fn a_one_shot_silences_both_filters_and_is_armed_by_a_change() {
        let (_reader, descriptor) = descriptor();
        let mut filters = Filters::default();
        let watch = (R | W).oneshot();
        let name = plan(&mut filters, descriptor, watch)[0].name;
        let (found, silencing) = report(&mut filters, &[ready(Filter::Read, name)]);
        assert_eq!(found, [Ready::READABLE]);
        assert_eq!(
            actions(&silencing),
            [(Filter::Read, Action::Delete), (Filter::Write, Action::Delete)]
        );
        assert_eq!(
            actions(&plan(&mut filters, descriptor, watch)),
            [(Filter::Read, ADD), (Filter::Write, ADD)]
        );
    }

    #[test]
    fn an_error_of_a_closed_descriptor_is_invalid_and_silenced() {
        let (_reader, descriptor) = descriptor();
        let mut filters = Filters::default();
        let name = plan(&mut filters, descriptor, R)[0].name;
        let error = Answer { error: Some(libc::EBADF), ..ready(Filter::Read, name) };
        let (found, silencing) = report(&mut filters, &[error]);
        assert_eq!((found, silencing.len()), (vec![Ready::INVALID], 1));
        let error = Answer { error: Some(libc::ENOMEM), ..ready(Filter::Read, name) };
        assert_eq!(report(&mut filters, &[error]).0, [Ready::READABLE | Ready::ERROR]);
    }

    #[test]
    fn one_bad_receipt_does_not_hide_the_others() {
        let (_reader, descriptor) = descriptor();
        let mut filters = Filters::default();
        let changes = plan(&mut filters, descriptor, R | W);
        let receipt = |error| Answer { error: Some(error), ..ready(Filter::Read, changes[0].name) };
        let cases = [
            ([0, 0], Verdict::Accepted),
            ([libc::EINVAL, 0], Verdict::WrongKind),
            ([libc::ENODEV, libc::EINVAL], Verdict::WrongKind),
            ([0, libc::EBADF], Verdict::Refused(libc::EBADF)),
            ([libc::EINVAL, libc::ENOMEM], Verdict::Refused(libc::ENOMEM)),
        ];
        for (errors, expected) in cases {
            assert_eq!(verdict(&changes, &errors.map(receipt)), expected, "{errors:?}");
        }
        let deletions = plan(&mut filters, descriptor, Interest::empty());
        let gone = [libc::ENOENT, libc::ENOENT].map(receipt);
        assert_eq!(verdict(&deletions, &gone), Verdict::Accepted);
        assert_eq!(
            verdict(&deletions, &[libc::EBADF, 0].map(receipt)),
            Verdict::Refused(libc::EBADF)
        );
    }
}
