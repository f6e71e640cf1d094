//! io_uring: Linux 5.13 and later.
//!
//! A multishot poll is armed for each registration, and the kernel queues a completion when it fires;
//! changes are submitted with the wait. Surprises:
//!
//! - A completion describes the past: it may report data that have been read since. So completions only
//!   hint where to look, see [`LevelEmulation`].
//! - An armed poll keeps the file open: the peer of a socket that is closed sees no end of the stream. So
//!   `unregister` cancels the poll and waits for its last completion. If that fails, the ring is closed,
//!   which releases all files, and the next wait opens another.
//! - The completion of a cancellation may come before or after the last one of its target, and an old one
//!   may come when a position has long been reused. So every arming has its own number.
//! - A poll ends (its completion lacks the `MORE` flag) when the completion queue overflows, or when it was
//!   woken by the signal of another ring. It is armed again, or the next event would be missed. A poll also
//!   ends immediately on files that have nothing to wait for: regular files, terminals whose other side is
//!   gone. Arming those again would never end.
//! - The flag that there is work to run may stay set without work: it is set after the work was queued,
//!   and by then the ring's thread may have run it. So a set flag does not justify another `io_uring_enter` forever.
//! - Priority data alone wake no poll, because the kernel omits that flag when it compares an event with the
//!   mask. So `IN` is in the mask beside it.
//! - A ring belongs to the thread that opened it, see [`Ring`]. If another thread uses the selector, the
//!   next wait opens a ring there and arms all polls again.

mod ring;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;

use super::level_emulation::{Entry, LevelEmulation, Silent};
use super::poll_set::check_open;
use super::{AnyPoller, Poller};
use crate::descriptor::Descriptor;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;
use ring::{Completion, Departed, NO_ARMING, PollName, Ring, Sizes};

pub(super) fn open() -> io::Result<AnyPoller> {
    open_with(Sizes::LARGE)
}

fn open_with(sizes: Sizes) -> io::Result<AnyPoller> {
    Ok(AnyPoller::other(Uring {
        ring: Some(Ring::open(sizes)?),
        sizes,
        entries: LevelEmulation::default(),
        to_arm: Vec::new(),
        armings: NO_ARMING,
        departed: None,
    }))
}

#[derive(Debug)]
struct Uring {
    /// `None` from a failure or a change of threads until the next wait.
    ring: Option<Ring>,
    sizes: Sizes,
    entries: LevelEmulation<Poll>,
    /// Polls that are armed with the next wait, unless they have been changed since.
    to_arm: Vec<PollName>,
    /// The number of the last arming.
    armings: u32,
    /// The ring of the thread before this one, which may still hold files.
    departed: Option<Departed>,
}

/// The multishot poll of an entry.
#[derive(Debug, Default)]
struct Poll {
    /// The number of the present arming, or [`NO_ARMING`].
    arming: u32,
    /// Whether the present ring has it.
    armed: bool,
    /// Whether it has had a completion.
    answered: bool,
    /// Whether that was the last, because the file has nothing to wait for.
    static_readiness: bool,
}

impl Poller for Uring {
    fn update(
        &mut self,
        descriptor: Descriptor,
        token: Token,
        old: Interest,
        new: Watch,
    ) -> io::Result<()> {
        let position = self.entries.position(descriptor);
        if new.interest().is_empty() {
            position.into_iter().for_each(|position| self.remove(position));
            return Ok(());
        }
        if old.is_empty() {
            check_open(descriptor)?;
        }
        let position = match position {
            Some(position) => {
                self.disarm(position);
                self.entries.change(position, token, new);
                position
            }
            None => self.entries.insert(descriptor, token, new, Poll::default()),
        };
        if let Some(entry) = self.entries.get_mut(position) {
            queue_arming(&mut self.to_arm, &mut self.armings, &mut entry.state, position);
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        self.arm()?;
        let ring = self.ring.as_mut().expect("arm has opened one");
        if self.entries.is_idle() && ring.is_empty() && timeout != Some(Duration::ZERO) {
            ring.enter(1, timeout)?;
        } else if ring.has_work() {
            ring.enter(0, None)?;
        }
        self.take_completions()?;
        self.report(events)
    }
}

impl Uring {
    /// Opens a ring if this thread has none, and arms the polls that wait for it.
    fn arm(&mut self) -> io::Result<()> {
        if !self.has_ring_here() {
            self.abandon_ring();
        }
        if self.ring.is_none() {
            self.ring = Some(Ring::open(self.sizes)?);
        }
        let Some(ring) = &mut self.ring else { return Ok(()) };
        while let Some(&name) = self.to_arm.last() {
            if let Some(entry) = self.entries.get_mut(name.position as usize)
                && entry.state.arming == name.arming
                && !entry.state.armed
            {
                let mut asked = entry.watch.interest().poll_bits();
                if asked & bits::PRI != 0 {
                    asked |= bits::IN;
                }
                ring.arm(name, entry.descriptor, asked)?;
                entry.state = Poll { arming: name.arming, armed: true, ..Poll::default() };
            }
            self.to_arm.pop();
        }
        Ok(())
    }

    fn has_ring_here(&self) -> bool {
        self.ring.as_ref().is_some_and(Ring::is_of_this_thread)
    }

    /// Closes the ring, which releases all files: immediately if it belongs to this thread, else some time
    /// after. The next wait arms all polls again, in another ring.
    fn abandon_ring(&mut self) {
        if self.has_ring_here() {
            self.ring = None;
        } else if let Some(ring) = self.ring.take() {
            // At most one is left behind, so that the number of descriptors stays constant.
            self.departed = None;
            self.departed = Some(ring.leave());
        }
        self.to_arm.clear();
        for (position, entry) in self.entries.iter_mut() {
            let is_wanted = entry.state.arming != NO_ARMING;
            entry.state = Poll::default();
            if is_wanted {
                queue_arming(&mut self.to_arm, &mut self.armings, &mut entry.state, position);
            }
        }
    }

    /// Cancels the poll of an entry with the next enter.
    fn disarm(&mut self, position: usize) {
        let is_here = self.has_ring_here();
        let (Some(entry), Some(ring)) = (self.entries.get_mut(position), &mut self.ring) else {
            return;
        };
        if entry.state.armed && !(is_here && cancel(ring, entry, position).is_ok()) {
            self.abandon_ring();
        }
        if let Some(entry) = self.entries.get_mut(position) {
            entry.state = Poll::default();
        }
    }

    /// Removes an entry. The kernel holds its file no longer then, whatever fails.
    fn remove(&mut self, position: usize) {
        self.disarm(position);
        let is_here = self.has_ring_here();
        if let Some(ring) = &mut self.ring
            && ring.is_in_flight(position)
            && !(is_here && ring.release(position).is_ok())
        {
            self.abandon_ring();
        }
        self.departed = None;
        self.entries.remove(position);
    }

    /// Takes all completions; a single enter makes the kernel queue one portion of them.
    fn take_completions(&mut self) -> io::Result<()> {
        self.take_queued_completions();
        while let Some(ring) = &mut self.ring
            && ring.has_work()
        {
            ring.enter(0, None)?;
            if !self.take_queued_completions() {
                if let Some(ring) = &mut self.ring {
                    ring.enter_for_all()?;
                }
                self.take_queued_completions();
                break;
            }
        }
        Ok(())
    }

    fn take_queued_completions(&mut self) -> bool {
        let Some(ring) = &mut self.ring else { return false };
        let overflowed = ring.has_overflowed();
        let (entries, to_arm, armings) = (&mut self.entries, &mut self.to_arm, &mut self.armings);
        ring.take_completions(|completion| {
            let Completion { name, result, is_last } = completion;
            let position = name.position as usize;
            let Some(entry) = entries.get_mut(position) else { return };
            let (state, is_edge) = (&mut entry.state, entry.watch.is_edge());
            if state.arming != name.arming {
                return; // It has been cancelled.
            }
            state.armed &= !is_last;
            let is_first = !std::mem::replace(&mut state.answered, true);
            if is_last && is_first && !overflowed {
                let hung_up = result > 0 && result.unsigned_abs() & bits::HUP != 0;
                state.static_readiness = hung_up || !can_be_polled(entry.descriptor);
            }
            match result {
                found @ 0.. => {
                    // A level-triggered entry is armed again when it has cooled down.
                    if is_last && is_edge && !state.static_readiness {
                        queue_arming(to_arm, armings, state, position);
                    }
                    entries.hint(position, found.unsigned_abs() & bits::ALL);
                }
                // The thread that armed it has ended.
                error if error == -libc::ECANCELED => {
                    queue_arming(to_arm, armings, state, position);
                }
                // A file without a poll operation and an interest that it can never satisfy.
                error if error == -libc::EINVAL => {}
                error => {
                    let error = io::Error::from_raw_os_error(-error);
                    log::debug!("descriptor {}: polling failed: {error}", entry.descriptor);
                    entries.hint(position, bits::NVAL);
                }
            }
        })
    }

    fn report(&mut self, events: &mut Events) -> io::Result<()> {
        let mut is_broken = false;
        let (ring, to_arm, armings) = (&mut self.ring, &mut self.to_arm, &mut self.armings);
        let result = self.entries.report(events, |entry, position, why| match why {
            Silent::Fired => {
                is_broken |=
                    ring.as_mut().is_some_and(|ring| cancel(ring, entry, position).is_err());
                entry.state = Poll::default();
            }
            Silent::Cooled if entry.state.armed || entry.state.static_readiness => {}
            Silent::Cooled => queue_arming(to_arm, armings, &mut entry.state, position),
        });
        if is_broken {
            self.abandon_ring();
        }
        result
    }
}

fn queue_arming(to_arm: &mut Vec<PollName>, armings: &mut u32, state: &mut Poll, position: usize) {
    *armings = armings.checked_add(1).unwrap_or(NO_ARMING + 1);
    *state = Poll { arming: *armings, ..Poll::default() };
    to_arm.push(PollName { position: position as u32, arming: *armings });
}

fn cancel(ring: &mut Ring, entry: &Entry<Poll>, position: usize) -> io::Result<()> {
    if !entry.state.armed {
        return Ok(());
    }
    ring.cancel(PollName { position: position as u32, arming: entry.state.arming })
}

/// Whether the readiness of a file can change, as epoll sees it. Checked only if a poll ended immediately.
fn can_be_polled(descriptor: Descriptor) -> bool {
    let Ok(epoll) = epoll::create(epoll::CreateFlags::CLOEXEC) else { return true };
    let (data, flags) = (epoll::EventData::new_u64(0), epoll::EventFlags::empty());
    epoll::add(&epoll, descriptor.borrow(), data, flags) != Err(Errno::PERM)
}
