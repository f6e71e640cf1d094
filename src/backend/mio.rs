//! mio: every Unix that it supports, by whatever that system has.
//!
//! mio is edge-triggered; what is level-triggered here is made so by [`Hints`]. One-shot is ours too:
//! what has fired is deregistered until it is changed. Where it surprises:
//!
//! - `is_readable` is also true for priority data alone, and a hang-up shows only as both directions
//!   being closed.
//! - On Linux its timeouts are rounded up to milliseconds, so that the rest of less than one is slept
//!   in `ppoll` on its descriptor.
//! - It hands through what the system's own mechanism refuses, such as regular files on Linux.

use std::io;
#[cfg(any(epoll, kqueue))]
use std::os::fd::BorrowedFd;
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;

use super::Mechanism;
use super::always_ready::AlwaysReady;
use super::hints::{Hints, Silenced, Watched};
#[cfg(epoll)]
use super::poll_set::{readable_within, split_timeout};
use crate::descriptor::Descriptor;
use crate::error;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;

pub(super) fn open() -> io::Result<Box<dyn Mechanism>> {
    Ok(Box::new(Mio {
        poll: mio::Poll::new()?,
        batch: mio::Events::with_capacity(1024),
        hints: Hints::default(),
        always_ready: AlwaysReady::default(),
    }))
}

#[derive(Debug)]
struct Mio {
    poll: mio::Poll,
    batch: mio::Events,
    hints: Hints<Registered>,
    always_ready: AlwaysReady,
}

/// Whether mio has it; a one-shot that has fired was taken out.
type Registered = bool;

impl Mechanism for Mio {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        _old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        if self.always_ready.contains(descriptor) {
            self.always_ready.set(descriptor, token, new);
            return Ok(());
        }
        match (self.hints.find(descriptor), new.interest().is_empty()) {
            (None, true) => Ok(()),
            (None, false) => self.add(descriptor, token, new),
            (Some(position), true) => self.remove(position),
            (Some(position), false) => self.change(position, token, new),
        }
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let idle = self.hints.is_idle() && !self.always_ready.is_ready();
        self.collect(if idle { timeout } else { Some(Duration::ZERO) })?;
        for event in &self.batch {
            self.hints.hint(event.token().0, found_bits(event));
        }
        let registry = self.poll.registry();
        let share = self.always_ready.share(events.room());
        events.with_room(events.room() - share, |events| {
            self.hints.report(events, |watched, _, why| {
                if why == Silenced::Spent {
                    deregister(registry, watched);
                }
            })
        })?;
        self.always_ready.report(events);
        Ok(())
    }

    #[cfg(any(epoll, kqueue))]
    fn descriptor(&mut self) -> io::Result<Option<BorrowedFd<'_>>> {
        Ok(Some(Descriptor::of_mechanism(&self.poll).borrow()))
    }

    fn has_hidden_event(&self) -> bool {
        !self.hints.is_idle() || self.always_ready.is_ready()
    }
}

impl Mio {
    fn add(&mut self, descriptor: Descriptor, token: Token, watch: Watch) -> io::Result<()> {
        let position = self.hints.insert(descriptor, token, watch, true);
        let number = descriptor.number();
        let (name, interest) = (mio::Token(position), to_mio(watch.interest()));
        let registry = self.poll.registry();
        let mut result = SourceFd(&number).register(registry, name, interest);
        if raw_error(&result) == Some(libc::EEXIST) {
            // The entry of an earlier registration, closed behind its selector's back and now open
            // again as a duplicate of the same file.
            result = SourceFd(&number).reregister(registry, name, interest);
        }
        let Err(refusal) = result else { return Ok(()) };
        self.hints.remove(position);
        match refusal.raw_os_error() {
            Some(libc::EPERM) => {
                self.always_ready.set(descriptor, token, watch);
                Ok(())
            }
            Some(libc::EBADF) => Err(error::not_open(descriptor)),
            _ => Err(refusal),
        }
    }

    fn change(&mut self, position: usize, token: Token, watch: Watch) -> io::Result<()> {
        self.hints.change(position, token, watch);
        let Some(watched) = self.hints.get_mut(position) else { return Ok(()) };
        let number = watched.descriptor.number();
        let (name, interest) = (mio::Token(position), to_mio(watch.interest()));
        let registry = self.poll.registry();
        if watched.state {
            SourceFd(&number).reregister(registry, name, interest)
        } else {
            SourceFd(&number).register(registry, name, interest)?;
            watched.state = true;
            Ok(())
        }
    }

    fn remove(&mut self, position: usize) -> io::Result<()> {
        let Some(watched) = self.hints.get_mut(position) else { return Ok(()) };
        let number = watched.descriptor.number();
        let result =
            if watched.state { SourceFd(&number).deregister(self.poll.registry()) } else { Ok(()) };
        self.hints.remove(position);
        result
    }

    /// Lets mio wait; what it has found is in the batch.
    fn collect(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        #[cfg(epoll)]
        let timeout = match timeout {
            Some(timeout) => {
                let this = Descriptor::of_mechanism(&self.poll).borrow();
                let (milliseconds, rest) = split_timeout(timeout);
                if milliseconds.is_zero() && !rest.is_zero() && !readable_within(this, rest)? {
                    self.batch.clear();
                    return Ok(());
                }
                Some(milliseconds)
            }
            None => None,
        };
        self.poll.poll(&mut self.batch, timeout)
    }
}

fn raw_error(result: &io::Result<()>) -> Option<i32> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

fn deregister(registry: &mio::Registry, watched: &mut Watched<Registered>) {
    watched.state = false;
    let number = watched.descriptor.number();
    if let Err(error) = SourceFd(&number).deregister(registry) {
        log::debug!("descriptor {number}: could not be deregistered: {error}");
    }
}

fn to_mio(interest: Interest) -> mio::Interest {
    // Priority has no constant on systems without it; asking for it is refused before.
    #[cfg(epoll)]
    const PRIORITY: mio::Interest = mio::Interest::PRIORITY;
    #[cfg(not(epoll))]
    const PRIORITY: mio::Interest = mio::Interest::READABLE;

    [
        (Interest::READABLE, mio::Interest::READABLE),
        (Interest::WRITABLE, mio::Interest::WRITABLE),
        (Interest::PRIORITY, PRIORITY),
    ]
    .into_iter()
    .filter(|(ours, _)| interest.contains(*ours))
    .map(|(_, mio)| mio)
    .reduce(|one, other| one | other)
    .unwrap_or(mio::Interest::READABLE)
}

fn found_bits(event: &mio::event::Event) -> u32 {
    let hung_up = event.is_read_closed() && event.is_write_closed();
    let mut found = 0;
    for (set, bit) in [
        (event.is_readable(), bits::IN),
        (event.is_writable(), bits::OUT),
        (event.is_priority(), bits::PRI),
        (event.is_error(), bits::ERR),
        (event.is_read_closed(), bits::RDHUP),
        (hung_up, bits::HUP),
    ] {
        found |= if set { bit } else { 0 };
    }
    found
}
