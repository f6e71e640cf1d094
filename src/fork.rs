//! Detects that this process is a fork of the one that created an object.
//!
//! `getpid` would be a system call in every operation. Instead, a handler that `fork` runs in the child
//! increments a counter, and each object compares it with its own copy.
//!
//! A signal can be handled in the child before that handler has run. A wake in it still counts as
//! the parent's and ends one wait there, no more, because the flag stays up in the child's memory.
//! `vfork` and `posix_spawn` call no handler and need none: until the exec their child shares the
//! parent's memory, so that flag and channel still match. A child of `_Fork` or of a bare `clone` is
//! not noticed.

#![cfg_attr(unix, allow(unsafe_code))] // `pthread_atfork` has no safe form.

use std::io;

use crate::error::ForkedError;

#[cfg(unix)]
mod count {
    use std::sync::Once;
    use std::sync::atomic::{AtomicU32, Ordering};

    static FORKS: AtomicU32 = AtomicU32::new(0);
    static CHILDREN: AtomicU32 = AtomicU32::new(0);

    extern "C" fn before() {
        CHILDREN.fetch_add(1, Ordering::Relaxed);
    }

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(io_uring)]
    pub(super) fn children() -> u32 {
        CHILDREN.load(Ordering::Relaxed)
    }

    /// The number of forks since the first call in an ancestor.
    #[inline]
    pub(super) fn forks() -> u32 {
        FORKS.load(Ordering::Relaxed)
    }

    pub(super) fn start() -> u32 {
        static START: Once = Once::new();
        START.call_once(|| {
            // Miri has neither `fork` nor this function.
            if cfg!(miri) {
                return;
            }
            // SAFETY: the handlers only add to atomics, which is allowed between fork and exec, and
            // they live as long as the program.
            unsafe { libc::pthread_atfork(Some(before), None, Some(in_child)) };
        });
        forks()
    }
}

#[cfg(not(unix))]
mod count {
    #[inline]
    pub(super) fn forks() -> u32 {
        0
    }

    pub(super) fn start() -> u32 {
        0
    }
}

/// Returns how many children this process and its ancestors have forked since the first selector, as far as
/// `fork` was called.
#[cfg(io_uring)]
pub(crate) fn children() -> u32 {
    count::children()
}

/// The process that created an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HomeProcess(u32);

impl HomeProcess {
    pub(crate) fn here() -> Self {
        Self(count::start())
    }

    /// Returns the same as [`here`](Self::here), which must have been called before. Safe inside a signal handler.
    #[inline]
    pub(crate) fn current() -> Self {
        Self(count::forks())
    }

    /// Returns the number of forks between the first ancestor and this process.
    #[inline]
    pub(crate) fn forks(self) -> u32 {
        self.0
    }

    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self.0 == count::forks()
    }

    /// Fails in a forked child.
    #[inline]
    pub(crate) fn check(self) -> io::Result<()> {
        if self.is_here() { Ok(()) } else { Err(ForkedError.into()) }
    }
}
