//! The interleavings of the task queue between threads that wake tasks and the loop that polls
//! them: each wake is followed by a poll that sees the writes before it, and a task is in the queue
//! at most once.
//!
//! The model fails if a `swap` of `is_queued` becomes a load and a store or becomes relaxed, if
//! `has_woken` is set before or cleared after the list changes, or if a thread wakes the selector
//! before it pushes.

#![cfg(feature = "async")]
#![cfg(not(all(windows, target_pointer_width = "32")))] // loom has no stacks there.

use std::cell::Cell;

use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Mutex, MutexGuard, atomic};
use loom::thread;

#[path = "../src/waker/flag.rs"]
#[allow(dead_code)]
mod flag;
mod loom_channel;
#[path = "../src/asyncio/queue.rs"]
#[allow(dead_code)]
mod queue;

use queue::{TaskId, TaskWaker, WakeQueue};

mod waker {
    use loom::sync::Arc;

    use crate::flag::WakeFlag;
    use crate::loom_channel::Channel;

    /// The selector's waker, on the channel of the model.
    #[derive(Clone)]
    pub struct Waker(Arc<(WakeFlag, Channel)>);

    impl Waker {
        pub fn new() -> Self {
            Self(Arc::new((WakeFlag::new(0), Channel::new())))
        }

        pub fn wake(&self) -> Result<(), &'static str> {
            self.0.0.raise(0, || self.0.1.signal()).map_err(|()| "the channel never fails")
        }

        /// One call of `select`, with a timeout of zero or without one.
        pub fn select(&self, is_waiting: bool) {
            let (flag, channel) = &*self.0;
            if is_waiting {
                channel.sleep();
            }
            if channel.is_readable() {
                flag.lower(|| channel.drain());
            }
        }
    }
}

loom::thread_local! {
    /// All threads of a model run on one thread of the system, so they are numbered here.
    static PLACE: Cell<usize> = Cell::new(0);
}

fn this_thread() -> usize {
    PLACE.with(Cell::get)
}

fn spawn(work: impl FnOnce() + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        PLACE.with(|place| place.set(1));
        work();
    })
}

/// A task that finishes when it has seen a number of wakes.
struct Task {
    notice: std::sync::Arc<TaskWaker>,
    /// The data that the wakers write. Relaxed, so that only the queue orders it.
    sent: AtomicUsize,
}

impl Task {
    /// Writes, then wakes: the wake is lost unless its poll sees the write.
    fn send(&self) {
        self.sent.fetch_add(1, atomic::Ordering::Relaxed);
        self.notice.wake();
    }
}

struct Loop {
    queue: std::sync::Arc<WakeQueue>,
    waker: waker::Waker,
    tasks: Vec<Arc<Task>>,
}

impl Loop {
    fn with_tasks(count: u32) -> Self {
        let (queue, waker) = (std::sync::Arc::new(WakeQueue::new()), waker::Waker::new());
        queue.set_selector(waker.clone());
        let task = |slot| {
            let id = TaskId { slot, generation: 0 };
            let notice = TaskWaker::new(id, std::sync::Arc::clone(&queue));
            Arc::new(Task { notice, sent: AtomicUsize::new(0) })
        };
        let tasks = (0..count).map(task).collect();
        Self { queue, waker, tasks }
    }

    /// A thread that wakes these tasks, one after the other.
    fn spawn_sender(&self, tasks: &[usize]) -> thread::JoinHandle<()> {
        let tasks: Vec<_> = tasks.iter().map(|&task| Arc::clone(&self.tasks[task])).collect();
        spawn(move || tasks.iter().for_each(|task| task.send()))
    }

    /// Runs until the last poll of each task has seen as many wakes as given for it. `poll` is called
    /// in each poll.
    fn run(&self, wakes: &[usize], poll: impl Fn(usize)) {
        let mut seen = vec![0; self.tasks.len()];
        let mut batch = Vec::new();
        while seen != wakes {
            self.waker.select(!self.queue.has_woken());
            if !self.queue.has_woken() {
                continue;
            }
            self.queue.take(&mut batch);
            let mut slots: Vec<_> = batch.drain(..).map(|id| id.slot as usize).collect();
            for &slot in &slots {
                let task = &self.tasks[slot];
                task.notice.begin_poll();
                seen[slot] = task.sent.load(atomic::Ordering::Relaxed);
                poll(slot);
            }
            slots.sort_unstable();
            assert!(slots.is_sorted_by(|a, b| a < b), "twice in the queue: {slots:?}");
        }
    }
}

/// Two preemptions show every fault listed at the top of this file; an unlimited search takes
/// hours.
fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(check);
}

#[test]
fn no_wake_of_one_task_by_two_threads_is_lost() {
    model(|| {
        let event_loop = Loop::with_tasks(1);
        let threads = [event_loop.spawn_sender(&[0]), event_loop.spawn_sender(&[0])];
        event_loop.run(&[2], |_| {});
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn no_wake_of_a_thread_that_wakes_the_same_task_again_is_lost() {
    model(|| {
        let event_loop = Loop::with_tasks(1);
        let thread = event_loop.spawn_sender(&[0, 0]);
        event_loop.run(&[2], |_| {});
        thread.join().unwrap();
    });
}

#[test]
fn no_wake_of_two_tasks_is_lost() {
    model(|| {
        let event_loop = Loop::with_tasks(2);
        let thread = event_loop.spawn_sender(&[0, 1]);
        event_loop.run(&[1, 1], |_| {});
        thread.join().unwrap();
    });
}

/// The loop's thread does not wake the selector, because it checks the queue before it waits.
#[test]
fn a_wake_by_a_task_of_the_loop_beside_one_by_a_thread_is_not_lost() {
    model(|| {
        let event_loop = Loop::with_tasks(2);
        let thread = event_loop.spawn_sender(&[0]);
        event_loop.tasks[1].send();
        let is_first = Cell::new(true);
        event_loop.run(&[2, 1], |slot| {
            if slot == 1 && is_first.replace(false) {
                event_loop.tasks[0].send();
            }
        });
        thread.join().unwrap();
    });
}
