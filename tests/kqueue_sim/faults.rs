//! Failing calls: the n-th `kevent` from now on, as a whole or in one of its changes.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails before it has any effect; with `EINTR` after the changes.
    Call(c_int),
    /// The first change of the call fails.
    Change(c_int),
}

thread_local! {
    /// The fault of every call of this thread; a filter of system calls is per thread, too.
    static EVERY: Cell<Option<Fault>> = const { Cell::new(None) };
}

static PLAN: Mutex<Option<(u32, Fault)>> = Mutex::new(None);

static FAILURES: AtomicU64 = AtomicU64::new(0);

/// The number of calls that have failed by a fault.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue_sim_failures() -> u64 {
    FAILURES.load(Ordering::Relaxed)
}

/// Returns the fault of this call.
pub fn next() -> Option<Fault> {
    let fault = take();
    FAILURES.fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
    fault
}

fn take() -> Option<Fault> {
    if let Some(fault) = EVERY.get() {
        return Some(fault);
    }
    let mut plan = PLAN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (left, fault) = plan.as_mut()?;
    *left = left.saturating_sub(1);
    if *left > 0 {
        return None;
    }
    let fault = *fault;
    *plan = None;
    Some(fault)
}

/// Makes the `nth` call of `kevent` from now on fail, with `u32::MAX` every one of this thread; 0
/// disarms the fault. Returns whether an earlier fault has not been met. Exported, so that a test
/// can call the simulation inside the library under test.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue_sim_fail(nth: u32, error: c_int, in_a_change: bool) -> bool {
    let fault = if in_a_change { Fault::Change(error) } else { Fault::Call(error) };
    EVERY.set((nth == u32::MAX).then_some(fault));
    let mut plan = PLAN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let was_left = plan.is_some();
    *plan = (1..u32::MAX).contains(&nth).then_some((nth, fault));
    was_left
}

static CALLS: AtomicU64 = AtomicU64::new(0);

pub fn count() {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

/// Returns the number of calls of `kevent`.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue_sim_calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}
