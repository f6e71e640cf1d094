//! Wakes in a forked child: they stay in the child, and do not wake the parent.

use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
#[cfg(feature = "async")]
use std::{cell::Cell, rc::Rc};

use polyselect::signal::SIGUSR1;
use polyselect::{Backend, EventLoop, Events, Selector, Waker};
use rustix::process::{Signal, getpid, kill_process};

use crate::event_loop::open as open_loop;
use crate::support::process::{before_exec, first_in_forked_children, fork};
use crate::support::*;

cases! {
    a_waker_used_in_a_child_does_not_wake_the_parent,
    a_waker_used_in_a_child_takes_nothing_from_a_pending_wake_of_the_parent,
    a_wake_in_a_child_before_its_rebuild_ends_the_wait_after_it,
    a_wake_on_a_thread_of_a_child_that_rebuilds_is_not_lost,
    a_wake_in_a_child_of_a_rebuilt_child_wakes_neither_of_the_others,
    a_wake_before_a_fork_is_noticed_ends_at_most_one_wait_of_the_parent,
    a_signal_in_a_child_does_not_wake_the_loop_of_the_parent,
    a_signal_between_fork_and_exec_does_not_wake_the_loop,
    a_signal_in_a_child_before_its_rebuild_is_delivered_after_it,
    a_signal_before_a_fork_is_noticed_ends_at_most_one_wait_of_the_loop,
    a_child_that_drops_the_last_remote_does_not_wake_the_loop_of_the_parent,
    a_child_that_drops_the_loop_and_its_remote_does_not_wake_the_loop_of_the_parent,
    a_call_in_a_child_does_not_wake_the_loop_of_the_parent,
    a_call_in_a_child_before_its_rebuild_runs_after_it,
    #[cfg(feature = "async")]
    a_task_woken_on_a_thread_of_a_child_does_not_wake_the_loop_of_the_parent,
    #[cfg(feature = "async")]
    a_task_woken_on_a_thread_of_a_child_before_its_rebuild_is_polled_after_it,
}

/// How long the idle parent is watched.
const IDLE: Duration = Duration::from_millis(300);

/// How often an idle wait may return before its timeout.
const MOST_EXTRA_RETURNS: u64 = 2;

/// Fails if an idle selector returns too often, or returns an event.
#[track_caller]
fn expect_sleep<S, D>(selector: &mut Selector<S, D>) {
    let (mut events, mut returns) = (Events::with_capacity(8), 0);
    let end = Instant::now() + IDLE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        selector.select(&mut events, left).unwrap();
        assert!(events.is_empty(), "{events:?}");
        returns += 1;
    }
    assert!(returns <= MOST_EXTRA_RETURNS + 1, "{returns} waits in {IDLE:?}");
}

/// Fails if an idle loop makes too many iterations.
#[track_caller]
fn expect_idle_loop<T: 'static>(event_loop: &mut EventLoop<T>) {
    let end = Instant::now() + IDLE;
    let before = event_loop.stats().turns;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        event_loop.turn(left).unwrap();
    }
    let iterations = event_loop.stats().turns - before;
    assert!(iterations <= MOST_EXTRA_RETURNS + 1, "{iterations} iterations in {IDLE:?}");
}

/// Fails if the next wait is not ended by a wake.
#[track_caller]
fn expect_wake<S, D>(selector: &mut Selector<S, D>) {
    let (_, waited) = processor_time(|| assert!(select(selector, SURELY).is_empty()));
    assert!(waited < SURELY, "the wake was lost");
}

fn raise() {
    kill_process(getpid(), Signal::USR1).unwrap();
}

/// A loop that counts the callbacks of `SIGUSR1`.
fn open_with_signal(backend: Backend) -> EventLoop<u32> {
    let mut event_loop = open_loop(backend, 0);
    event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state += 1).unwrap();
    event_loop
}

fn a_waker_used_in_a_child_does_not_wake_the_parent(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    selector.register(left, R, ()).unwrap();
    let waker = selector.waker().unwrap();
    fork(|| {
        waker.wake().unwrap();
        let clone = waker.clone();
        thread::spawn(move || clone.wake().unwrap()).join().unwrap();
        std::task::Waker::from(waker.clone()).wake();
    })
    .join();
    expect_sleep(&mut selector);
    waker.wake().unwrap();
    expect_wake(&mut selector);
}

fn a_waker_used_in_a_child_takes_nothing_from_a_pending_wake_of_the_parent(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    waker.wake().unwrap();
    fork(|| waker.wake().unwrap()).join();
    expect_wake(&mut selector);
    expect_sleep(&mut selector);
}

fn a_wake_in_a_child_before_its_rebuild_ends_the_wait_after_it(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    fork(|| {
        waker.wake().unwrap();
        selector.rebuild().unwrap();
        for _ in 0..3 {
            expect_wake(&mut selector);
            waker.wake().unwrap();
        }
        expect_wake(&mut selector);
        expect_sleep(&mut selector);
    })
    .join();
    expect_sleep(&mut selector);
}

fn a_wake_on_a_thread_of_a_child_that_rebuilds_is_not_lost(backend: Backend) {
    const WAKES: usize = 1_000;

    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    for _ in 0..10 {
        fork(|| {
            let sent = Arc::new(AtomicUsize::new(0));
            let thread = thread::spawn({
                let (sent, waker) = (Arc::clone(&sent), waker.clone());
                move || {
                    for _ in 0..WAKES {
                        sent.fetch_add(1, Ordering::Relaxed);
                        waker.wake().unwrap();
                    }
                }
            });
            selector.rebuild().unwrap();
            while sent.load(Ordering::Relaxed) < WAKES {
                expect_wake(&mut selector);
            }
            thread.join().unwrap();
        })
        .join();
    }
    expect_sleep(&mut selector);
}

fn a_wake_in_a_child_of_a_rebuilt_child_wakes_neither_of_the_others(backend: Backend) {
    let mut selector: Selector<TcpStream> = open(backend);
    let waker = selector.waker().unwrap();
    fork(|| {
        selector.rebuild().unwrap();
        fork(|| waker.wake().unwrap()).join();
        expect_sleep(&mut selector);
        waker.wake().unwrap();
        expect_wake(&mut selector);
    })
    .join();
    expect_sleep(&mut selector);
}

fn a_wake_before_a_fork_is_noticed_ends_at_most_one_wait_of_the_parent(backend: Backend) {
    static WAKER: Mutex<Option<Waker>> = Mutex::new(None);

    extern "C" fn wake() {
        if let Some(waker) = &*WAKER.lock().unwrap() {
            waker.wake().unwrap();
        }
    }

    first_in_forked_children(wake);
    let mut selector: Selector<TcpStream> = open(backend);
    *WAKER.lock().unwrap() = Some(selector.waker().unwrap());
    fork(|| {
        selector.rebuild().unwrap();
        expect_wake(&mut selector);
    })
    .join();
    *WAKER.lock().unwrap() = None;
    expect_sleep(&mut selector);
}

fn a_signal_in_a_child_does_not_wake_the_loop_of_the_parent(backend: Backend) {
    let mut event_loop = open_with_signal(backend);
    fork(raise).join();
    expect_idle_loop(&mut event_loop);
    assert_eq!(event_loop.state, 0);
    raise();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 1);
}

fn a_signal_between_fork_and_exec_does_not_wake_the_loop(backend: Backend) {
    let mut event_loop = open_with_signal(backend);
    let mut command = Command::new("true");
    before_exec(&mut command, raise);
    assert!(command.status().unwrap().success());
    expect_idle_loop(&mut event_loop);
    assert_eq!(event_loop.state, 0);
}

fn a_signal_in_a_child_before_its_rebuild_is_delivered_after_it(backend: Backend) {
    let mut event_loop = open_with_signal(backend);
    fork(|| {
        raise();
        event_loop.rebuild().unwrap();
        event_loop.turn(SURELY).unwrap();
        assert_eq!(event_loop.state, 1);
    })
    .join();
    expect_idle_loop(&mut event_loop);
    assert_eq!(event_loop.state, 0);
}

fn a_signal_before_a_fork_is_noticed_ends_at_most_one_wait_of_the_loop(backend: Backend) {
    extern "C" fn raise_signal() {
        raise();
    }

    first_in_forked_children(raise_signal);
    let mut event_loop = open_with_signal(backend);
    fork(|| {
        raise();
        event_loop.rebuild().unwrap();
        event_loop.turn(SURELY).unwrap();
        assert_eq!(event_loop.state, 1);
    })
    .join();
    expect_idle_loop(&mut event_loop);
    assert_eq!(event_loop.state, 0);
}

fn a_child_that_drops_the_last_remote_does_not_wake_the_loop_of_the_parent(backend: Backend) {
    let mut event_loop = open_loop(backend, ());
    let mut remote = Some(event_loop.remote().unwrap());
    fork(|| drop(remote.take())).join();
    expect_idle_loop(&mut event_loop);
    remote.take().unwrap().call(EventLoop::stop).unwrap();
    event_loop.run().unwrap();
}

fn a_child_that_drops_the_loop_and_its_remote_does_not_wake_the_loop_of_the_parent(
    backend: Backend,
) {
    let event_loop = open_with_signal(backend);
    let mut both = Some((event_loop, None));
    let (event_loop, remote) = both.as_mut().unwrap();
    *remote = Some(event_loop.remote().unwrap());
    fork(|| drop(both.take())).join();
    expect_idle_loop(&mut both.as_mut().unwrap().0);
}

fn a_call_in_a_child_does_not_wake_the_loop_of_the_parent(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    let remote = event_loop.remote().unwrap();
    fork(|| {
        for _ in 0..3 {
            remote.call(|event_loop| event_loop.state += 1).unwrap();
        }
        let remote = remote.clone();
        let call = move || remote.call(|event_loop| event_loop.state += 1).unwrap();
        thread::spawn(call).join().unwrap();
    })
    .join();
    expect_idle_loop(&mut event_loop);
    assert_eq!(event_loop.state, 0);
}

fn a_call_in_a_child_before_its_rebuild_runs_after_it(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    let remote = event_loop.remote().unwrap();
    fork(|| {
        remote.call(|event_loop| event_loop.state += 1).unwrap();
        event_loop.rebuild().unwrap();
        event_loop.turn(SURELY).unwrap();
        assert_eq!(event_loop.state, 1);
    })
    .join();
    expect_idle_loop(&mut event_loop);
    assert_eq!(event_loop.state, 0);
}

/// A loop with a task that waits, what wakes it, and how often it has been polled.
#[cfg(feature = "async")]
fn open_with_task(backend: Backend) -> (EventLoop, std::task::Waker, Rc<Cell<u32>>) {
    let (mut event_loop, polls) = (open_loop(backend, ()), Rc::new(Cell::new(0)));
    let waker = Rc::new(Cell::new(None));
    let (counter, slot) = (Rc::clone(&polls), Rc::clone(&waker));
    let future = std::future::poll_fn(move |context| {
        counter.set(counter.get() + 1);
        slot.set(Some(context.waker().clone()));
        std::task::Poll::<()>::Pending
    });
    event_loop.spawn(future).detach();
    event_loop.turn(SURELY).unwrap();
    (event_loop, waker.take().expect("polled once"), polls)
}

#[cfg(feature = "async")]
fn a_task_woken_on_a_thread_of_a_child_does_not_wake_the_loop_of_the_parent(backend: Backend) {
    let (mut event_loop, waker, polls) = open_with_task(backend);
    fork(|| {
        let waker = waker.clone();
        thread::spawn(move || waker.wake()).join().unwrap();
    })
    .join();
    expect_idle_loop(&mut event_loop);
    assert_eq!(polls.get(), 1);
    thread::spawn(move || waker.wake()).join().unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(polls.get(), 2);
}

#[cfg(feature = "async")]
fn a_task_woken_on_a_thread_of_a_child_before_its_rebuild_is_polled_after_it(backend: Backend) {
    let (mut event_loop, waker, polls) = open_with_task(backend);
    fork(|| {
        let waker = waker.clone();
        thread::spawn(move || waker.wake()).join().unwrap();
        event_loop.rebuild().unwrap();
        event_loop.turn(SURELY).unwrap();
        assert_eq!(polls.get(), 2);
    })
    .join();
    expect_idle_loop(&mut event_loop);
    assert_eq!(polls.get(), 1);
}
