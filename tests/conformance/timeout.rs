//! Timeouts: never early, and exact.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use polyselect::{Backend, Events, Selector};

use crate::support::*;

cases! {
    a_timeout_of_zero_does_not_wait,
    a_timeout_is_never_early,
    a_timeout_is_exact_below_a_millisecond,
    a_wake_ends_a_wait_of_any_timeout,
    a_timeout_is_kept_with_something_registered,
    busy_polling_changes_nothing_but_speed,
}

const TIMEOUTS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_micros(100),
    Duration::from_micros(1500),
    Duration::from_millis(2),
    Duration::from_micros(21_300),
];

fn timed<S, D>(selector: &mut Selector<S, D>, timeout: Duration) -> Duration {
    let mut events = Events::with_capacity(8);
    let start = Instant::now();
    assert_eq!(selector.select(&mut events, timeout).unwrap(), 0);
    start.elapsed()
}

fn a_timeout_of_zero_does_not_wait(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let least = (0..20).map(|_| timed(&mut selector, Duration::ZERO)).min().unwrap();
    assert!(least < Duration::from_millis(1), "{least:?}");
}

fn a_timeout_is_never_early(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    for timeout in TIMEOUTS {
        for _ in 0..5 {
            let waited = timed(&mut selector, timeout);
            assert!(waited >= timeout, "{waited:?} instead of {timeout:?}");
        }
    }
}

/// The machine may be busy, so the best of many tries counts.
fn a_timeout_is_exact_below_a_millisecond(backend: Backend) {
    // `poll` of these systems has a resolution of milliseconds.
    let coarse =
        cfg!(any(windows, target_vendor = "apple", target_os = "openbsd", target_os = "netbsd"));
    // The simulated NetBSD of 2016 counts ticks, as the real one does.
    let ticks = std::env::var("POLYSELECT_KQUEUE_PROFILE").is_ok_and(|name| name == "netbsd-2016");
    let allowed = match coarse || cfg!(kqueue_sim) && ticks {
        true => Duration::from_millis(25),
        false => Duration::from_micros(300),
    };
    let mut selector: Selector<TcpStream> = open(backend);
    for timeout in TIMEOUTS {
        let late = |_| timed(&mut selector, timeout).saturating_sub(timeout);
        let best = (0..200).map(late).find(|&late| late < allowed);
        assert!(best.is_some(), "{timeout:?} is not exact");
    }
}

fn a_wake_ends_a_wait_of_any_timeout(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    let mut events = Events::with_capacity(8);
    for days in [1, 25, 50, 365_000, u64::MAX / 86_400] {
        let waker = waker.clone();
        let start = Instant::now();
        let thread = thread::spawn(move || {
            thread::sleep(A_WHILE);
            waker.wake().unwrap();
        });
        assert_eq!(selector.select(&mut events, Duration::from_secs(days * 86_400)).unwrap(), 0);
        assert!(start.elapsed() >= A_WHILE);
        thread.join().unwrap();
    }
    for timeout in [None, Some(Duration::MAX)] {
        waker.wake().unwrap();
        assert_eq!(selector.select(&mut events, timeout).unwrap(), 0);
    }
}

fn a_timeout_is_kept_with_something_registered(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    selector.register(left, R, ()).unwrap();
    for timeout in TIMEOUTS {
        let waited = timed(&mut selector, timeout);
        assert!(waited >= timeout, "{waited:?} instead of {timeout:?}");
    }
}

fn busy_polling_changes_nothing_but_speed(backend: Backend) {
    use std::io::Write;

    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    for busy in [Duration::from_micros(50), Duration::from_millis(5), Duration::MAX] {
        selector.set_busy_poll(busy);
        for timeout in TIMEOUTS {
            let waited = timed(&mut selector, timeout);
            assert!(waited >= timeout, "{waited:?} instead of {timeout:?}, busy for {busy:?}");
        }
        let thread = thread::spawn(move || {
            thread::sleep(A_WHILE);
            right.write_all(b"!").unwrap();
            right
        });
        let mut events = Events::with_capacity(8);
        assert_eq!(selector.select(&mut events, None).unwrap(), 1);
        right = thread.join().unwrap();
        drain(selector[key].source());
    }
    selector.set_busy_poll(Duration::ZERO);
    expect_silence(&mut selector);
}
