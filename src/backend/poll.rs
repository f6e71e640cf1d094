//! poll: every system; on Windows, under the name of `WSAPoll`.
//!
//! The set is ours and handed over whole with each call, so that a wait costs what is registered.
//! Where it surprises:
//!
//! - More entries than the process may have descriptors (a limit lowered later) are `EINVAL`: they
//!   go over in pieces.
//! - A number that is not open is no error of the call but `NVAL` in its entry, at once and for ever:
//!   such an entry is told once and leaves the set.
//! - `WSAPoll` refuses an empty set, and `POLLPRI`.

use std::io;
use std::time::Duration;

use super::Mechanism;
use super::poll_set::{PollSet, check_open};
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;

pub(super) fn open() -> io::Result<Box<dyn Mechanism>> {
    Ok(Box::new(Poll::default()))
}

#[derive(Debug, Default)]
struct Poll(PollSet);

impl Mechanism for Poll {
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
