//! How callbacks may use the loop that calls them.

use std::io::{self, Read};
use std::mem;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;

use polyselect::{Backend, EventLoop, Interest, Key, Next};

use super::open;
use crate::support::*;

cases! {
    a_callback_removes_itself,
    a_callback_removes_its_neighbour_whose_event_has_been_collected,
    a_callback_removes_everything,
    a_callback_registers_while_its_own_slot_is_in_use,
    a_new_registration_gets_no_event_of_the_old_one_in_its_slot,
    a_turn_inside_a_turn_is_an_error,
    a_run_inside_a_turn_is_an_error_also_when_nothing_is_left,
    the_whole_loop_can_be_replaced_by_a_callback,
    a_loop_that_was_put_aside_runs_on,
    a_callback_moves_the_loop_to_another_backend,
}

/// Registers `count` writable sources in a loop that counts the callbacks.
fn writable(backend: Backend, count: usize) -> (EventLoop<Vec<Key>>, Vec<TcpStream>) {
    let mut event_loop = open(backend, Vec::new());
    let mut peers = Vec::new();
    for _ in 0..count {
        let (left, right) = pair();
        event_loop
            .register(left, Interest::WRITABLE, |event_loop, _, event| {
                event_loop.state.push(event.key);
                Ok(Next::Keep)
            })
            .unwrap();
        peers.push(right);
    }
    (event_loop, peers)
}

fn a_callback_removes_itself(backend: Backend) {
    let (left, mut right) = pair();
    let token = Rc::new(());
    let mut event_loop = open(backend, 0);
    let held = Rc::clone(&token);
    event_loop
        .register(left, Interest::WRITABLE, move |event_loop, mut left, event| {
            event_loop.unregister(event.key).unwrap();
            assert!(!event_loop.contains(event.key));
            // The source and the callback's state are still alive.
            assert_eq!(Rc::strong_count(&held), 2);
            io::Write::write_all(&mut left, b"bye")?;
            event_loop.state += 1;
            Ok(Next::Modify(Interest::READABLE))
        })
        .unwrap();
    event_loop.run().unwrap();
    assert_eq!((event_loop.state, Rc::strong_count(&token)), (1, 1));
    let mut text = String::new();
    right.set_nonblocking(false).unwrap();
    right.read_to_string(&mut text).unwrap();
    assert_eq!(text, "bye");
}

fn a_callback_removes_its_neighbour_whose_event_has_been_collected(backend: Backend) {
    let mut event_loop = open(backend, (0, Vec::<Key>::new()));
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (left, right) = pair();
        let key = event_loop.register(left, Interest::WRITABLE, |event_loop, _, event| {
            event_loop.state.0 += 1;
            let keys = mem::take(&mut event_loop.state.1);
            for key in keys.into_iter().filter(|&key| key != event.key) {
                event_loop.unregister(key).unwrap();
            }
            Ok(Next::Keep)
        });
        event_loop.state.1.push(key.unwrap());
        peers.push(right);
    }
    event_loop.turn(SURELY).unwrap();
    assert_eq!((event_loop.state.0, event_loop.len()), (1, 1));
}

fn a_callback_removes_everything(backend: Backend) {
    let (mut event_loop, _peers) = writable(backend, 5);
    let (left, right) = pair();
    drop(right);
    event_loop
        .register(left, Interest::READABLE, |event_loop, _, _| {
            event_loop.clear().unwrap();
            Ok(Next::Keep)
        })
        .unwrap();
    event_loop.run().unwrap(); // which ends, because nothing is left
    assert!(event_loop.is_empty() && event_loop.state.len() <= 5);
}

fn a_callback_registers_while_its_own_slot_is_in_use(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, Vec::new());
    event_loop
        .register(left, Interest::WRITABLE, |event_loop, _, event| {
            let mut keys = Vec::new();
            for _ in 0..100 {
                let (source, _) = pair();
                keys.push(event_loop.register(
                    source,
                    Interest::empty(),
                    |_, _, _| unreachable!(),
                )?);
            }
            assert!(keys.iter().all(|&key| key != event.key && event_loop.contains(key)));
            event_loop.state.push(event.key);
            Ok(Next::Remove)
        })
        .unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!((event_loop.state.len(), event_loop.len()), (1, 100));
}

fn a_new_registration_gets_no_event_of_the_old_one_in_its_slot(backend: Backend) {
    let (mut event_loop, _peers) = writable(backend, 2);
    let keys: Vec<_> = event_loop.sources().keys().collect();
    let (left, _right) = pair();
    let replacement = Rc::new(left);
    // The first callback of the two removes the other and takes its slot.
    event_loop.clear().unwrap();
    for _ in keys {
        let replacement = Rc::clone(&replacement);
        let (source, peer) = pair();
        event_loop
            .register(source, Interest::WRITABLE, move |event_loop, _, event| {
                let _ = &peer;
                let others: Vec<_> =
                    event_loop.sources().keys().filter(|&key| key != event.key).collect();
                for other in others {
                    event_loop.unregister(other).unwrap();
                }
                event_loop
                    .register(Rc::clone(&replacement), Interest::READABLE, |_, _, _| {
                        panic!("nothing can be read here")
                    })
                    .unwrap();
                Ok(Next::Remove)
            })
            .unwrap();
    }
    event_loop.turn(SURELY).unwrap();
    event_loop.turn(Duration::ZERO).unwrap();
    assert_eq!(event_loop.len(), 1);
}

fn a_turn_inside_a_turn_is_an_error(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open(backend, 0);
    event_loop
        .register(left, Interest::WRITABLE, |event_loop, _, _| {
            for error in [event_loop.turn(None).unwrap_err(), event_loop.run().unwrap_err()] {
                assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
                assert!(error.to_string().contains("call_soon"), "{error}");
            }
            event_loop.state += 1;
            Ok(Next::Remove)
        })
        .unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
}

fn a_run_inside_a_turn_is_an_error_also_when_nothing_is_left(backend: Backend) {
    let mut event_loop = open(backend, None);
    event_loop.call_soon(|event_loop| event_loop.state = Some(event_loop.run()));
    event_loop.run().unwrap();
    let error = event_loop.state.expect("was called").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
}

fn the_whole_loop_can_be_replaced_by_a_callback(backend: Backend) {
    let (mut event_loop, _peers) = writable(backend, 3);
    let (left, _right) = pair();
    let key = event_loop
        .register(left, Interest::WRITABLE, move |event_loop, left, event| {
            let new = open(backend, vec![event.key]);
            drop(mem::replace(event_loop, new));
            // The calling loop is gone, and its registration with it, except the callback that is
            // running.
            assert!(left.peer_addr().is_ok());
            Ok(Next::Modify(Interest::READABLE))
        })
        .unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, [key]);
    assert!(event_loop.is_empty());
    // The new registration works like any other.
    event_loop.call_soon(|event_loop| event_loop.state.clear());
    event_loop.run().unwrap();
    assert!(event_loop.state.is_empty());
}

type Nested = Option<Box<EventLoop<(u32, Holder)>>>;
#[derive(Default)]
struct Holder(Nested);

fn a_loop_that_was_put_aside_runs_on(backend: Backend) {
    let mut event_loop = open(backend, (0, Holder::default()));
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (left, right) = pair();
        // Edge-triggered, so that a lost event is not reported again.
        let watch = if backend.capabilities().edge {
            Interest::WRITABLE.edge()
        } else {
            Interest::WRITABLE.oneshot()
        };
        event_loop
            .register(left, watch, move |event_loop, _, _| {
                event_loop.state.0 += 1;
                if event_loop.state.0 == 1 {
                    let new = open(backend, (100, Holder::default()));
                    let old = mem::replace(event_loop, new);
                    event_loop.state.1.0 = Some(Box::new(old));
                }
                Ok(Next::Keep)
            })
            .unwrap();
        peers.push(right);
    }
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state.0, 100);
    let mut old = *event_loop.state.1.0.take().expect("was put aside");
    while old.state.0 < 3 {
        old.turn(SURELY).unwrap();
    }
    assert_eq!(old.len(), 3);
}

fn a_callback_moves_the_loop_to_another_backend(backend: Backend) {
    let (mut event_loop, _peers) = writable(backend, 3);
    for other in Backend::available() {
        event_loop.call_soon(move |event_loop| event_loop.rebuild_with(other).unwrap());
        event_loop.turn(SURELY).unwrap();
        assert_eq!(event_loop.backend(), other);
        event_loop.state.clear();
        event_loop.turn(SURELY).unwrap();
        assert_eq!(event_loop.state.len(), 3);
    }
}
