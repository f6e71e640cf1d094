//! epoll: Linux and Android.
//!
//! The kernel keeps the set and returns ready entries, so a wait costs what is active and not what is
//! registered. Surprises:
//!
//! - Regular files, directories and `/dev/null` are refused with `EPERM`. They are always ready, and
//!   [`AlwaysReady`] reports them.
//! - An entry without interest still reports hang-ups, forever. So an entry with an empty interest is not
//!   in the kernel's set.
//! - `EPOLLEXCLUSIVE` is refused together with `RDHUP`, `PRI` and `ONESHOT`, and in every `MOD`. A change to
//!   or from an exclusive watch is `DEL` and `ADD`.
//! - The key of an entry is the open file *and* the descriptor. If a descriptor is closed while a duplicate
//!   keeps the file open, the entry stays, reports forever, and cannot be removed.
//! - `epoll_wait` counts milliseconds. Shorter waits are made with `ppoll` on the epoll itself, which consumes
//!   no edge and no one-shot. (`epoll_pwait2` counts nanoseconds, but old kernels lack it, and some
//!   sandboxes kill a process that calls it.)
//!
//! The common wait and change are one system call each. They are inlined into the caller, because a return
//! from a function that made a long system call is mispredicted by some processors, which costs half as
//! much as the call; their errors are handled in cold functions.

use std::io;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use super::AnyPoller;
use super::always_ready::AlwaysReady;
use super::poll_set::{readable_within, split_timeout, to_timespec};
use crate::descriptor::Descriptor;
use crate::error;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;

pub(super) fn open() -> io::Result<AnyPoller> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    Ok(AnyPoller::Epoll(Epoll { epoll, always_ready: AlwaysReady::default() }))
}

#[derive(Debug)]
pub(crate) struct Epoll {
    epoll: OwnedFd,
    always_ready: AlwaysReady,
}

/// The calls of [`Poller`](super::Poller), inlined.
impl Epoll {
    #[inline(always)]
    pub(super) fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        if self.always_ready.update(descriptor, token, new) {
            return Ok(());
        }
        match self.control(descriptor, token, old, new) {
            Ok(()) => Ok(()),
            Err(errno) => self.update_failed(errno, descriptor, token, old, new),
        }
    }

    #[inline(always)]
    pub(super) fn wait(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout.is_none() && !self.always_ready.is_ready() {
            return collect(self.epoll.as_fd(), events, None);
        }
        self.wait_until(events, timeout)
    }

    /// The kernel object, for [`wait_for`] while another thread changes it.
    pub(crate) fn kernel_object(&self) -> Descriptor {
        Descriptor::of(&self.epoll)
    }

    /// Whether the next wait reports an event that the kernel object does not show.
    pub(crate) fn has_ready_files(&self) -> bool {
        self.always_ready.is_ready()
    }

    pub(crate) fn report_ready_files(&mut self, events: &mut Events) {
        self.always_ready.report(events);
    }

    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.epoll.try_clone()
    }

    #[inline(always)]
    fn control(
        &self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> rustix::io::Result<()> {
        let (descriptor, data) = (descriptor.borrow(), epoll::EventData::new_u64(token.to_u64()));
        match (old.is_empty(), new.interest().is_empty()) {
            (true, true) => Ok(()),
            (true, false) => epoll::add(&self.epoll, descriptor, data, flags(new)),
            (false, true) => epoll::delete(&self.epoll, descriptor),
            (false, false) => epoll::modify(&self.epoll, descriptor, data, flags(new)),
        }
    }

    #[cold]
    fn update_failed(
        &mut self,
        errno: Errno,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        let nothing = Interest::empty();
        match errno {
            Errno::PERM if old.is_empty() && descriptor.never_blocks() => {
                self.always_ready.set(descriptor, token, new);
                Ok(())
            }
            // `EXIST`: the entry of an earlier registration, whose descriptor was closed behind its
            // selector's back and is now a duplicate of the same file. This also ends its stale events.
            // `INVAL`: a change to or from an exclusive watch.
            Errno::EXIST | Errno::INVAL if old.is_empty() == (errno == Errno::EXIST) => {
                epoll::delete(&self.epoll, descriptor.borrow())?;
                let result = self.control(descriptor, token, nothing, new);
                result.map_err(|errno| refusal(errno, descriptor, new))
            }
            _ if old.is_empty() => Err(refusal(errno, descriptor, new)),
            _ => Err(errno.into()),
        }
    }

    #[inline(never)]
    fn wait_until(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.always_ready.is_ready() { Some(Duration::ZERO) } else { timeout };
        wait_for(self.epoll.as_fd(), events, timeout)?;
        self.always_ready.report(events);
        Ok(())
    }
}

/// Waits on the kernel object for up to `timeout`. It may return early without an event.
pub(crate) fn wait_for(
    epoll: BorrowedFd<'_>,
    events: &mut Events,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let Some(timeout) = timeout else { return collect(epoll, events, None) };
    // The caller waits again for what is left below a millisecond.
    let (milliseconds, rest) = split_timeout(timeout);
    if milliseconds.is_zero() && !rest.is_zero() && !readable_within(epoll, rest)? {
        return Ok(());
    }
    collect(epoll, events, Some(&to_timespec(milliseconds)))
}

/// One `epoll_wait`.
#[inline(always)]
pub(crate) fn collect(
    epoll: BorrowedFd<'_>,
    events: &mut Events,
    timeout: Option<&Timespec>,
) -> io::Result<()> {
    Ok(events.fill(|places| epoll::wait(epoll, places, timeout))?)
}

fn refusal(errno: Errno, descriptor: Descriptor, watch: Watch) -> io::Error {
    match errno {
        Errno::BADF => error::not_open(descriptor),
        Errno::INVAL => io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "epoll refuses descriptor {descriptor} with {watch:?}: an epoll cannot watch itself, \
                 and exclusive delivery cannot watch another epoll"
            ),
        ),
        other => other.into(),
    }
}

/// epoll's flags have the values of `poll`'s.
#[inline]
fn flags(watch: Watch) -> epoll::EventFlags {
    use epoll::EventFlags as Flags;

    let mut flags = Flags::from_bits_retain(watch.interest().poll_bits());
    if watch.is_exclusive() {
        flags -= Flags::RDHUP;
    }
    flags.set(Flags::ET, watch.is_edge());
    flags.set(Flags::ONESHOT, watch.is_oneshot());
    flags.set(Flags::EXCLUSIVE, watch.is_exclusive());
    flags
}
