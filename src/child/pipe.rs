//! A pipe to or from a child on Windows, which cannot be watched for readiness: a read or a write is begun, and a
//! thread of the system notes its end.

#![allow(unsafe_code)] // Functions of Windows, and memory that the system uses during a transfer.

use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{fmt, io, mem, ptr};

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, STATUS_PENDING};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{
    BindIoCompletionCallback, CancelIoEx, GetOverlappedResult, OVERLAPPED,
};

use crate::clock::OutsideWork;

/// The parent's end of a pipe, with one transfer at a time.
///
/// A transfer goes on when this is dropped, and the pipe is closed after it.
pub(crate) struct Pipe(Arc<Shared>);

struct Shared {
    handle: OwnedHandle,
    state: Mutex<State>,
    has_ended: Condvar,
}

struct State {
    transfer: Transfer,
    /// The tasks that wait for the end of the transfer.
    wakers: Vec<Waker>,
}

enum Transfer {
    Nothing,
    /// The address of the operation, which belongs to the system until `has_ended` is called.
    InProgress(*mut Operation),
    Ended(Ended),
}

// SAFETY: the address is used under the lock of the state only, and as `InProgress` describes.
unsafe impl Send for Transfer {}

/// The buffer of a transfer, and how many of its bytes were moved.
pub(crate) type Ended = (Vec<u8>, io::Result<usize>);

/// A transfer, and the memory that it needs.
#[repr(C)]
struct Operation {
    overlapped: OVERLAPPED,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
    /// A lab's time goes on until the loop has been woken.
    outside: OutsideWork,
}

#[derive(Clone, Copy)]
enum Way {
    Read,
    Write,
}

impl Pipe {
    /// Takes the handle of a pipe that was opened for overlapped operations, as those of `Child` are.
    pub(crate) fn new(handle: impl Into<OwnedHandle>) -> io::Result<Self> {
        let handle = handle.into();
        // SAFETY: the handle is open, and the function is one for the operations that this file begins.
        let bound = unsafe { BindIoCompletionCallback(handle.as_raw_handle(), Some(has_ended), 0) };
        if bound == 0 {
            return Err(io::Error::last_os_error());
        }
        let state = State { transfer: Transfer::Nothing, wakers: Vec::new() };
        Ok(Self(Arc::new(Shared { handle, state: Mutex::new(state), has_ended: Condvar::new() })))
    }

    /// Begins to fill `buffer`. There must be no other transfer.
    pub(crate) fn read(&self, buffer: Vec<u8>, outside: OutsideWork) -> io::Result<()> {
        self.begin(Way::Read, buffer, outside)
    }

    /// Begins to write `buffer`. There must be no other transfer.
    pub(crate) fn write(&self, buffer: Vec<u8>, outside: OutsideWork) -> io::Result<()> {
        self.begin(Way::Write, buffer, outside)
    }

    fn begin(&self, way: Way, mut buffer: Vec<u8>, outside: OutsideWork) -> io::Result<()> {
        let mut state = self.0.lock();
        assert!(matches!(state.transfer, Transfer::Nothing), "a pipe has one transfer at a time");
        let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let bytes = buffer.as_mut_ptr();
        let overlapped = OVERLAPPED::default();
        let shared = Arc::clone(&self.0);
        let operation = Box::into_raw(Box::new(Operation { overlapped, buffer, shared, outside }));
        let (handle, overlapped) = (self.0.handle.as_raw_handle(), operation.cast());
        let begun = match way {
            // SAFETY: the handle is open, and `bytes` are at least `length`. They and the operation, which begins
            // with its `OVERLAPPED`, belong to the system until it calls `has_ended`.
            Way::Read => unsafe { ReadFile(handle, bytes, length, ptr::null_mut(), overlapped) },
            // SAFETY: as above.
            Way::Write => unsafe { WriteFile(handle, bytes, length, ptr::null_mut(), overlapped) },
        };
        if begun == 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(ERROR_IO_PENDING.cast_signed()) {
                // SAFETY: a call that fails begins nothing and lets nothing be called, so the box is ours again.
                drop(unsafe { Box::from_raw(operation) });
                return Err(error);
            }
        }
        state.transfer = Transfer::InProgress(operation);
        Ok(())
    }

    /// Takes the transfer that has ended, or `None` without a transfer. With a context, the task is woken when the one in
    /// progress ends.
    pub(crate) fn poll(&self, context: Option<&Context<'_>>) -> Poll<Option<Ended>> {
        let mut state = self.0.lock();
        loop {
            match mem::replace(&mut state.transfer, Transfer::Nothing) {
                Transfer::Nothing => return Poll::Ready(None),
                Transfer::Ended(ended) => return Poll::Ready(Some(ended)),
                Transfer::InProgress(operation) => {
                    state.transfer = Transfer::InProgress(operation);
                    if let Some(context) = context {
                        state.wake_later(context.waker());
                    } else if is_over(operation) {
                        // The call of `has_ended` is on its way.
                        let woken = self.0.has_ended.wait(state);
                        state = woken.unwrap_or_else(PoisonError::into_inner);
                        continue;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Ends the transfer in progress soon.
    pub(crate) fn cancel(&self) {
        let state = self.0.lock();
        if let Transfer::InProgress(operation) = state.transfer {
            // SAFETY: the handle is open. The address is that of an operation on it, or of one whose end will be noted
            // when the lock is released; it is compared and not followed.
            unsafe { CancelIoEx(self.0.handle.as_raw_handle(), operation.cast()) };
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No user code runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_later(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|other| other.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }
}

/// Whether a transfer has ended, also if that was not noted yet. The lock of its pipe must be held.
fn is_over(operation: *mut Operation) -> bool {
    // SAFETY: the operation lives until `has_ended` has got the lock, which the caller holds. It begins with its status,
    // an aligned integer of this size, which the system changes once.
    let status = unsafe { AtomicUsize::from_ptr(operation.cast()) };
    status.load(Ordering::Acquire) != STATUS_PENDING as usize
}

/// Called by a thread of the system when a transfer has ended.
// SAFETY: only the system calls it, once for each operation that was begun.
unsafe extern "system" fn has_ended(_error: u32, _bytes: u32, overlapped: *mut OVERLAPPED) {
    let address = overlapped.cast::<Operation>();
    // SAFETY: the operation lives until this function drops it, and the field is only read.
    let shared = Arc::clone(unsafe { &(*address).shared });
    let mut state = shared.lock();
    // SAFETY: the address is that of a box that `begin` has given to the system, which uses it no longer. Nothing
    // else follows it, because the state changes before the lock is released.
    let mut operation = unsafe { Box::from_raw(address) };
    let mut bytes = 0;
    // SAFETY: the handle is open, and the operation is one of it that has ended.
    let succeeded = unsafe {
        let (handle, overlapped) = (shared.handle.as_raw_handle(), &raw const operation.overlapped);
        GetOverlappedResult(handle, overlapped, &raw mut bytes, 0)
    };
    let result = if succeeded == 0 { Err(io::Error::last_os_error()) } else { Ok(bytes as usize) };
    state.transfer = Transfer::Ended((mem::take(&mut operation.buffer), result));
    let wakers = mem::take(&mut state.wakers);
    drop(state);
    shared.has_ended.notify_all();
    for waker in wakers {
        // A panic must not leave a function that the system calls.
        if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
            log::error!("the waker of a task that waits for a pipe panicked");
        }
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("handle", &self.0.handle).finish_non_exhaustive()
    }
}

/// The address of an operation is also that of its `OVERLAPPED`, and of the status.
const _: () = assert!(mem::offset_of!(Operation, overlapped) == 0);
const _: () = assert!(mem::offset_of!(OVERLAPPED, Internal) == 0);
