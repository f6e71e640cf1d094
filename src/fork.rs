//! Notices that this process is a fork of the one in which something was made.
//!
//! Asking for the process id would be a system call for every operation. A handler that `fork` runs
//! in the child counts instead, and a comparison of two numbers tells.

#![cfg_attr(unix, allow(unsafe_code))] // `pthread_atfork` has no safe form.

use std::io;

use crate::error::ForkedError;

#[cfg(unix)]
mod count {
    use std::sync::Once;
    use std::sync::atomic::{AtomicU32, Ordering};

    static FORKS: AtomicU32 = AtomicU32::new(0);

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    /// How often this process has forked away since its ancestor first asked.
    #[inline]
    pub(super) fn forks() -> u32 {
        FORKS.load(Ordering::Relaxed)
    }

    pub(super) fn start() -> u32 {
        static START: Once = Once::new();
        START.call_once(|| {
            // SAFETY: the handler only adds to an atomic, which is allowed between fork and exec,
            // and it lives as long as the program.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
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

/// The process in which something was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HomeProcess(u32);

impl HomeProcess {
    pub(crate) fn here() -> Self {
        Self(count::start())
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
