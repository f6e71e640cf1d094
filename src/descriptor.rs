//! The number of a registered descriptor, and a table from such numbers to small integers.

#![allow(unsafe_code)] // A number becomes a `BorrowedFd` here, and nowhere else.

use std::fmt;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The number that a source's `as_fd` gave when it was registered.
///
/// It is asked for once and remembered, since a source may answer differently later, and removing
/// what it answers then could remove a stranger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Descriptor(RawFd);

impl Descriptor {
    pub(crate) fn of(source: &impl AsFd) -> Self {
        Self(source.as_fd().as_raw_fd())
    }

    /// The same for a mechanism's own object, of a type that does not lend its descriptor.
    #[cfg(all(mio, any(epoll, kqueue)))]
    pub(crate) fn of_mechanism(mechanism: &impl AsRawFd) -> Self {
        Self(mechanism.as_raw_fd())
    }

    /// The descriptor, to be handed to a system call that answers `EBADF` if it is not open.
    pub(crate) fn borrow(self) -> BorrowedFd<'static> {
        // SAFETY: the number came from a source's `as_fd`, so it is not the invalid one. A selector
        // owns its sources, lends them by shared reference only, and forgets the number before it
        // gives a source back or drops it, so that safe code cannot close the descriptor while a
        // mechanism holds this borrow. Where code outside the rules of I/O safety closes it all the
        // same, the number goes to nothing but readiness calls, which then fail.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }

    /// Whether the number is higher than this.
    pub(crate) fn is_above(self, ceiling: u32) -> bool {
        i128::from(self.0) > i128::from(ceiling)
    }

    #[cfg(unix)]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn number(self) -> RawFd {
        self.0
    }

    /// The descriptor with the number that [`number`](Self::number) gave.
    pub(crate) fn from_number(number: RawFd) -> Self {
        Self(number)
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// From a descriptor to a position in something else.
///
/// Unix hands out the lowest free number, so a plain array is small and as fast as it gets: four
/// bytes for each number up to the highest that was entered.
#[cfg(unix)]
#[derive(Debug, Default)]
pub(crate) struct DescriptorTable(Vec<u32>);

#[cfg(unix)]
impl DescriptorTable {
    const NOWHERE: u32 = u32::MAX;

    #[inline]
    pub(crate) fn get(&self, descriptor: Descriptor) -> Option<usize> {
        match self.0.get(descriptor.index()) {
            None | Some(&Self::NOWHERE) => None,
            Some(&position) => Some(position as usize),
        }
    }

    pub(crate) fn insert(&mut self, descriptor: Descriptor, position: usize) {
        let index = descriptor.index();
        if index >= self.0.len() {
            self.0.resize(index + 1, Self::NOWHERE);
        }
        self.0[index] = position as u32;
    }

    pub(crate) fn remove(&mut self, descriptor: Descriptor) -> Option<usize> {
        let position = self.get(descriptor)?;
        self.0[descriptor.index()] = Self::NOWHERE;
        Some(position)
    }
}

/// From a socket to a position in something else. Socket handles of Windows can be any number.
#[cfg(windows)]
#[derive(Debug, Default)]
pub(crate) struct DescriptorTable(std::collections::HashMap<RawFd, u32>);

#[cfg(windows)]
impl DescriptorTable {
    pub(crate) fn get(&self, descriptor: Descriptor) -> Option<usize> {
        self.0.get(&descriptor.0).map(|&position| position as usize)
    }

    pub(crate) fn insert(&mut self, descriptor: Descriptor, position: usize) {
        self.0.insert(descriptor.0, position as u32);
    }

    pub(crate) fn remove(&mut self, descriptor: Descriptor) -> Option<usize> {
        self.0.remove(&descriptor.0).map(|position| position as usize)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_table_finds_what_was_entered_and_nothing_else() {
        let mut table = DescriptorTable::default();
        let (low, high) = (Descriptor(3), Descriptor(19_999));
        assert_eq!(table.get(high), None);
        table.insert(high, 7);
        table.insert(low, 0);
        assert_eq!(
            (table.get(low), table.get(high), table.get(Descriptor(4))),
            (Some(0), Some(7), None)
        );
        assert_eq!((table.remove(high), table.remove(high)), (Some(7), None));
    }
}
