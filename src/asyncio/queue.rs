//! The woken tasks. This half of a task may be used from any thread.

use std::mem;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::Wake;

// Imported from the module above, so that a model can replace them.
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
    /// The future of `block_on`.
    pub(crate) const MAIN: Self = Self { slot: u32::MAX, generation: 0 };
}

/// The tasks that are to be polled, in the order in which they were woken.
pub(crate) struct WakeQueue {
    woken: Mutex<Vec<TaskId>>,
    /// An iteration in which no task was woken costs no lock.
    has_woken: AtomicBool,
    selector: OnceLock<waker::Waker>,
    /// The loop's own thread need not wake the selector: the loop looks here before it waits.
    thread: usize,
}

impl WakeQueue {
    pub(crate) fn new() -> Self {
        Self {
            woken: Mutex::new(Vec::new()),
            has_woken: AtomicBool::new(false),
            selector: OnceLock::new(),
            thread: this_thread(),
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

    /// Adds the woken tasks to `batch`.
    pub(crate) fn take(&self, batch: &mut Vec<TaskId>) {
        let mut woken = self.lock();
        self.has_woken.store(false, Ordering::Relaxed);
        if batch.is_empty() {
            // Reuses the memory of both.
            mem::swap(&mut *woken, batch);
        } else {
            batch.append(&mut woken);
        }
    }

    fn push(&self, id: TaskId) {
        let mut woken = self.lock();
        woken.push(id);
        self.has_woken.store(true, Ordering::Release);
        drop(woken);
        if this_thread() != self.thread {
            self.wake_selector();
        }
    }

    #[cold]
    fn wake_selector(&self) {
        // Without a selector's waker no task has been polled, and the loop checks the queue anyway.
        if let Some(waker) = self.selector.get()
            && let Err(error) = waker.wake()
        {
            log::error!("an event loop could not be woken for a task: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<TaskId>> {
        // No user code runs under the lock, so it cannot be poisoned.
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of one task.
pub(crate) struct TaskWaker {
    pub(crate) id: TaskId,
    /// Whether the task is in the queue, so that it is there once.
    is_queued: AtomicBool,
    queue: Arc<WakeQueue>,
}

impl TaskWaker {
    pub(crate) fn new(id: TaskId, queue: Arc<WakeQueue>) -> Arc<Self> {
        Arc::new(Self { id, is_queued: AtomicBool::new(false), queue })
    }

    pub(crate) fn wake(&self) {
        // Writes before a wake are seen by the poll after it, even if an earlier wake has
        // queued the task: that takes a release here and an acquire in `begin_poll`.
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.queue.push(self.id);
        }
    }

    /// Called before the poll: a wake from now on leads to another one.
    #[allow(dead_code)] // Not in a model of threads.
    pub(crate) fn is_queued(&self) -> bool {
        self.is_queued.load(Ordering::Acquire)
    }

    pub(crate) fn begin_poll(&self) {
        self.is_queued.swap(false, Ordering::AcqRel);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        Self::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Self::wake(self);
    }
}
