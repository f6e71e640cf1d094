//! The system calls `kqueue` and `kevent`, and the differences between systems. Everything above this file is
//! the same on each of them.
//!
//! The calls are the C library's, because rustix hides `fflags` of the filters for reading and writing, which
//! hold a socket's error, and has no `EVFILT_EXCEPT`. With `cfg(kqueue_sim)`, which `build.rs` sets for this
//! project's own tests on Linux, they are those of a simulated kernel.

#![allow(unsafe_code)] // The calls are foreign functions, and their structure has a pointer.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

#[cfg(not(kqueue_sim))]
use libc as system;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

#[cfg(kqueue_sim)]
use crate::kqueue_sim as system;

/// A filter: the kernel watches each direction of a descriptor by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Read,
    Write,
    /// Priority data, on systems that have it.
    Except,
}

impl Filter {
    pub(super) const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Except];
}

/// The effect of a change on a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Adds it: level-triggered, or as an edge.
    Add {
        edge: bool,
    },
    Delete,
}

/// An entry of the change list or of the event list.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Kevent(system::kevent);

// SAFETY: the structure is neither because of the pointer in it, which holds an integer and is never followed.
unsafe impl Send for Kevent {}
// SAFETY: as above.
unsafe impl Sync for Kevent {}

impl std::fmt::Debug for Kevent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kevent")
            .field("ident", &self.ident())
            .field("filter", &self.filter())
            .field("error", &self.error())
            .finish_non_exhaustive()
    }
}

// The fields have other widths on other systems.
#[allow(clippy::cast_possible_wrap, clippy::unnecessary_cast, clippy::useless_conversion)]
impl Kevent {
    /// A change. Its `udata` comes back with every event of the filter.
    pub(super) fn change(ident: RawFd, filter: Filter, action: Action, udata: u32) -> Self {
        // SAFETY: integers and a pointer, all of which may be zero.
        let mut event: system::kevent = unsafe { MaybeUninit::zeroed().assume_init() };
        event.ident = ident as usize;
        event.filter = match filter {
            Filter::Read => system::EVFILT_READ,
            Filter::Write => system::EVFILT_WRITE,
            Filter::Except => except::FILTER,
        };
        event.flags = match action {
            Action::Add { edge: false } => system::EV_ADD,
            Action::Add { edge: true } => system::EV_ADD | system::EV_CLEAR,
            Action::Delete => system::EV_DELETE,
        };
        if filter == Filter::Except {
            event.fflags = except::OUT_OF_BAND;
        }
        event.udata = std::ptr::without_provenance_mut(udata as usize);
        Self(event)
    }

    /// The same change; the kernel confirms it in the event list.
    pub(super) fn with_receipt(mut self) -> Self {
        self.0.flags |= system::EV_RECEIPT;
        self
    }

    /// Whether two deletions are of the same filter.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.is_deletion() && (self.ident(), self.filter()) == (other.ident(), other.filter())
    }

    pub(super) fn is_deletion(&self) -> bool {
        self.0.flags & system::EV_DELETE != 0
    }

    pub(super) fn ident(&self) -> RawFd {
        self.0.ident as RawFd
    }

    pub(super) fn filter(&self) -> Option<Filter> {
        let filter = self.0.filter;
        match () {
            () if filter == system::EVFILT_READ => Some(Filter::Read),
            () if filter == system::EVFILT_WRITE => Some(Filter::Write),
            () if filter == except::FILTER => Some(Filter::Except),
            () => None,
        }
    }

    pub(super) fn udata(&self) -> u32 {
        let udata = self.0.udata;
        udata.addr() as u32
    }

    /// Whether it answers a change, and with which error number; zero is success.
    pub(super) fn error(&self) -> Option<i32> {
        let data = self.0.data;
        (self.0.flags & system::EV_ERROR != 0).then(|| i32::try_from(data).unwrap_or(i32::MAX))
    }

    /// Whether the peer or this side has ended the direction; what came before can still be read.
    pub(super) fn is_eof(&self) -> bool {
        self.0.flags & system::EV_EOF != 0
    }

    /// The pending error of a socket, if this is its end; otherwise zero.
    pub(super) fn pending_error(&self) -> u32 {
        if self.is_eof() && self.filter() != Some(Filter::Except) { self.0.fflags } else { 0 }
    }

    /// Whether there are priority data.
    pub(super) fn is_out_of_band(&self) -> bool {
        let wanted = except::OUT_OF_BAND;
        wanted != 0 && self.0.fflags & wanted == wanted
    }
}

/// macOS, OpenBSD and DragonFly have a filter for priority data. FreeBSD and NetBSD do not.
#[cfg(any(kqueue_sim, target_vendor = "apple", target_os = "openbsd", target_os = "dragonfly"))]
mod except {
    pub(super) use super::system::{EVFILT_EXCEPT as FILTER, NOTE_OOB as OUT_OF_BAND};
}
#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
mod except {
    #[cfg(target_os = "freebsd")]
    pub(super) const FILTER: i16 = 0;
    #[cfg(target_os = "netbsd")]
    pub(super) const FILTER: u32 = u32::MAX;
    pub(super) const OUT_OF_BAND: u32 = 0;
}

/// The number of the file has no filters any more, or is not open.
pub(super) fn is_gone(error: i32) -> bool {
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    if error == libc::ENOTCAPABLE {
        return true;
    }
    error == libc::ENOENT || error == libc::EBADF
}

/// The kind of file has no such filter.
pub(super) fn is_wrong_kind(error: i32) -> bool {
    use libc::{EINVAL, ENODEV, ENOTTY, ENXIO, EOPNOTSUPP, EPERM};

    [EINVAL, EPERM, ENODEV, EOPNOTSUPP, ENXIO, ENOTTY].contains(&error)
}

/// Opens a queue, which is closed by `exec` and not inherited by `fork`.
pub(super) fn open() -> io::Result<OwnedFd> {
    // SAFETY: has no conditions.
    let number = unsafe { system::kqueue() };
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just returned it.
    let queue = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
    Ok(queue)
}

/// Makes the changes, then waits for events for up to `timeout`; replaces what is in `events` by at most
/// `room` of them. A change that fails is an event with its error, for which there must be room, and ends the
/// wait. If the call fails with `EINTR`, the changes have been made.
pub(super) fn kevent(
    queue: BorrowedFd<'_>,
    changes: &[Kevent],
    events: &mut Vec<Kevent>,
    room: usize,
    timeout: Option<Duration>,
) -> io::Result<()> {
    events.clear();
    events.reserve(room);
    let timeout = timeout.map(to_timespec);
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    #[allow(clippy::useless_conversion)] // They are `usize` on NetBSD.
    let sizes = (changes.len().try_into().ok(), room.try_into().ok());
    let (Some(change_count), Some(room_count)) = sizes else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: `Kevent` is the system's structure; the lists have the lengths that are passed, the second one
    // of uninitialised places; all live through the call. A descriptor that is not open is an error.
    let count = unsafe {
        system::kevent(
            queue.as_raw_fd(),
            changes.as_ptr().cast(),
            change_count,
            events.as_mut_ptr().cast(),
            room_count,
            timeout,
        )
    };
    let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
    // SAFETY: the kernel has written as many.
    unsafe { events.set_len(count.min(room)) };
    Ok(())
}

#[allow(clippy::useless_conversion)] // The fields have other widths on other systems.
fn to_timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().cast_signed().into(),
    }
}
