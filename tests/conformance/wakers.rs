//! Wakers: coalescing, never lost.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use polyselect::{Backend, Events, Ready, Selector};

use crate::support::*;

cases! {
    a_wake_before_the_wait_ends_it_immediately,
    many_wakes_end_one_wait,
    a_wake_during_the_wait_ends_it,
    data_sent_before_a_wake_are_seen_after_the_wait,
    a_million_wakes_from_four_threads_are_not_lost,
    a_wake_comes_beside_events,
    a_waker_survives_rebuilding,
    a_waker_may_outlive_its_selector,
    a_waker_is_not_a_registration,
    a_waker_becomes_a_task_waker,
}

fn returned_at_once<S, D>(selector: &mut Selector<S, D>) -> bool {
    let mut events = Events::with_capacity(8);
    let start = std::time::Instant::now();
    assert_eq!(selector.select(&mut events, 10 * A_WHILE).unwrap(), 0);
    start.elapsed() < 10 * A_WHILE
}

fn a_wake_before_the_wait_ends_it_immediately(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    for _ in 0..3 {
        waker.wake().unwrap();
        assert!(returned_at_once(&mut selector));
        assert!(!returned_at_once(&mut selector));
    }
    // A poll with a zero timeout consumes it as well.
    waker.wake().unwrap();
    assert!(look(&mut selector).is_empty());
    assert!(!returned_at_once(&mut selector));
}

fn many_wakes_end_one_wait(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    for _ in 0..100_000 {
        waker.clone().wake().unwrap();
    }
    selector.waker().unwrap().wake().unwrap();
    assert!(returned_at_once(&mut selector));
    assert!(!returned_at_once(&mut selector));
}

fn a_wake_during_the_wait_ends_it(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    let mut events = Events::with_capacity(8);
    for pause in [Duration::ZERO, Duration::from_micros(50), A_WHILE] {
        let waker = waker.clone();
        let thread = thread::spawn(move || {
            thread::sleep(pause);
            waker.wake().unwrap();
        });
        assert_eq!(selector.select(&mut events, SURELY).unwrap(), 0);
        thread.join().unwrap();
    }
}

fn data_sent_before_a_wake_are_seen_after_the_wait(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        for number in 0..20_000 {
            sender.send(number).unwrap();
            waker.wake().unwrap();
        }
    });
    let mut events = Events::with_capacity(8);
    let mut next = 0;
    while next < 20_000 {
        // If a wake were lost, this would time out with numbers in the channel.
        let start = std::time::Instant::now();
        selector.select(&mut events, SURELY).unwrap();
        assert!(start.elapsed() < SURELY, "a wake was lost at {next}");
        for number in receiver.try_iter() {
            assert_eq!(number, next);
            next += 1;
        }
    }
    thread.join().unwrap();
}

fn a_million_wakes_from_four_threads_are_not_lost(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let count = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (waker, count) = (selector.waker().unwrap(), Arc::clone(&count));
            thread::spawn(move || {
                for _ in 0..250_000 {
                    count.fetch_add(1, Ordering::Relaxed);
                    waker.wake().unwrap();
                }
            })
        })
        .collect();
    let mut events = Events::with_capacity(8);
    while count.load(Ordering::Relaxed) < 1_000_000 {
        let start = std::time::Instant::now();
        selector.select(&mut events, SURELY).unwrap();
        assert!(events.is_empty(), "{events:?}");
        assert!(start.elapsed() < SURELY, "a wake was lost");
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    look(&mut selector);
    assert!(!returned_at_once(&mut selector));
}

fn a_wake_comes_beside_events(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    let waker = selector.waker().unwrap();
    right.write_all(b"!").unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
    for _ in 0..5 {
        waker.wake().unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    }
    drain(selector[key].source());
    assert!(!returned_at_once(&mut selector), "the wake was taken with the event");
}

fn a_waker_survives_rebuilding(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    for target in Backend::available() {
        waker.wake().unwrap();
        selector.rebuild_with(target).unwrap();
        assert!(returned_at_once(&mut selector), "a pending wake was lost");
        waker.wake().unwrap();
        assert!(returned_at_once(&mut selector));
        assert!(!returned_at_once(&mut selector));
    }
}

fn a_waker_may_outlive_its_selector(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    drop(selector);
    for _ in 0..3 {
        waker.wake().unwrap();
    }
}

fn a_waker_is_not_a_registration(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    assert!(selector.is_empty() && selector.iter().next().is_none());
    selector.retain(|_, _| false).unwrap();
    assert_eq!(selector.drain().unwrap().count(), 0);
    waker.wake().unwrap();
    assert!(returned_at_once(&mut selector));
}

fn a_waker_becomes_a_task_waker(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker: std::task::Waker = selector.waker().unwrap().into();
    waker.wake_by_ref();
    assert!(returned_at_once(&mut selector));
    waker.wake();
    assert!(returned_at_once(&mut selector));
}
