//! `SharedSelector`: changes by other threads while one waits.

suites! {
    mod changes;
    mod contracts;
    #[cfg(unix)]
    mod faults;
}

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use polyselect::{Backend, Event, Events, SharedSelector};

use crate::support::*;

pub fn open<S, D>(backend: Backend) -> SharedSelector<S, D> {
    SharedSelector::with_backend(backend).expect("opens")
}

/// The events of a wait during which `change` runs on this thread. Fails if the wait returns none.
pub fn beside_a_wait<S: Send, D: Send>(
    selector: &SharedSelector<S, D>,
    change: impl FnOnce(),
) -> Vec<Event> {
    let events = beside_a_wait_of(selector, SURELY, change);
    assert!(!events.is_empty(), "no event arrived");
    events
}

/// The events of a wait with this timeout.
pub fn beside_a_wait_of<S: Send, D: Send>(
    selector: &SharedSelector<S, D>,
    timeout: Duration,
    change: impl FnOnce(),
) -> Vec<Event> {
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        let waiting = scope.spawn(move || {
            sender.send(thread_number()).expect("is received");
            select(selector, timeout)
        });
        wait_until_asleep(&receiver);
        change();
        waiting.join().expect("does not panic")
    })
}

pub fn select<S, D>(selector: &SharedSelector<S, D>, timeout: Duration) -> Vec<Event> {
    let mut events = Events::with_capacity(256);
    let count = selector.select(&mut events, timeout).expect("selects");
    assert_eq!(count, events.len());
    events.iter().collect()
}

#[cfg(target_os = "linux")]
fn thread_number() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

#[cfg(not(target_os = "linux"))]
fn thread_number() -> i32 {
    0
}

/// Waits until a thread that is about to wait sleeps, if the system shows that.
fn wait_until_asleep(numbers: &Receiver<i32>) {
    let number = numbers.recv().expect("starts");
    if cfg!(not(target_os = "linux")) {
        return thread::sleep(A_WHILE);
    }
    let sleeps = || {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{number}/stat"));
        // A wait with a timeout may have ended.
        stat.is_err()
            || stat.is_ok_and(|stat| {
                stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
            })
    };
    while !sleeps() {
        thread::yield_now();
    }
}
