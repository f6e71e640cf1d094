//! Signals during the wait.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use polyselect::{Backend, Events, Ready, Selector};

use crate::support::process::Storm;
use crate::support::*;

cases! {
    a_wait_goes_on_with_the_time_left,
    a_wait_without_a_timeout_goes_on_after_signals,
    set_interruptible_makes_a_wait_return_early,
    events_arrive_during_a_storm_of_signals,
    wakes_arrive_during_a_storm_of_signals,
}

const PAUSE: Duration = Duration::from_micros(300);

fn a_wait_goes_on_with_the_time_left(backend: Backend) {
    let _storm = Storm::every(PAUSE);
    let mut selector: Selector<TcpStream> = open(backend);
    let mut events = Events::with_capacity(8);
    for micros in [0, 100, 1500, 60_000] {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        assert_eq!(selector.select(&mut events, timeout).unwrap(), 0);
        assert!(start.elapsed() >= timeout, "{:?} instead of {timeout:?}", start.elapsed());
    }
    let start = Instant::now();
    selector.select(&mut events, Duration::from_nanos(1)).unwrap();
    assert!(start.elapsed() >= Duration::from_nanos(1));
}

fn a_wait_without_a_timeout_goes_on_after_signals(backend: Backend) {
    let _storm = Storm::every(PAUSE);
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    for timeout in [None, Some(Duration::from_secs(25 * 86_400)), Some(Duration::MAX)] {
        let waker = waker.clone();
        let start = Instant::now();
        let thread = thread::spawn(move || {
            thread::sleep(3 * A_WHILE);
            waker.wake().unwrap();
        });
        let mut events = Events::with_capacity(8);
        assert_eq!(selector.select(&mut events, timeout).unwrap(), 0);
        assert!(start.elapsed() >= 3 * A_WHILE, "a signal ended the wait");
        thread.join().unwrap();
    }
}

fn set_interruptible_makes_a_wait_return_early(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    selector.set_interruptible(true);
    let mut events = Events::with_capacity(8);
    {
        let _storm = Storm::every(PAUSE);
        for timeout in [None, Some(Duration::MAX), Some(SURELY)] {
            let start = Instant::now();
            assert_eq!(selector.select(&mut events, timeout).unwrap(), 0);
            assert!(start.elapsed() < SURELY);
        }
        selector.set_busy_poll(Duration::from_millis(1));
        assert_eq!(selector.select(&mut events, None).unwrap(), 0);
    }
    selector.set_interruptible(false);
    expect_silence(&mut selector);
}

fn events_arrive_during_a_storm_of_signals(backend: Backend) {
    let _storm = Storm::every(PAUSE);
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    for _ in 0..20 {
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(2));
            right.write_all(b"!").unwrap();
            right
        });
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
        right = thread.join().unwrap();
        drain(selector[key].source());
    }
}

fn wakes_arrive_during_a_storm_of_signals(backend: Backend) {
    let _storm = Storm::every(PAUSE);
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    let mut events = Events::with_capacity(8);
    for _ in 0..20 {
        let waker = waker.clone();
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(2));
            waker.wake().unwrap();
        });
        assert_eq!(selector.select(&mut events, None).unwrap(), 0);
        thread.join().unwrap();
    }
}
