//! select: Unix but for illumos and Solaris, whose form of it has a fixed ceiling.
//!
//! Three sets of bits go over with each call, up to the highest number that is registered. Where it
//! surprises:
//!
//! - The well-known ceiling of 1024 belongs to C's `fd_set`, not to the kernels: sets of any size do.
//! - One number that is not open is `EBADF` for the whole call, and the sets are left as they were.
//!   One `poll` finds out which.
//! - Bits above the process's own table are neither looked at nor cleared. So what the call counts
//!   is what holds, and the walk stops after so many.
//! - Hang-up and error look like readiness. One `poll` of what was found has the detail, and the
//!   last word where another process was quicker.

#![allow(unsafe_code)] // `select` is unsafe in rustix.

use std::time::Duration;
use std::{fmt, io};

use rustix::event::{
    FdSetElement, FdSetIter, PollFd, fd_set_insert, fd_set_num_elements, fd_set_remove, select,
};
use rustix::fd::RawFd;
use rustix::io::Errno;

use super::Mechanism;
use super::poll_set::{check_open, entry, found_bits, poll_all, to_timespec};
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;

pub(super) fn open() -> io::Result<Box<dyn Mechanism>> {
    Ok(Box::new(Select::default()))
}

/// A set of descriptors for each direction that `select` tells apart.
const DIRECTIONS: [Interest; 3] = [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY];

#[derive(Default)]
struct Select {
    wanted: [Vec<FdSetElement>; 3],
    /// What goes over; the call leaves what it found.
    found: [Vec<FdSetElement>; 3],
    /// By number.
    owners: Vec<Option<Owner>>,
    /// The lowest number of the next report, so that a small batch leaves nobody out.
    next: RawFd,
    /// Those that were found, and what `poll` says of them.
    hits: Vec<Owner>,
    details: Vec<PollFd<'static>>,
}

#[derive(Clone, Copy)]
struct Owner {
    descriptor: Descriptor,
    token: Token,
    watch: Watch,
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let watched = self.owners.iter().flatten().map(|owner| owner.descriptor);
        f.debug_set().entries(watched).finish()
    }
}

impl Mechanism for Select {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        if new.interest().is_empty() {
            self.remove(descriptor);
            return Ok(());
        }
        if old.is_empty() {
            check_open(descriptor)?;
        }
        self.make_room(descriptor);
        self.owners[descriptor.index()] = Some(Owner { descriptor, token, watch: new });
        for (set, direction) in self.wanted.iter_mut().zip(DIRECTIONS) {
            if new.interest().contains(direction) {
                fd_set_insert(set, descriptor.number());
            } else {
                fd_set_remove(set, descriptor.number());
            }
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.call(timeout) {
            Err(Errno::BADF) => self.gather_not_open()?,
            found => self.gather_found(found?),
        }
        self.report(events)
    }
}

impl Select {
    fn remove(&mut self, descriptor: Descriptor) {
        if let Some(owner) = self.owners.get_mut(descriptor.index())
            && owner.take().is_some()
        {
            for set in &mut self.wanted {
                fd_set_remove(set, descriptor.number());
            }
        }
    }

    fn make_room(&mut self, descriptor: Descriptor) {
        let numbers = descriptor.index() + 1;
        if numbers > self.owners.len() {
            self.owners.resize(numbers, None);
            let elements = fd_set_num_elements(numbers, descriptor.number() + 1);
            for set in &mut self.wanted {
                set.resize(elements, FdSetElement::default());
            }
        }
    }

    /// How many bits the call found; they are in `found`.
    fn call(&mut self, timeout: Option<Duration>) -> rustix::io::Result<usize> {
        for (found, wanted) in self.found.iter_mut().zip(&self.wanted) {
            found.clone_from(wanted);
        }
        let numbers = RawFd::try_from(self.owners.len()).unwrap_or(RawFd::MAX);
        let [read, write, except] = &mut self.found;
        let timeout = timeout.map(to_timespec);
        // SAFETY: each set has room for `numbers` bits, for `make_room` grows them together. The
        // numbers are of sources that the selector owns while they are here, see
        // `Descriptor::borrow`; one closed against the rules is answered with `EBADF`.
        let found =
            unsafe { select(numbers, Some(read), Some(write), Some(except), timeout.as_ref()) }?;
        Ok(usize::try_from(found).unwrap_or(0))
    }

    /// Collects those with a bit in any of the sets, in the order of their numbers.
    fn gather_found(&mut self, mut bits: usize) {
        self.hits.clear();
        let mut sets = self.found.each_ref().map(|set| FdSetIter::new(set).peekable());
        while bits > 0 {
            let Some(number) = sets.iter_mut().filter_map(|set| set.peek().copied()).min() else {
                break;
            };
            for set in &mut sets {
                bits -= usize::from(set.next_if_eq(&number).is_some()).min(bits);
            }
            self.hits.extend(self.owners[number as usize]);
        }
    }

    /// Collects those that are not open any more.
    #[cold]
    fn gather_not_open(&mut self) -> io::Result<()> {
        self.hits.clear();
        self.hits.extend(self.owners.iter().flatten());
        self.ask_poll()?;
        let mut details = self.details.iter();
        self.hits
            .retain(|_| details.next().is_some_and(|entry| found_bits(entry) & bits::NVAL != 0));
        Ok(())
    }

    fn ask_poll(&mut self) -> io::Result<usize> {
        self.details.clear();
        let entries = self.hits.iter().map(|hit| entry(hit.descriptor, hit.watch.interest()));
        self.details.extend(entries);
        poll_all(&mut self.details, Some(Duration::ZERO))
    }

    /// Reports the hits, starting where the last report ended, as `poll` sees them.
    fn report(&mut self, events: &mut Events) -> io::Result<()> {
        if self.hits.is_empty() {
            return Ok(());
        }
        let start = self.hits.partition_point(|hit| hit.descriptor.number() < self.next);
        self.hits.rotate_left(start);
        self.hits.truncate(events.room());
        self.ask_poll()?;
        for index in 0..self.hits.len() {
            let hit = self.hits[index];
            let found = found_bits(&self.details[index]);
            if found != 0 {
                events.push(hit.token, found);
            }
            if found & bits::NVAL != 0 || found != 0 && hit.watch.is_oneshot() {
                self.remove(hit.descriptor);
            }
            self.next = hit.descriptor.number() + 1;
        }
        Ok(())
    }
}
