//! Tells the loop's thread from others.

// They are const; clippy does not see it on some targets.
#![allow(clippy::missing_const_for_thread_local)]

use std::ptr;

/// Returns a number that no other living thread has.
#[inline]
pub(super) fn this_thread() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| ptr::from_ref(place).addr())
}
