//! The protocol between those who wake and the one who waits, apart from what carries the signal.

// By way of the module above, so that a model of it can put other atomics in their place.
use super::atomic::{AtomicBool, Ordering};

/// Raised while a wake is pending, so that of many wakes only one costs a system call.
pub(crate) struct WakeFlag(AtomicBool);

impl WakeFlag {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    #[inline]
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Raises the flag, and signals if it was down.
    pub(crate) fn raise<E>(&self, signal: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        // Release: who lowers the flag sees what was done before the wake. This holds for a wake
        // that finds the flag up as well, since it writes all the same.
        if self.0.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let result = signal();
        if result.is_err() {
            self.0.store(false, Ordering::Release);
        }
        result
    }

    /// Drains the signal, then lowers the flag.
    ///
    /// The other way round would lose wakes for good: one that came in between would find its
    /// signal drained and leave the flag up, and no later wake would signal again.
    pub(crate) fn lower(&self, drain: impl FnOnce()) {
        drain();
        self.0.swap(false, Ordering::AcqRel);
    }
}
