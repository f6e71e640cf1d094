//! The shortest and the longest times.

use std::thread;
use std::time::{Duration, Instant};

use polyselect::Backend;

use crate::event_loop::open as open_loop;
use crate::support::*;

cases! {
    turns_of_zero_and_of_a_nanosecond_return,
    a_turn_of_the_longest_timeout_is_ended_by_a_call,
    a_turn_of_the_longest_timeout_is_ended_by_a_timer,
    timers_of_zero_and_of_a_nanosecond_run,
    deadlines_long_past_run_and_far_ones_wait,
}

const NANOSECOND: Duration = Duration::from_nanos(1);

fn turns_of_zero_and_of_a_nanosecond_return(backend: Backend) {
    let mut event_loop = open_loop(backend, ());
    let start = Instant::now();
    for _ in 0..100 {
        event_loop.turn(Duration::ZERO).unwrap();
        event_loop.turn(NANOSECOND).unwrap();
    }
    assert!(start.elapsed() < SURELY);
    assert_eq!(event_loop.stats().turns, 200);
}

fn a_turn_of_the_longest_timeout_is_ended_by_a_call(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    for timeout in [None, Some(Duration::MAX), Some(Duration::from_secs(u64::from(u32::MAX)))] {
        let remote = event_loop.remote().unwrap();
        let thread = thread::spawn(move || {
            thread::sleep(A_WHILE);
            remote.call(|event_loop| event_loop.state += 1)
        });
        let before = event_loop.state;
        // One iteration for the call, and one for the dropped handle, in either order.
        while event_loop.state == before {
            event_loop.turn(timeout).unwrap();
        }
        thread.join().unwrap().unwrap();
    }
}

fn a_turn_of_the_longest_timeout_is_ended_by_a_timer(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    for timeout in [None, Some(Duration::MAX)] {
        event_loop.call_later(Duration::MAX, |_| unreachable!());
        let start = Instant::now();
        event_loop.call_later(A_WHILE, |event_loop| event_loop.state += 1);
        event_loop.turn(timeout).unwrap();
        assert!(start.elapsed() >= A_WHILE);
    }
    assert_eq!(event_loop.state, 2);
}

fn timers_of_zero_and_of_a_nanosecond_run(backend: Backend) {
    let mut event_loop = open_loop(backend, Vec::new());
    for delay in [NANOSECOND, Duration::ZERO] {
        event_loop.call_later(delay, move |event_loop| event_loop.state.push(delay));
        event_loop.call_every(delay, move |event_loop, timer| {
            event_loop.state.push(delay);
            if event_loop.state.len() > 10 {
                event_loop.cancel(timer).unwrap();
            }
        });
    }
    event_loop.run().unwrap();
    assert!((11..=13).contains(&event_loop.state.len()), "{}", event_loop.state.len());
}

fn deadlines_long_past_run_and_far_ones_wait(backend: Backend) {
    let now = Instant::now();
    let mut event_loop = open_loop(backend, 0);
    // Before the loop was created, and as long ago as the system's clock can represent.
    for past in [now, now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)] {
        event_loop.call_at(past, |event_loop| event_loop.state += 1);
    }
    if let Some(far) = now.checked_add(Duration::from_secs(1 << 40)) {
        event_loop.call_at(far, |_| unreachable!());
    }
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 2);
}
