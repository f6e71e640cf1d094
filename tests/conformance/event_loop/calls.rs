//! Calls: `call_soon`, and calls from other threads.

use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use polyselect::{Backend, EventLoop, Remote};

use super::open;
use crate::support::*;

cases! {
    call_soon_runs_in_the_next_turn_in_order,
    a_remote_is_send_although_the_state_is_not,
    a_call_ends_the_wait,
    calls_keep_the_order_of_each_thread,
    calls_before_run_and_after_stop_are_kept,
    call_and_wait_returns_the_answer,
    call_and_wait_on_the_thread_of_the_loop_is_an_error,
    call_and_wait_withdraws_its_call_at_the_timeout,
    an_answer_that_never_comes_is_an_error,
    a_dropped_loop_refuses_calls,
    a_queued_call_that_holds_a_remote_leaks_nothing,
    run_ends_with_the_last_remote,
}

fn call_soon_runs_in_the_next_turn_in_order(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    event_loop.call_soon(|event_loop| {
        event_loop.state.push(1);
        event_loop.call_soon(|event_loop| event_loop.state.push(3));
    });
    event_loop.call_soon(|event_loop| event_loop.state.push(2));
    event_loop.turn(None).unwrap();
    assert_eq!(event_loop.state, [1, 2]);
    event_loop.turn(None).unwrap();
    assert_eq!(event_loop.state, [1, 2, 3]);
}

fn a_remote_is_send_although_the_state_is_not(backend: Backend) {
    fn is_send_and_sync<T: Send + Sync + Clone>(_: &T) {}
    let mut event_loop: EventLoop<Rc<str>> = open(backend, "not Send".into());
    let remote = event_loop.remote().unwrap();
    is_send_and_sync(&remote);
    let thread = thread::spawn(move || remote.call_and_wait(SURELY, |this| this.state.len()));
    event_loop.run().unwrap();
    assert_eq!(thread.join().unwrap().unwrap(), 8);
}

fn a_call_ends_the_wait(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let remote = event_loop.remote().unwrap();
    let thread = thread::spawn(move || {
        for pause in [Duration::ZERO, Duration::from_micros(50), A_WHILE] {
            thread::sleep(pause);
            remote.call_and_wait(SURELY, |event_loop| event_loop.state += 1).unwrap();
        }
        remote.stop().unwrap();
    });
    let start = Instant::now();
    event_loop.run().unwrap();
    assert!(start.elapsed() < SURELY);
    assert_eq!(event_loop.state, 3);
    thread.join().unwrap();
}

fn calls_keep_the_order_of_each_thread(backend: Backend) {
    const CALLS: usize = 5_000;

    let mut event_loop = open(backend, vec![0; 4]);
    let remote = event_loop.remote().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let remote = remote.clone();
            thread::spawn(move || {
                for call in 0..CALLS {
                    let next = move |event_loop: &mut EventLoop<Vec<usize>>| {
                        assert_eq!(event_loop.state[thread], call);
                        event_loop.state[thread] += 1;
                    };
                    remote.call(next).unwrap();
                }
            })
        })
        .collect();
    drop(remote);
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, [CALLS; 4]);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn calls_before_run_and_after_stop_are_kept(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    let remote = event_loop.remote().unwrap();
    remote.call(|event_loop| event_loop.state.push("before")).unwrap();
    remote.stop().unwrap();
    remote.call(|event_loop| event_loop.state.push("in the iteration that stops")).unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, ["before", "in the iteration that stops"]);
    remote.call(|event_loop| event_loop.state.push("after")).unwrap();
    drop(remote);
    event_loop.run().unwrap();
    assert_eq!(event_loop.state.last(), Some(&"after"));
}

fn call_and_wait_returns_the_answer(backend: Backend) {
    let mut event_loop = open(backend, 20);
    let remote = event_loop.remote().unwrap();
    let thread = thread::spawn(move || {
        let sum = remote.call_and_wait(None, |event_loop| event_loop.state + 1).unwrap();
        remote.call_and_wait(SURELY, move |event_loop| event_loop.state + sum).unwrap()
    });
    event_loop.run().unwrap();
    assert_eq!(thread.join().unwrap(), 41);
}

fn call_and_wait_on_the_thread_of_the_loop_is_an_error(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let remote = event_loop.remote().unwrap();
    let inside = remote.clone();
    event_loop.call_soon(move |_| {
        let error = inside.call_and_wait(SURELY, |event_loop| event_loop.state += 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadlock);
    });
    let error = remote.call_and_wait(None, |event_loop| event_loop.state += 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadlock);
    drop(remote);
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 0, "nothing was queued");
}

fn call_and_wait_withdraws_its_call_at_the_timeout(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let remote = event_loop.remote().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let thread = thread::spawn(move || {
        // The loop is not running.
        let error = remote.call_and_wait(A_WHILE, |event_loop| event_loop.state += 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("withdrawn"), "{error}");
        begun.send(()).unwrap();
        // The loop is busy with the call; on a busy machine it may not have started it yet.
        loop {
            let (go_on, may_go_on) = mpsc::channel::<()>();
            let long = move |event_loop: &mut EventLoop<i32>| {
                event_loop.state += 10;
                may_go_on.recv().unwrap();
            };
            let error = remote.call_and_wait(A_WHILE, long).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            if error.to_string().contains("busy") {
                return go_on.send(()).unwrap();
            }
            assert!(error.to_string().contains("withdrawn"), "{error}");
        }
    });
    has_begun.recv().unwrap();
    event_loop.run().unwrap();
    thread.join().unwrap();
    assert_eq!(event_loop.state, 10);
}

fn an_answer_that_never_comes_is_an_error(backend: Backend) {
    let mut event_loop = open(backend, ());
    let remote = event_loop.remote().unwrap();
    let (queued, is_queued) = mpsc::channel();
    let thread = thread::spawn(move || {
        queued.send(()).unwrap();
        remote.call_and_wait(SURELY, |_| unreachable!())
    });
    is_queued.recv().unwrap();
    drop(event_loop); // before or after the call is queued
    let error = thread.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn a_dropped_loop_refuses_calls(backend: Backend) {
    let mut event_loop = open(backend, ());
    let remote = event_loop.remote().unwrap();
    drop(event_loop);
    for error in [remote.call(|_| unreachable!()), remote.stop()] {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

/// Reports its own drop.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn a_queued_call_that_holds_a_remote_leaks_nothing(backend: Backend) {
    let drops = Arc::new(AtomicUsize::new(0));
    let mut event_loop = open(backend, ());
    let remote = event_loop.remote().unwrap();
    for _ in 0..3 {
        let held = (remote.clone(), Dropped(Arc::clone(&drops)));
        remote.call(move |_| drop(held)).unwrap();
        let held: (Remote<()>, _) = (remote.clone(), Dropped(Arc::clone(&drops)));
        event_loop.call_soon(move |_| drop(held));
    }
    drop(remote);
    drop(event_loop);
    assert_eq!(drops.load(Ordering::SeqCst), 6);
}

fn run_ends_with_the_last_remote(backend: Backend) {
    let mut event_loop = open(backend, ());
    let remotes = vec![event_loop.remote().unwrap(); 8];
    let threads: Vec<_> =
        remotes.into_iter().map(|remote| thread::spawn(move || drop(remote))).collect();
    event_loop.run().unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
