//! Calls from code without access to the loop, on the loop's own thread.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use polyselect::{Backend, EventLoop, Interest, Local, Next};

use super::open;
use crate::support::*;

cases! {
    a_call_runs_at_the_end_of_the_iteration_in_which_it_was_queued,
    calls_run_in_order_after_everything_else,
    a_call_that_was_queued_between_iterations_runs_before_the_wait,
    a_call_that_queues_itself_starves_nothing_and_never_waits,
    a_handle_does_not_keep_run_from_ending_but_a_queued_call_does,
    a_dropped_loop_refuses_calls_and_drops_those_that_are_queued,
    a_destructor_may_call_while_the_loop_is_dropped,
    a_panic_of_a_call_leaves_the_others,
    a_call_may_end_the_registration_of_an_object_that_is_dropped,
    handles_move_with_their_loop,
    #[cfg(feature = "async")]
    a_task_reaches_the_loop_and_its_state,
}

fn a_call_runs_at_the_end_of_the_iteration_in_which_it_was_queued(backend: Backend) {
    let mut event_loop = open(backend, Vec::new());
    let local = event_loop.local();
    event_loop.call_soon(move |event_loop| {
        local.call(|event_loop| event_loop.state.push("local")).unwrap();
        event_loop.state.push("call");
    });
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, ["call", "local"]);
}

fn calls_run_in_order_after_everything_else(backend: Backend) {
    type Log = EventLoop<Vec<&'static str>>;

    let (left, _right) = pair();
    let mut event_loop: Log = open(backend, Vec::new());
    let local = event_loop.local();
    let say = move |event_loop: &mut Log, here: &'static str, later: &'static str| {
        event_loop.state.push(here);
        local.call(move |event_loop| event_loop.state.push(later)).unwrap();
    };
    let by_event = say.clone();
    event_loop
        .register(left, Interest::WRITABLE, move |event_loop, _, _| {
            by_event(event_loop, "event", "of the event");
            Ok(Next::Remove)
        })
        .unwrap();
    let by_timer = say.clone();
    event_loop.call_later(Duration::ZERO, move |event_loop| {
        by_timer(event_loop, "timer", "of the timer");
    });
    event_loop.call_soon(move |event_loop| say(event_loop, "call", "of the call"));
    event_loop.turn(SURELY).unwrap();
    let mut expected =
        vec!["event", "timer", "call", "of the event", "of the timer", "of the call"];
    if event_loop.state[0] != "event" {
        // There was no wait because a call was queued, so the backend may not have seen the source
        // yet.
        event_loop.turn(SURELY).unwrap();
        expected = vec!["timer", "call", "of the timer", "of the call", "event", "of the event"];
    }
    assert_eq!(event_loop.state, expected);
}

fn a_call_that_was_queued_between_iterations_runs_before_the_wait(backend: Backend) {
    let mut event_loop = open(backend, false);
    let local = event_loop.local();
    let (left, _right) = pair();
    event_loop.register(left, Interest::READABLE, |_, _, _| unreachable!()).unwrap();
    local.call(|event_loop| event_loop.state = true).unwrap();
    assert_eq!(event_loop.stats().pending_calls, 1);
    let start = Instant::now();
    event_loop.turn(SURELY).unwrap();
    assert!(event_loop.state && start.elapsed() < SURELY);
    assert_eq!((event_loop.stats().pending_calls, event_loop.stats().calls), (0, 1));
}

fn a_call_that_queues_itself_starves_nothing_and_never_waits(backend: Backend) {
    fn again(event_loop: &mut EventLoop<(u32, bool)>) {
        event_loop.state.0 += 1;
        event_loop.local().call(again).unwrap();
    }

    let mut event_loop = open(backend, (0, false));
    event_loop.call_later(A_WHILE, |event_loop| event_loop.state.1 = true);
    event_loop.local().call(again).unwrap();
    let start = Instant::now();
    while !event_loop.state.1 {
        let before = event_loop.state.0;
        event_loop.turn(SURELY).unwrap();
        assert!(event_loop.state.0 > before);
    }
    assert!(start.elapsed() < SURELY);
}

fn a_handle_does_not_keep_run_from_ending_but_a_queued_call_does(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let local = event_loop.local();
    event_loop.run().unwrap();
    local.call(|event_loop| event_loop.state += 1).unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
}

fn a_dropped_loop_refuses_calls_and_drops_those_that_are_queued(backend: Backend) {
    let mut event_loop = open(backend, ());
    let (local, token) = (event_loop.local(), Rc::new(()));
    let held = (local.clone(), Rc::clone(&token));
    local.call(move |_| drop(held)).unwrap();
    drop(event_loop);
    assert_eq!(Rc::strong_count(&token), 1);
    let held = Rc::clone(&token);
    let error = local.call(move |_| drop(held)).unwrap_err();
    assert_eq!((error.kind(), Rc::strong_count(&token)), (ErrorKind::BrokenPipe, 1));
}

fn a_destructor_may_call_while_the_loop_is_dropped(backend: Backend) {
    struct Calls(Local<()>, Rc<Cell<u32>>);

    impl Drop for Calls {
        fn drop(&mut self) {
            let count = Rc::clone(&self.1);
            let result = self.0.call(move |_| drop(count));
            self.1.set(self.1.get() + u32::from(result.is_err()));
        }
    }

    let refused = Rc::new(Cell::new(0));
    let mut event_loop = open(backend, ());
    let calls = |event_loop: &mut EventLoop| Calls(event_loop.local(), Rc::clone(&refused));
    let (by_source, by_timer, by_call) =
        (calls(&mut event_loop), calls(&mut event_loop), calls(&mut event_loop));
    let (left, _right) = pair();
    event_loop
        .register(left, Interest::READABLE, move |_, _, _| {
            let _owned = &by_source;
            Ok(Next::Keep)
        })
        .unwrap();
    event_loop.call_later(SURELY, move |_| drop(by_timer));
    event_loop.call_soon(move |_| drop(by_call));
    drop(event_loop);
    assert_eq!((refused.get(), Rc::strong_count(&refused)), (3, 1));
}

fn a_panic_of_a_call_leaves_the_others(backend: Backend) {
    let mut event_loop = open(backend, 0);
    let local = event_loop.local();
    event_loop.call_soon(move |_| {
        local.call(|event_loop| event_loop.state += 1).unwrap();
        local.call(|_| resume_unwind(Box::new("on purpose"))).unwrap();
        local.call(|event_loop| event_loop.state += 10).unwrap();
    });
    assert!(catch_unwind(AssertUnwindSafe(|| event_loop.turn(SURELY))).is_err());
    assert_eq!(event_loop.state, 1);
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 11);
}

/// As an object owned by a C library does, which drops it at any time.
fn a_call_may_end_the_registration_of_an_object_that_is_dropped(backend: Backend) {
    struct Connection {
        event_loop: Local<Vec<Connection>>,
        key: polyselect::Key,
    }

    impl Drop for Connection {
        fn drop(&mut self) {
            let key = self.key;
            let _ = self.event_loop.call(move |event_loop| event_loop.unregister(key).unwrap());
        }
    }

    let (left, right) = pair();
    let mut event_loop = open(backend, Vec::new());
    let key = event_loop
        .register(left, Interest::WRITABLE, |event_loop: &mut EventLoop<Vec<Connection>>, _, _| {
            event_loop.state.clear();
            Ok(Next::Keep)
        })
        .unwrap();
    let connection = Connection { event_loop: event_loop.local(), key };
    event_loop.state.push(connection);
    event_loop.run().unwrap(); // which ends, because nothing is left
    assert!(!event_loop.contains(key));
    wait_for_data(&right);
    assert_eq!(drain(&right), 0);
}

fn handles_move_with_their_loop(backend: Backend) {
    let aside = Rc::new(RefCell::new(None));
    let mut event_loop = open(backend, 0);
    let (local, inside) = (event_loop.local(), Rc::clone(&aside));
    event_loop.call_soon(move |event_loop| {
        *inside.borrow_mut() = Some(mem::replace(event_loop, open(backend, 100)));
        local.call(|event_loop| event_loop.state += 1).unwrap();
    });
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 100);
    let mut old: EventLoop<i32> = aside.take().expect("was put aside");
    old.run().unwrap();
    assert_eq!(old.state, 1);
}

#[cfg(feature = "async")]
fn a_task_reaches_the_loop_and_its_state(backend: Backend) {
    use polyselect::asyncio;

    let mut event_loop = open(backend, Vec::new());
    let local = event_loop.local();
    let task = event_loop.spawn(async move {
        for number in 0..3 {
            local.call(move |event_loop| event_loop.state.push(number)).unwrap();
            asyncio::yield_now().await;
        }
    });
    event_loop.block_on(task).unwrap().unwrap();
    assert_eq!(event_loop.state, [0, 1, 2]);
}
