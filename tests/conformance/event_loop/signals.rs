//! Signals and callbacks.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use polyselect::signal::{SIGKILL, SIGSEGV, SIGUSR1, SIGUSR2};
use polyselect::{Backend, EventLoop};
use rustix::process::{Signal, getpid, kill_process};

use super::open;
use crate::support::*;

cases! {
    several_callbacks_for_one_signal_run_in_order,
    a_signal_of_another_process_ends_the_wait,
    a_callback_removes_itself_and_its_neighbour,
    two_loops_watch_the_same_signal,
    a_signal_that_cannot_be_handled_is_an_error,
    no_signal_of_a_storm_is_lost,
    a_signal_of_an_iteration_that_panicked_runs_in_the_next in virtual time,
    a_signal_that_is_no_longer_watched_wakes_no_loop in virtual time,
}

fn raise(signal: i32) {
    let signal = Signal::from_named_raw(signal).expect("has a name");
    kill_process(getpid(), signal).unwrap();
}

fn several_callbacks_for_one_signal_run_in_order(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    for number in 0..3 {
        event_loop.on_signal(SIGUSR1, move |event_loop| event_loop.state.push(number)).unwrap();
    }
    event_loop.on_signal(SIGUSR2, |event_loop| event_loop.state.push(100)).unwrap();
    raise(SIGUSR1);
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, [0, 1, 2]);
    raise(SIGUSR2);
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, [0, 1, 2, 100]);
    assert_eq!(event_loop.stats().signals, 4);
}

fn a_signal_of_another_process_ends_the_wait(backend: Backend) {
    let mut event_loop = open(backend, ());
    event_loop.on_signal(SIGUSR1, EventLoop::stop).unwrap();
    let command = format!("kill -USR1 {}", std::process::id());
    let child = std::process::Command::new("sh").args(["-c", &command]).spawn().unwrap();
    event_loop.run().unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

fn a_callback_removes_itself_and_its_neighbour(backend: Backend) {
    let mut event_loop = open(backend, (0, Vec::new()));
    for _ in 0..2 {
        let key = event_loop.on_signal(SIGUSR1, |event_loop| {
            event_loop.state.0 += 1;
            for key in std::mem::take(&mut event_loop.state.1) {
                event_loop.remove_signal(key).unwrap();
                let error = event_loop.remove_signal(key).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound);
            }
        });
        event_loop.state.1.push(key.unwrap());
    }
    raise(SIGUSR1);
    event_loop.run().unwrap(); // which ends, because nothing is left
    assert_eq!(event_loop.state.0, 1);
}

fn two_loops_watch_the_same_signal(backend: Backend) {
    let mut loops = [open(backend, 0), open(backend, 0)];
    for event_loop in &mut loops {
        event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state += 1).unwrap();
    }
    raise(SIGUSR1);
    for event_loop in &mut loops {
        event_loop.turn(SURELY).unwrap();
        assert_eq!(event_loop.state, 1);
    }
    // The loop that is dropped does not affect the other.
    let [stays, goes] = loops;
    drop(goes);
    let mut stays = stays;
    raise(SIGUSR1);
    stays.turn(SURELY).unwrap();
    assert_eq!(stays.state, 2);
}

fn a_signal_that_cannot_be_handled_is_an_error(backend: Backend) {
    let mut event_loop = open(backend, ());
    for signal in [SIGKILL, SIGSEGV, -1, 0, 1000] {
        let error = event_loop.on_signal(signal, |_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "signal {signal}");
        assert!(error.to_string().contains(&format!("signal {signal}")), "{error}");
    }
    event_loop.run().unwrap();
}

fn no_signal_of_a_storm_is_lost(backend: Backend) {
    let mut event_loop = open(backend, 0);
    event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state += 1).unwrap();
    for round in 1..=500 {
        raise(SIGUSR1);
        raise(SIGUSR1); // coalesced with the first
        while event_loop.state < round {
            event_loop.turn(SURELY).unwrap();
        }
        assert_eq!(event_loop.state, round);
    }
}

fn a_signal_of_an_iteration_that_panicked_runs_in_the_next(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, 0);
    let key = event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state += 1).unwrap();
    event_loop.register(left, W, |_, _, _| panic!("as planned")).unwrap();
    raise(SIGUSR1);
    // The wait consumes the wake of the signal, and finds the source ready.
    let turn = catch_unwind(AssertUnwindSafe(|| event_loop.turn(SURELY)));
    assert!(turn.is_err(), "the panic passes through");
    let start = now();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 1);
    assert!(now() - start < SURELY, "it waited with a signal to handle");
    event_loop.remove_signal(key).unwrap();
}

fn a_signal_that_is_no_longer_watched_wakes_no_loop(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let key = event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state += 1).unwrap();
    event_loop.remove_signal(key).unwrap();
    raise(SIGUSR1); // It is ignored, instead of its default action.
    let start = now();
    event_loop.turn(A_WHILE).unwrap();
    assert!(now() - start >= A_WHILE || disorder::is_asked_for());
    assert_eq!(event_loop.state, 0);
}
