//! poll: every system; on Windows it is `WSAPoll`.
//!
//! The whole set is an argument of each call, so the cost of a wait grows with the registrations. Surprises:
//!
//! - More entries than the process may have descriptors (a limit lowered later) are `EINVAL`: the set is
//!   polled in pieces.
//! - A descriptor that is not open is `NVAL` in its entry, immediately and forever: such an entry is
//!   reported once and leaves the set.
//! - `WSAPoll` refuses an empty set, and `POLLPRI`.
//! - macOS calls directories, terminals and other devices invalid: see `devices`.

#[cfg(kqueue)]
mod devices;

use std::io;
use std::time::Duration;

use super::poll_set::{PollSet, check_open};
use super::{AnyPoller, Poller};
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;

pub(super) fn open() -> io::Result<AnyPoller> {
    #[cfg(kqueue)]
    if super::refuses_devices() {
        return Ok(AnyPoller::other(devices::PollWithoutDevices::default()));
    }
    Ok(AnyPoller::other(Poll::default()))
}

#[derive(Debug, Default)]
struct Poll(PollSet);

impl Poller for Poll {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        if new.interest().is_empty() {
            self.0.remove(descriptor);
            return Ok(());
        }
        if old.is_empty() {
            check_open(descriptor)?;
        }
        self.0.insert(descriptor, token, new);
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.0.wait(events, timeout, drop)
    }
}
