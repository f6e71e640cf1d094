//! Waiting for a child on Windows: a thread of the system waits for the handles of processes.

#![allow(unsafe_code)] // Functions of Windows, and what it calls.

use std::ffi::c_void;
use std::os::windows::io::AsRawHandle;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, io, mem, ptr};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEONLYONCE,
};

use crate::waker::Waker;

/// Whether any of some children has ended.
pub(crate) struct AnyEnd {
    has_come: AtomicBool,
    waker: Waker,
}

impl AnyEnd {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { has_come: AtomicBool::new(false), waker }
    }

    fn note(&self) {
        self.has_come.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::error!("a child has ended, and its loop could not be woken: {error}");
        }
    }

    #[inline]
    pub(crate) fn take(&self) -> bool {
        self.has_come.load(Ordering::Relaxed) && self.has_come.swap(false, Ordering::Acquire)
    }
}

/// The wait for the end of a child, which must live longer than this.
pub(crate) struct EndWait {
    handle: HANDLE,
    any_end: Arc<AnyEnd>,
}

impl EndWait {
    /// Lets the end of `child`, which may have come already, be noted in `any_end`. Does not block.
    pub(crate) fn begin(child: &Child, any_end: &Arc<AnyEnd>) -> io::Result<Self> {
        let (mut handle, context) = (ptr::null_mut(), Arc::as_ptr(any_end).cast::<c_void>());
        let (process, callback) = (child.as_raw_handle(), Some(has_ended as _));
        // SAFETY: the handle of the process is open. `EndWait` owns a share of the context until the wait has ended.
        let begun = unsafe {
            let handle = &raw mut handle;
            RegisterWaitForSingleObject(
                handle,
                process,
                callback,
                context,
                INFINITE,
                WT_EXECUTEONLYONCE,
            )
        };
        if begun == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { handle, any_end: Arc::clone(any_end) })
    }
}

/// Called by a thread of the system. The type of the second argument differs between versions of windows-sys.
// SAFETY: only the system calls it, with the context that `EndWait::begin` has passed.
unsafe extern "system" fn has_ended<B>(context: *mut c_void, _is_timeout: B) {
    // SAFETY: `EndWait::begin` has passed a pointer to an `AnyEnd`, of which `EndWait` keeps a share until the system
    // calls this no more.
    let any_end = unsafe { &*context.cast::<AnyEnd>() };
    any_end.note();
}

impl Drop for EndWait {
    fn drop(&mut self) {
        // SAFETY: the handle is this wait's. The call returns when a callback that runs has returned.
        let ended = unsafe { UnregisterWaitEx(self.handle, INVALID_HANDLE_VALUE) };
        if ended == 0 {
            log::warn!("a wait for a child does not end: {}", io::Error::last_os_error());
            mem::forget(Arc::clone(&self.any_end));
        }
    }
}

impl fmt::Debug for EndWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndWait").finish_non_exhaustive()
    }
}
