//! select: every system.
//!
//! Three sets go over with each call, one for each direction: of bits up to the highest number that is
//! registered, on Windows of handles. Where it surprises:
//!
//! - The well-known ceiling of 1024 belongs to C's `fd_set`, not to the kernels: sets of any size do.
//!   (On illumos the call is a function of the C library and has a ceiling, at 65,536.)
//! - One number that is not open is an error of the whole call, and the sets are left as they were.
//!   One `poll` finds out which.
//! - Hang-up and error look like readiness. One `poll` of what was found has the detail, and the
//!   last word where another process was quicker.
//! - On Windows a connection that failed shows in the set of exceptions, and in no other.

mod sets;

use std::time::Duration;
use std::{fmt, io};

use rustix::event::PollFd;

use super::Mechanism;
use super::poll_set::{check_open, entry, found_bits, poll_all};
use crate::descriptor::{Descriptor, DescriptorTable};
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;
use sets::{Found, Sets};

pub(super) use sets::CEILING;

pub(super) fn open() -> io::Result<Box<dyn Mechanism>> {
    Ok(Box::new(Select::default()))
}

/// The directions that `select` tells apart, in the order of its sets.
const DIRECTIONS: [Interest; 3] = [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY];

#[derive(Default)]
struct Select {
    sets: Sets,
    owners: Vec<Owner>,
    positions: DescriptorTable,
    /// The last that was reported: the next report starts after it, so that a small batch leaves
    /// nobody out.
    last: Option<Descriptor>,
    /// Those that were found, and what `poll` says of them.
    hits: Vec<Owner>,
    details: Vec<PollFd<'static>>,
}

#[derive(Clone, Copy)]
struct Owner {
    descriptor: Descriptor,
    token: Token,
    watch: Watch,
    /// What `select` alone can tell.
    found: u32,
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.owners.iter().map(|owner| owner.descriptor)).finish()
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
        let owner = Owner { descriptor, token, watch: new, found: 0 };
        match self.positions.get(descriptor) {
            Some(position) => self.owners[position] = owner,
            None => {
                self.positions.insert(descriptor, self.owners.len());
                self.owners.push(owner);
            }
        }
        self.sets.set(descriptor, new.interest());
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.sets.call(timeout)? {
            Found::Nothing => return Ok(()),
            Found::NotOpen => self.gather_not_open()?,
            Found::Some => {
                self.hits.clear();
                let (owners, positions) = (&self.owners, &self.positions);
                self.hits.extend(self.sets.found().filter_map(|(descriptor, found)| {
                    let owner = owners[positions.get(descriptor)?];
                    Some(Owner { found, ..owner })
                }));
            }
        }
        self.report(events)
    }
}

impl Select {
    fn remove(&mut self, descriptor: Descriptor) {
        let Some(position) = self.positions.remove(descriptor) else { return };
        self.owners.swap_remove(position);
        if let Some(moved) = self.owners.get(position) {
            self.positions.insert(moved.descriptor, position);
        }
        self.sets.set(descriptor, Interest::empty());
    }

    /// Collects those that are not open any more.
    #[cold]
    fn gather_not_open(&mut self) -> io::Result<()> {
        self.hits.clone_from(&self.owners);
        self.ask_poll()?;
        let mut details = self.details.iter();
        let mut is_open = || details.next().is_none_or(|entry| found_bits(entry) & bits::NVAL == 0);
        self.hits.retain(|_| !is_open());
        Ok(())
    }

    fn ask_poll(&mut self) -> io::Result<usize> {
        self.details.clear();
        let entries = self.hits.iter().map(|hit| entry(hit.descriptor, hit.watch.interest()));
        self.details.extend(entries);
        poll_all(&mut self.details, Some(Duration::ZERO))
    }

    /// Reports the hits as `poll` sees them.
    fn report(&mut self, events: &mut Events) -> io::Result<()> {
        if self.hits.is_empty() {
            return Ok(());
        }
        self.hits.sort_unstable_by_key(|hit| hit.descriptor);
        let start = self.hits.partition_point(|hit| Some(hit.descriptor) <= self.last);
        self.hits.rotate_left(start);
        self.hits.truncate(events.room());
        self.ask_poll()?;
        for index in 0..self.hits.len() {
            let hit = self.hits[index];
            let found = found_bits(&self.details[index]) | hit.found;
            if found != 0 {
                events.push(hit.token, found);
            }
            if found & bits::NVAL != 0 || found != 0 && hit.watch.is_oneshot() {
                self.remove(hit.descriptor);
            }
            self.last = Some(hit.descriptor);
        }
        Ok(())
    }
}
