//! select: every system but illumos and Solaris.
//!
//! Each call takes three sets, one per direction: bits up to the highest registered descriptor, on Windows
//! lists of handles. Surprises:
//!
//! - The limit of 1,024 descriptors belongs to C's `fd_set`, not to the kernels, which take sets of any size.
//!   (On illumos the call is a function of the C library with a limit; there the backend is missing.)
//! - One descriptor that is not open is an error of the whole call, and the sets are unchanged. One `poll`
//!   finds out which it is.
//! - The call does not distinguish a hang-up or an error from readiness. One `poll` of the reported descriptors
//!   has the details, and drops those whose readiness another process has consumed.
//! - A hang-up makes a descriptor readable, but not always writable: without `READABLE` in the interest it
//!   may not be seen.
//! - macOS has a `poll` that calls devices invalid; for them the sets decide.
//! - On Windows a failed connection is in the set of exceptions, and in no other.

mod fd_set;

use std::time::Duration;
use std::{fmt, io};

use rustix::event::PollFd;

use super::fd_map::FdMap;
use super::poll_set::{check_open, entry, found_bits, poll_all};
use super::{AnyPoller, Poller};
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;
use fd_set::{Found, Sets};

pub(super) fn open() -> io::Result<AnyPoller> {
    Ok(AnyPoller::other(Select::default()))
}

/// The directions of the sets, in the order of the arguments.
const DIRECTIONS: [Interest; 3] = [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY];

#[derive(Default)]
struct Select {
    sets: Sets,
    watched: FdMap<Watched>,
    /// The descriptors that a call found, and their entries for `poll`. Kept for their memory.
    hits: Vec<Hit>,
    details: Vec<PollFd<'static>>,
}

#[derive(Clone, Copy)]
struct Watched {
    token: Token,
    watch: Watch,
}

#[derive(Clone, Copy)]
struct Hit {
    descriptor: Descriptor,
    watched: Watched,
    /// Bits that `poll` does not report.
    known: u32,
    /// Bits of the sets that the call left it in.
    seen: u32,
}

impl fmt::Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptors = self.watched.as_slice().iter().map(|(descriptor, _)| descriptor);
        f.debug_set().entries(descriptors).finish()
    }
}

impl Poller for Select {
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
        self.watched.insert(descriptor, Watched { token, watch: new });
        self.sets.set(descriptor, new.interest());
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let watched = self.watched.as_slice();
        self.hits.clear();
        match self.sets.call(timeout)? {
            Found::Nothing => return Ok(()),
            Found::Some => {
                self.hits.extend(self.sets.found().filter_map(|(descriptor, known, seen)| {
                    let watched = watched[self.watched.position(descriptor)?].1;
                    Some(Hit { descriptor, watched, known, seen })
                }));
            }
            Found::NotOpen => self.hits.extend(watched.iter().map(|&(descriptor, watched)| Hit {
                descriptor,
                watched,
                known: 0,
                seen: 0,
            })),
        }
        self.report(events)
    }
}

impl Select {
    fn remove(&mut self, descriptor: Descriptor) {
        if self.watched.remove(descriptor).is_some() {
            self.sets.set(descriptor, Interest::empty());
        }
    }

    /// Reports the hits as `poll` sees them.
    fn report(&mut self, events: &mut Events) -> io::Result<()> {
        self.details.clear();
        self.details.extend(
            self.hits.iter().map(|hit| entry(hit.descriptor, hit.watched.watch.interest())),
        );
        poll_all(&mut self.details, Some(Duration::ZERO))?;
        for index in 0..self.hits.len() {
            let Hit { descriptor, watched, known, seen } = self.hits[index];
            let mut found = found_bits(&self.details[index]) | known;
            if found & bits::NVAL != 0 && super::refuses_devices() && check_open(descriptor).is_ok()
            {
                found = seen;
            }
            if found == 0 {
                continue;
            }
            events.push(watched.token, found);
            if watched.watch.is_oneshot() || found & bits::NVAL != 0 {
                events.note_invalid(found);
                self.remove(descriptor);
            }
        }
        Ok(())
    }
}
