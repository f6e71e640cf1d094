//! The system calls of event ports.
//!
//! The calls are the C library's, because rustix loses the events of a `port_getn` that ends with an error. With
//! `cfg(event_port_sim)`, which `build.rs` sets for this project's own tests on Linux, they are those of a simulated
//! kernel.

#![allow(unsafe_code)] // The calls are foreign functions, and their structure has a pointer.

use std::time::Duration;
use std::{fmt, io, ptr};

#[cfg(not(event_port_sim))]
use libc as system;
use rustix::event::PollFlags;
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use crate::descriptor::Descriptor;
#[cfg(event_port_sim)]
use crate::event_port_sim as system;

/// A port.
#[derive(Debug)]
pub(super) struct Port(OwnedFd);

/// An event, with which the association of its descriptor has ended.
#[repr(transparent)]
pub(super) struct PortEvent(system::port_event);

// SAFETY: the structure is neither because of the pointer in it, which holds an integer and is never followed.
unsafe impl Send for PortEvent {}
// SAFETY: as above.
unsafe impl Sync for PortEvent {}

impl PortEvent {
    pub(super) fn descriptor(&self) -> Descriptor {
        // It was the descriptor of an association, and may be closed by now.
        Descriptor::from_number((self.0.portev_object as u32).cast_signed())
    }

    /// The number that was passed to [`Port::associate`].
    pub(super) fn generation(&self) -> u32 {
        self.0.portev_user.addr() as u32
    }
}

impl fmt::Debug for PortEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortEvent").field("descriptor", &self.descriptor()).finish_non_exhaustive()
    }
}

impl Port {
    pub(super) fn open() -> io::Result<Self> {
        // SAFETY: it has no arguments.
        let number = unsafe { system::port_create() };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just opened this descriptor, and its number is known here only.
        let port = unsafe { OwnedFd::from_raw_fd(number) };
        fcntl_setfd(&port, FdFlags::CLOEXEC)?;
        Ok(Self(port))
    }

    /// Asks for one event when the descriptor is ready, which it may be already. Replaces an earlier association.
    pub(super) fn associate(
        &self,
        descriptor: Descriptor,
        flags: PollFlags,
        generation: u32,
    ) -> Result<(), Errno> {
        let (port, object) = (self.0.as_raw_fd(), descriptor.number() as usize);
        let user = ptr::without_provenance_mut(generation as usize);
        let flags = i32::from(flags.bits());
        let source = system::PORT_SOURCE_FD;
        // SAFETY: the kernel returns the pointer with the event, and nothing follows it. A descriptor that is not open
        // is an error.
        check(unsafe { system::port_associate(port, source, object, flags, user) })
    }

    pub(super) fn dissociate(&self, descriptor: Descriptor) -> Result<(), Errno> {
        let (port, object) = (self.0.as_raw_fd(), descriptor.number() as usize);
        // SAFETY: the arguments are integers.
        check(unsafe { system::port_dissociate(port, system::PORT_SOURCE_FD, object) })
    }

    /// Waits for up to `timeout` until there is an event, and puts at most `room` events into `batch`.
    #[allow(clippy::cast_lossless)] // `c_long` has 32 bits on some systems.
    pub(super) fn wait(
        &self,
        batch: &mut Vec<PortEvent>,
        room: usize,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        batch.clear();
        batch.reserve(room.max(1));
        let room = u32::try_from(room.max(1)).unwrap_or(u32::MAX);
        let mut timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos() as libc::c_long,
        });
        let timeout = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        let list = batch.as_mut_ptr().cast::<system::port_event>();
        // Some kernels do not change the count if they return nothing.
        // SAFETY: there is room for an event.
        unsafe { (*list).portev_source = 0 };
        let mut count = 1;
        let port = self.0.as_raw_fd();
        // SAFETY: the list has room for `room` events, and all that is passed lives through the call.
        let result = unsafe { system::port_getn(port, list, room, &raw mut count, timeout) };
        let error = Errno::from_io_error(&io::Error::last_os_error());
        // SAFETY: this field was written above, if not by the kernel.
        let is_filled = unsafe { (*list).portev_source } != 0;
        // A call that ends with an error may have taken events, too.
        let len = if is_filled { count as usize } else { 0 };
        // SAFETY: the kernel has written `count` events.
        unsafe { batch.set_len(len) };
        match error {
            Some(error) if result < 0 && len == 0 && error != Errno::TIME => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn check(result: i32) -> Result<(), Errno> {
    if result >= 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}
