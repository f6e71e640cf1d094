//! Which coroutines have been woken. This half may be used from any thread.

use std::mem;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Wake;

// By way of the module above, so that a model of it can put others in their place.
use super::atomic::{AtomicBool, Ordering};
use super::{Mutex, MutexGuard, this_thread};
use crate::waker;

/// Names a task of one loop. A slot is used again, with another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl TaskId {
    /// The future that `block_on` was given.
    pub(crate) const MAIN: Self = Self { slot: u32::MAX, generation: 0 };
}

/// Who is to be polled, in the order of being woken.
pub(crate) struct Queue {
    woken: Mutex<Vec<TaskId>>,
    /// So that a turn in which nobody was woken costs no lock.
    has_woken: AtomicBool,
    selector: OnceLock<waker::Waker>,
    /// The loop's own thread need not wake the selector: it looks here before it waits.
    home: usize,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            woken: Mutex::new(Vec::new()),
            has_woken: AtomicBool::new(false),
            selector: OnceLock::new(),
            home: this_thread(),
        }
    }

    pub(crate) fn has_selector(&self) -> bool {
        self.selector.get().is_some()
    }

    pub(crate) fn set_selector(&self, waker: waker::Waker) {
        self.selector.get_or_init(|| waker);
    }

    #[inline]
    pub(crate) fn has_woken(&self) -> bool {
        self.has_woken.load(Ordering::Acquire)
    }

    /// Swaps the list of who was woken for `batch`, which is empty.
    pub(crate) fn take(&self, batch: &mut Vec<TaskId>) {
        let mut woken = self.lock();
        self.has_woken.store(false, Ordering::Relaxed);
        mem::swap(&mut *woken, batch);
    }

    fn push(&self, id: TaskId) {
        let mut woken = self.lock();
        woken.push(id);
        self.has_woken.store(true, Ordering::Release);
        drop(woken);
        if this_thread() != self.home {
            self.wake_selector();
        }
    }

    #[cold]
    fn wake_selector(&self) {
        // Without one no coroutine has been polled, and the loop is sure to look.
        if let Some(waker) = self.selector.get()
            && let Err(error) = waker.wake()
        {
            log::error!("an event loop could not be woken for a coroutine: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<TaskId>> {
        // Nothing of the user's runs under the lock, so nobody can have panicked there.
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What wakes a task.
pub(crate) struct Notice {
    pub(crate) id: TaskId,
    /// Whether it stands in the queue, so that it stands there once.
    is_queued: AtomicBool,
    queue: Arc<Queue>,
}

impl Notice {
    pub(crate) fn new(id: TaskId, queue: Arc<Queue>) -> Arc<Self> {
        Arc::new(Self { id, is_queued: AtomicBool::new(false), queue })
    }

    pub(crate) fn wake(&self) {
        // What was done before a wake is seen by the poll after it, also if an earlier wake has
        // queued it: that takes a release here and an acquire there.
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.queue.push(self.id);
        }
    }

    /// Before the poll: who wakes from now on wants another.
    pub(crate) fn begin_poll(&self) {
        self.is_queued.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        Self::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Self::wake(self);
    }
}
