//! The record of a signal's arrival, which a handler writes to a pipe.

#![allow(unsafe_code)] // A `siginfo_t` is a union.

use std::ffi::c_int;

/// The kernel's information about an arrival. The signal and the code decide which of the other numbers are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) code: c_int,
    pub(crate) pid: c_int,
    pub(crate) uid: c_int,
    /// The status of a child, or the value of `sigqueue`.
    pub(crate) last: c_int,
}

const NUMBER: usize = size_of::<c_int>();

impl Record {
    /// The number of bytes: a write of this length is atomic.
    pub(crate) const LENGTH: usize = 4 * NUMBER;

    /// Safe inside a signal.
    pub(super) fn of(info: &libc::siginfo_t) -> Self {
        #[allow(clippy::multiple_unsafe_ops_per_block)] // One thing is read.
        // SAFETY: the kernel fills the whole structure, and any bits are a number.
        let rest = unsafe { [info.si_pid(), info.si_uid().cast_signed(), info.si_status()] };
        let [pid, uid, last] = rest;
        Self { code: info.si_code, pid, uid, last }
    }

    /// Safe inside a signal.
    pub(super) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let numbers = [self.code, self.pid, self.uid, self.last];
        for (place, number) in bytes.chunks_exact_mut(NUMBER).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        let [code, pid, uid, last] = std::array::from_fn(|index| {
            c_int::from_ne_bytes(std::array::from_fn(|byte| bytes[index * NUMBER + byte]))
        });
        Self { code, pid, uid, last }
    }
}
