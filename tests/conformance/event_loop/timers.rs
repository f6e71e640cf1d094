//! Timers: never early, in order, cancellable at any moment.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use polyselect::{Backend, Interest, Next, TimerKey};

use super::open;
use crate::support::*;

cases! {
    timers_run_in_the_order_of_their_deadlines_and_never_early in virtual time,
    timers_with_equal_deadlines_run_in_the_order_of_setting in virtual time,
    a_turn_waits_no_longer_than_its_timeout in virtual time,
    a_moment_that_has_passed_is_due_in_the_next_turn in virtual time,
    a_timer_may_cancel_itself_and_others_that_are_due in virtual time,
    a_timer_set_by_a_timer_runs_in_a_later_iteration,
    a_timer_of_zero_set_by_an_event_runs_in_the_same_iteration,
    a_repeating_timer_neither_drifts_nor_bursts in virtual time,
    a_key_of_another_loop_cancels_nothing,
    timers_run_beside_sources_that_are_always_ready,
    far_deadlines_are_not_an_error in virtual time,
    deadlines_before_the_loop_was_made_keep_their_order,
}

fn timers_run_in_the_order_of_their_deadlines_and_never_early(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    let start = now();
    let mut expected = Vec::new();
    for step in 0..200_u64 {
        // 97 and 200 have no common factor, so each comes once, in a mixed order.
        let deadline = start + Duration::from_nanos(step * 97 % 200 * 50_001);
        expected.push(deadline);
        event_loop.call_at(deadline, move |event_loop| {
            assert!(now() >= deadline);
            event_loop.state.push(deadline);
        });
    }
    expected.sort();
    event_loop.run().unwrap();
    assert!(event_loop.state == expected);
}

fn timers_with_equal_deadlines_run_in_the_order_of_setting(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    let deadline = now() + Duration::from_millis(2);
    for number in 0..100 {
        event_loop.call_at(deadline, move |event_loop| event_loop.state.push(number));
    }
    event_loop.run().unwrap();
    assert!(event_loop.state.iter().copied().eq(0..100));
}

fn a_turn_waits_no_longer_than_its_timeout(backend: Backend) {
    let mut event_loop = open(backend, false);
    let timer = event_loop.call_later(SURELY, |_| unreachable!());
    let start = now();
    event_loop.turn(A_WHILE).unwrap();
    assert!((A_WHILE..SURELY).contains(&(now() - start)));
    event_loop.cancel(timer).unwrap();
    event_loop.call_later(A_WHILE, |event_loop| event_loop.state = true);
    event_loop.turn(SURELY).unwrap();
    assert!(event_loop.state, "the iteration that a deadline ends runs the timer");
}

fn a_moment_that_has_passed_is_due_in_the_next_turn(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let past = now();
    pass(Duration::from_millis(1));
    event_loop.call_at(past, |event_loop| event_loop.state += 1);
    event_loop.call_later(Duration::ZERO, |event_loop| event_loop.state += 1);
    event_loop.turn(Duration::ZERO).unwrap();
    assert_eq!(event_loop.state, 2);
}

fn a_timer_may_cancel_itself_and_others_that_are_due(backend: Backend) {
    let mut event_loop = open(backend, (0, Vec::<TimerKey>::new()));
    for _ in 0..3 {
        let key = event_loop.call_later(Duration::ZERO, |event_loop| {
            event_loop.state.0 += 1;
            let keys = std::mem::take(&mut event_loop.state.1);
            let cancelled = keys.into_iter().filter(|&key| event_loop.cancel(key).is_ok()).count();
            assert_eq!(cancelled, 2, "the others, not the one that runs");
        });
        event_loop.state.1.push(key);
    }
    let every = event_loop.call_every(Duration::from_nanos(1), |event_loop, timer| {
        event_loop.state.0 += 10;
        event_loop.cancel(timer).unwrap();
        assert_eq!(event_loop.cancel(timer).unwrap_err().kind(), ErrorKind::NotFound);
    });
    pass(Duration::from_millis(1));
    event_loop.turn(Duration::ZERO).unwrap();
    assert_eq!(event_loop.state.0, 11);
    assert!(event_loop.cancel(every).is_err());
    event_loop.run().unwrap();
    assert_eq!(event_loop.state.0, 11);
}

fn a_timer_set_by_a_timer_runs_in_a_later_iteration(backend: Backend) {
    fn again(event_loop: &mut polyselect::EventLoop<u32>) {
        event_loop.state += 1;
        event_loop.call_later(Duration::ZERO, again);
    }
    let mut event_loop = open(backend, 0);
    event_loop.call_soon(again);
    for turns in 1..=5 {
        event_loop.turn(Duration::ZERO).unwrap();
        assert_eq!(event_loop.state, turns);
    }
}

fn a_repeating_timer_neither_drifts_nor_bursts(backend: Backend) {
    const PERIOD: Duration = Duration::from_millis(4);

    let mut event_loop = open(backend, Vec::<Instant>::new());
    let earliest = now();
    event_loop.call_every(PERIOD, |event_loop, timer| {
        event_loop.state.push(now());
        match event_loop.state.len() {
            2 => pass(10 * PERIOD), // a stall
            6 => event_loop.cancel(timer).unwrap(),
            _ => {}
        }
    });
    event_loop.run().unwrap();
    let runs = &event_loop.state;
    // Never before a deadline, however late the earlier runs were.
    for (number, &run) in runs.iter().enumerate().take(2) {
        assert!(run >= earliest + PERIOD * (number as u32 + 1));
    }
    assert!(runs[2] - runs[1] >= 10 * PERIOD);
    // No burst: the missed deadlines of the stall cause one run, and each of the next three has its
    // own deadline, whole periods after the setting.
    for (number, &run) in runs.iter().enumerate().skip(3) {
        assert!(run >= earliest + PERIOD * (10 + number as u32), "{number}");
    }
}

fn a_key_of_another_loop_cancels_nothing(backend: Backend) {
    let mut one = open(backend, 0);
    let mut other = open(backend, 0);
    let key = one.call_later(Duration::ZERO, |event_loop| event_loop.state += 1);
    other.call_later(Duration::ZERO, |event_loop| event_loop.state += 1);
    assert_eq!(other.cancel(key).unwrap_err().kind(), ErrorKind::NotFound);
    one.run().unwrap();
    other.run().unwrap();
    assert_eq!((one.state, other.state), (1, 1));
}

fn timers_run_beside_sources_that_are_always_ready(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, 0_u64);
    event_loop
        .register(left, Interest::WRITABLE, |event_loop, _, _| {
            event_loop.state += 1;
            Ok(Next::Keep)
        })
        .unwrap();
    event_loop.call_every(A_WHILE, |event_loop, _| {
        if event_loop.state > 1 {
            event_loop.stop();
        }
    });
    event_loop.run().unwrap();
    assert!(event_loop.stats().timers > 0);
}

fn far_deadlines_are_not_an_error(backend: Backend) {
    let mut event_loop = open(backend, ());
    for _ in 0..3 {
        event_loop.call_later(Duration::MAX, |_| unreachable!());
        event_loop.call_later(Duration::from_secs(1 << 40), |_| unreachable!());
    }
    event_loop.call_every(Duration::MAX, |_, _| unreachable!());
    event_loop.turn(A_WHILE).unwrap();
    assert_eq!(event_loop.stats().pending_timers, 7);
}

fn a_timer_of_zero_set_by_an_event_runs_in_the_same_iteration(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, 0);
    event_loop
        .register(left, Interest::WRITABLE, |event_loop, _left, _event| {
            event_loop.call_later(Duration::ZERO, |event_loop| {
                event_loop.state += 1;
                event_loop.call_later(Duration::ZERO, |event_loop| event_loop.state += 10);
            });
            Ok(Next::Remove)
        })
        .unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 1);
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 11);
}

fn deadlines_before_the_loop_was_made_keep_their_order(backend: Backend) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(10) {}
    let mut event_loop = open(backend, Vec::new());
    for nanoseconds in [300, 100, 200, 100, 0, 9000] {
        let deadline = start + Duration::from_nanos(nanoseconds);
        event_loop.call_at(deadline, move |event_loop| event_loop.state.push(nanoseconds));
    }
    // Long before the loop was created, as far back as the clock of this system goes.
    if let Some(earliest) = start.checked_sub(Duration::from_secs(1)) {
        event_loop.call_at(earliest, |event_loop| assert!(event_loop.state.is_empty()));
    }
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, [0, 100, 100, 200, 300, 9000]);
}
