//! Identifies threads.

// It is const; clippy does not see it on some targets.
#![allow(clippy::missing_const_for_thread_local)]

use std::ptr;

/// Returns a number that no other living thread has, and that is not zero. May be called inside a signal.
#[inline]
pub(crate) fn this_thread() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| ptr::from_ref(place).addr())
}
