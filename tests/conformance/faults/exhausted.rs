//! No descriptor is free: operations that need one fail and can be retried, the others work.

use std::io::{self, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;

use polyselect::signal::SIGUSR1;
use polyselect::{Backend, EventLoop, Ready, Selector};
use rustix::io::Errno;

use crate::event_loop::open as open_loop;
use crate::support::process::{has_kernel_object, without_descriptors};
use crate::support::*;

cases! {
    opening_a_selector_without_descriptors_is_an_error,
    registering_changing_waiting_and_waking_need_no_descriptor,
    the_first_waker_without_descriptors_is_an_error,
    rebuilding_without_descriptors_leaves_everything_as_it_was,
    a_wait_on_another_thread_without_descriptors_loses_nothing,
    a_loop_without_descriptors_returns_errors_and_goes_on,
    a_child_that_cannot_be_watched_is_given_back,
}

#[track_caller]
fn expect_too_many(error: &io::Error) {
    assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()), "{error}");
}

fn opening_a_selector_without_descriptors_is_an_error(backend: Backend) {
    let opened = without_descriptors(|| Selector::<TcpStream>::with_backend(backend));
    match opened {
        Ok(_) => assert!(!has_kernel_object(backend)),
        Err(error) => {
            assert!(has_kernel_object(backend));
            expect_too_many(&error);
        }
    }
    expect_silence(&mut open::<TcpStream, ()>(backend));
}

fn registering_changing_waiting_and_waking_need_no_descriptor(backend: Backend) {
    let ((left, mut right), (other, _other_peer)) = (pair(), pair());
    let mut selector = open(backend);
    let waker = selector.waker().unwrap();
    without_descriptors(|| {
        let key = selector.register(left, R, ()).unwrap();
        let other = selector.register(other, W, ()).unwrap();
        assert_eq!(expect_one(&mut selector, other), Ready::WRITABLE);
        selector.modify(other, R).unwrap();
        right.write_all(b"!").unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
        drain(selector[key].source());
        waker.wake().unwrap();
        assert!(select(&mut selector, SURELY).is_empty());
        // Dropping one of these would free a descriptor.
        [key, other].map(|key| selector.unregister(key).unwrap())
    });
}

fn the_first_waker_without_descriptors_is_an_error(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, W, ()).unwrap();
    let error = without_descriptors(|| selector.waker().unwrap_err());
    expect_too_many(&error);
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
    selector.modify(key, R).unwrap();
    selector.waker().unwrap().wake().unwrap();
    assert!(select(&mut selector, SURELY).is_empty());
}

fn rebuilding_without_descriptors_leaves_everything_as_it_was(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, "data").unwrap();
    let rebuilt = without_descriptors(|| selector.rebuild());
    match rebuilt {
        Ok(()) => assert!(!has_kernel_object(backend)),
        Err(error) => expect_too_many(&error),
    }
    right.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    assert_eq!((*selector[key].data(), selector.backend()), ("data", backend));
    selector.rebuild().unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
}

/// A ring belongs to a thread, so another thread needs another ring.
fn a_wait_on_another_thread_without_descriptors_loses_nothing(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    look(&mut selector);
    right.write_all(b"!").unwrap();
    without_descriptors(|| {
        thread::scope(|scope| {
            let wait = scope.spawn(|| {
                let mut events = polyselect::Events::with_capacity(4);
                selector.select(&mut events, SURELY)
            });
            match wait.join().unwrap() {
                Ok(count) => assert_eq!(count, 1),
                Err(error) => expect_too_many(&error),
            }
        });
    });
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(expect_one(&mut selector, key), Ready::READABLE));
    });
}

fn a_loop_without_descriptors_returns_errors_and_goes_on(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    without_descriptors(|| {
        expect_too_many(&event_loop.remote().unwrap_err());
        expect_too_many(&event_loop.on_signal(SIGUSR1, |_| ()).unwrap_err());
    });
    event_loop.call_soon(|event_loop| event_loop.state += 1);
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);

    event_loop.on_signal(SIGUSR1, EventLoop::stop).unwrap();
    let remote = event_loop.remote().unwrap();
    without_descriptors(|| {
        remote.call(|event_loop| event_loop.state += 1).unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR1)
            .unwrap();
        event_loop.run().unwrap();
    });
    assert_eq!(event_loop.state, 2);
}

fn a_child_that_cannot_be_watched_is_given_back(backend: Backend) {
    let mut event_loop = open_loop(backend, 0);
    let child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
    let id = child.id();
    let count = |event_loop: &mut EventLoop<i32>, status: io::Result<std::process::ExitStatus>| {
        assert_eq!(status.unwrap().code(), Some(3));
        event_loop.state += 1;
    };
    let error = without_descriptors(|| event_loop.watch_child(child, count)).unwrap_err();
    expect_too_many(error.error());
    let (_, child, count) = error.into_parts();
    assert_eq!(child.id(), id);
    event_loop.watch_child(child, count).unwrap();
    event_loop.run().unwrap();
    assert_eq!(event_loop.state, 1);
}
