//! The queue between those who send and the loop, apart from what is sent and who wakes the loop.

use std::collections::VecDeque;
use std::mem;
use std::sync::PoisonError;

// By way of the module above, so that a model of it can put others in their place.
use super::Mutex;
use super::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(crate) struct Post<L> {
    queue: Mutex<Queue<L>>,
    /// So that a turn without letters costs no lock.
    has_letters: AtomicBool,
    senders: AtomicUsize,
}

struct Queue<L> {
    letters: VecDeque<L>,
    is_closed: bool,
}

impl<L> Post<L> {
    pub(crate) fn new() -> Self {
        Self {
            queue: Mutex::new(Queue { letters: VecDeque::new(), is_closed: false }),
            has_letters: AtomicBool::new(false),
            senders: AtomicUsize::new(0),
        }
    }

    pub(crate) fn enter(&self) {
        self.senders.fetch_add(1, Ordering::Relaxed);
    }

    /// Says whether that was the last.
    pub(crate) fn leave(&self) -> bool {
        self.senders.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether a letter may still come, or has come and not been received.
    pub(crate) fn is_in_use(&self) -> bool {
        // In this order: who leaves has sent before.
        self.senders.load(Ordering::Acquire) > 0 || self.has_letters.load(Ordering::Acquire)
    }

    /// Gives the letter back when nobody will receive it.
    pub(crate) fn send(&self, letter: L) -> Result<(), L> {
        let mut queue = self.lock();
        if queue.is_closed {
            return Err(letter);
        }
        queue.letters.push_back(letter);
        self.has_letters.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn receive(&self, mut open: impl FnMut(L)) {
        if !self.has_letters.load(Ordering::Acquire) {
            return;
        }
        let letters = {
            let mut queue = self.lock();
            self.has_letters.store(false, Ordering::Release);
            mem::take(&mut queue.letters)
        };
        letters.into_iter().for_each(&mut open);
    }

    /// Refuses letters from now on, and hands out those that are there.
    pub(crate) fn close(&self) -> VecDeque<L> {
        let mut queue = self.lock();
        queue.is_closed = true;
        mem::take(&mut queue.letters)
    }

    fn lock(&self) -> super::MutexGuard<'_, Queue<L>> {
        // Nothing of the user's runs under the lock, so nobody can have panicked there.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
