//! Every interleaving of the waker's protocol: those who wake, and the one who waits. A wake that is
//! lost would leave it waiting for ever, which the model checker reports as a deadlock.

use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Condvar, Mutex, atomic};
use loom::thread;

#[path = "../src/waker/flag.rs"]
#[allow(dead_code)]
mod flag;

use flag::WakeFlag;

/// What an eventfd does: a count that can be waited for.
struct Channel {
    count: Mutex<u64>,
    readable: Condvar,
}

struct Shared {
    flag: WakeFlag,
    channel: Channel,
    sent: AtomicUsize,
}

impl Shared {
    fn new() -> Self {
        let channel = Channel { count: Mutex::new(0), readable: Condvar::new() };
        Self { flag: WakeFlag::new(), channel, sent: AtomicUsize::new(0) }
    }

    /// What another thread does: it leaves something, then wakes.
    fn send(&self) {
        self.sent.fetch_add(1, atomic::Ordering::Relaxed);
        let signal = || {
            *self.channel.count.lock().unwrap() += 1;
            self.channel.readable.notify_one();
            Ok::<(), ()>(())
        };
        self.flag.raise(signal).unwrap();
    }

    /// What a selector does: it sleeps until the channel is readable, and takes the wake.
    fn wait(&self) {
        let mut count = self.channel.count.lock().unwrap();
        while *count == 0 {
            count = self.channel.readable.wait(count).unwrap();
        }
        drop(count);
        assert!(self.flag.is_raised(), "readable, but nobody has woken");
        self.flag.lower(|| *self.channel.count.lock().unwrap() = 0);
    }

    fn receive(&self, count: usize) {
        while self.sent.load(atomic::Ordering::Relaxed) < count {
            self.wait();
        }
    }

    /// With nobody under way, a flag that is up without a signal would swallow all wakes to come.
    fn expect_not_deaf(&self) {
        assert_eq!(self.flag.is_raised(), *self.channel.count.lock().unwrap() > 0);
    }
}

/// All interleavings with up to three preemptions: enough for every fault known of such protocols,
/// and few enough to go through on every run of the tests.
fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn no_wake_of_two_threads_is_lost() {
    model(|| {
        let shared = Arc::new(Shared::new());
        let threads = [(); 2].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.send())
        });
        shared.receive(2);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        shared.expect_not_deaf();
    });
}

#[test]
fn no_wake_of_a_thread_that_wakes_again_is_lost() {
    model(|| {
        let shared = Arc::new(Shared::new());
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.send();
                shared.send();
            })
        };
        shared.receive(2);
        thread.join().unwrap();
        shared.expect_not_deaf();
    });
}

/// A signal that could not be sent leaves the flag as it was, so that the next one is.
#[test]
fn a_failed_signal_is_tried_again() {
    model(|| {
        let flag = WakeFlag::new();
        assert_eq!(flag.raise(|| Err("full")), Err("full"));
        let mut sent = false;
        flag.raise(|| {
            sent = true;
            Ok::<(), ()>(())
        })
        .unwrap();
        assert!(sent && flag.is_raised());
    });
}
