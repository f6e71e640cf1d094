//! kqueue: macOS, iOS and the BSDs.
//!
//! The kernel keeps a filter for each direction of a descriptor and returns those that fired, so a wait costs
//! what is active. A registration is one `kevent` that also returns its error; changes of a registration go
//! to the kernel with the wait, in one call. Surprises:
//!
//! - The directions of one descriptor are separate answers. They are joined into one event, and where a small
//!   batch may have cut one off, one `poll` decides.
//! - An edge is consumed by the call that returns it, so there is never more room than can be delivered.
//! - A change that fails ends the processing of those after it, unless there is room to report it.
//! - One-shot is a property of each filter, so a one-shot of two directions is this crate's: its filters are
//!   taken out with the next wait.
//! - A regular file is silent at its end. It is [`AlwaysReady`], like directories and `/dev/null`.
//! - macOS refuses terminals and most other devices: see [`Refused`].
//! - A full pipe whose reader goes may never report, and a filter for writing to it is refused afterwards. A
//!   filter for reading sees it.
//! - A kqueue is not inherited by `fork`. Its number is free in the child, and closing it there could close
//!   another file.

mod changes;
mod filters;
mod kind;
mod refused;
mod sys;

use std::io;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::always_ready::AlwaysReady;
use super::poll_set::{self, found_bits, poll_all};
use super::{AnyPoller, Poller};
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::fork::HomeProcess;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use changes::Failure;
use filters::{About, Filters};
use kind::{Kind, Progress};
use refused::Refused;
use sys::{Action, Filter, Kevent};

pub(super) fn open() -> io::Result<AnyPoller> {
    Ok(AnyPoller::other(Kqueue {
        queue: Queue { descriptor: Some(sys::open()?), home: HomeProcess::here() },
        filters: Filters::default(),
        always_ready: AlwaysReady::default(),
        refused: Refused::default(),
        unconnected: Vec::new(),
        unconnected_seen: 0,
        strays: Vec::new(),
        batch: Vec::new(),
        changes: Vec::new(),
        submitted: Vec::new(),
        details: Vec::new(),
        is_nested: false,
    }))
}

#[derive(Debug)]
struct Kqueue {
    queue: Queue,
    filters: Filters,
    always_ready: AlwaysReady,
    refused: Refused,
    /// Sockets that may begin to listen, and how many of them the last wait has seen.
    unconnected: Vec<Descriptor>,
    unconnected_seen: usize,
    /// Deletions of filters that no registration has.
    strays: Vec<Kevent>,
    // The following are kept for their memory.
    batch: Vec<Kevent>,
    changes: Vec<Kevent>,
    /// The positions of the entries whose changes are in `changes`.
    submitted: Vec<usize>,
    details: Vec<PollFd<'static>>,
    /// Whether another loop may wait for the queue, so that changes cannot be deferred.
    is_nested: bool,
}

impl Poller for Kqueue {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        if self.always_ready.update(descriptor, token, new) {
            return Ok(());
        }
        if self.refused.contains(descriptor) {
            return self.refused.update(descriptor, token, old, new);
        }
        match (self.filters.position(descriptor), new.interest().is_empty()) {
            (None, true) => {}
            // As an edge the waker does not stay queued after its wake has been taken, which an outer loop
            // would see.
            (None, false) if token == Token::WAKER => {
                return self.add(descriptor, token, new.edge());
            }
            (None, false) => return self.add(descriptor, token, new),
            (Some(position), true) => self.remove(position),
            (Some(position), false) => {
                self.filters.change(position, token, new);
                if self.is_nested {
                    return Ok(self.send(position)?);
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let before = events.len();
        self.look_for_listeners();
        let changed = self.collect_changes(events);
        let is_ready = self.always_ready.is_ready() || events.len() > before;
        let timeout = if is_ready { Some(Duration::ZERO) } else { timeout };
        let result = changed.and_then(|()| self.collect(events, timeout));
        self.always_ready.report(events);
        if self.is_nested {
            self.send_all();
        }
        result
    }

    fn descriptor(&mut self) -> io::Result<OwnedFd> {
        let descriptor = self.queue.as_fd().try_clone_to_owned()?;
        self.is_nested = true;
        self.send_all();
        Ok(descriptor)
    }
}

/// Waiting.
impl Kqueue {
    /// Renews the filters of sockets that have begun to listen: some kernels do not notice. While they are
    /// many, each is checked once, in the first wait.
    fn look_for_listeners(&mut self) {
        const FEW: usize = 64;

        let few = self.unconnected.len() <= FEW;
        let mut index = if few { 0 } else { self.unconnected_seen };
        while let Some(&descriptor) = self.unconnected.get(index) {
            let position = self.filters.position(descriptor);
            let position = position
                .filter(|position| self.filters.get_mut(*position).kind == Kind::Unconnected);
            let progress = position.map(|_| Progress::of(descriptor));
            match (position, progress) {
                (Some(_), Some(Progress::None)) => {
                    index += 1;
                    continue;
                }
                (Some(position), Some(Progress::Listens)) => {
                    self.filters.renew(position);
                    self.filters.get_mut(position).kind = Kind::Other;
                }
                _ => {}
            }
            self.unconnected.swap_remove(index);
        }
        self.unconnected_seen = index;
    }

    /// Gathers the changes that go with the wait, and makes the others now. An error is one of the call; the next
    /// wait makes the changes.
    fn collect_changes(&mut self, events: &mut Events) -> io::Result<()> {
        let room = events.room();
        self.changes.clear();
        self.submitted.clear();
        for _ in 0..self.filters.changes() {
            let Some(position) = self.filters.next_changed() else { break };
            let entry = self.filters.get_mut(position);
            let is_short = self.changes.len() + entry.plan().count() <= room;
            if self.refused.is_empty() && is_short && !entry.replaces() {
                self.changes.extend(entry.plan());
                self.submitted.push(position);
                continue;
            }
            let token = entry.token;
            match self.send(position) {
                Ok(()) => {}
                Err(Failure::Change(error)) => {
                    log::debug!("{token:?}: a change was rejected: {error}");
                    self.filters.reject(position, token, events);
                }
                Err(Failure::Call(error)) => {
                    self.submitted.iter().for_each(|&position| self.filters.set_unknown(position));
                    return Err(error);
                }
            }
        }
        let left = room.saturating_sub(self.changes.len()).min(self.strays.len());
        self.changes.extend_from_slice(&self.strays[..left]);
        Ok(())
    }

    /// One `kevent`, or a wait for the refused files beside it.
    fn collect(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let room = events.room();
        let timeout = if self.refused.is_empty() {
            timeout
        } else {
            self.refused.wait(events, timeout)?;
            Some(Duration::ZERO)
        };
        let queue = self.queue.as_fd();
        let result = sys::kevent(queue, &self.changes, &mut self.batch, room, timeout);
        self.end_changes(&result);
        let mut is_new = self.take_all(events);
        let now = Some(Duration::ZERO);
        if self.batch.first().is_some_and(|answer| answer.error().is_some()) {
            // The call has returned the errors of changes, and no events.
            let more = sys::kevent(self.queue.as_fd(), &[], &mut self.batch, room, now);
            is_new = more.is_ok() && self.take_all(events);
        }
        if self.batch.len() >= room {
            // The directions of one descriptor have taken several places. The kernel rotates.
            while is_new && self.filters.found() < room {
                let left = room - self.filters.found();
                let queue = self.queue.as_fd();
                let more = sys::kevent(queue, &[], &mut self.batch, left, now);
                is_new = more.is_ok() && self.take_all(events) && self.batch.len() == left;
            }
            self.complete();
        }
        self.filters.report(events);
        result
    }

    /// Takes the answers of a call; returns whether there was one that this batch did not have yet.
    fn take_all(&mut self, events: &mut Events) -> bool {
        let answers = std::mem::take(&mut self.batch);
        let mut is_new = false;
        for answer in &answers {
            is_new |= self.take(answer, events);
        }
        self.batch = answers;
        is_new
    }

    fn end_changes(&mut self, result: &io::Result<()>) {
        let is_made = match result {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::Interrupted,
        };
        for &position in &self.submitted {
            if is_made {
                self.filters.get_mut(position).commit();
            } else {
                self.filters.set_unknown(position);
            }
        }
        if is_made && !self.strays.is_empty() {
            let changes = &self.changes;
            self.strays.retain(|stray| !changes.iter().any(|change| change.is_same(stray)));
        }
    }

    fn take(&mut self, answer: &Kevent, events: &mut Events) -> bool {
        match (self.filters.about(answer), answer.error()) {
            (About::Entry(position, filter), None) => {
                return self.filters.take(position, filter, answer);
            }
            (About::Entry(position, filter), Some(error)) if error != 0 => {
                if self.filters.get_mut(position).has(filter) {
                    let token = self.filters.get_mut(position).token;
                    let refusal = self.refusal(position, filter, error);
                    if let Err(error) = self.settle(position, refusal) {
                        log::debug!("{token:?}: a change was rejected: {error}");
                        self.filters.reject(position, token, events);
                    }
                } else if !sys::is_gone(error) {
                    self.filters.set_left(position, filter);
                }
            }
            (About::Stray(filter), None) => self.delete_later(answer.ident(), filter),
            _ => {}
        }
        false
    }

    fn delete_later(&mut self, ident: rustix::fd::RawFd, filter: Filter) {
        let deletion = Kevent::change(ident, filter, Action::Delete, 0);
        if !self.strays.iter().any(|stray| stray.is_same(&deletion)) {
            self.strays.push(deletion);
        }
    }

    /// Finds what a full batch may have cut off of its events. One `poll`; an edge that it finds comes again.
    fn complete(&mut self) {
        self.submitted.clear();
        self.details.clear();
        for (position, partial) in self.filters.partial() {
            self.submitted.push(position);
            self.details.push(poll_set::entry(partial.descriptor, partial.watch.interest()));
        }
        if !self.details.is_empty() && poll_all(&mut self.details, Some(Duration::ZERO)).is_ok() {
            for (&position, found) in self.submitted.iter().zip(&self.details) {
                self.filters.complete(position, found_bits(found));
            }
        }
    }
}

/// The queue's descriptor, which belongs to the process that has opened it.
#[derive(Debug)]
struct Queue {
    descriptor: Option<OwnedFd>,
    home: HomeProcess,
}

impl Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_ref().expect("taken by drop alone").as_fd()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // The number is another file's in a forked child, or none's.
            std::mem::forget(self.descriptor.take());
        }
    }
}
