//! epoll: Linux and Android.
//!
//! The kernel keeps the set and hands out what is ready, so that a wait costs what is active and not
//! what is registered. Where it surprises:
//!
//! - Regular files, directories and `/dev/null` are refused with `EPERM`. They are always ready, and
//!   [`AlwaysReady`] says so.
//! - A watch for nothing still reports hang-ups, for ever. So what is not asked for is not in the set.
//! - `EPOLLEXCLUSIVE` is refused together with `RDHUP`, `PRI` and `ONESHOT`, and in every `MOD`. A
//!   change of an exclusive watch is `DEL` and `ADD`.
//! - The set's key is the open file *and* the number. When a number is closed while a duplicate keeps
//!   the file open, the entry stays, reports for ever, and cannot be removed under that number.
//! - `epoll_wait` counts milliseconds. Less than one is slept in `ppoll` on epoll's own descriptor,
//!   which uses up no edge and no one-shot. (`epoll_pwait2` counts nanoseconds, but is younger than
//!   many a kernel, and some sandboxes kill who calls it.)

use std::io;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use super::Mechanism;
use super::always_ready::AlwaysReady;
use super::poll_set::{readable_within, split_timeout, to_timespec};
use crate::descriptor::Descriptor;
use crate::error;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;

pub(super) fn open() -> io::Result<Box<dyn Mechanism>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    Ok(Box::new(Epoll { epoll, always_ready: AlwaysReady::default() }))
}

/// An update by nothing but the system call.
#[inline(always)]
pub(super) fn update_plainly(
    epoll: BorrowedFd<'_>,
    descriptor: Descriptor,
    token: Token,
    old: Interest,
    new: Watch,
) -> rustix::io::Result<()> {
    let (descriptor, data, flags) = (descriptor.borrow(), data(token), flags(new));
    match (old.is_empty(), new.interest().is_empty()) {
        (true, true) => Ok(()),
        (true, false) => epoll::add(epoll, descriptor, data, flags),
        (false, true) => epoll::delete(epoll, descriptor),
        (false, false) => epoll::modify(epoll, descriptor, data, flags),
    }
}

#[derive(Debug)]
struct Epoll {
    epoll: OwnedFd,
    always_ready: AlwaysReady,
}

impl Mechanism for Epoll {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        if self.always_ready.contains(descriptor) {
            self.always_ready.set(descriptor, token, new);
            return Ok(());
        }
        match update_plainly(self.epoll.as_fd(), descriptor, token, old, new) {
            Err(Errno::PERM) if old.is_empty() => {
                self.always_ready.set(descriptor, token, new);
                Ok(())
            }
            // The entry of an earlier registration, closed behind its selector's back and now open
            // again as a duplicate of the same file. This also ends its stale events.
            Err(Errno::EXIST) => self.update_anew(descriptor, token, new),
            Err(Errno::INVAL) if !old.is_empty() && new.is_exclusive() => {
                self.update_anew(descriptor, token, new)
            }
            Err(errno) if old.is_empty() => Err(why_refused(errno, descriptor, new)),
            result => Ok(result?),
        }
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        if self.always_ready.is_ready() {
            return self.wait_beside_always_ready(events);
        }
        match timeout {
            None => self.collect(events, None),
            Some(timeout) => self.wait_for(events, timeout),
        }
    }

    fn plain_epoll(&self) -> Option<BorrowedFd<'_>> {
        (!self.always_ready.is_ready()).then(|| self.epoll.as_fd())
    }

    fn descriptor(&mut self) -> io::Result<Option<BorrowedFd<'_>>> {
        Ok(Some(self.epoll.as_fd()))
    }

    fn has_hidden_event(&self) -> bool {
        self.always_ready.is_ready()
    }
}

impl Epoll {
    fn update_anew(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        epoll::delete(&self.epoll, descriptor.borrow())?;
        self.update(descriptor, token, Interest::empty(), watch)
    }

    /// One `epoll_wait`, for which there must be room.
    #[inline]
    fn collect(&self, events: &mut Events, timeout: Option<&Timespec>) -> io::Result<()> {
        Ok(events.fill(|places| epoll::wait(&self.epoll, places, timeout))?)
    }

    #[inline(never)]
    fn wait_for(&mut self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        // What is left below a millisecond is waited for by the next call.
        let (milliseconds, rest) = split_timeout(timeout);
        if milliseconds.is_zero() && !rest.is_zero() && !readable_within(self.epoll.as_fd(), rest)?
        {
            return Ok(());
        }
        self.collect(events, Some(&to_timespec(milliseconds)))
    }

    /// Looks without waiting. Half the places each; of a single place, every other turn.
    #[inline(never)]
    fn wait_beside_always_ready(&mut self, events: &mut Events) -> io::Result<()> {
        let share = self.always_ready.share(events.room());
        if share < events.room() {
            let now = to_timespec(Duration::ZERO);
            events.with_room(events.room() - share, |events| self.collect(events, Some(&now)))?;
        }
        self.always_ready.report(events);
        Ok(())
    }
}

fn why_refused(refused: Errno, descriptor: Descriptor, watch: Watch) -> io::Error {
    match refused {
        Errno::BADF => error::not_open(descriptor),
        Errno::INVAL => io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "epoll refuses descriptor {descriptor} with {watch:?}: it cannot watch itself, \
                 and exclusive delivery watches no other epoll"
            ),
        ),
        other => other.into(),
    }
}

#[inline]
fn data(token: Token) -> epoll::EventData {
    epoll::EventData::new_u64(token.to_u64())
}

#[inline]
fn flags(watch: Watch) -> epoll::EventFlags {
    use epoll::EventFlags as Flags;

    let mut flags = Flags::empty();
    let interest = watch.interest();
    if interest.contains(Interest::READABLE) {
        flags |= Flags::IN;
        if !watch.is_exclusive() {
            flags |= Flags::RDHUP;
        }
    }
    flags.set(Flags::OUT, interest.contains(Interest::WRITABLE));
    flags.set(Flags::PRI, interest.contains(Interest::PRIORITY));
    flags.set(Flags::ET, watch.is_edge());
    flags.set(Flags::ONESHOT, watch.is_oneshot());
    flags.set(Flags::EXCLUSIVE, watch.is_exclusive());
    flags
}
