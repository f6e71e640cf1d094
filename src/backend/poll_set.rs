//! A set of descriptors for `poll`, and the call itself. The `poll` backend consists of it; level
//! emulation and `select` use it for the details of their ready sources.

use std::io;
use std::time::Duration;

#[cfg(not(kqueue_sim))]
use rustix::event::poll;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::fd_map::FdMap;
use crate::descriptor::Descriptor;
use crate::error;
use crate::event::Events;
use crate::interest::{Interest, Watch};
use crate::key::Token;
#[cfg(kqueue_sim)]
use crate::kqueue_sim::poll;
use crate::raw_event::{POLL_IN, bits};

#[derive(Debug, Default)]
pub(super) struct PollSet {
    /// The argument of the system call.
    entries: Vec<PollFd<'static>>,
    /// The data of the entry at the same position.
    owners: FdMap<Owner>,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    token: Token,
    watch: Watch,
}

impl PollSet {
    #[cfg(any(event_port, io_uring, mio))]
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cfg(kqueue)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (Descriptor, Token, Watch)> {
        self.owners
            .as_slice()
            .iter()
            .map(|&(descriptor, owner)| (descriptor, owner.token, owner.watch))
    }

    /// Inserts a descriptor, or changes its interest.
    #[inline]
    pub(super) fn insert(&mut self, descriptor: Descriptor, token: Token, watch: Watch) {
        let entry = entry(descriptor, watch.interest());
        let owner = Owner { token, watch };
        let position = self.owners.insert(descriptor, owner);
        if position == self.entries.len() {
            self.entries.push(entry);
        } else {
            self.entries[position] = entry;
        }
    }

    #[inline]
    pub(super) fn remove(&mut self, descriptor: Descriptor) {
        if let Some((position, _)) = self.owners.remove(descriptor) {
            self.entries.swap_remove(position);
        }
    }

    /// One call of `poll`, and an event for each entry that is ready. One-shots that fire and
    /// descriptors that are not open leave the set; `left` is called for each.
    pub(super) fn wait(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
        mut left: impl FnMut(Descriptor),
    ) -> io::Result<()> {
        let mut found = poll_all(&mut self.entries, timeout)?;
        let mut position = 0;
        while found > 0
            && let Some(entry) = self.entries.get(position)
        {
            let bits = found_bits(entry);
            if bits != 0 {
                found -= 1;
                let (descriptor, owner) = self.owners.as_slice()[position];
                events.push(owner.token, bits);
                if owner.watch.is_oneshot() || bits & bits::NVAL != 0 {
                    events.note_invalid(bits);
                    // The last entry moves to this position and is the next to look at.
                    self.remove(descriptor);
                    left(descriptor);
                    continue;
                }
            }
            position += 1;
        }
        Ok(())
    }

    /// Removes the entries that the last call did not find ready.
    #[cfg(any(event_port, io_uring, mio))]
    pub(super) fn remove_unready(&mut self, mut removed: impl FnMut(Descriptor)) {
        let mut position = 0;
        while let Some(entry) = self.entries.get(position) {
            if entry.revents().is_empty() {
                let (descriptor, _) = self.owners.as_slice()[position];
                self.remove(descriptor);
                removed(descriptor);
            } else {
                position += 1;
            }
        }
    }

    #[cfg(mio)]
    pub(super) fn any(&self) -> Option<Descriptor> {
        self.owners.as_slice().last().map(|&(descriptor, _)| descriptor)
    }
}

/// Half-close, on systems whose `poll` has a flag for it; elsewhere it is `IN` alone.
#[cfg(poll_rdhup)]
const RDHUP: PollFlags = PollFlags::RDHUP;
#[cfg(not(poll_rdhup))]
const RDHUP: PollFlags = PollFlags::empty();

/// The system's flags and ours, for systems whose values differ from Linux's.
#[cfg(not(epoll))]
const FLAGS: [(PollFlags, u32); 7] = [
    (POLL_IN, bits::IN),
    (PollFlags::PRI, bits::PRI),
    (PollFlags::OUT, bits::OUT),
    (PollFlags::ERR, bits::ERR),
    (PollFlags::HUP, bits::HUP),
    (PollFlags::NVAL, bits::NVAL),
    (RDHUP, bits::RDHUP),
];

/// An entry for the system call.
#[inline]
pub(super) fn entry(descriptor: Descriptor, interest: Interest) -> PollFd<'static> {
    PollFd::from_borrowed_fd(descriptor.borrow(), to_flags(interest.poll_bits()))
}

#[cfg(epoll)]
#[inline]
fn to_flags(bits: u32) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(POLL_IN | RDHUP, bits & bits::IN != 0);
    flags.set(PollFlags::OUT, bits & bits::OUT != 0);
    flags.set(PollFlags::PRI, bits & bits::PRI != 0);
    flags
}

#[cfg(not(epoll))]
#[inline]
fn to_flags(bits: u32) -> PollFlags {
    let set = FLAGS.iter().filter(|(_, bit)| bits & bit != 0);
    set.fold(PollFlags::empty(), |flags, &(flag, _)| flags | flag)
}

/// The system's flags for an interest.
#[cfg(event_port)]
pub(super) fn flags_of(interest: Interest) -> PollFlags {
    to_flags(interest.poll_bits())
}

/// The result for an entry, with Linux's values.
#[cfg(epoll)]
#[allow(clippy::unnecessary_cast)] // rustix has `u16` here, or `i16` on top of the C library.
#[inline]
pub(super) fn found_bits(entry: &PollFd<'_>) -> u32 {
    u32::from(entry.revents().bits() as u16) & bits::ALL
}

/// The result for an entry, with Linux's values.
#[cfg(not(epoll))]
#[inline]
pub(super) fn found_bits(entry: &PollFd<'_>) -> u32 {
    let found = entry.revents();
    let set = FLAGS.iter().filter(|(flag, _)| found.intersects(*flag));
    set.fold(0, |bits, (_, bit)| bits | bit)
}

/// Fails if the descriptor is not open, or open only as a path (`O_PATH`). One `poll` that does not wait.
#[cfg(any(epoll, windows))]
pub(crate) fn check_open(descriptor: Descriptor) -> io::Result<()> {
    let mut entries = [entry(descriptor, Interest::empty())];
    poll_all(&mut entries, Some(Duration::ZERO))?;
    if found_bits(&entries[0]) & bits::NVAL != 0 {
        return Err(error::not_open(descriptor));
    }
    Ok(())
}

/// Fails if the descriptor is not open. One `fcntl`, because `poll` calls some devices of macOS invalid.
#[cfg(not(any(epoll, windows)))]
pub(crate) fn check_open(descriptor: Descriptor) -> io::Result<()> {
    match rustix::io::fcntl_getfd(descriptor.borrow()) {
        Ok(_) => Ok(()),
        Err(Errno::BADF) => Err(error::not_open(descriptor)),
        Err(error) => Err(error.into()),
    }
}

/// The present readiness of a descriptor. One `poll` that does not wait.
#[cfg(feature = "testing")]
pub(crate) fn ready_bits(descriptor: Descriptor, interest: Interest) -> u32 {
    let mut entries = [entry(descriptor, interest)];
    match poll_all(&mut entries, Some(Duration::ZERO)) {
        Ok(_) => found_bits(&entries[0]) & !bits::NVAL,
        Err(_) => 0,
    }
}

/// `poll` over any number of entries; returns how many are ready.
#[inline]
pub(super) fn poll_all(
    entries: &mut [PollFd<'static>],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    #[cfg(windows)]
    if entries.is_empty() {
        // WSAPoll refuses an empty set. Nothing can change during the sleep: changes need `&mut Selector`.
        std::thread::sleep(timeout.unwrap_or(Duration::MAX));
        return Ok(0);
    }
    loop {
        return match poll(entries, timeout.map(to_timespec).as_ref()) {
            // A pending signal interrupts even a call that does not wait.
            Err(Errno::INTR) if timeout == Some(Duration::ZERO) => continue,
            Err(Errno::INVAL) if entries.len() > PIECE => poll_in_pieces(entries, timeout),
            // Without any open socket WSAPoll fails, but it has marked them.
            #[cfg(windows)]
            Err(Errno::NOTSOCK) => {
                let not_open = entries.iter().filter(|entry| found_bits(entry) & bits::NVAL != 0);
                match not_open.count() {
                    0 => Err(Errno::NOTSOCK.into()),
                    count => Ok(count),
                }
            }
            result => Ok(result?),
        };
    }
}

/// Below any limit on descriptors with which a process still works.
const PIECE: usize = 256;

/// For sets larger than the limit on descriptors. No call can wait for all pieces, so this looks at each,
/// and waits for up to a millisecond on the first.
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

/// A timeout for a system call; one that does not fit is replaced by the longest.
#[inline]
pub(super) fn to_timespec(timeout: Duration) -> Timespec {
    Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

/// The whole milliseconds of a timeout and the rest, for calls that round up.
#[cfg(epoll)]
pub(super) fn split_timeout(timeout: Duration) -> (Duration, Duration) {
    let rest = Duration::from_nanos(u64::from(timeout.subsec_nanos() % 1_000_000));
    (timeout - rest, rest)
}

/// Waits until the kernel object of a backend has an event, to the nanosecond. Consumes no edge and no
/// one-shot.
#[cfg(epoll)]
pub(super) fn readable_within(
    kernel_object: rustix::fd::BorrowedFd<'_>,
    timeout: Duration,
) -> io::Result<bool> {
    let mut entry = [PollFd::from_borrowed_fd(kernel_object, PollFlags::IN)];
    Ok(poll(&mut entry, Some(&to_timespec(timeout)))? > 0)
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn more_entries_than_descriptors_are_polled_in_pieces() {
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
