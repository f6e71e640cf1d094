//! A set of descriptors for `poll`, and the call itself: what the mechanism of that name is made of,
//! and what the mechanisms that only hint where to look find out the truth with.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::descriptor::{Descriptor, DescriptorTable};
use crate::error;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
use crate::raw_event::bits;

#[derive(Debug, Default)]
pub(super) struct PollSet {
    /// What the system call takes.
    entries: Vec<PollFd<'static>>,
    /// What belongs to the entry at the same position.
    owners: Vec<Owner>,
    positions: DescriptorTable,
    /// Where the next report starts.
    next: usize,
    /// Those to take out after a walk.
    leaving: Vec<Descriptor>,
}

#[derive(Debug)]
struct Owner {
    descriptor: Descriptor,
    token: Token,
    oneshot: bool,
    turn: Turn,
}

impl Owner {
    /// One-shots leave the set when they have fired, and so do numbers that are not open.
    fn leaves_with(&self, bits: u32) -> bool {
        self.oneshot || bits & bits::NVAL != 0
    }
}

/// Where there is no room for all that is ready, reports go in rounds: each has its turn once, and who
/// comes in the middle of a round has to wait for the next, or those that are ready again soon would
/// leave no turn to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    ThisRound,
    NextRound,
    /// In this wait; from the next one on it is in the next round.
    Reported,
}

impl PollSet {
    #[cfg(any(io_uring, kqueue, mio))]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(kqueue)]
    pub(super) fn contains(&self, descriptor: Descriptor) -> bool {
        self.positions.get(descriptor).is_some()
    }

    /// Puts a descriptor in, or changes what it is asked for.
    pub(super) fn insert(&mut self, descriptor: Descriptor, token: Token, watch: Watch) {
        let entry = entry(descriptor, watch.interest());
        let (token, oneshot) = (token, watch.is_oneshot());
        if let Some(position) = self.positions.get(descriptor) {
            self.entries[position] = entry;
            let owner = &mut self.owners[position];
            (owner.token, owner.oneshot) = (token, oneshot);
        } else {
            self.positions.insert(descriptor, self.entries.len());
            self.entries.push(entry);
            self.owners.push(Owner { descriptor, token, oneshot, turn: Turn::NextRound });
        }
    }

    pub(super) fn remove(&mut self, descriptor: Descriptor) {
        if let Some(position) = self.positions.get(descriptor) {
            self.remove_at(position);
        }
    }

    fn remove_at(&mut self, position: usize) {
        let removed = self.owners.swap_remove(position);
        self.entries.swap_remove(position);
        self.positions.remove(removed.descriptor);
        if let Some(moved) = self.owners.get(position) {
            self.positions.insert(moved.descriptor, position);
        }
    }

    /// One call, and its report. One-shots that fire leave the set, and so do numbers that are not
    /// open: `left` hears of them.
    pub(super) fn wait(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
        mut left: impl FnMut(Descriptor),
    ) -> io::Result<()> {
        let mut found = poll_all(&mut self.entries, timeout)?;
        if found > events.room() {
            self.report_in_turn(events);
            found = 0;
        }
        // It starts where the last one ended: what is ready now is often next to what was then.
        let len = self.entries.len();
        let mut position = if self.next < len { self.next } else { 0 };
        for _ in 0..len {
            if found == 0 {
                break;
            }
            let bits = found_bits(&self.entries[position]);
            if bits != 0 {
                let owner = &self.owners[position];
                if !events.push(owner.token, bits) {
                    break;
                }
                if owner.leaves_with(bits) {
                    self.leaving.push(owner.descriptor);
                }
                found -= 1;
            }
            position = if position + 1 < len { position + 1 } else { 0 };
        }
        self.next = position;
        while let Some(descriptor) = self.leaving.pop() {
            self.remove(descriptor);
            left(descriptor);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn report_in_turn(&mut self, events: &mut Events) {
        if !self.report_round(events) {
            for owner in &mut self.owners {
                if owner.turn == Turn::NextRound {
                    owner.turn = Turn::ThisRound;
                }
            }
            self.report_round(events);
        }
        for owner in &mut self.owners {
            if owner.turn == Turn::Reported {
                owner.turn = Turn::NextRound;
            }
        }
    }

    /// Reports those whose turn it is, and says whether there was no room for all of them.
    fn report_round(&mut self, events: &mut Events) -> bool {
        let first = self.next.min(self.entries.len());
        for position in (first..self.entries.len()).chain(0..first) {
            let bits = found_bits(&self.entries[position]);
            let owner = &mut self.owners[position];
            if bits == 0 || owner.turn != Turn::ThisRound {
                continue;
            }
            if !events.push(owner.token, bits) {
                self.next = position;
                return true;
            }
            owner.turn = Turn::Reported;
            if owner.leaves_with(bits) {
                self.leaving.push(owner.descriptor);
            }
        }
        false
    }

    /// Takes out those of which the last call found nothing.
    #[cfg(any(io_uring, mio))]
    pub(super) fn remove_unready(&mut self, mut removed: impl FnMut(Descriptor)) {
        let mut position = 0;
        while let Some(entry) = self.entries.get(position) {
            if entry.revents().is_empty() {
                let descriptor = self.owners[position].descriptor;
                self.remove_at(position);
                removed(descriptor);
            } else {
                position += 1;
            }
        }
    }
}

/// Half-close as a flag of its own, where the system has it; elsewhere it is `IN` alone.
#[cfg(poll_rdhup)]
const RDHUP: PollFlags = PollFlags::RDHUP;
#[cfg(not(poll_rdhup))]
const RDHUP: PollFlags = PollFlags::empty();

/// An entry for the system call.
pub(super) fn entry(descriptor: Descriptor, interest: Interest) -> PollFd<'static> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN | RDHUP, interest.contains(Interest::READABLE));
    flags.set(PollFlags::OUT, interest.contains(Interest::WRITABLE));
    flags.set(PollFlags::PRI, interest.contains(Interest::PRIORITY));
    PollFd::from_borrowed_fd(descriptor.borrow(), flags)
}

/// What the system call found, with Linux's values.
#[cfg(epoll)]
pub(super) fn found_bits(entry: &PollFd<'_>) -> u32 {
    u32::from(entry.revents().bits()) & bits::ALL
}

/// What the system call found, with Linux's values.
#[cfg(not(epoll))]
pub(super) fn found_bits(entry: &PollFd<'_>) -> u32 {
    let found = entry.revents();
    let mut bits = 0;
    for (flag, bit) in [
        (PollFlags::IN, bits::IN),
        (PollFlags::PRI, bits::PRI),
        (PollFlags::OUT, bits::OUT),
        (PollFlags::ERR, bits::ERR),
        (PollFlags::HUP, bits::HUP),
        (PollFlags::NVAL, bits::NVAL),
        (RDHUP, bits::RDHUP),
    ] {
        if found.intersects(flag) {
            bits |= bit;
        }
    }
    bits
}

/// An error for a number that is not open, or open only as a path.
#[cfg(unix)]
pub(crate) fn check_open(descriptor: Descriptor) -> io::Result<()> {
    match rustix::fs::fcntl_getfl(descriptor.borrow()) {
        #[cfg(epoll)]
        Ok(flags) if flags.contains(rustix::fs::OFlags::PATH) => Err(error::not_open(descriptor)),
        Ok(_) => Ok(()),
        Err(Errno::BADF) => Err(error::not_open(descriptor)),
        Err(error) => Err(error.into()),
    }
}

/// An error for a socket that is not open, from a call that does not wait.
#[cfg(windows)]
pub(crate) fn check_open(descriptor: Descriptor) -> io::Result<()> {
    let mut entries = [entry(descriptor, Interest::empty())];
    poll_all(&mut entries, Some(Duration::ZERO))?;
    if found_bits(&entries[0]) & bits::NVAL != 0 {
        return Err(error::not_open(descriptor));
    }
    Ok(())
}

/// `poll` over any number of entries; how many found something.
pub(super) fn poll_all(
    entries: &mut [PollFd<'static>],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    #[cfg(windows)]
    if entries.is_empty() {
        // Nothing can change while this thread sleeps: changes need the selector.
        std::thread::sleep(timeout.unwrap_or(Duration::MAX));
        return Ok(0);
    }
    loop {
        return match poll(entries, timeout.map(to_timespec).as_ref()) {
            // A signal that is pending interrupts even a call that does not wait.
            Err(Errno::INTR) if timeout == Some(Duration::ZERO) => continue,
            Err(Errno::INVAL) if entries.len() > PIECE => poll_in_pieces(entries, timeout),
            result => Ok(result?),
        };
    }
}

/// Few enough for any limit on descriptors that leaves a process working.
const PIECE: usize = 256;

/// No call can wait for all of them, so this looks at each piece, and naps on the first.
#[cold]
fn poll_in_pieces(entries: &mut [PollFd<'static>], timeout: Option<Duration>) -> io::Result<usize> {
    let mut look = |mut nap: Duration| {
        let mut found = 0;
        for piece in entries.chunks_mut(PIECE) {
            found += poll(piece, Some(&to_timespec(nap)))?;
            nap = Duration::ZERO;
        }
        io::Result::Ok(found)
    };
    match look(Duration::ZERO)? {
        0 => look(Duration::from_millis(1).min(timeout.unwrap_or(Duration::MAX))),
        found => Ok(found),
    }
}

/// A timeout for a system call; what does not fit is as good as for ever.
pub(super) fn to_timespec(timeout: Duration) -> Timespec {
    Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

/// The whole milliseconds of a timeout, and the rest, for calls that round up.
#[cfg(epoll)]
pub(super) fn split_timeout(timeout: Duration) -> (Duration, Duration) {
    let rest = Duration::from_nanos(u64::from(timeout.subsec_nanos() % 1_000_000));
    (timeout - rest, rest)
}

/// Sleeps until a mechanism's own descriptor has something, to the nanosecond. It uses up no edge
/// and no one-shot.
#[cfg(epoll)]
pub(super) fn readable_within(
    mechanism: rustix::fd::BorrowedFd<'_>,
    timeout: Duration,
) -> io::Result<bool> {
    let mut this = [PollFd::from_borrowed_fd(mechanism, PollFlags::IN)];
    Ok(poll(&mut this, Some(&to_timespec(timeout)))? > 0)
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn more_entries_than_descriptors_go_over_in_pieces() {
        let (reader, mut writer) = io::pipe().unwrap();
        let descriptor = Descriptor::of(&reader);
        let mut entries: Vec<_> =
            (0..3 * PIECE).map(|_| entry(descriptor, Interest::READABLE)).collect();
        assert_eq!(poll_in_pieces(&mut entries, Some(Duration::ZERO)).unwrap(), 0);
        writer.write_all(b"!").unwrap();
        for timeout in [Some(Duration::ZERO), None] {
            assert_eq!(poll_in_pieces(&mut entries, timeout).unwrap(), entries.len());
        }
    }
}
