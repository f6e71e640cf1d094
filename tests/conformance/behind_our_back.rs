//! Descriptors that unsafe code closes or replaces while they are registered: nothing fails,
//! nothing spins, and no unregistered file is affected.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use polyselect::{Backend, Ready, Selector};

use crate::support::process::close_behind_the_back;
use crate::support::*;

cases! {
    a_descriptor_that_is_not_open_is_refused,
    an_answer_that_changes_is_asked_for_once,
    closed_it_is_told_once_at_most,
    closed_a_change_is_told_as_invalid,
    closed_the_same_watch_is_tried_again needs oneshot,
    closed_without_a_change_it_stays_silent_after_rebuild,
    closed_it_can_be_unregistered,
    closed_while_a_duplicate_lives_on,
    closed_while_a_duplicate_lives_on_and_unregistered,
    a_number_reused_and_registered_again,
    a_number_reused_with_a_change_pending,
    a_duplicate_that_comes_back_to_its_number,
}

/// A source that is never closed by its owner.
struct Unclosed(ManuallyDrop<TcpStream>);

impl AsFd for Unclosed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn unclosed(stream: TcpStream) -> Unclosed {
    Unclosed(ManuallyDrop::new(stream))
}

fn a_descriptor_that_is_not_open_is_refused(backend: Backend) {
    for watch in [R.into(), W.oneshot(), NOTHING.into()] {
        let mut selector = open(backend);
        let (left, _right) = pair();
        let left = unclosed(left);
        let number = close_behind_the_back(&*left.0);
        let error = selector.register(left, watch, "data").unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("descriptor {number} is not open")), "{error}");
        let (_, left, data) = error.into_parts();
        assert_eq!((left.0.as_raw_fd(), data, selector.len()), (number, "data", 0));
        expect_silence(&mut selector);
    }
}

/// Returns another descriptor at each call of `as_fd`.
struct Fickle {
    streams: [TcpStream; 2],
    asked: Cell<usize>,
}

impl AsFd for Fickle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let asked = self.asked.replace(self.asked.get() + 1);
        self.streams[asked % 2].as_fd()
    }
}

fn an_answer_that_changes_is_asked_for_once(backend: Backend) {
    let ((one, mut one_peer), (two, mut two_peer)) = (pair(), pair());
    let stranger = two.try_clone().unwrap();
    let mut selector = open(backend);
    let key =
        selector.register(Fickle { streams: [one, two], asked: Cell::new(0) }, R, ()).unwrap();
    two_peer.write_all(b"!").unwrap();
    wait_for_data(&stranger);
    expect_silence(&mut selector);
    selector.modify(key, R | W).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
    selector.modify(key, R).unwrap();
    one_peer.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    let (fickle, ()) = selector.unregister(key).unwrap().into_parts();
    expect_silence(&mut selector);
    assert_eq!(fickle.asked.get(), 1);
}

/// Only these events may be reported, once.
fn told_once_at_most<S, D>(selector: &mut Selector<S, D>, key: polyselect::Key) {
    let events = select(selector, A_WHILE);
    assert!(events.len() <= 1, "{events:?}");
    for event in events {
        assert_eq!((event.key, event.ready), (key, Ready::INVALID));
    }
    let (time, waited) = processor_time(|| expect_silence(selector));
    assert!(time < waited, "{time:?} of {waited:?}");
}

fn closed_it_is_told_once_at_most(backend: Backend) {
    for watch in [R.into(), W.into(), (R | W).oneshot()] {
        let ((left, _right), (other, mut other_peer)) = (pair(), pair());
        let mut selector = open(backend);
        let key = selector.register(unclosed(left), watch, ()).unwrap();
        let other = selector.register(unclosed(other), R, ()).unwrap();
        close_behind_the_back(&*selector[key].source().0);
        told_once_at_most(&mut selector, key);
        // The other registrations are not affected.
        other_peer.write_all(b"!").unwrap();
        assert_eq!(expect_one(&mut selector, other), Ready::READABLE);
        let (mut other, ()) = selector.unregister(other).unwrap().into_parts();
        drop(ManuallyDrop::into_inner(std::mem::replace(
            &mut other.0,
            ManuallyDrop::new(other_peer),
        )));
        drop(ManuallyDrop::into_inner(other.0));
    }
}

fn closed_a_change_is_told_as_invalid(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    close_behind_the_back(&*selector[key].source().0);
    told_once_at_most(&mut selector, key);
    for interest in [W, R | W] {
        selector.modify(key, interest).unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
        expect_silence(&mut selector);
    }
    selector.modify(key, NOTHING).unwrap();
    told_once_at_most(&mut selector, key);
}

fn closed_the_same_watch_is_tried_again(backend: Backend) {
    for watch in [R.into(), R.oneshot()] {
        let ((left, _right), (fresh, mut fresh_peer)) = (pair(), pair());
        let mut selector = open(backend);
        let key = selector.register(unclosed(left), W, ()).unwrap();
        let number = close_behind_the_back(&*selector[key].source().0);
        // Some backends report the first watch as invalid, and all report this one.
        selector.set_watch(key, watch).unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
        for _ in 0..2 {
            expect_silence(&mut selector);
            selector.set_watch(key, watch).unwrap();
            assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
        }
        // A file that reuses the descriptor is watched from then on.
        let fresh = rustix::io::fcntl_dupfd_cloexec(&fresh, number).unwrap();
        assert_eq!(fresh.as_raw_fd(), number);
        selector.set_watch(key, watch).unwrap();
        expect_silence(&mut selector);
        fresh_peer.write_all(b"!").unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
        selector.unregister(key).unwrap();
    }
}

fn closed_without_a_change_it_stays_silent_after_rebuild(backend: Backend) {
    let (lower_numbers, (left, _right)) = ([pair(), pair()], pair());
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    close_behind_the_back(&*selector[key].source().0);
    let was_reported = !select(&mut selector, A_WHILE).is_empty();
    // The new kernel object must not reuse the closed descriptor.
    drop(lower_numbers);
    selector.rebuild().unwrap();
    if !was_reported {
        // The kernel's set has lost it silently, and the new one rejects it.
        assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
    }
    expect_silence(&mut selector);
    selector.modify(key, R).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
    expect_silence(&mut selector);
}

fn closed_it_can_be_unregistered(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, "data").unwrap();
    let number = close_behind_the_back(&*selector[key].source().0);
    let (left, data) = selector.unregister(key).unwrap().into_parts();
    assert_eq!((left.0.as_raw_fd(), data), (number, "data"));
    expect_silence(&mut selector);
}

/// The kernel may go on to report it, but never under another key.
fn closed_while_a_duplicate_lives_on(backend: Backend) {
    let (left, mut right) = pair();
    let twin = left.try_clone().unwrap();
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    close_behind_the_back(&*selector[key].source().0);
    right.write_all(b"!").unwrap();
    wait_for_data(&twin);
    for event in select(&mut selector, A_WHILE) {
        assert_eq!(event.key, key);
    }
    selector.unregister(key).unwrap();
    expect_silence(&mut selector);
}

fn closed_while_a_duplicate_lives_on_and_unregistered(backend: Backend) {
    let ((left, mut right), (other, mut other_peer)) = (pair(), pair());
    let twin = left.try_clone().unwrap();
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    let other = selector.register(unclosed(other), R, ()).unwrap();
    look(&mut selector);
    close_behind_the_back(&*selector[key].source().0);
    selector.unregister(key).unwrap();
    right.write_all(b"!").unwrap();
    wait_for_data(&twin);
    let (time, waited) = processor_time(|| expect_silence(&mut selector));
    assert!(time < waited, "{time:?} of {waited:?}");
    other_peer.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, other), Ready::READABLE);
    let (other, ()) = selector.unregister(other).unwrap().into_parts();
    drop(ManuallyDrop::into_inner(other.0));
}

/// The old registration is gone; the new one has its descriptor and slot, but none of its events.
fn a_number_reused_and_registered_again(backend: Backend) {
    let (left, _right) = pair();
    let mut selector: Selector<Unclosed> = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    look(&mut selector);
    let (fresh, mut fresh_peer) = replace_behind_the_back(&selector[key].source().0);
    // While the old one is registered, its descriptor is in use.
    let error = selector.register(unclosed(fresh), R, ()).unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::AlreadyExists);
    let (_, fresh, ()) = error.into_parts();
    selector.unregister(key).unwrap();
    let key = selector.register(fresh, R, ()).unwrap();
    expect_silence(&mut selector);
    fresh_peer.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    let (fresh, ()) = selector.unregister(key).unwrap().into_parts();
    drop(ManuallyDrop::into_inner(fresh.0));
}

/// Closes a registered source, and opens a new connection, one end of which has its descriptor.
fn replace_behind_the_back(source: &TcpStream) -> (TcpStream, TcpStream) {
    let (left, right) = pair();
    let number = close_behind_the_back(source);
    let left = rustix::io::fcntl_dupfd_cloexec(left, number).unwrap();
    assert_eq!(left.as_raw_fd(), number);
    (left.into(), right)
}

fn a_number_reused_with_a_change_pending(backend: Backend) {
    let (left, _right) = pair();
    let mut selector: Selector<Unclosed> = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    look(&mut selector);
    selector.modify(key, R | W).unwrap();
    let (fresh, mut fresh_peer) = replace_behind_the_back(&selector[key].source().0);
    // The effect of the change differs between systems; only this key may be reported.
    for event in select(&mut selector, A_WHILE) {
        assert_eq!(event.key, key);
    }
    selector.unregister(key).unwrap();
    expect_silence(&mut selector);
    let key = selector.register(unclosed(fresh), R, ()).unwrap();
    fresh_peer.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    let (fresh, ()) = selector.unregister(key).unwrap().into_parts();
    drop(ManuallyDrop::into_inner(fresh.0));
}

/// The same file under the same descriptor again: to the kernel it may never have been closed.
fn a_duplicate_that_comes_back_to_its_number(backend: Backend) {
    let (left, mut right) = pair();
    let twin = left.try_clone().unwrap();
    let mut selector: Selector<Unclosed> = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    look(&mut selector);
    let number = close_behind_the_back(&*selector[key].source().0);
    selector.unregister(key).unwrap();
    let again: OwnedFd = twin.try_clone().unwrap().into();
    assert_eq!(again.as_raw_fd(), number);
    let key = selector.register(unclosed(again.into()), R, ()).unwrap();
    expect_silence(&mut selector);
    right.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    drain(&twin);
    expect_silence(&mut selector);
    let (again, ()) = selector.unregister(key).unwrap().into_parts();
    drop(ManuallyDrop::into_inner(again.0));
}
