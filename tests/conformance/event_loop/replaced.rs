//! A callback may replace the loop that runs it: the old one stays consistent, wherever it is
//! moved.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use polyselect::{Backend, EventLoop, Interest, Key, Next};

use super::open;
use crate::support::*;

cases! {
    a_repeating_timer_goes_on_in_the_loop_that_was_put_aside in virtual time,
    a_repeating_timer_may_cancel_itself_before_it_replaces_the_loop,
    a_timer_that_replaces_the_loop_leaves_the_other_timers_with_the_old_one,
    a_call_that_replaces_the_loop_leaves_the_other_calls_with_the_old_one,
    #[cfg(unix)]
    a_signal_that_replaces_the_loop_leaves_the_other_callbacks_with_the_old_one,
    an_answer_reaches_the_loop_that_was_put_aside in virtual time,
    an_error_goes_to_the_hook_of_the_loop_that_was_put_aside,
    an_error_of_an_accept_callback_goes_to_the_hook_of_its_own_loop,
    a_panic_after_a_replacement_ends_the_registration_in_the_old_loop,
    run_goes_on_with_the_new_loop,
    #[cfg(feature = "async")]
    block_on_fails_when_its_loop_is_replaced in virtual time,
}

/// The loop that was replaced.
type Aside<T> = Rc<RefCell<Option<EventLoop<T>>>>;

fn put_aside<T: 'static>(event_loop: &mut EventLoop<T>, new: EventLoop<T>, aside: &Aside<T>) {
    *aside.borrow_mut() = Some(mem::replace(event_loop, new));
}

fn take<T>(aside: &Aside<T>) -> EventLoop<T> {
    aside.borrow_mut().take().expect("was put aside")
}

fn a_repeating_timer_goes_on_in_the_loop_that_was_put_aside(backend: Backend) {
    let aside = Aside::default();
    let mut event_loop = open(backend, 0);
    let inside = Rc::clone(&aside);
    let timer = event_loop.call_every(Duration::from_millis(1), move |event_loop, _| {
        event_loop.state += 1;
        if event_loop.state == 1 {
            put_aside(event_loop, open(backend, 100), &inside);
        }
    });
    while event_loop.state != 100 {
        event_loop.turn(SURELY).unwrap();
    }
    let mut old = take(&aside);
    assert_eq!(old.stats().pending_timers, 1);
    while old.state < 3 {
        old.turn(SURELY).unwrap();
    }
    old.cancel(timer).unwrap();
    old.run().unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 100);
}

fn a_repeating_timer_may_cancel_itself_before_it_replaces_the_loop(backend: Backend) {
    let aside = Aside::default();
    let mut event_loop = open(backend, 0);
    let inside = Rc::clone(&aside);
    event_loop.call_every(Duration::from_nanos(1), move |event_loop, timer| {
        event_loop.state += 1;
        event_loop.cancel(timer).unwrap();
        put_aside(event_loop, open(backend, 100), &inside);
    });
    event_loop.turn(SURELY).unwrap();
    let mut old = take(&aside);
    old.run().unwrap();
    assert_eq!((old.state, old.stats().pending_timers), (1, 0));
}

fn a_timer_that_replaces_the_loop_leaves_the_other_timers_with_the_old_one(backend: Backend) {
    let aside = Aside::default();
    let mut event_loop = open(backend, 0);
    let inside = Rc::clone(&aside);
    event_loop.call_later(Duration::ZERO, move |event_loop| {
        put_aside(event_loop, open(backend, 100), &inside);
    });
    for _ in 0..3 {
        event_loop.call_later(Duration::ZERO, |event_loop| event_loop.state += 1);
    }
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 100);
    let mut old = take(&aside);
    old.run().unwrap();
    assert_eq!(old.state, 3);
}

fn a_call_that_replaces_the_loop_leaves_the_other_calls_with_the_old_one(backend: Backend) {
    let aside = Aside::default();
    let mut event_loop = open(backend, 0);
    let inside = Rc::clone(&aside);
    event_loop.call_soon(move |event_loop| {
        let mut new = open(backend, 100);
        new.call_soon(|event_loop| event_loop.state += 100);
        put_aside(event_loop, new, &inside);
    });
    event_loop.call_soon(|event_loop| event_loop.state += 1);
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 100, "the new loop's calls are for its own iteration");
    let mut old = take(&aside);
    old.run().unwrap();
    event_loop.run().unwrap();
    assert_eq!((old.state, event_loop.state), (1, 200));
}

#[cfg(unix)]
fn a_signal_that_replaces_the_loop_leaves_the_other_callbacks_with_the_old_one(backend: Backend) {
    use polyselect::signal::SIGUSR1;
    use rustix::process::{Signal, getpid, kill_process};

    let aside = Aside::default();
    let mut event_loop = open(backend, 0);
    let inside = Rc::clone(&aside);
    let first = event_loop.on_signal(SIGUSR1, move |event_loop| {
        event_loop.state += 10;
        put_aside(event_loop, open(backend, 100), &inside);
    });
    let second = event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state += 1);
    kill_process(getpid(), Signal::USR1).unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 100);
    let mut old = take(&aside);
    old.turn(SURELY).unwrap();
    assert_eq!(old.state, 11);
    for key in [first, second] {
        old.remove_signal(key.unwrap()).unwrap();
    }
    old.run().unwrap();
}

/// Registers a writable source whose callback replaces the loop and then ends as `end` says.
fn replaced_by_a_source<T: 'static>(
    event_loop: &mut EventLoop<T>,
    new: EventLoop<T>,
    end: fn() -> io::Result<Next>,
) -> (Key, Aside<T>, TcpStream) {
    let aside = Aside::default();
    let (left, right) = pair();
    let (inside, mut new) = (Rc::clone(&aside), Some(new));
    let replace = move |event_loop: &mut EventLoop<T>, _: &_, _| {
        put_aside(event_loop, new.take().expect("is called once"), &inside);
        end()
    };
    let key = event_loop.register(left, Interest::WRITABLE, replace).unwrap();
    (key, aside, right)
}

fn an_answer_reaches_the_loop_that_was_put_aside(backend: Backend) {
    type End = fn() -> io::Result<Next>;
    let ends: [(End, bool); 2] =
        [(|| Ok(Next::Remove), false), (|| Ok(Next::Modify(Interest::READABLE)), true)];
    for (end, stays) in ends {
        let mut event_loop = open(backend, ());
        let (key, aside, peer) = replaced_by_a_source(&mut event_loop, open(backend, ()), end);
        event_loop.turn(SURELY).unwrap();
        assert!(event_loop.is_empty());
        let mut old = take(&aside);
        old.turn(A_WHILE).unwrap();
        assert_eq!((old.contains(key), old.len()), (stays, usize::from(stays)));
        if stays {
            assert_eq!(old.sources().interest(key), Some(Interest::READABLE));
            old.unregister(key).unwrap();
        } else {
            wait_for_data(&peer);
            assert_eq!(drain(&peer), 0, "the source is closed");
        }
        old.run().unwrap();
    }
}

fn an_error_goes_to_the_hook_of_the_loop_that_was_put_aside(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    event_loop.on_error(|event_loop, key, error| event_loop.state.push((key, error.kind())));
    let mut new = open(backend, Vec::new());
    new.on_error(|_, _, _| panic!("is not the hook of that registration"));
    let fail = || Err(io::ErrorKind::InvalidData.into());
    let (key, aside, _peer) = replaced_by_a_source(&mut event_loop, new, fail);
    event_loop.turn(SURELY).unwrap();
    let mut old = take(&aside);
    old.run().unwrap();
    assert_eq!(old.state, [(key, io::ErrorKind::InvalidData)]);
    event_loop.run().unwrap();
}

fn an_error_of_an_accept_callback_goes_to_the_hook_of_its_own_loop(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    event_loop.on_error(|event_loop, key, error| event_loop.state.push((key, error.kind())));
    let mut new = open(backend, Vec::new());
    new.on_error(|_, _, _| panic!("is not the hook of that listener"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let aside = Aside::default();
    let (inside, mut new) = (Rc::clone(&aside), Some(new));
    let accept = move |event_loop: &mut EventLoop<_>, _, _| {
        put_aside(event_loop, new.take().expect("is called once"), &inside);
        Err(io::ErrorKind::InvalidData.into())
    };
    let key = event_loop.accept(listener, accept).unwrap();
    event_loop.turn(SURELY).unwrap();
    let mut old = take(&aside);
    old.unregister(key).unwrap();
    old.run().unwrap();
    assert_eq!(old.state, [(key, io::ErrorKind::InvalidData)]);
}

fn a_panic_after_a_replacement_ends_the_registration_in_the_old_loop(backend: Backend) {
    let mut event_loop = open(backend, ());
    let panic = || resume_unwind(Box::new("on purpose"));
    let (key, aside, _peer) = replaced_by_a_source(&mut event_loop, open(backend, ()), panic);
    assert!(catch_unwind(AssertUnwindSafe(|| event_loop.turn(SURELY))).is_err());
    let mut old = take(&aside);
    old.run().unwrap(); // which ends, because nothing is left
    assert!(!old.contains(key));
    event_loop.run().unwrap();
}

fn run_goes_on_with_the_new_loop(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let mut new = open(backend, 100);
    for _ in 0..3 {
        new.call_soon(|event_loop| event_loop.state += 1);
    }
    event_loop.call_later(Duration::ZERO, move |event_loop| *event_loop = new);
    event_loop.call_later(Duration::ZERO, |_| unreachable!("went with the old loop"));
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 103);
}

#[cfg(feature = "async")]
fn block_on_fails_when_its_loop_is_replaced(backend: Backend) {
    use polyselect::asyncio;

    let aside = Aside::default();
    let mut event_loop = open(backend, 0);
    let inside = Rc::clone(&aside);
    event_loop.call_soon(move |event_loop| {
        let mut new = open(backend, 100);
        // A timer that keeps the new loop running.
        new.call_later(SURELY, |_| ());
        put_aside(event_loop, new, &inside);
    });
    let error = event_loop.block_on(asyncio::sleep(A_WHILE)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    assert_eq!(event_loop.state, 100);
    let mut old = take(&aside);
    assert_eq!(old.block_on(async { 5 }).unwrap(), 5);
}
