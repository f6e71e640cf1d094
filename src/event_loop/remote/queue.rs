//! The queue between the threads that send calls and the loop, for any type of call, and without the wake.

use std::collections::VecDeque;
use std::mem;
use std::sync::PoisonError;

// Imported from the module above, so that a model of the queue can replace them with loom's types.
use super::Mutex;
use super::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(crate) struct CallQueue<C> {
    waiting: Mutex<Waiting<C>>,
    /// An iteration without calls costs no lock.
    has_calls: AtomicBool,
    senders: AtomicUsize,
}

struct Waiting<C> {
    calls: VecDeque<C>,
    is_closed: bool,
}

impl<C> CallQueue<C> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting { calls: VecDeque::new(), is_closed: false }),
            has_calls: AtomicBool::new(false),
            senders: AtomicUsize::new(0),
        }
    }

    pub(crate) fn add_sender(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether that was the last sender.
    pub(crate) fn remove_sender(&self) -> bool {
        self.senders.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether a call may still come, or has come and not been received.
    pub(crate) fn is_in_use(&self) -> bool {
        // In this order: a sender that has left has sent before.
        self.senders.load(Ordering::Acquire) > 0 || self.has_calls.load(Ordering::Acquire)
    }

    /// Returns the call if the queue is closed.
    #[cfg(feature = "testing")]
    pub(crate) fn has_calls(&self) -> bool {
        self.has_calls.load(Ordering::Acquire)
    }

    pub(crate) fn send(&self, call: C) -> Result<(), C> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(call);
        }
        waiting.calls.push_back(call);
        self.has_calls.store(true, Ordering::Release);
        Ok(())
    }

    /// Passes the sent calls to `accept`, which only moves it and runs no user code.
    #[inline]
    pub(crate) fn receive(&self, accept: impl FnMut(C)) {
        if self.has_calls.load(Ordering::Acquire) {
            self.receive_all(accept);
        }
    }

    fn receive_all(&self, accept: impl FnMut(C)) {
        let calls = {
            let mut waiting = self.lock();
            self.has_calls.store(false, Ordering::Release);
            mem::take(&mut waiting.calls)
        };
        calls.into_iter().for_each(accept);
    }

    /// Rejects calls from now on, and returns those that were not received.
    pub(crate) fn close(&self) -> VecDeque<C> {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        mem::take(&mut waiting.calls)
    }

    fn lock(&self) -> super::MutexGuard<'_, Waiting<C>> {
        // No user code runs under the lock, so it cannot be poisoned.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
