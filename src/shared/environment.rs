//! The names that the protocol uses of the crate and of the standard library. A model of threads has its own file in their
//! place.

pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, atomic};

pub(super) use crate::clock::Clock;
pub(super) use crate::fork::HomeProcess;
pub(super) use crate::selector::timeout::{End, Timeout};
pub(super) use crate::this_thread::this_thread;
pub(super) use crate::waker::Waker;
