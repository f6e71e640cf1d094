//! Stands in for `src/shared/environment.rs` in a model.

use std::cell::Cell;
use std::io;
pub use std::sync::{PoisonError, TryLockError};
use std::time::Instant;

pub use loom::sync::{Condvar, Mutex, MutexGuard, atomic};

pub use crate::kernel::Waker;
pub(crate) use crate::timeout::{End, Timeout};

/// The system's clock.
#[derive(Clone, Debug)]
pub struct Clock;

#[allow(clippy::unused_self)]
impl Clock {
    pub fn system() -> Self {
        Self
    }

    pub fn now(&self) -> Instant {
        Instant::now()
    }
}

loom::thread_local! {
    /// All threads of a model run on one thread of the system, so they are numbered here.
    pub static PLACE: Cell<usize> = Cell::new(1);
}

pub fn this_thread() -> usize {
    PLACE.with(Cell::get)
}

std::thread_local! {
    /// Whether the test is in the child of a fork.
    pub static IS_CHILD: Cell<bool> = const { Cell::new(false) };
}

pub struct HomeProcess {
    is_child: bool,
}

impl HomeProcess {
    pub fn here() -> Self {
        Self { is_child: IS_CHILD.get() }
    }

    pub fn check(&self) -> io::Result<()> {
        match IS_CHILD.get() == self.is_child {
            true => Ok(()),
            false => Err(io::Error::other("forked")),
        }
    }
}
