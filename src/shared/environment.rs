//! The names that the protocol uses of the crate and of the standard library. A model of threads has its own file in their
//! place.

use std::ptr;
pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, atomic};

pub(super) use crate::clock::Clock;
pub(super) use crate::fork::HomeProcess;
pub(super) use crate::selector::timeout::{End, Timeout};
pub(super) use crate::waker::Waker;

/// Returns a number that no other living thread has, and that is not zero.
#[inline]
#[allow(clippy::missing_const_for_thread_local)] // It is const; clippy does not see it on some targets.
pub(super) fn this_thread() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| ptr::from_ref(place).addr())
}
