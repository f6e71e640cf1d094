//! The descriptor of a registered source, and a table from descriptors to small integers.

#![allow(unsafe_code)] // A number becomes a `BorrowedFd`, a `File` or an `OwnedFd` here, and nowhere else.

use std::fmt;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The number that a source's `as_fd` returned when it was registered.
///
/// `as_fd` is called once, because a source may return another number later, and removing that could
/// remove another registration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Descriptor(RawFd);

impl Descriptor {
    pub(crate) fn of(source: &impl AsFd) -> Self {
        Self(source.as_fd().as_raw_fd())
    }

    /// The descriptor of a backend's kernel object, whose type does not lend it.
    #[cfg(all(mio, any(epoll, kqueue)))]
    pub(crate) fn of_kernel_object(object: &impl AsRawFd) -> Self {
        Self(object.as_raw_fd())
    }

    /// The descriptor as an argument of a system call that returns `EBADF` if it is not open.
    #[inline]
    pub(crate) fn borrow(self) -> BorrowedFd<'static> {
        // SAFETY: the number came from a source's `as_fd` or is a kernel object's, so it is not the
        // invalid one. A selector owns its sources, lends them by shared reference only, and forgets the
        // number before it returns or drops a source, so safe code cannot close the descriptor while a
        // backend holds this borrow; it closes a kernel object when no thread waits on it. If code
        // outside the rules of I/O safety closes it, the number is an argument of readiness calls only,
        // which then fail.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }

    /// Whether the number is a valid descriptor: negative numbers stand for folders in some system calls.
    #[cfg(unix)]
    pub(crate) fn is_valid(self) -> bool {
        self.0 >= 0
    }

    /// Every number can be a socket.
    #[cfg(windows)]
    #[allow(clippy::unused_self)]
    pub(crate) fn is_valid(self) -> bool {
        true
    }

    /// Whether the descriptor is of a kind of file that never blocks, or a device. One `fstat`.
    #[cfg(any(epoll, all(mio, not(kqueue))))]
    pub(crate) fn never_blocks(self) -> bool {
        matches!(self.kind(), FileKind::NeverBlocks | FileKind::Device)
    }

    /// The result of an `fstat`.
    #[cfg(any(epoll, kqueue, mio, all(unix, feature = "testing")))]
    fn status(self) -> std::io::Result<std::fs::Metadata> {
        use std::{fs::File, mem::ManuallyDrop, os::fd::FromRawFd};

        // SAFETY: as in `borrow`; this second owner is never dropped, so it does not close the descriptor.
        let file = ManuallyDrop::new(unsafe { File::from_raw_fd(self.0) });
        file.metadata()
    }

    /// The kind of file. One `fstat`; `Other` if that fails.
    #[cfg(any(epoll, kqueue, mio))]
    pub(crate) fn kind(self) -> FileKind {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};

        let Ok(status) = self.status() else { return FileKind::Other };
        let kind = status.file_type();
        if kind.is_file() || kind.is_dir() || kind.is_block_device() {
            FileKind::NeverBlocks
        } else if kind.is_char_device() {
            if never_blocks(status.rdev()) { FileKind::NeverBlocks } else { FileKind::Device }
        } else if kind.is_fifo() {
            // macOS leaves the device of a pipe without a name at zero.
            #[cfg(not(kqueue_sim))]
            let is_named = cfg!(target_vendor = "apple") && status.dev() != 0;
            #[cfg(kqueue_sim)]
            let is_named = crate::kqueue_sim::is_named_fifo(self.0);
            FileKind::Fifo { is_named }
        } else {
            FileKind::Other
        }
    }

    /// Which socket or pipe it is. One `fstat`; `None` for other kinds, and if the descriptor is not open.
    #[cfg(all(unix, feature = "testing"))]
    pub(crate) fn file_id(self) -> Option<FileId> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};

        let status = self.status().ok()?;
        let kind = status.file_type();
        let is_known = kind.is_socket() || kind.is_fifo();
        is_known.then(|| FileId { device: status.dev(), number: status.ino() })
    }

    #[cfg(all(not(unix), feature = "testing"))]
    #[allow(clippy::unused_self)]
    pub(crate) fn file_id(self) -> Option<FileId> {
        None
    }

    /// The lowest numbers that descriptors have, open or not.
    #[cfg(all(unix, feature = "testing"))]
    pub(crate) fn lowest(count: RawFd) -> impl Iterator<Item = Self> {
        (0..count).map(Self)
    }

    #[cfg(all(not(unix), feature = "testing"))]
    pub(crate) fn lowest(_count: i32) -> impl Iterator<Item = Self> {
        std::iter::empty()
    }

    #[cfg(unix)]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    #[cfg(any(afd, epoll, event_port, mio, select))]
    #[inline]
    pub(crate) fn number(self) -> RawFd {
        self.0
    }

    /// The descriptor with this number, which [`number`](Self::number) returned.
    #[cfg(any(epoll, event_port, select))]
    #[inline]
    pub(crate) fn from_number(number: RawFd) -> Self {
        Self(number)
    }
}

/// Whether this is the number of `/dev/null` or `/dev/zero`.
#[cfg(any(epoll, kqueue, mio))]
fn never_blocks(device: u64) -> bool {
    use std::os::unix::fs::MetadataExt;

    let is = |path| std::fs::metadata(path).is_ok_and(|status| status.rdev() == device);
    is("/dev/null") || is("/dev/zero")
}

/// A socket or a pipe of the system.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId {
    device: u64,
    number: u64,
}

/// A kind of file, as far as backends treat them differently.
#[cfg(any(epoll, kqueue, mio))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A regular file, a directory, a block device, `/dev/null` or `/dev/zero`.
    NeverBlocks,
    /// A terminal or another character device.
    Device,
    Fifo {
        /// Whether it has a name in a file system; known on macOS only.
        is_named: bool,
    },
    Other,
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

/// A map from descriptors to positions in another structure.
///
/// Unix assigns the lowest free number, so an array is small: four bytes for each number up to the highest
/// that was inserted.
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

/// A map from sockets to positions in another structure. Socket handles of Windows can be any number.
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
    fn a_table_finds_the_inserted_descriptors_and_no_others() {
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
