//! Panics of callbacks and of values they own; panics of sources, timers and calls alone are tested
//! with the loop's errors.

// They are const; clippy does not detect it on some targets.
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::Cell;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use polyselect::signal::{SIGUSR1, SIGUSR2};
use polyselect::{Backend, EventLoop, Next};
use rustix::process::{Signal, getpid, kill_process};

use crate::event_loop::open as open_loop;
use crate::support::*;

cases! {
    a_panic_of_a_signal_callback_leaves_the_others,
    a_panic_of_an_accept_callback_leaves_the_others,
    a_panic_of_the_error_hook_leaves_the_others,
    a_panic_of_a_child_callback_leaves_the_others,
    a_panic_of_the_function_that_makes_a_callback_registers_nothing,
    a_panic_passes_through_run,
    panics_of_a_callback_and_of_its_sources_destructor_leave_the_others,
    panics_of_a_timer_and_of_its_destructor_leave_the_others,
    a_panic_of_a_source_removed_by_its_callback_leaves_the_others,
    a_panic_of_one_of_several_cleared_sources_leaves_none_behind,
    a_panic_of_the_logger_at_any_record_loses_nothing,
}

const ON_PURPOSE: &str = "on purpose";

/// A panic without a message on standard error.
fn panic_quietly() -> ! {
    resume_unwind(Box::new(ON_PURPOSE));
}

#[track_caller]
fn panics<R>(work: impl FnOnce() -> R) {
    let result = catch_unwind(AssertUnwindSafe(work));
    let payload = result.err().expect("the panic passes through");
    assert_eq!(payload.downcast_ref(), Some(&ON_PURPOSE));
}

/// Runs iterations until one panics.
fn turn_until_it_panics<T: 'static>(event_loop: &mut EventLoop<T>) {
    panics(|| {
        loop {
            event_loop.turn(SURELY).unwrap();
        }
    });
}

fn a_panic_of_a_signal_callback_leaves_the_others(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    event_loop.on_signal(SIGUSR1, |_| panic_quietly()).unwrap();
    event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state += 1).unwrap();
    event_loop.on_signal(SIGUSR2, |event_loop| event_loop.state += 10).unwrap();
    for signal in [Signal::USR1, Signal::USR2] {
        kill_process(getpid(), signal).unwrap();
    }
    turn_until_it_panics(&mut event_loop);
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 11, "the others are called in the next iteration");
    kill_process(getpid(), Signal::USR1).unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 12, "the one that panicked is gone");
}

fn a_panic_of_an_accept_callback_leaves_the_others(backend: Backend) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut event_loop = open_loop(backend, 0);
    let key = event_loop
        .accept(listener, |event_loop, _, _| {
            event_loop.state += 1;
            panic_quietly()
        })
        .unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SURELY)).unwrap();
    turn_until_it_panics(&mut event_loop);
    assert!(!event_loop.contains(key), "the registration that panicked is gone");
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "so is the connection");
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
}

fn a_panic_of_the_error_hook_leaves_the_others(backend: Backend) {
    let (left, _right) = pair();
    let mut event_loop = open_loop(backend, 0);
    event_loop.on_error(|event_loop, _, _| {
        event_loop.state += 1;
        if event_loop.state == 1 {
            panic_quietly();
        }
    });
    let fails = |_: &mut EventLoop<i32>, _: &TcpStream, _| Err(io::ErrorKind::InvalidData.into());
    event_loop.register(left, W, fails).unwrap();
    turn_until_it_panics(&mut event_loop);
    assert!(event_loop.is_empty());
    let (left, _right) = pair();
    event_loop.register(left, W, fails).unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 2, "the hook stays");
}

fn a_panic_of_a_child_callback_leaves_the_others(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    let child = || Command::new("sh").args(["-c", "exit 0"]).spawn().unwrap();
    event_loop.watch_child(child(), |_, _| panic_quietly()).unwrap();
    turn_until_it_panics(&mut event_loop);
    event_loop.watch_child(child(), |event_loop, _| event_loop.state += 1).unwrap();
    event_loop.run().unwrap(); // which ends, because nothing is left of the first
    assert_eq!(event_loop.state, 1);
}

fn a_panic_of_the_function_that_makes_a_callback_registers_nothing(backend: Backend) {
    type Callback = fn(&mut EventLoop<i32>, &TcpStream, polyselect::Event) -> io::Result<Next>;

    let ((left, mut right), (other, _other_peer)) = (pair(), pair());
    let mut event_loop = open_loop(backend, 0);
    panics(|| event_loop.register_with(left, R, |_| -> Callback { panic_quietly() }));
    assert!(event_loop.is_empty(), "the half-made registration is gone");
    right.set_nonblocking(false).unwrap();
    assert_eq!(right.read(&mut [0]).unwrap(), 0, "so is its source");
    event_loop
        .register(other, W, |event_loop, _, _| {
            event_loop.state += 1;
            Ok(Next::Remove)
        })
        .unwrap();
    event_loop.run().unwrap();
    assert_eq!((event_loop.state, event_loop.len()), (1, 0));
}

fn a_panic_passes_through_run(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    event_loop.call_soon(|_| panic_quietly());
    event_loop.call_soon(|event_loop| event_loop.state += 1);
    panics(|| event_loop.run());
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
}

/// A socket whose `Drop` panics, once for all instances that share the flag.
struct Fragile(TcpStream, Rc<Cell<bool>>);

impl AsFd for Fragile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        if self.1.replace(false) {
            panic_quietly();
        }
    }
}

fn panics_of_a_callback_and_of_its_sources_destructor_leave_the_others(backend: Backend) {
    let ((left, mut right), (other, _other_peer)) = (pair(), pair());
    let mut event_loop = open_loop(backend, 0);
    let fragile = Fragile(left, Rc::new(Cell::new(true)));
    let key = event_loop.register(fragile, W, |_, _, _| panic_quietly()).unwrap();
    event_loop
        .register(other, W, |event_loop, _, _| {
            event_loop.state += 1;
            Ok(Next::Remove)
        })
        .unwrap();
    turn_until_it_panics(&mut event_loop);
    assert!(!event_loop.contains(key));
    event_loop.run().unwrap();
    assert_eq!((event_loop.state, event_loop.len()), (1, 0));
    right.set_nonblocking(false).unwrap();
    assert_eq!(right.read(&mut [0]).unwrap(), 0, "the socket is closed");
}

fn panics_of_a_timer_and_of_its_destructor_leave_the_others(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    let fragile = || Fragile(pair().0, Rc::new(Cell::new(true)));
    let (by_timer, by_signal) = (fragile(), fragile());
    event_loop.call_every(Duration::from_nanos(1), move |_, _| {
        let _owned = &by_timer;
        panic_quietly()
    });
    let signal = move |_: &mut EventLoop<i32>| {
        let _owned = &by_signal;
        panic_quietly()
    };
    event_loop.on_signal(SIGUSR1, signal).unwrap();
    event_loop.call_soon(|event_loop| event_loop.state += 1);
    kill_process(getpid(), Signal::USR1).unwrap();
    for _ in 0..2 {
        turn_until_it_panics(&mut event_loop);
    }
    event_loop.run().unwrap(); // which ends, because nothing is left
    assert_eq!(event_loop.state, 1);
}

fn a_panic_of_a_source_removed_by_its_callback_leaves_the_others(backend: Backend) {
    type Callback = fn(&mut EventLoop<i32>, &Fragile, polyselect::Event) -> io::Result<Next>;

    let ends: [Callback; 3] = [
        |_, _, _| Ok(Next::Remove),
        |_, _, _| Err(io::ErrorKind::InvalidData.into()),
        |event_loop, _, event| event_loop.unregister(event.key).map(|()| Next::Keep),
    ];
    for end in ends {
        let mut event_loop = open_loop(backend, 0);
        let mut peers = Vec::new();
        let panics_once = Rc::new(Cell::new(true));
        for _ in 0..3 {
            let (left, right) = pair();
            let fragile = Fragile(left, Rc::clone(&panics_once));
            event_loop.register(fragile, W, end).unwrap();
            peers.push(right);
        }
        event_loop.call_soon(|event_loop| event_loop.state += 1);
        turn_until_it_panics(&mut event_loop);
        assert_eq!((event_loop.state, event_loop.len()), (0, 2));
        event_loop.run().unwrap();
        assert_eq!((event_loop.state, event_loop.len()), (1, 0));
    }
}

fn a_panic_of_one_of_several_cleared_sources_leaves_none_behind(backend: Backend) {
    let mut event_loop = open_loop(backend, ());
    let mut peers = Vec::new();
    for panics in [false, true, false] {
        let (left, right) = pair();
        let fragile = Fragile(left, Rc::new(Cell::new(panics)));
        event_loop.register(fragile, W, |_, _, _| Ok(Next::Keep)).unwrap();
        peers.push(right);
    }
    panics(|| event_loop.clear());
    assert!(event_loop.is_empty(), "the others were removed too");
    event_loop.run().unwrap();
}

thread_local! {
    /// The number of records logged before one panics; `None` for no panic.
    static RECORDS: Cell<Option<usize>> = const { Cell::new(None) };
}

struct PanickingLogger;

impl log::Log for PanickingLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {
        match RECORDS.get() {
            Some(0) => {
                RECORDS.set(None);
                panic_quietly();
            }
            Some(left) => RECORDS.set(Some(left - 1)),
            None => {}
        }
    }

    fn flush(&self) {}
}

/// One program for each record that it logs: that record panics, and nothing is lost.
fn a_panic_of_the_logger_at_any_record_loses_nothing(backend: Backend) {
    log::set_logger(&PanickingLogger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    for record in 0.. {
        let mut event_loop = open_loop(backend, [0; 5]);
        let remote = event_loop.remote().unwrap();
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (left, right) = pair();
            // A one-shot, so that a lost event is not reported again.
            event_loop
                .register(left, W.oneshot(), |event_loop, _, _| {
                    event_loop.state[0] += 1;
                    Ok(Next::Keep)
                })
                .unwrap();
            peers.push(right);
            event_loop.call_later(Duration::ZERO, |event_loop| event_loop.state[1] += 1);
            event_loop.call_soon(|event_loop| event_loop.state[2] += 1);
            event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state[3] += 1).unwrap();
            remote.call(|event_loop| event_loop.state[2] += 1).unwrap();
            let child = Command::new("true").spawn().unwrap();
            event_loop.watch_child(child, |event_loop, _| event_loop.state[4] += 1).unwrap();
        }
        #[cfg(feature = "async")]
        let tasks = [1, 2].map(|number| {
            event_loop.spawn(async move {
                for _ in 0..3 {
                    polyselect::asyncio::yield_now().await;
                }
                number
            })
        });
        kill_process(getpid(), Signal::USR1).unwrap();
        RECORDS.set(Some(record));
        let is_expected = |event_loop: &EventLoop<[i32; 5]>| {
            event_loop.state == [2, 2, 4, 2, 2] && event_loop.stats().tasks == 0
        };
        let mut panicked = false;
        for _ in 0..1000 {
            let turn = AssertUnwindSafe(|| event_loop.turn(A_WHILE));
            match catch_unwind(turn) {
                Ok(turn) => assert!(turn.is_ok()),
                Err(_) => panicked = true,
            }
            if is_expected(&event_loop) {
                break;
            }
        }
        RECORDS.set(None);
        assert!(is_expected(&event_loop), "record {record}: {:?}", event_loop.state);
        #[cfg(feature = "async")]
        for (task, number) in tasks.into_iter().zip(1..) {
            assert_eq!(event_loop.block_on(task).unwrap().unwrap(), number, "record {record}");
        }
        assert_eq!(event_loop.len(), 2);
        if !panicked {
            return;
        }
    }
}
