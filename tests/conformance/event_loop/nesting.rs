//! A loop nested in another.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use polyselect::{Backend, EventLoop, Events, Interest, Next, Selector};

use super::open;
use crate::support::*;

cases! {
    every_event_timer_and_call_ends_the_outer_wait needs nesting,
    next_deadline_is_that_of_the_first_timer_or_has_passed,
}

/// Waits as an outer loop does.
fn run_inside<T: 'static>(outer: &mut Selector<OwnedFd>, inner: &mut EventLoop<T>) {
    let mut events = Events::with_capacity(8);
    let deadline = inner.next_deadline().unwrap_or_else(|| Instant::now() + SURELY);
    let timeout = deadline.saturating_duration_since(Instant::now());
    outer.select(&mut events, timeout).unwrap();
    inner.turn(Duration::ZERO).unwrap();
}

fn every_event_timer_and_call_ends_the_outer_wait(backend: Backend) {
    let mut inner = open(backend, Vec::new());
    let mut outer = Selector::with_backend(Backend::Poll).unwrap();
    outer.register(inner.descriptor().unwrap(), R, ()).unwrap();
    let (left, mut right) = pair();
    inner
        .register(left, Interest::READABLE, |inner: &mut EventLoop<Vec<&str>>, _, _| {
            inner.state.push("event");
            Ok(Next::Remove)
        })
        .unwrap();
    let (remote, local) = (inner.remote().unwrap(), inner.local());
    let start = Instant::now();
    let mut expected = Vec::new();
    let mut wait_for = |inner: &mut EventLoop<Vec<&'static str>>, word| {
        expected.push(word);
        while inner.state.len() < expected.len() {
            run_inside(&mut outer, inner);
        }
        assert_eq!(inner.state, expected);
        assert!(start.elapsed() < SURELY);
    };

    right.write_all(b"!").unwrap();
    wait_for(&mut inner, "event");
    inner.call_later(A_WHILE, |inner| inner.state.push("timer"));
    wait_for(&mut inner, "timer");
    inner.call_soon(|inner| inner.state.push("call"));
    wait_for(&mut inner, "call");
    local.call(|inner| inner.state.push("local call")).unwrap();
    wait_for(&mut inner, "local call");
    let thread = thread::spawn(move || remote.call(|inner| inner.state.push("other thread")));
    wait_for(&mut inner, "other thread");
    thread.join().unwrap().unwrap();
    #[cfg(feature = "async")]
    {
        let local = inner.local();
        let task = async move {
            polyselect::asyncio::sleep(Duration::from_millis(1)).await;
            local.call(|inner| inner.state.push("task")).unwrap();
        };
        inner.spawn(task).detach();
        wait_for(&mut inner, "task");
    }
}

fn next_deadline_is_that_of_the_first_timer_or_has_passed(backend: Backend) {
    let mut event_loop = open(backend, ());
    assert_eq!(event_loop.next_deadline(), None);
    let deadline = Instant::now() + SURELY;
    let timer = event_loop.call_at(deadline, |_| ());
    assert_eq!(event_loop.next_deadline(), Some(deadline));
    event_loop.call_soon(|_| ());
    assert!(event_loop.next_deadline().unwrap() <= Instant::now());
    event_loop.turn(Duration::ZERO).unwrap();
    assert_eq!(event_loop.next_deadline(), Some(deadline));
    event_loop.cancel(timer).unwrap();
    event_loop.local().call(|_| ()).unwrap();
    assert!(event_loop.next_deadline().unwrap() <= Instant::now());
    event_loop.run().unwrap();
    // Beyond the range of this system's clock.
    event_loop.call_later(Duration::MAX, |_| ());
    assert!(event_loop.next_deadline().is_none_or(|deadline| deadline > Instant::now()));
}
