//! The driver of Windows' sockets, `\Device\Afd`, and its request to watch a socket.

#![allow(unsafe_code)] // Functions of Windows, and a request that the driver writes to.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::{fmt, io, mem, ptr};

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{FILE_OPEN, NtCreateFile};
use windows_sys::Wdk::System::IO::NtDeviceIoControlFile;
use windows_sys::Win32::Foundation::{
    HANDLE, NTSTATUS, RtlNtStatusToDosError, STATUS_CANCELLED, STATUS_INVALID_HANDLE,
    STATUS_OBJECT_TYPE_MISMATCH, STATUS_SUCCESS, UNICODE_STRING,
};
use windows_sys::Win32::Networking::WinSock::{
    SIO_BASE_HANDLE, SIO_BSP_HANDLE, SIO_BSP_HANDLE_POLL, SIO_BSP_HANDLE_SELECT, SOCKET,
    WSAENOTSOCK, WSAIoctl,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_SHARE_READ, FILE_SHARE_WRITE, SYNCHRONIZE, SetFileCompletionNotificationModes,
};
use windows_sys::Win32::System::IO::{CancelIoEx, IO_STATUS_BLOCK, IO_STATUS_BLOCK_0, OVERLAPPED};
use windows_sys::Win32::System::WindowsProgramming::FILE_SKIP_SET_EVENT_ON_HANDLE;

use super::port::Port;
use crate::descriptor::Descriptor;
use crate::error;

/// What the driver reports of a socket.
pub(super) mod mask {
    pub(crate) const RECEIVE: u32 = 1;
    pub(crate) const EXPEDITED: u32 = 1 << 1;
    pub(crate) const SEND: u32 = 1 << 2;
    pub(crate) const DISCONNECT: u32 = 1 << 3;
    pub(crate) const ABORT: u32 = 1 << 4;
    pub(crate) const LOCAL_CLOSE: u32 = 1 << 5;
    pub(crate) const ACCEPT: u32 = 1 << 7;
    pub(crate) const CONNECT_FAIL: u32 = 1 << 8;
}

const IOCTL_AFD_POLL: u32 = 0x0001_2024;

/// The driver's `AFD_POLL_INFO` with one `AFD_POLL_HANDLE_INFO`, of the size that the system's pointers give it.
#[repr(C)]
struct PollInfo {
    timeout: i64,
    count: u32,
    exclusive: u32,
    socket: HANDLE,
    events: u32,
    status: NTSTATUS,
}

/// A request, and room for its answer.
///
/// A box of it belongs to the driver from [`Driver::submit`] until its packet comes out of the port, so that nothing
/// can drop it while the driver may write to it. If the packet never comes, it leaks.
#[repr(C)]
pub(super) struct Request {
    status: IO_STATUS_BLOCK,
    info: PollInfo,
    owner: Owner,
}

// SAFETY: its pointers are handles and a status, which nothing follows.
unsafe impl Send for Request {}
// SAFETY: as above.
unsafe impl Sync for Request {}

/// The registration and the handle that a request belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owner {
    pub(super) slot: usize,
    pub(super) generation: u64,
    pub(super) helper: usize,
    pub(super) socket: SOCKET,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The socket is in these states.
    Found(u32),
    Cancelled,
    Failed,
}

impl Request {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            status: no_status(),
            info: PollInfo {
                timeout: 0,
                count: 0,
                exclusive: 0,
                socket: ptr::null_mut(),
                events: 0,
                status: 0,
            },
            owner: Owner::default(),
        })
    }

    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    pub(super) fn outcome(&self) -> Outcome {
        // SAFETY: both variants are initialized, because the one is an integer and `no_status` has written the other.
        let status = unsafe { self.status.Anonymous.Status };
        match status {
            STATUS_CANCELLED => Outcome::Cancelled,
            STATUS_INVALID_HANDLE | STATUS_OBJECT_TYPE_MISMATCH => {
                Outcome::Found(mask::LOCAL_CLOSE)
            }
            0.. if self.info.count == 0 => Outcome::Cancelled,
            0.. => Outcome::Found(self.info.events),
            _ => Outcome::Failed,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// Names a request that belongs to the driver, to cancel it. It keeps nothing alive and is not followed.
#[derive(Debug)]
pub(super) struct Ticket(usize);

/// Why the driver did not take a request.
pub(super) enum Refusal {
    /// The handle is not open, or no socket.
    NotOpen,
    Other(io::Error),
}

/// A handle of the driver.
#[derive(Debug)]
pub(super) struct Driver(OwnedHandle);

impl Driver {
    pub(super) fn open(port: &Port) -> io::Result<Self> {
        // Any name below the device will do, but there has to be one.
        let mut name: Vec<u16> = r"\Device\Afd\polyselect".encode_utf16().collect();
        let bytes = (2 * name.len()) as u16;
        let name =
            UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: name.as_mut_ptr() };
        let attributes = OBJECT_ATTRIBUTES {
            Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: ptr::null_mut(),
            ObjectName: &raw const name,
            Attributes: 0,
            SecurityDescriptor: ptr::null_mut(),
            SecurityQualityOfService: ptr::null_mut(),
        };
        let (mut handle, mut status) = (ptr::null_mut(), no_status());
        // SAFETY: all that is passed lives through the call.
        let opened = unsafe {
            NtCreateFile(
                &raw mut handle,
                SYNCHRONIZE,
                &raw const attributes,
                &raw mut status,
                ptr::null(),
                0,
                FILE_SHARE_READ | FILE_SHARE_WRITE,
                FILE_OPEN,
                0,
                ptr::null(),
                0,
            )
        };
        if opened != STATUS_SUCCESS {
            return Err(error_of(opened));
        }
        // SAFETY: the handle is open and new, so it has no other owner.
        let driver = Self(unsafe { OwnedHandle::from_raw_handle(handle) });
        port.attach(&driver.0)?;
        // Otherwise each request would also set an event, which nothing waits for.
        let modes = FILE_SKIP_SET_EVENT_ON_HANDLE as u8;
        // SAFETY: the handle is open, and no memory is passed.
        let set = unsafe { SetFileCompletionNotificationModes(driver.0.as_raw_handle(), modes) };
        if set == 0 { Err(io::Error::last_os_error()) } else { Ok(driver) }
    }

    /// Asks for a packet when the socket is in one of the states of `mask`.
    ///
    /// The request belongs to the driver from here on, unless it is returned.
    pub(super) fn submit(
        &self,
        mut request: Box<Request>,
        owner: Owner,
        mask: u32,
    ) -> Result<Ticket, (Refusal, Box<Request>)> {
        request.owner = owner;
        request.status = no_status();
        request.info = PollInfo {
            timeout: i64::MAX,
            count: 1,
            exclusive: 0,
            socket: ptr::without_provenance_mut(owner.socket),
            events: mask,
            status: STATUS_SUCCESS,
        };
        let request = Box::into_raw(request);
        // SAFETY: the pointer comes from a box, so its fields are in bounds.
        let info = unsafe { &raw mut (*request).info };
        let size = size_of::<PollInfo>() as u32;
        // SAFETY: the request came from a box that has no owner now; the driver writes to its first two fields until its
        // packet has come. The port returns the address that is passed as the fourth argument, the request's own.
        let submitted = unsafe {
            NtDeviceIoControlFile(
                self.0.as_raw_handle(),
                ptr::null_mut(),
                None,
                request.cast(),
                request.cast(),
                IOCTL_AFD_POLL,
                info.cast(),
                size,
                info.cast(),
                size,
            )
        };
        // Success has a packet, too; only an error has none.
        if !is_error(submitted) {
            return Ok(Ticket(request.addr()));
        }
        // SAFETY: the driver has not taken the request and posts no packet, so the box is ours again.
        let request = unsafe { Box::from_raw(request) };
        let refusal = match submitted {
            STATUS_INVALID_HANDLE | STATUS_OBJECT_TYPE_MISMATCH => Refusal::NotOpen,
            status => Refusal::Other(error_of(status)),
        };
        Err((refusal, request))
    }

    /// Asks the driver to end a request soon. Its packet comes in any case.
    pub(super) fn cancel(&self, ticket: &Ticket) {
        let request = ptr::without_provenance::<OVERLAPPED>(ticket.0);
        // SAFETY: the handle is open. The pointer is compared with those of requests, and not followed; if the
        // memory has a new use, another request may end early, which is submitted again.
        unsafe { CancelIoEx(self.0.as_raw_handle(), request) };
    }
}

/// The socket that the driver knows, below what other programs have put above it.
pub(super) fn base_socket(descriptor: Descriptor) -> io::Result<SOCKET> {
    let socket = descriptor.number() as SOCKET;
    let error = match base_by(socket, SIO_BASE_HANDLE) {
        Ok(base) => return Ok(base),
        Err(error) if error.raw_os_error() == Some(WSAENOTSOCK) => {
            return Err(error::not_open(descriptor));
        }
        Err(error) => error,
    };
    // Some programs in between answer these only; an answer with the same socket does not count.
    [SIO_BSP_HANDLE_SELECT, SIO_BSP_HANDLE_POLL, SIO_BSP_HANDLE]
        .into_iter()
        .filter_map(|code| base_by(socket, code).ok())
        .find(|base| *base != socket)
        .ok_or(error)
}

fn base_by(socket: SOCKET, code: u32) -> io::Result<SOCKET> {
    let (mut base, mut bytes): (SOCKET, u32) = (0, 0);
    let size = size_of::<SOCKET>() as u32;
    // SAFETY: there is room for the answer, which lives through the call; the other pointers may be null.
    let failed = unsafe {
        WSAIoctl(
            socket,
            code,
            ptr::null(),
            0,
            (&raw mut base).cast(),
            size,
            &raw mut bytes,
            ptr::null_mut(),
            None,
        )
    };
    if failed == 0 { Ok(base) } else { Err(io::Error::last_os_error()) }
}

fn no_status() -> IO_STATUS_BLOCK {
    IO_STATUS_BLOCK { Anonymous: IO_STATUS_BLOCK_0 { Pointer: ptr::null_mut() }, Information: 0 }
}

/// Whether a status is of the kind that leaves no packet.
fn is_error(status: NTSTATUS) -> bool {
    status.cast_unsigned() >> 30 == 3
}

fn error_of(status: NTSTATUS) -> io::Error {
    // SAFETY: has no conditions.
    io::Error::from_raw_os_error(unsafe { RtlNtStatusToDosError(status) }.cast_signed())
}

/// The address of a request is also that of its status.
const _: () = assert!(mem::offset_of!(Request, status) == 0);
