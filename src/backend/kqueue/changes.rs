//! Registering and changing: the calls that make changes, and the handling of rejections.

use std::io;
use std::ops::Deref;
use std::time::Duration;

use super::Kqueue;
use super::kind::Kind;
use super::sys::{self, Action, Filter, Kevent};
use crate::descriptor::Descriptor;
use crate::error;
use crate::interest::Watch;
use crate::key::Token;

impl Kqueue {
    pub(super) fn add(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let kind = Kind::of(descriptor)?;
        match kind {
            Kind::NeverBlocks => {
                self.always_ready.set(descriptor, token, watch);
                return Ok(());
            }
            Kind::ForSelect => return self.refuse(descriptor, token, watch),
            Kind::Unconnected => self.unconnected.push(descriptor),
            Kind::Pipe { .. } | Kind::Device | Kind::Other => {}
        }
        let position = self.filters.insert(descriptor, token, watch, kind);
        // Adding a filter again would not take its edge away, so that it is deleted first.
        self.strays.retain(|stray| {
            let is_of_this = stray.ident() == descriptor.number();
            if let (true, Some(filter)) = (is_of_this, stray.filter()) {
                self.filters.set_left(position, filter);
            }
            !is_of_this
        });
        Ok(self.send(position).inspect_err(|_| {
            if let Some(position) = self.filters.position(descriptor) {
                self.remove(position);
            }
        })?)
    }

    /// Forgets an entry and deletes its filters. A filter that the kernel cannot delete now is deleted later.
    pub(super) fn remove(&mut self, position: usize) {
        let entry = self.filters.remove(position);
        let removal = Receipts::of(entry.removal());
        let result = self.apply(&removal);
        for (index, change) in removal.iter().enumerate() {
            let error = self.receipt(index);
            if result.is_err() || (error != 0 && !sys::is_gone(error)) {
                log::debug!("{change:?} could not be deleted: {error}");
                self.strays.push(*change);
            }
        }
    }

    /// Makes the changes of an entry now.
    pub(super) fn send(&mut self, position: usize) -> Result<(), Failure> {
        let changes = Receipts::of(self.filters.get_mut(position).plan());
        if let Err(error) = self.apply(&changes) {
            self.filters.set_unknown(position);
            return Err(Failure::Call(error));
        }
        self.filters.get_mut(position).commit();
        let mut refusal = Refusal::None;
        for (index, change) in changes.iter().enumerate() {
            let (error, Some(filter)) = (self.receipt(index), change.filter()) else { continue };
            if error == 0 {
                continue;
            }
            if change.is_deletion() {
                if !sys::is_gone(error) {
                    self.filters.set_left(position, filter);
                }
                continue;
            }
            refusal = refusal.max(self.refusal(position, filter, error));
        }
        self.settle(position, refusal).map_err(Failure::Change)
    }

    /// Makes all changes now; the next wait reports what fails.
    pub(super) fn send_all(&mut self) {
        for _ in 0..self.filters.changes() {
            let Some(position) = self.filters.next_changed() else { return };
            match self.send(position) {
                Ok(()) => {}
                Err(Failure::Change(_)) => self.filters.set_unknown(position),
                Err(Failure::Call(_)) => return,
            }
        }
    }

    /// Makes changes, with a receipt for each in `batch`.
    pub(super) fn apply(&mut self, changes: &[Kevent]) -> io::Result<()> {
        let now = Some(Duration::ZERO);
        self.batch.clear();
        if changes.is_empty() {
            return Ok(());
        }
        let queue = self.queue.as_fd();
        loop {
            match sys::kevent(queue, changes, &mut self.batch, changes.len(), now) {
                // They have been made, and can be made again for the receipts.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// The error number in a receipt; zero is success.
    pub(super) fn receipt(&self, index: usize) -> i32 {
        self.batch.get(index).and_then(Kevent::error).unwrap_or(0)
    }

    /// Decides about a registration one of whose filters the kernel has refused.
    pub(super) fn refusal(&mut self, position: usize, filter: Filter, error: i32) -> Refusal {
        let entry = self.filters.get_mut(position);
        entry.lacks(filter);
        let is_open = || rustix::io::fcntl_getfd(entry.descriptor.borrow()).is_ok();
        match error {
            libc::EPIPE => {}
            libc::EBADF if is_open() => {}
            error if !sys::is_wrong_kind(error) => return Refusal::Error(error),
            _ if entry.kind == Kind::Device && filter != Filter::Except => {
                return Refusal::WrongKind;
            }
            _ if filter == Filter::Read => return Refusal::Error(error),
            // A file that can never be written to, or has no priority data, such as another queue.
            _ => {
                entry.set_over(filter);
                return Refusal::None;
            }
        }
        entry.set_over(filter);
        // The filter for reading reports the end of a pipe.
        let is_seen = matches!(entry.kind, Kind::Pipe { .. }) && entry.has(Filter::Read);
        if is_seen { Refusal::None } else { Refusal::Over }
    }

    pub(super) fn settle(&mut self, position: usize, refusal: Refusal) -> io::Result<()> {
        let entry = self.filters.get_mut(position);
        let (descriptor, token, watch) = (entry.descriptor, entry.token, entry.watch);
        match refusal {
            Refusal::None => Ok(()),
            Refusal::Over => {
                self.remove(position);
                self.always_ready.set(descriptor, token, watch);
                Ok(())
            }
            Refusal::WrongKind => {
                self.remove(position);
                self.refuse(descriptor, token, watch)
            }
            Refusal::Error(libc::EBADF) => Err(error::not_open(descriptor)),
            Refusal::Error(error) if sys::is_wrong_kind(error) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "kqueue cannot watch descriptor {descriptor} ({}): a queue cannot watch itself or be \
                     nested more deeply than the system allows, and some kinds of file have no filter",
                    io::Error::from_raw_os_error(error)
                ),
            )),
            Refusal::Error(error) => Err(io::Error::from_raw_os_error(error)),
        }
    }

    pub(super) fn refuse(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let queue = Descriptor::of(&self.queue.as_fd());
        self.refused.insert(queue, descriptor, token, watch)
    }
}

/// Why changes could not be made.
#[derive(Debug)]
pub(super) enum Failure {
    /// The call failed, and can be repeated.
    Call(io::Error),
    /// The kernel refused a change.
    Change(io::Error),
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        let (Failure::Call(error) | Failure::Change(error)) = failure;
        error
    }
}

/// The meaning of a rejected filter, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    None,
    /// The other end is gone, so that no operation blocks.
    Over,
    /// The system cannot watch this kind of file with kqueue.
    WrongKind,
    /// An error number.
    Error(i32),
}

/// The changes of one entry, which ask for receipts.
pub(super) struct Receipts {
    list: [Kevent; 2 * Filter::ALL.len()],
    len: usize,
}

impl Receipts {
    pub(super) fn of(changes: impl Iterator<Item = Kevent>) -> Self {
        let nothing = Kevent::change(0, Filter::Read, Action::Delete, 0);
        let mut this = Self { list: [nothing; 2 * Filter::ALL.len()], len: 0 };
        for change in changes {
            this.list[this.len] = change.with_receipt();
            this.len += 1;
        }
        this
    }
}

impl Deref for Receipts {
    type Target = [Kevent];

    fn deref(&self) -> &[Kevent] {
        &self.list[..self.len]
    }
}
