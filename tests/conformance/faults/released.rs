//! After `unregister` the kernel holds no reference to the file, whatever failed before: the peer
//! of a dropped source sees the end of its stream at once. No event is lost by an error either.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use polyselect::{Backend, Events, Ready, Selector, Watch};
use rustix::io::fcntl_dupfd_cloexec;

use super::no_memory::{CHANGING, WAITING, refuse};
use crate::support::closed::close_behind_the_back;
use crate::support::process::{fork, without_descriptors};
use crate::support::*;

cases! {
    a_change_rejected_twice_leaves_no_reference,
    a_failing_removal_leaves_no_reference_and_no_stale_count,
    a_removal_on_a_new_thread_without_descriptors_releases_the_file,
    an_error_of_the_wait_does_not_lose_an_invalid_event,
    moves_between_threads_leak_no_descriptor,
    moves_with_churn_release_every_file,
    a_forked_child_does_not_delay_unregister_rebuild_or_drop,
}

fn unix_pair() -> (UnixStream, UnixStream) {
    let (left, right) = UnixStream::pair().unwrap();
    right.set_nonblocking(true).unwrap();
    (left, right)
}

/// Reads the end of the stream from the peer of a closed stream, without waiting.
#[track_caller]
fn expect_end(mut peer: &UnixStream) {
    assert_eq!(peer.read(&mut [0]).expect("the end of the stream"), 0);
}

fn a_change_rejected_twice_leaves_no_reference(backend: Backend) {
    let modes: [fn(polyselect::Interest) -> Watch; 3] =
        [Watch::from, polyselect::Interest::edge, polyselect::Interest::oneshot];
    for (mode, without_memory) in modes.into_iter().flat_map(|mode| [(mode, true), (mode, false)]) {
        let (left, right) = unix_pair();
        let mut selector = open(backend);
        let Ok(key) = selector.register(left, mode(R), ()) else { continue };
        look(&mut selector);
        let mut change_twice_elsewhere = || {
            thread::scope(|scope| {
                let selector = &mut selector;
                scope.spawn(move || {
                    if without_memory {
                        refuse(CHANGING);
                    }
                    let mut events = Events::with_capacity(8);
                    for interest in [R | W, W] {
                        selector.modify(key, interest).unwrap();
                        let _ = selector.select(&mut events, Duration::ZERO);
                    }
                });
            });
        };
        if without_memory {
            change_twice_elsewhere();
        } else {
            without_descriptors(change_twice_elsewhere);
        }
        drop(selector.unregister(key).unwrap());
        expect_end(&right);
        expect_silence(&mut selector);
    }
}

fn a_failing_removal_leaves_no_reference_and_no_stale_count(backend: Backend) {
    let (kept, _kept_peer) = unix_pair();
    let mut selector = open(backend);
    let kept = selector.register(kept, W, ()).unwrap();
    for _ in 0..3 {
        let (left, right) = unix_pair();
        let key = selector.register(left, R, ()).unwrap();
        thread::scope(|scope| {
            let selector = &mut selector;
            scope.spawn(move || {
                // A ring of this thread holds the polls then.
                look(selector);
                refuse(CHANGING);
                drop(selector.unregister(key).unwrap());
                expect_end(&right);
            });
        });
        assert_eq!(expect_one(&mut selector, kept), Ready::WRITABLE);
    }
}

fn a_removal_on_a_new_thread_without_descriptors_releases_the_file(backend: Backend) {
    let ((left, right), (kept, mut kept_peer)) = (unix_pair(), unix_pair());
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    let kept = selector.register(kept, R, ()).unwrap();
    look(&mut selector);
    let left = without_descriptors(|| {
        thread::scope(|scope| {
            let selector = &mut selector;
            scope.spawn(move || selector.unregister(key).unwrap()).join().unwrap()
        })
    });
    drop(left);
    expect_end(&right);
    // Another file that reuses the descriptor is not registered here.
    let (stranger, mut stranger_peer) = unix_pair();
    stranger_peer.write_all(b"!").unwrap();
    expect_silence(&mut selector);
    assert_eq!((&stranger).read(&mut [0]).unwrap(), 1);
    drop(stranger);
    expect_end(&stranger_peer);
    kept_peer.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, kept), Ready::READABLE);
}

fn an_error_of_the_wait_does_not_lose_an_invalid_event(backend: Backend) {
    let (left, _right) = pair();
    // A high descriptor, which no other file takes while it is free.
    let left = std::mem::ManuallyDrop::new(fcntl_dupfd_cloexec(&left, 500).unwrap());
    let mut selector: Selector<&OwnedFd> = open(backend);
    let key = selector.register(&left, R, ()).unwrap();
    look(&mut selector);
    close_behind_the_back(&*left);
    selector.modify(key, R | W).unwrap();
    let mut found = BTreeSet::new();
    thread::scope(|scope| {
        let (selector, found) = (&mut selector, &mut found);
        scope.spawn(move || {
            refuse(WAITING);
            let mut events = Events::with_capacity(8);
            for _ in 0..2 {
                if selector.select(&mut events, Duration::ZERO).is_ok() {
                    found.extend(events.iter().map(|event| event.ready));
                }
            }
        });
    });
    found.extend(look(&mut selector).iter().map(|event| event.ready));
    assert_eq!(found, BTreeSet::from([Ready::INVALID]));
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs `step` in another thread and in this one, in turn.
fn move_around<S: Send>(state: &mut S, moves: usize, step: fn(&mut S)) {
    for number in 0..moves {
        if number % 2 == 0 {
            thread::scope(|scope| {
                scope.spawn(|| step(state));
            });
        } else {
            step(state);
        }
    }
}

fn moves_between_threads_leak_no_descriptor(backend: Backend) {
    // The recipe of docs/reliability.md sets a longer one.
    let moves =
        std::env::var("POLYSELECT_THREAD_MOVES").map_or(200, |moves| moves.parse().unwrap());
    let (left, mut right) = unix_pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    move_around(&mut selector, 4, |selector| assert!(look(selector).is_empty()));
    let before = open_descriptors();
    move_around(&mut selector, moves, |selector| assert!(look(selector).is_empty()));
    assert_eq!(open_descriptors(), before);
    right.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
}

fn moves_with_churn_release_every_file(backend: Backend) {
    let mut selector = open(backend);
    move_around(&mut selector, 40, |selector| {
        let (left, right) = unix_pair();
        let key = selector.register(left, R, ()).unwrap();
        look(selector);
        drop(selector.unregister(key).unwrap());
        expect_end(&right);
    });
}

fn a_forked_child_does_not_delay_unregister_rebuild_or_drop(backend: Backend) {
    const BOUND: Duration = Duration::from_millis(500);

    let measure = || {
        let (left, _right) = unix_pair();
        let mut selector = open(backend);
        let key = selector.register(left, R, ()).unwrap();
        look(&mut selector);
        let (reader, writer) = std::io::pipe().unwrap();
        // The child holds the kernel object until the parent has finished.
        let child = fork({
            let mut reader = reader.try_clone().unwrap();
            let writer = &writer;
            move || {
                close_behind_the_back(writer);
                assert_eq!(reader.read(&mut [0]).unwrap(), 0);
            }
        });
        let start = Instant::now();
        selector.rebuild().unwrap();
        look(&mut selector);
        thread::scope(|scope| {
            let selector = &mut selector;
            scope.spawn(move || drop(selector.unregister(key).unwrap()));
        });
        drop(selector);
        let taken = start.elapsed();
        drop(writer);
        child.join();
        taken
    };
    // A busy machine delays one of them, but not all.
    let fastest = (0..5).map(|_| measure()).min().unwrap();
    assert!(fastest < BOUND, "{fastest:?}");
}
