//! The crate mio: every Unix that it supports, by the best interface of that system.
//!
//! mio is edge-triggered; [`LevelEmulation`] makes level-triggered delivery of it. One-shots are ours, too: an
//! entry that has fired is deregistered until it is changed. Surprises:
//!
//! - `is_readable` is also true for priority data alone, and a hang-up shows only as both directions being
//!   closed.
//! - On Linux mio rounds timeouts up to milliseconds, so a rest of less than one is waited for with `ppoll` on
//!   mio's descriptor.
//! - mio rejects files that the system's own interface rejects, such as regular files on Linux, with its error.

use std::io;
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;
#[cfg(any(epoll, kqueue))]
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::always_ready::AlwaysReady;
use super::level_emulation::{Entry, LevelEmulation, Silent};
#[cfg(epoll)]
use super::poll_set::{readable_within, split_timeout};
use super::{AnyPoller, Poller};
use crate::descriptor::Descriptor;
#[cfg(kqueue)]
use crate::descriptor::FileKind;
use crate::error;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;

pub(super) fn open() -> io::Result<AnyPoller> {
    Ok(AnyPoller::other(Mio {
        poll: mio::Poll::new()?,
        batch: mio::Events::with_capacity(0),
        entries: LevelEmulation::default(),
        always_ready: AlwaysReady::default(),
        is_nested: false,
    }))
}

#[derive(Debug)]
struct Mio {
    poll: mio::Poll,
    batch: mio::Events,
    entries: LevelEmulation<Registered>,
    always_ready: AlwaysReady,
    /// Whether another loop watches mio's descriptor.
    is_nested: bool,
}

#[derive(Clone, Copy, Debug)]
struct Registered {
    /// Whether mio has the entry.
    in_mio: bool,
    /// Whether the entry is a one-shot that has fired.
    has_fired: bool,
}

impl Registered {
    const ARMED: Self = Self { in_mio: true, has_fired: false };
}

impl Poller for Mio {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        _old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        if self.always_ready.update(descriptor, token, new) {
            return Ok(());
        }
        match (self.entries.position(descriptor), new.interest().is_empty()) {
            (None, true) => Ok(()),
            (None, false) => self.add(descriptor, token, new),
            (Some(position), true) => self.remove(position),
            (Some(position), false) => self.change(position, token, new),
        }
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let is_idle = self.entries.is_idle() && !self.always_ready.is_ready();
        self.collect(events.room(), if is_idle { timeout } else { Some(Duration::ZERO) })?;
        for event in &self.batch {
            let position = event.token().0;
            if self.entries.get_mut(position).is_some_and(|entry| !entry.state.has_fired) {
                self.entries.hint(position, found_bits(event));
            }
        }
        let registry = self.poll.registry();
        self.entries.report(events, |entry, _, why| {
            if why == Silent::Fired {
                entry.state = Registered { in_mio: !deregister(registry, entry), has_fired: true };
            }
        })?;
        self.always_ready.report(events);
        if self.is_nested { self.show_all_in_mio() } else { Ok(()) }
    }

    #[cfg(any(epoll, kqueue))]
    fn descriptor(&mut self) -> io::Result<OwnedFd> {
        let descriptor = Descriptor::of_kernel_object(&self.poll).borrow().try_clone_to_owned()?;
        self.is_nested = true;
        self.show_all_in_mio()?;
        Ok(descriptor)
    }
}

impl Mio {
    fn add(&mut self, descriptor: Descriptor, token: Token, watch: Watch) -> io::Result<()> {
        #[cfg(kqueue)]
        if descriptor.kind() == FileKind::NeverBlocks {
            // kqueue is silent at the end of a file, and refuses some of them.
            self.always_ready.set(descriptor, token, watch);
            return Ok(());
        }
        let number = descriptor.number();
        let (name, interest) = (mio::Token(self.entries.next_position()), to_mio(watch.interest()));
        let registry = self.poll.registry();
        let mut result = SourceFd(&number).register(registry, name, interest);
        if errno(&result) == Some(Errno::EXIST) {
            // The entry of an earlier registration, whose descriptor was closed behind its selector's
            // back and is now a duplicate of the same file.
            result = SourceFd(&number).reregister(registry, name, interest);
        }
        match errno(&result) {
            #[cfg(not(kqueue))]
            Some(Errno::PERM) if descriptor.never_blocks() => {
                self.always_ready.set(descriptor, token, watch);
                Ok(())
            }
            Some(Errno::BADF) => Err(error::not_open(descriptor)),
            _ => {
                result?;
                self.entries.insert(descriptor, token, watch, Registered::ARMED);
                Ok(())
            }
        }
    }

    fn change(&mut self, position: usize, token: Token, watch: Watch) -> io::Result<()> {
        self.entries.change(position, token, watch);
        let registry = self.poll.registry();
        self.entries.get_mut(position).map_or(Ok(()), |entry| rearm(registry, entry, position))
    }

    fn remove(&mut self, position: usize) -> io::Result<()> {
        let Some(entry) = self.entries.get_mut(position) else { return Ok(()) };
        let number = entry.descriptor.number();
        let result = if entry.state.in_mio {
            SourceFd(&number).deregister(self.poll.registry())
        } else {
            Ok(())
        };
        self.entries.remove(position);
        result
    }

    /// Lets mio wait, and fills the batch with its events.
    fn collect(&mut self, room: usize, timeout: Option<Duration>) -> io::Result<()> {
        if self.batch.capacity() < room {
            self.batch = mio::Events::with_capacity(room);
        }
        #[cfg(epoll)]
        let timeout = match timeout {
            Some(timeout) => {
                let this = Descriptor::of_kernel_object(&self.poll).borrow();
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

    /// Registers every hot entry again, so that mio's descriptor is readable if one of them is ready. Without
    /// this the descriptor shows changes only.
    fn show_all_in_mio(&mut self) -> io::Result<()> {
        while let Some(position) = self.entries.any_hot() {
            if let Some(entry) = self.entries.get_mut(position) {
                rearm(self.poll.registry(), entry, position)?;
            }
            self.entries.cool(position);
        }
        Ok(())
    }
}

fn errno(result: &io::Result<()>) -> Option<Errno> {
    result.as_ref().err().and_then(Errno::from_io_error)
}

/// Makes mio report an entry that is ready, whether it has reported it before or not.
fn rearm(
    registry: &mio::Registry,
    entry: &mut Entry<Registered>,
    position: usize,
) -> io::Result<()> {
    let number = entry.descriptor.number();
    let (name, interest) = (mio::Token(position), to_mio(entry.watch.interest()));
    if entry.state.in_mio {
        SourceFd(&number).reregister(registry, name, interest)?;
    } else {
        SourceFd(&number).register(registry, name, interest)?;
    }
    entry.state = Registered::ARMED;
    Ok(())
}

/// Returns whether mio has the entry no more.
fn deregister(registry: &mio::Registry, entry: &Entry<Registered>) -> bool {
    let number = entry.descriptor.number();
    let result = SourceFd(&number).deregister(registry);
    if let Err(error) = &result {
        log::debug!("descriptor {number} could not be deregistered: {error}");
    }
    result.is_ok()
}

fn to_mio(interest: Interest) -> mio::Interest {
    // Systems without priority have no constant for it; such an interest is refused earlier.
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
