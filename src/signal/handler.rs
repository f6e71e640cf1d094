//! Handlers that run inside a signal.

#![allow(unsafe_code)] // A handler must do nothing that is not safe inside a signal.

use std::ffi::c_int;
use std::io;
use std::sync::Arc;
#[cfg(all(target_os = "linux", feature = "async"))]
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook_registry::{self as registry, SigId};

#[cfg(all(target_os = "linux", feature = "async"))]
use super::record::Record;
#[cfg(all(target_os = "linux", feature = "async"))]
use crate::fork::HomeProcess;
use crate::waker::Waker;

/// A handler of a signal, until this is dropped.
#[derive(Debug)]
pub(crate) struct HandlerOfSignal(SigId);

impl HandlerOfSignal {
    /// Installs a handler beside those that exist: it raises flags and uses a waker.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a signal that cannot be handled, and that of the system.
    pub(crate) fn install<const N: usize>(
        signal: c_int,
        flags: [Arc<AtomicBool>; N],
        waker: Waker,
    ) -> io::Result<Self> {
        let raise = move || {
            for flag in &flags {
                flag.store(true, Ordering::Release);
            }
            // After a failure the flags stay raised for the next iteration; nothing can be reported here.
            let _ = waker.wake();
        };
        // SAFETY: the closure stores to atomics and writes to a descriptor by a system call, which are safe
        // inside a signal: no lock, no allocation, and no panic. The registry restores `errno`.
        Self::new(signal, || unsafe { registry::register(signal, raise) })
    }

    /// Installs a handler that writes a record of each arrival to a pipe, which has to be non-blocking, and counts those
    /// for which the pipe has no room. In a forked child it does neither.
    ///
    /// # Errors
    ///
    /// Fails as [`install`](Self::install) does.
    #[cfg(all(target_os = "linux", feature = "async"))]
    pub(crate) fn install_recorder(
        signal: c_int,
        records: io::PipeWriter,
        missed: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let home = HomeProcess::here();
        let record = move |info: &libc::siginfo_t| {
            if home.is_here() && rustix::io::write(&records, &Record::of(info).to_bytes()).is_err()
            {
                missed.fetch_add(1, Ordering::Relaxed);
            }
        };
        // SAFETY: the closure loads and changes atomics and writes to a descriptor by a system call: no lock, no
        // allocation, and no panic. The registry restores `errno`.
        Self::new(signal, || unsafe { registry::register_sigaction(signal, record) })
    }

    fn new(signal: c_int, register: impl FnOnce() -> io::Result<SigId>) -> io::Result<Self> {
        if registry::FORBIDDEN.contains(&signal) {
            let message = format!("signal {signal} cannot be handled by a program");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        register().map(Self).map_err(|error| {
            io::Error::new(error.kind(), format!("signal {signal} cannot be handled: {error}"))
        })
    }
}

impl Drop for HandlerOfSignal {
    fn drop(&mut self) {
        registry::unregister(self.0);
    }
}

#[cfg(all(test, target_os = "linux", feature = "async"))]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_value_of_sigqueue_is_in_the_record() {
        let (mut reader, writer) = io::pipe().unwrap();
        let missed = Arc::<AtomicU64>::default();
        let handler = HandlerOfSignal::install_recorder(libc::SIGWINCH, writer, missed).unwrap();
        let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(42) };
        let this_process = std::process::id().cast_signed();
        // SAFETY: passes numbers to this process, which handles the signal.
        let result = unsafe { libc::sigqueue(this_process, libc::SIGWINCH, value) };
        assert_eq!(result, 0);
        let mut bytes = [0; Record::LENGTH];
        reader.read_exact(&mut bytes).unwrap();
        let record = Record::from_bytes(bytes);
        assert_eq!(record.code, libc::SI_QUEUE);
        assert_eq!(record.last, if cfg!(target_endian = "little") { 42 } else { 0 });
        drop(handler);
        assert_eq!(reader.read(&mut bytes).unwrap(), 0);
    }
}
