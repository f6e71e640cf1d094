//! Panics of callbacks that are no source's, timer's or call's: those are with the loop's errors.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;

use polyselect::signal::{SIGUSR1, SIGUSR2};
use polyselect::{Backend, EventLoop, Next};
use rustix::process::{Signal, getpid, kill_process};

use crate::case;
use crate::event_loop::open as open_loop;
use crate::support::harness::Case;
use crate::support::*;

pub const CASES: &[Case] = &[
    case!(of_a_signal),
    case!(of_a_connection_just_accepted),
    case!(of_the_hook_for_errors),
    case!(of_a_child),
    case!(of_what_makes_a_callback),
    case!(in_run),
];

const ON_PURPOSE: &str = "on purpose";

/// A panic that nobody is told of.
fn panic_quietly() -> ! {
    resume_unwind(Box::new(ON_PURPOSE));
}

#[track_caller]
fn panics<R>(work: impl FnOnce() -> R) {
    let result = catch_unwind(AssertUnwindSafe(work));
    let payload = result.err().expect("the panic passes through");
    assert_eq!(payload.downcast_ref(), Some(&ON_PURPOSE));
}

/// Turns until it panics.
fn turn_until_it_panics<T: 'static>(event_loop: &mut EventLoop<T>) {
    panics(|| {
        loop {
            event_loop.turn(SURELY).unwrap();
        }
    });
}

fn of_a_signal(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    event_loop.on_signal(SIGUSR1, |_| panic_quietly()).unwrap();
    event_loop.on_signal(SIGUSR1, |event_loop| event_loop.state += 1).unwrap();
    event_loop.on_signal(SIGUSR2, |event_loop| event_loop.state += 10).unwrap();
    for signal in [Signal::USR1, Signal::USR2] {
        kill_process(getpid(), signal).unwrap();
    }
    turn_until_it_panics(&mut event_loop);
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 11, "the others are called in the next turn");
    kill_process(getpid(), Signal::USR1).unwrap();
    event_loop.turn(SURELY).unwrap();
    assert_eq!(event_loop.state, 12, "the one that panicked is gone");
}

fn of_a_connection_just_accepted(backend: Backend) {
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

fn of_the_hook_for_errors(backend: Backend) {
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

fn of_a_child(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    let child = || Command::new("sh").args(["-c", "exit 0"]).spawn().unwrap();
    event_loop.watch_child(child(), |_, _| panic_quietly()).unwrap();
    turn_until_it_panics(&mut event_loop);
    event_loop.watch_child(child(), |event_loop, _| event_loop.state += 1).unwrap();
    event_loop.run().unwrap(); // which ends, for nothing is left of the first
    assert_eq!(event_loop.state, 1);
}

fn of_what_makes_a_callback(backend: Backend) {
    type Callback = fn(&mut EventLoop<i32>, &TcpStream, polyselect::Event) -> io::Result<Next>;

    let ((left, mut right), (other, _other_peer)) = (pair(), pair());
    let mut event_loop = open_loop(backend, 0);
    panics(|| event_loop.register_with(left, R, |_| -> Callback { panic_quietly() }));
    right.write_all(b"!").unwrap();
    event_loop
        .register(other, W, |event_loop, _, _| {
            event_loop.state += 1;
            Ok(Next::Remove)
        })
        .unwrap();
    // The half-made one goes with its first event.
    event_loop.run().unwrap();
    assert_eq!((event_loop.state, event_loop.len()), (1, 0));
}

fn in_run(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    event_loop.call_soon(|_| panic_quietly());
    event_loop.call_soon(|event_loop| event_loop.state += 1);
    panics(|| event_loop.run());
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
}
