//! Waiting for a child on Windows: a thread of the system waits for the handles of processes.

#![allow(unsafe_code)] // Functions of Windows, and what it calls.

use std::ffi::c_void;
use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, io, mem, ptr};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEONLYONCE,
};

use crate::waker::Waker;

/// Is called by a thread of the system when a process has ended.
pub(crate) trait OnEnd: Send + Sync {
    fn has_ended(&self);
}

/// Whether any of some children has ended.
pub(crate) struct AnyEnd {
    has_come: AtomicBool,
    waker: Waker,
}

impl AnyEnd {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { has_come: AtomicBool::new(false), waker }
    }

    #[inline]
    pub(crate) fn take(&self) -> bool {
        self.has_come.load(Ordering::Relaxed) && self.has_come.swap(false, Ordering::Acquire)
    }
}

impl OnEnd for AnyEnd {
    fn has_ended(&self) {
        self.has_come.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::error!("a child has ended, and its loop could not be woken: {error}");
        }
    }
}

/// The wait for the end of a child.
pub(crate) struct EndWait<E: OnEnd> {
    handle: HANDLE,
    on_end: Arc<E>,
    /// The child's process; a handle of its own, so that the child can be dropped before.
    _process: OwnedHandle,
}

impl<E: OnEnd> EndWait<E> {
    /// Lets `on_end` be called at the end of `child`, which may have come already. Does not block.
    pub(crate) fn begin(child: &Child, on_end: &Arc<E>) -> io::Result<Self> {
        let process = child.as_handle().try_clone_to_owned()?;
        let (mut handle, context) = (ptr::null_mut(), Arc::as_ptr(on_end).cast::<c_void>());
        let callback = Some(has_ended::<E, _> as _);
        // SAFETY: the handle of the process is open. `EndWait` owns it and a share of the context until the wait has
        // ended.
        let begun = unsafe {
            let (handle, process) = (&raw mut handle, process.as_raw_handle());
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
        Ok(Self { handle, on_end: Arc::clone(on_end), _process: process })
    }
}

/// Called by a thread of the system. The type of the second argument differs between versions of windows-sys.
// SAFETY: only the system calls it, with the context that `EndWait::begin` has passed.
unsafe extern "system" fn has_ended<E: OnEnd, B>(context: *mut c_void, _is_timeout: B) {
    // SAFETY: `EndWait::begin` has passed a pointer to an `E`, of which `EndWait` keeps a share until the system
    // calls this no more.
    let on_end = unsafe { &*context.cast::<E>() };
    on_end.has_ended();
}

impl<E: OnEnd> Drop for EndWait<E> {
    fn drop(&mut self) {
        // SAFETY: the handle is this wait's. The call returns when a callback that runs has returned.
        let ended = unsafe { UnregisterWaitEx(self.handle, INVALID_HANDLE_VALUE) };
        if ended == 0 {
            log::warn!("a wait for a child does not end: {}", io::Error::last_os_error());
            mem::forget(Arc::clone(&self.on_end));
        }
    }
}

impl<E: OnEnd> fmt::Debug for EndWait<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndWait").finish_non_exhaustive()
    }
}
