//! Signals in tasks.

use std::io::ErrorKind;

use polyselect::signal::{SIGKILL, SIGUSR1, SIGUSR2};
use polyselect::{Backend, asyncio};
use rustix::process::{Signal, getpid, kill_process};

use crate::case;
use crate::event_loop::open;
use crate::support::harness::Case;
use crate::support::*;

pub const CASES: &[Case] = &[
    case!(a_signal_wakes_the_task_that_waits_for_it),
    case!(arrivals_before_the_wait_coalesce),
    case!(several_streams_and_a_callback_see_the_same_signal),
    case!(an_arrival_is_not_lost_when_waiting_is_cancelled),
    case!(a_signal_that_cannot_be_handled_is_an_error),
    case!(a_dropped_stream_leaves_no_handler_that_writes),
];

fn raise(signal: Signal) {
    kill_process(getpid(), signal).unwrap();
}

fn a_signal_wakes_the_task_that_waits_for_it(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut signals = asyncio::signal(SIGUSR1).unwrap();
    event_loop.call_later(A_WHILE, |_loop| raise(Signal::USR1));
    event_loop.block_on(asyncio::timeout(SURELY, signals.recv())).unwrap().unwrap().unwrap();
}

fn arrivals_before_the_wait_coalesce(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut signals = asyncio::signal(SIGUSR1).unwrap();
    raise(Signal::USR1);
    raise(Signal::USR1);
    event_loop.block_on(signals.recv()).unwrap().unwrap();
    event_loop.block_on(asyncio::timeout(A_WHILE, signals.recv())).unwrap().unwrap_err();
    raise(Signal::USR1);
    event_loop.block_on(signals.recv()).unwrap().unwrap();
}

fn several_streams_and_a_callback_see_the_same_signal(backend: Backend) {
    let mut event_loop = open(backend, 0);
    event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state += 1).unwrap();
    let mut streams = [SIGUSR1, SIGUSR1, SIGUSR2].map(|it| asyncio::signal(it).unwrap());
    raise(Signal::USR1);
    event_loop.turn(SURELY).unwrap();
    for stream in &mut streams[..2] {
        event_loop.block_on(asyncio::timeout(SURELY, stream.recv())).unwrap().unwrap().unwrap();
    }
    event_loop.block_on(asyncio::timeout(A_WHILE, streams[2].recv())).unwrap().unwrap_err();
    assert_eq!(event_loop.state, 1);
}

fn an_arrival_is_not_lost_when_waiting_is_cancelled(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut signals = asyncio::signal(SIGUSR1).unwrap();
    event_loop.block_on(asyncio::timeout(A_WHILE, signals.recv())).unwrap().unwrap_err();
    raise(Signal::USR1);
    event_loop.block_on(asyncio::timeout(SURELY, signals.recv())).unwrap().unwrap().unwrap();
}

fn a_signal_that_cannot_be_handled_is_an_error(_backend: Backend) {
    let error = asyncio::signal(SIGKILL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("signal 9"), "{error}");
}

fn a_dropped_stream_leaves_no_handler_that_writes(backend: Backend) {
    let mut event_loop = open(backend, ());
    let mut kept = asyncio::signal(SIGUSR1).unwrap();
    drop(asyncio::signal(SIGUSR1).unwrap());
    raise(Signal::USR1);
    event_loop.block_on(asyncio::timeout(SURELY, kept.recv())).unwrap().unwrap().unwrap();
}
