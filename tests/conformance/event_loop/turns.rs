//! The order within an iteration, the end of a run, and the counters.

use std::time::{Duration, Instant};

use polyselect::{Backend, Interest, Next};

use super::open;
use crate::support::*;

cases! {
    an_iteration_runs_events_then_timers_then_calls,
    run_ends_when_nothing_is_left,
    stop_ends_the_run_after_the_turn,
    stop_before_the_run_allows_one_turn,
    slow_callbacks_are_reported in virtual time,
    stats_count_what_has_run_and_what_is_pending,
}

fn an_iteration_runs_events_then_timers_then_calls(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, Vec::new());
    event_loop.call_soon(|event_loop| event_loop.state.push("call"));
    event_loop.call_later(Duration::ZERO, |event_loop| event_loop.state.push("timer"));
    event_loop
        .register(left, Interest::WRITABLE, |event_loop, _, _| {
            event_loop.state.push("event");
            event_loop.call_soon(|event_loop| event_loop.state.push("call of the event"));
            Ok(Next::Remove)
        })
        .unwrap();
    event_loop.turn(None).unwrap();
    assert_eq!(event_loop.state, ["event", "timer", "call"]);
    event_loop.turn(None).unwrap();
    assert_eq!(event_loop.state.last(), Some(&"call of the event"));
}

fn run_ends_when_nothing_is_left(backend: Backend) {
    let mut event_loop = open(backend, 0);
    event_loop.run().unwrap();
    event_loop.call_soon(|event_loop| {
        event_loop.call_later(Duration::from_micros(10), |event_loop| event_loop.state = 1);
    });
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
}

fn stop_ends_the_run_after_the_turn(backend: Backend) {
    let mut event_loop = open(backend, 0);
    event_loop.call_soon(|event_loop| {
        event_loop.stop();
        event_loop.call_soon(|event_loop| event_loop.state += 10);
    });
    event_loop.call_soon(|event_loop| event_loop.state += 1);
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 11);
}

fn stop_before_the_run_allows_one_turn(backend: Backend) {
    let mut event_loop = open(backend, 0);
    event_loop.call_later(SURELY, |_| unreachable!());
    event_loop.call_soon(|event_loop| event_loop.state += 1);
    event_loop.stop();
    let start = Instant::now();
    event_loop.run().unwrap();
    assert!(start.elapsed() < SURELY);
    assert_eq!(event_loop.state, 1);
}

fn slow_callbacks_are_reported(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, ());
    let slowly = |_: &mut polyselect::EventLoop<()>| pass(2 * A_WHILE);
    for limit in [None, Some(A_WHILE)] {
        event_loop.set_slow_callback_threshold(limit);
        event_loop.call_soon(slowly);
        event_loop.call_soon(|_| ());
        event_loop.call_later(Duration::ZERO, slowly);
        event_loop.run().unwrap();
        assert_eq!(event_loop.stats().slow_callbacks, if limit.is_some() { 2 } else { 0 });
    }
    event_loop
        .register(left, Interest::WRITABLE, move |event_loop, _, _| {
            slowly(event_loop);
            Ok(Next::Remove)
        })
        .unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.stats().slow_callbacks, 3);
}

fn stats_count_what_has_run_and_what_is_pending(backend: Backend) {
    let (left, right) = pair();
    let mut event_loop = open(backend, ());
    for source in [left, right] {
        event_loop.register(source, Interest::WRITABLE, |_, _, _| Ok(Next::Keep)).unwrap();
    }
    let timer = event_loop.call_later(SURELY, |_| ());
    event_loop.call_soon(|_| ());
    let stats = event_loop.stats();
    assert_eq!((stats.sources, stats.pending_timers, stats.pending_calls), (2, 1, 1));
    while event_loop.stats().events < 4 {
        event_loop.turn(SURELY).unwrap();
    }
    event_loop.cancel(timer).unwrap();
    let stats = event_loop.stats();
    assert_eq!((stats.calls, stats.pending_timers, stats.pending_calls), (1, 0, 0));
    assert!((2..=4).contains(&stats.turns));
}
