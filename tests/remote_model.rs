//! The interleavings of the queue between threads that send calls and the loop that runs them: no
//! call is lost or run twice, a closed queue rejects calls, and a waiting loop notices when the
//! last sender is dropped.

#![cfg(not(all(windows, target_pointer_width = "32")))] // loom has no stacks there.

use loom::sync::atomic;
use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread;

mod loom_channel;
#[path = "../src/event_loop/remote/queue.rs"]
#[allow(dead_code)]
mod queue;

use loom_channel::Channel;
use queue::CallQueue;

struct Shared {
    queue: CallQueue<u32>,
    /// Stands in for the waker: `tests/waker_model.rs` shows that no wake is lost on the way to it.
    channel: Channel,
}

impl Shared {
    fn new(senders: usize) -> Arc<Self> {
        let shared = Self { queue: CallQueue::new(), channel: Channel::new() };
        (0..senders).for_each(|_| shared.queue.add_sender());
        Arc::new(shared)
    }

    fn wake(&self) {
        self.channel.signal().unwrap();
    }

    fn send(&self, letter: u32) -> Result<(), u32> {
        self.queue.send(letter)?;
        self.wake();
        Ok(())
    }

    fn leave(&self) {
        if self.queue.remove_sender() {
            self.wake();
        }
    }

    /// A run of the loop, which ends when no sender is left.
    fn run(&self) -> Vec<u32> {
        let mut received = Vec::new();
        while self.queue.is_in_use() {
            self.channel.sleep();
            self.channel.drain();
            self.queue.receive(|letter| received.push(letter));
        }
        received
    }
}

/// Every interleaving with at most this number of preemptions; an unlimited search takes hours.
fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(run);
}

#[test]
fn what_two_threads_send_arrives_once_and_the_run_ends_when_they_leave() {
    model(|| {
        let shared = Shared::new(2);
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.send(thread).unwrap();
                    shared.leave();
                })
            })
            .collect();
        let mut received = shared.run();
        received.sort_unstable();
        assert_eq!(received, [0, 1]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn one_thread_keeps_its_order() {
    model(|| {
        let shared = Shared::new(1);
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                (0..2).for_each(|letter| shared.send(letter).unwrap());
                shared.leave();
            })
        };
        assert_eq!(shared.run(), [0, 1]);
        thread.join().unwrap();
    });
}

#[test]
fn what_is_sent_while_the_loop_is_dropped_is_refused_or_handed_out() {
    model(|| {
        let shared = Shared::new(1);
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.send(7))
        };
        let handed_out = shared.queue.close().len();
        let refused = usize::from(thread.join().unwrap().is_err());
        assert_eq!(handed_out + refused, 1);
        assert_eq!(shared.send(8), Err(8));
    });
}
