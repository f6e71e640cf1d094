//! The interleavings of the waker's protocol: wakers, the waiting thread, and a forked child that
//! renews its channel. A lost wake leaves the wait asleep, which the model checker reports as a
//! deadlock; some of the deadlocks abort the test.
//!
//! The model fails if a step becomes a load and a store or loses its acquire or release, if the
//! flag is cleared before the drain or is not a new generation then, if a signal is recorded before
//! it was sent or regardless of changes meanwhile, and if `renew` moves the owner first or reads
//! the flag first.

#![cfg(not(all(windows, target_pointer_width = "32")))] // loom has no stacks there.

use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, atomic};
use loom::thread;

#[path = "../src/waker/flag.rs"]
#[allow(dead_code)]
mod flag;
mod loom_channel;

use flag::WakeFlag;
use loom_channel::Channel;

/// The fork counts of a process and of its child.
const PARENT: u32 = 7;
const CHILD: u32 = 8;

/// A selector's side and its wakers', in the process with the fork count `process`.
struct Shared {
    process: u32,
    flag: WakeFlag,
    /// The descriptor's number stands for the second channel when the child has replaced the first.
    channels: [Channel; 2],
    is_replaced: atomic::AtomicBool,
    /// The data that the wakers write for the waiting thread. Relaxed, so that only the flag orders
    /// it.
    sent: AtomicUsize,
}

impl Shared {
    fn in_process(process: u32) -> Arc<Self> {
        Arc::new(Self {
            process,
            flag: WakeFlag::new(PARENT),
            channels: [Channel::new(), Channel::new()],
            is_replaced: atomic::AtomicBool::new(false),
            sent: AtomicUsize::new(0),
        })
    }

    fn new() -> Arc<Self> {
        Self::in_process(PARENT)
    }

    /// A child whose parent had a wake pending at the fork.
    fn in_child_with_pending_wake() -> Arc<Self> {
        let shared = Self::in_process(CHILD);
        shared.flag.raise(PARENT, || shared.channels[0].signal()).unwrap();
        shared.channels[0].drain();
        shared
    }

    /// The kernel's table of descriptors has an order of its own: no atomic of the protocol.
    fn channel(&self) -> &Channel {
        &self.channels[usize::from(self.is_replaced.load(atomic::Ordering::SeqCst))]
    }

    fn wake(&self) -> Result<(), ()> {
        self.flag.raise(self.process, || self.channel().signal())
    }

    /// A signal fails, unless another thread's has made it unnecessary.
    fn wake_in_vain(&self) {
        let _ = self.flag.raise(self.process, || Err(()));
    }

    /// Writes, then wakes: the wake is lost unless the waiting thread sees the write.
    fn send(&self) {
        self.sent.fetch_add(1, atomic::Ordering::Relaxed);
        self.wake().unwrap();
    }

    /// Waits at least once, and then until `count` wakes have been seen.
    fn receive(&self, count: usize) {
        loop {
            self.channel().sleep();
            self.flag.lower(|| self.channel().drain());
            if self.sent.load(atomic::Ordering::Relaxed) == count {
                break;
            }
        }
    }

    fn renew(&self) {
        let replace = || {
            self.is_replaced.store(true, atomic::Ordering::SeqCst);
            Ok(())
        };
        self.flag.renew(self.process, replace, || self.channel().signal()).unwrap();
    }

    /// After all other threads have ended, a wake must make the channel readable, if it is not.
    fn expect_not_deaf(&self) {
        self.wake().unwrap();
        assert!(self.channel().is_readable(), "no later wake would signal");
    }
}

fn spawn(shared: &Arc<Shared>, work: fn(&Shared)) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || work(&shared))
}

/// Two preemptions show every fault listed at the top of this file, in two seconds; three take ten
/// times as long.
fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(check);
}

#[test]
fn no_wake_of_two_threads_is_lost() {
    model(|| {
        let shared = Shared::new();
        let threads = [(); 2].map(|()| spawn(&shared, Shared::send));
        shared.receive(2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        shared.expect_not_deaf();
    });
}

#[test]
fn no_wake_of_a_thread_that_wakes_again_is_lost() {
    model(|| {
        let shared = Shared::new();
        let thread = spawn(&shared, |shared| {
            shared.send();
            shared.send();
        });
        shared.receive(2);
        thread.join().unwrap();
        shared.expect_not_deaf();
    });
}

/// The second wake finds the signal of the first, and makes no system call that would order it.
#[test]
fn the_wait_sees_what_was_done_before_a_coalesced_wake() {
    model(|| {
        let shared = Shared::new();
        shared.send();
        let thread = spawn(&shared, Shared::send);
        shared.receive(2);
        thread.join().unwrap();
        shared.expect_not_deaf();
    });
}

#[test]
fn a_failed_signal_is_tried_again_by_the_next_wake() {
    model(|| {
        let shared = Shared::new();
        assert!(shared.flag.raise(PARENT, || Err(())).is_err());
        assert!(!shared.channel().is_readable());
        shared.expect_not_deaf();
    });
}

#[test]
fn a_wake_beside_a_signal_that_fails_is_not_lost() {
    model(|| {
        let shared = Shared::new();
        let threads = [spawn(&shared, Shared::wake_in_vain), spawn(&shared, Shared::send)];
        shared.receive(1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        shared.expect_not_deaf();
    });
}

/// The wait consumes a wake that was pending before, between the two signals.
#[test]
fn a_wake_beside_a_signal_that_fails_and_a_take_is_not_lost() {
    model(|| {
        let shared = Shared::new();
        shared.send();
        let threads = [spawn(&shared, Shared::wake_in_vain), spawn(&shared, Shared::send)];
        shared.receive(2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        shared.expect_not_deaf();
    });
}

#[test]
fn a_waker_outside_the_owner_does_not_signal() {
    model(|| {
        let shared = Shared::in_process(CHILD);
        let thread = spawn(&shared, Shared::send);
        shared.wake().unwrap();
        thread.join().unwrap();
        assert!(!shared.channel().is_readable(), "the parent shares this channel");
        shared.renew();
        shared.receive(1);
    });
}

#[test]
fn a_wake_beside_the_renewal_in_a_child_is_not_lost_and_does_not_reach_the_parent() {
    for open in [|| Shared::in_process(CHILD), Shared::in_child_with_pending_wake] {
        model(move || {
            let shared = open();
            let thread = spawn(&shared, Shared::send);
            shared.renew();
            shared.receive(1);
            thread.join().unwrap();
            shared.expect_not_deaf();
            assert!(!shared.channels[0].is_readable(), "the parent was woken");
        });
    }
}

#[test]
fn no_wake_of_two_threads_beside_the_renewal_is_lost() {
    model(|| {
        let shared = Shared::in_child_with_pending_wake();
        let threads = [(); 2].map(|()| spawn(&shared, Shared::send));
        shared.renew();
        shared.receive(2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        shared.expect_not_deaf();
        assert!(!shared.channels[0].is_readable(), "the parent was woken");
    });
}

#[test]
fn a_renewal_that_fails_leaves_a_pending_wake_for_the_next() {
    model(|| {
        let shared = Shared::in_process(CHILD);
        shared.send();
        assert!(shared.flag.renew(CHILD, || Err(()), || unreachable!()).is_err());
        assert!(shared.flag.renew(CHILD, || Ok(()), || Err(())).is_err());
        shared.renew();
        shared.receive(1);
        shared.expect_not_deaf();
    });
}
