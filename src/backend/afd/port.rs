//! The completion port: where the driver queues the requests that it has completed, and what a waker posts to.

#![allow(unsafe_code)] // Functions of Windows, and a request that comes back from the driver.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, ptr};

use windows_sys::Win32::Foundation::{INVALID_HANDLE_VALUE, WAIT_TIMEOUT};
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED_ENTRY,
    PostQueuedCompletionStatus,
};

use super::driver::Request;

const INFINITE: u32 = u32::MAX;

/// The keys of packets.
const REQUEST: usize = 0;
const WAKE: usize = 1;

/// A completion port.
#[derive(Debug)]
pub(crate) struct Port {
    handle: OwnedHandle,
    /// A wake that needs no packet, because no thread waits.
    is_noted: AtomicBool,
}

/// What a packet reports.
pub(super) enum Packet {
    /// The driver has completed a request, and uses it no longer.
    Completed(Box<Request>),
    Wake,
}

impl Port {
    pub(super) fn open() -> io::Result<Self> {
        let (no_file, no_port) = (INVALID_HANDLE_VALUE, ptr::null_mut());
        // SAFETY: without a file it opens a port, and takes no memory.
        let handle = unsafe { CreateIoCompletionPort(no_file, no_port, REQUEST, 1) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle is open and new, so it has no other owner.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        Ok(Self { handle, is_noted: AtomicBool::new(false) })
    }

    /// Lets the requests to a handle of the driver end as packets of this port.
    ///
    /// The handle must have no other requests than those of [`Driver::submit`](super::driver::Driver::submit), because
    /// a packet with the key `REQUEST` is taken for one.
    pub(super) fn attach(&self, device: &OwnedHandle) -> io::Result<()> {
        let (device, port) = (device.as_raw_handle(), self.handle.as_raw_handle());
        // SAFETY: both handles are open, and no memory is passed.
        let attached = unsafe { CreateIoCompletionPort(device, port, REQUEST, 0) };
        if attached.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Ends the present wait, or the next one. Does not block.
    pub(crate) fn wake(&self) -> io::Result<()> {
        let port = self.handle.as_raw_handle();
        // SAFETY: the handle is open. The port returns the pointer with the packet, and nothing follows it.
        let posted = unsafe { PostQueuedCompletionStatus(port, 0, WAKE, ptr::null()) };
        if posted == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Lets the next wait end immediately. Cannot fail, but does not end a wait that has begun.
    pub(crate) fn note_wake(&self) {
        self.is_noted.store(true, Ordering::Release);
    }

    pub(super) fn take_noted(&self) -> bool {
        self.is_noted.load(Ordering::Relaxed) && self.is_noted.swap(false, Ordering::Acquire)
    }

    /// Takes up to `room` packets, at most [`Batch::SIZE`]; waits for up to `timeout`, which is rounded up to
    /// milliseconds, until there is one. It may return early without a packet.
    pub(super) fn dequeue(&self, room: usize, timeout: Option<Duration>) -> io::Result<Batch> {
        let mut batch = Batch { entries: Batch::EMPTY, next: 0, len: 0 };
        let room = room.clamp(1, Batch::SIZE) as u32;
        let timeout = timeout.map_or(INFINITE, |timeout| {
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            u32::try_from(millis).map_or(INFINITE - 1, |millis| millis.min(INFINITE - 1))
        });
        let (port, entries) = (self.handle.as_raw_handle(), batch.entries.as_mut_ptr());
        let mut count = 0;
        // SAFETY: the handle is open, and there is room for `room` entries, which lives through the call.
        let found = unsafe {
            let count = &raw mut count;
            GetQueuedCompletionStatusEx(port, entries, room, count, timeout, 0)
        };
        if found != 0 {
            batch.len = count as usize;
            return Ok(batch);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(WAIT_TIMEOUT.cast_signed()) => Ok(batch),
            error => Err(error),
        }
    }
}

/// Packets that a port has returned. The requests of those that are not taken out leak.
pub(super) struct Batch {
    entries: [OVERLAPPED_ENTRY; Self::SIZE],
    next: usize,
    len: usize,
}

impl Batch {
    pub(super) const SIZE: usize = 64;

    const EMPTY: [OVERLAPPED_ENTRY; Self::SIZE] = [OVERLAPPED_ENTRY {
        lpCompletionKey: 0,
        lpOverlapped: ptr::null_mut(),
        Internal: 0,
        dwNumberOfBytesTransferred: 0,
    }; Self::SIZE];

    /// How many packets the call has returned.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Iterator for Batch {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        let entry = self.entries[..self.len].get(self.next)?;
        self.next += 1;
        if entry.lpCompletionKey == WAKE {
            return Some(Packet::Wake);
        }
        // SAFETY: a packet with this key is the end of a request that `Driver::submit` has made of a box and
        // given away. There is one packet for each, which is taken out once, and after it the driver uses the
        // request no longer.
        Some(Packet::Completed(unsafe { Box::from_raw(entry.lpOverlapped.cast::<Request>()) }))
    }
}
