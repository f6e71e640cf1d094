//! The protocol between wakers and the wait, apart from the channel that carries the signals.
//!
//! One word holds the whole state, so that all steps have one order:
//!
//! | bits | content |
//! |---|---|
//! | 0 | `RAISED`: a wake has come in this generation |
//! | 1 | `SIGNALLED`: a signal of this generation has been sent; a further wake needs none |
//! | 2 to 17 | owner: the fork count of the process that the channel belongs to |
//! | 18 to 63 | generation: increments each time wakes are taken |
//!
//! A signal is recorded after it has been sent, so a wake returns `Ok` only for a signal that exists.
//! The generation keeps a thread that was suspended between the two steps from recording a signal
//! that has been drained; 2^46 generations take years. Sixteen bits of the fork count are enough,
//! because a false match costs the owner one wait that returns early.
//!
//! Every step is a read-modify-write, so that the wait sees all writes before a coalesced wake.

// Imported from the module above, so that a model can replace the atomics.
use super::atomic::{AtomicU64, Ordering};

const RAISED: u64 = 1;
const SIGNALLED: u64 = 1 << 1;
const OWNER_SHIFT: u32 = 2;
const OWNER: u64 = 0xffff << OWNER_SHIFT;
const GENERATION: u64 = 1 << 18;

/// Lets only the first of many wakes cost a system call, and only in the process that may make it.
pub(crate) struct WakeFlag(AtomicU64);

impl WakeFlag {
    /// `process` is the fork count of the process that opened the channel.
    pub(crate) fn new(process: u32) -> Self {
        Self(AtomicU64::new(owned_by(process)))
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed) & RAISED != 0
    }

    /// Raises the flag, and signals unless that has been done or `process` is not the owner.
    ///
    /// May be called inside a signal handler if `signal` may.
    pub(crate) fn raise<E>(
        &self,
        process: u32,
        signal: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        // Release: the wait sees all writes before the wake. Acquire: the signal comes after the
        // drain, or after the change of owner, that a new generation stands for.
        let before = self.0.fetch_or(RAISED, Ordering::AcqRel);
        if before & SIGNALLED != 0 || before & OWNER != owned_by(process) {
            return Ok(());
        }
        signal()?;
        // Fails if another wake has recorded its signal, or if the wakes have been taken.
        let raised = before | RAISED;
        let signalled = raised | SIGNALLED;
        let _ = self.0.compare_exchange(raised, signalled, Ordering::Release, Ordering::Relaxed);
        Ok(())
    }

    /// Drains the signals, then lowers the flag; returns whether it was raised.
    ///
    /// In the reverse order a wake between the two would record a signal that is then drained, and
    /// no later wake would signal again.
    pub(crate) fn lower(&self, drain: impl FnOnce()) -> bool {
        drain();
        self.next_generation(|owner| owner) & RAISED != 0
    }

    /// Makes `process` the owner of the new channel that `replace` opens, and signals there if the
    /// flag is up.
    #[cfg_attr(not(unix), allow(dead_code))] // Nothing forks there.
    pub(crate) fn renew<E>(
        &self,
        process: u32,
        replace: impl FnOnce() -> Result<(), E>,
        signal: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        replace()?;
        // A wake before this step is seen by it; one after it sees the new owner.
        let before = self.next_generation(|_| owned_by(process));
        if before & RAISED != 0 { self.raise(process, signal) } else { Ok(()) }
    }

    /// Lowers the flag, and returns its former value.
    fn next_generation(&self, owner: impl Fn(u64) -> u64) -> u64 {
        let next = |state: u64| {
            let generation = state & !(RAISED | SIGNALLED | OWNER);
            Some(generation.wrapping_add(GENERATION) | owner(state & OWNER))
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next).expect("always Some")
    }
}

fn owned_by(process: u32) -> u64 {
    (u64::from(process) << OWNER_SHIFT) & OWNER
}
