//! A fork in the middle of an event loop's work.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use polyselect::{Backend, EventLoop, Next};

use crate::event_loop::open as open_loop;
use crate::support::process::fork;
use crate::support::*;

cases! {
    a_fork_in_a_callback_is_an_error_in_the_child_and_the_parent_goes_on,
    a_child_that_rebuilds_has_timers_calls_and_sources,
    a_child_that_drops_the_loop_in_a_callback_takes_nothing_along,
}

/// A loop that counts the bytes received, and the peer.
fn counting(backend: Backend) -> (EventLoop<usize>, TcpStream) {
    let (left, right) = pair();
    let mut event_loop = open_loop(backend, 0);
    event_loop
        .register(left, R, |event_loop, mut left, _| {
            event_loop.state += left.read(&mut [0; 64])?;
            Ok(Next::Keep)
        })
        .unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    (event_loop, right)
}

#[track_caller]
fn expect_byte(event_loop: &mut EventLoop<usize>, mut peer: &TcpStream) {
    let before = event_loop.state;
    peer.write_all(b"!").unwrap();
    while event_loop.state == before {
        event_loop.turn(SURELY).unwrap();
    }
}

fn a_fork_in_a_callback_is_an_error_in_the_child_and_the_parent_goes_on(backend: Backend) {
    let (mut event_loop, peer) = counting(backend);
    event_loop.call_soon(|event_loop| {
        fork(|| {
            let (left, _right) = pair();
            let refused = event_loop.register(left, R, |_, _, _| Ok(Next::Keep)).unwrap_err();
            let keys: Vec<_> = event_loop.sources().keys().collect();
            let errors = [
                refused.into_error(),
                event_loop.modify(keys[0], W).unwrap_err(),
                event_loop.unregister(keys[0]).unwrap_err(),
                event_loop.clear().unwrap_err(),
                event_loop.remote().map(drop).unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::Other, "{error}");
            }
        })
        .join();
        event_loop.state += 1000;
    });
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 1000);
    expect_byte(&mut event_loop, &peer);
}

fn a_child_that_rebuilds_has_timers_calls_and_sources(backend: Backend) {
    let (mut event_loop, peer) = counting(backend);
    event_loop.call_later(Duration::from_millis(1), |event_loop| event_loop.state += 100);
    event_loop.call_soon(|event_loop| event_loop.state += 1000);
    fork(|| {
        assert_eq!(event_loop.turn(Duration::ZERO).unwrap_err().kind(), ErrorKind::Other);
        event_loop.rebuild().unwrap();
        while event_loop.state < 1100 {
            event_loop.turn(SURELY).unwrap();
        }
        expect_byte(&mut event_loop, &peer);
        assert_eq!(event_loop.state, 1101);
    })
    .join();
    while event_loop.state < 1100 {
        event_loop.turn(SURELY).unwrap();
    }
    expect_byte(&mut event_loop, &peer);
}

fn a_child_that_drops_the_loop_in_a_callback_takes_nothing_along(backend: Backend) {
    let (mut event_loop, peer) = counting(backend);
    event_loop.remote().unwrap();
    event_loop.call_soon(move |event_loop| {
        fork(|| *event_loop = open_loop(backend, 0)).join();
    });
    event_loop.turn(SURELY).unwrap();
    expect_byte(&mut event_loop, &peer);
    event_loop.remote().unwrap().call(|event_loop| event_loop.state += 1000).unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 1001);
}
