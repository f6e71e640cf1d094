//! A handler that runs inside a signal.

#![allow(unsafe_code)] // A handler must do nothing that is not safe inside a signal.

use std::ffi::c_int;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook_registry::{self as registry, SigId};

use crate::waker::Waker;

/// A handler that raises flags and uses a waker, until this is dropped.
pub(crate) struct HandlerOfSignal(SigId);

impl HandlerOfSignal {
    /// Installs the handler beside those that exist.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a signal that cannot be handled, and that of the system.
    pub(crate) fn install<const N: usize>(
        signal: c_int,
        flags: [Arc<AtomicBool>; N],
        waker: Waker,
    ) -> io::Result<Self> {
        if registry::FORBIDDEN.contains(&signal) {
            let message = format!("signal {signal} cannot be handled by a program");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let raise = move || {
            for flag in &flags {
                flag.store(true, Ordering::Release);
            }
            // After a failure the flags stay raised for the next iteration; nothing can be reported here.
            let _ = waker.wake();
        };
        // SAFETY: the closure stores to atomics and writes to a descriptor by a system call, which are safe
        // inside a signal: no lock, no allocation, and no panic. The registry restores `errno`.
        let id = unsafe { registry::register(signal, raise) }.map_err(|error| {
            io::Error::new(error.kind(), format!("signal {signal} cannot be handled: {error}"))
        })?;
        Ok(Self(id))
    }
}

impl Drop for HandlerOfSignal {
    fn drop(&mut self) {
        registry::unregister(self.0);
    }
}
