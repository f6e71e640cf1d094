//! A waker's channel in a loom model.

#![allow(dead_code)] // Not every model needs all of it.

use loom::sync::{Condvar, Mutex};

/// An eventfd: a counter that can be waited for.
pub struct Channel {
    count: Mutex<u64>,
    readable: Condvar,
}

impl Channel {
    pub fn new() -> Self {
        Self { count: Mutex::new(0), readable: Condvar::new() }
    }

    pub fn signal(&self) -> Result<(), ()> {
        *self.count.lock().unwrap() += 1;
        self.readable.notify_one();
        Ok(())
    }

    pub fn sleep(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.readable.wait(count).unwrap();
        }
    }

    pub fn drain(&self) {
        *self.count.lock().unwrap() = 0;
    }

    pub fn is_readable(&self) -> bool {
        *self.count.lock().unwrap() > 0
    }
}
