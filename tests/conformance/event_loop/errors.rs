//! Errors and panics of callbacks.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use polyselect::{Backend, EventLoop, Interest, Next};

use super::open;
use crate::support::*;

cases! {
    an_error_removes_the_registration_and_goes_to_the_hook,
    would_block_and_interrupted_are_ignored,
    without_a_hook_the_loop_runs_on,
    without_a_hook_an_error_is_logged_with_its_place,
    an_error_of_an_accepting_callback_is_logged_with_its_place,
    a_hook_may_replace_itself_and_use_the_loop,
    a_modification_that_is_refused_is_an_error_of_the_callback needs exclusive,
    a_panic_passes_through_and_the_rest_is_delivered,
    an_error_of_a_callback_that_ended_itself_is_reported_although_a_destructor_panics,
    a_panic_of_a_timer_or_call_leaves_the_others,
}

fn an_error_removes_the_registration_and_goes_to_the_hook(backend: Backend) {
    let (left, right) = pair();
    let mut event_loop = open(backend, Vec::new());
    event_loop.on_error(|event_loop, key, error| {
        assert!(!event_loop.contains(key));
        event_loop.state.push((key, error.to_string()));
    });
    let failing = event_loop
        .register(left, Interest::WRITABLE, |_, _, _| Err(io::Error::other("went wrong")))
        .unwrap();
    let other = event_loop.register(right, Interest::WRITABLE, |_, _, _| Ok(Next::Keep)).unwrap();
    event_loop.turn(SURELY).unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    assert_eq!(event_loop.state, [(failing, "went wrong".to_owned())]);
    assert!(event_loop.contains(other));
    assert_eq!(event_loop.stats().errors, 1);
}

fn would_block_and_interrupted_are_ignored(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, 0);
    event_loop.on_error(|_, _, error| panic!("{error} was reported"));
    event_loop
        .register(left, Interest::WRITABLE, |event_loop, _, _| {
            event_loop.state += 1;
            Err(match event_loop.state {
                1 => io::ErrorKind::WouldBlock.into(),
                2 => io::ErrorKind::Interrupted.into(),
                _ => return Ok(Next::Remove),
            })
        })
        .unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 3);
}

fn an_error_of_a_callback_that_ended_itself_is_reported_although_a_destructor_panics(
    backend: Backend,
) {
    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("a destructor, as planned");
        }
    }

    let (left, _right) = pair();
    let mut event_loop = open(backend, Vec::new());
    event_loop.on_error(|event_loop, key, error| event_loop.state.push((key, error.to_string())));
    let owned = PanicsWhenDropped;
    let key = event_loop
        .register_with(left, Interest::WRITABLE, |key| {
            move |event_loop: &mut EventLoop<_>, _: &_, _| {
                let _ = &owned;
                event_loop.unregister(key)?;
                Err(io::Error::other("went wrong"))
            }
        })
        .unwrap();
    let turn = catch_unwind(AssertUnwindSafe(|| event_loop.turn(SURELY)));
    assert!(turn.is_err(), "the panic passes through");
    assert_eq!(event_loop.state, [(key, "went wrong".to_owned())]);
}

fn without_a_hook_the_loop_runs_on(backend: Backend) {
    let (left, right) = pair();
    let mut event_loop = open(backend, 0);
    event_loop.register(left, Interest::WRITABLE, |_, _, _| Err(io::Error::other("no"))).unwrap();
    event_loop
        .register(right, Interest::READABLE, |event_loop, _, _| {
            event_loop.state += 1; // the peer has been closed
            Ok(Next::Remove)
        })
        .unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
}

fn without_a_hook_an_error_is_logged_with_its_place(backend: Backend) {
    keep_records();
    let mut event_loop = open(backend, ());
    for (kind, level) in [
        (io::ErrorKind::InvalidData, "ERROR"),
        (io::ErrorKind::ConnectionReset, "WARN"),
        (io::ErrorKind::ConnectionAborted, "WARN"),
        (io::ErrorKind::BrokenPipe, "WARN"),
    ] {
        let (left, _right) = pair();
        event_loop.register(left, W, move |_, _, _| Err(kind.into())).unwrap();
        let place = format!("{}:{}:", file!(), line!() - 1);
        event_loop.run().unwrap();
        let records = take_records();
        let start = format!("{level}: the callback registered at {place}");
        assert!(records.len() == 1 && records[0].starts_with(&start), "{records:?}");
        assert!(records[0].ends_with(&io::Error::from(kind).to_string()), "{records:?}");
    }
}

fn an_error_of_an_accepting_callback_is_logged_with_its_place(backend: Backend) {
    keep_records();
    let mut event_loop = open(backend, ());
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    event_loop.accept(listener, |_, _, _| Err(io::Error::other("went wrong"))).unwrap();
    let place = format!("{}:{}:", file!(), line!() - 1);
    event_loop.turn(SURELY).unwrap();
    let records = take_records();
    let start = format!("ERROR: the callback registered at {place}");
    assert!(records.len() == 1 && records[0].starts_with(&start), "{records:?}");
}

fn a_hook_may_replace_itself_and_use_the_loop(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    event_loop.on_error(|event_loop, _, _| {
        event_loop.state.push("first");
        event_loop.on_error(|event_loop, _, _| event_loop.state.push("second"));
        let (left, _) = pair();
        event_loop
            .register(left, Interest::WRITABLE, |_, _, _| Err(io::Error::other("again")))
            .unwrap();
    });
    let (left, _right) = pair();
    event_loop.register(left, Interest::WRITABLE, |_, _, _| Err(io::Error::other("no"))).unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, ["first", "second"]);
}

fn a_modification_that_is_refused_is_an_error_of_the_callback(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, None);
    event_loop.on_error(|event_loop, _, error| event_loop.state = Some(error.kind()));
    // Priority and exclusive are each allowed, but not together.
    let watch = Interest::WRITABLE.exclusive();
    event_loop.register(left, watch, |_, _, _| Ok(Next::Modify(Interest::PRIORITY))).unwrap();
    event_loop.run().unwrap();
    assert!(event_loop.state.is_some());
}

fn turn_panics<T: 'static>(event_loop: &mut EventLoop<T>) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(|| event_loop.turn(SURELY)));
    std::panic::set_hook(hook);
    let panic = result.expect_err("the panic passes through");
    assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
}

fn a_panic_passes_through_and_the_rest_is_delivered(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let mut peers = Vec::new();
    for _ in 0..4 {
        let (left, right) = pair();
        event_loop
            .register(left, Interest::WRITABLE.oneshot(), |event_loop, _, _| {
                event_loop.state += 1;
                assert!(event_loop.state != 2, "on purpose");
                Ok(Next::Keep)
            })
            .unwrap();
        peers.push(right);
    }
    event_loop.call_soon(|event_loop| event_loop.state += 10);
    turn_panics(&mut event_loop);
    // It was the second; the callbacks after it, the call included, run in the next iteration.
    assert_eq!((event_loop.state, event_loop.len()), (2, 3));
    event_loop.turn(SURELY).unwrap();
    assert_eq!((event_loop.state, event_loop.len()), (14, 3));
    assert_eq!(event_loop.stats().turns, 1);
}

fn a_panic_of_a_timer_or_call_leaves_the_others(backend: Backend) {
    let mut event_loop = open(backend, 0);
    for number in 0..4 {
        event_loop.call_later(Duration::ZERO, move |event_loop| {
            event_loop.state += 1;
            assert!(number != 1, "on purpose");
        });
        event_loop.call_soon(move |event_loop| {
            event_loop.state += 10;
            assert!(number != 2, "on purpose");
        });
    }
    let every = event_loop.call_every(Duration::from_nanos(1), |_, _| panic!("on purpose"));
    turn_panics(&mut event_loop);
    assert_eq!(event_loop.state, 2);
    turn_panics(&mut event_loop); // the repeating one
    assert_eq!(event_loop.state, 4);
    assert_eq!(event_loop.cancel(every).unwrap_err().kind(), io::ErrorKind::NotFound);
    turn_panics(&mut event_loop);
    assert_eq!(event_loop.state, 34);
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 44);
}
