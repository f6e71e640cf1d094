//! Descriptors that unsafe code closes or replaces while they are registered: nothing fails,
//! nothing spins, and no unregistered file is affected.

use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};

use polyselect::{Backend, Key, Ready, Selector};

use crate::support::closed::*;
use crate::support::*;

cases! {
    a_descriptor_that_is_not_open_is_rejected,
    a_source_is_asked_once_for_its_descriptor,
    a_closed_descriptor_is_invalid_once_and_the_others_are_not_affected,
    #[cfg(windows)]
    a_socket_that_is_closed_during_a_wait_is_invalid_once,
    each_change_of_a_closed_descriptor_is_invalid,
    the_same_watch_of_a_closed_descriptor_is_tried_again needs oneshot,
    a_closed_descriptor_is_invalid_once_although_the_selector_is_rebuilt,
    a_closed_descriptor_can_be_unregistered,
    a_duplicate_of_a_closed_descriptor_reaches_no_other_registration,
    a_closed_descriptor_with_a_duplicate_can_be_unregistered,
    a_reused_number_belongs_to_the_new_registration,
    a_number_reused_with_a_change_pending_belongs_to_the_new_registration,
    a_duplicate_that_takes_the_number_belongs_to_the_new_registration,
}

type Streams = Selector<Unclosed<TcpStream>>;

fn close<D>(selector: &Selector<Unclosed<TcpStream>, D>, key: Key) -> Number {
    close_behind_the_back(&*selector[key].source().0)
}

fn a_descriptor_that_is_not_open_is_rejected(backend: Backend) {
    for watch in [R.into(), W.oneshot(), NOTHING.into()] {
        let mut selector = open(backend);
        let (left, _right) = pair();
        let left = unclosed(left);
        let number = close_behind_the_back(&*left.0);
        let error = selector.register(left, watch, "data").unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("{number} is not open")), "{error}");
        let (_, left, data) = error.into_parts();
        assert_eq!((number_of(&*left.0), data, selector.len()), (number, "data", 0));
        expect_silence(&mut selector);
    }
}

/// Returns another descriptor each time.
struct Fickle {
    streams: [TcpStream; 2],
    asked: Cell<usize>,
}

impl Fickle {
    fn next(&self) -> &TcpStream {
        &self.streams[self.asked.replace(self.asked.get() + 1) % 2]
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Fickle {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self.next())
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Fickle {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        std::os::windows::io::AsSocket::as_socket(self.next())
    }
}

fn a_source_is_asked_once_for_its_descriptor(backend: Backend) {
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

/// `INVALID` is reported once; epoll's kernel forgets a closed file, and reports nothing.
fn expect_invalid_once<S, D>(selector: &mut Selector<S, D>, key: Key) {
    let events = if cfg!(windows) { expect_events(selector) } else { select(selector, A_WHILE) };
    assert!(events.len() <= 1, "{events:?}");
    for event in events {
        assert_eq!((event.key, event.ready), (key, Ready::INVALID));
    }
    let (time, waited) = processor_time(|| expect_silence(selector));
    assert!(time < waited, "{time:?} of {waited:?}");
}

fn a_closed_descriptor_is_invalid_once_and_the_others_are_not_affected(backend: Backend) {
    for watch in [R.into(), W.into(), (R | W).oneshot()] {
        for is_seen_before in [false, true] {
            let ((left, _right), (other, mut other_peer)) = (pair(), pair());
            let mut selector = open(backend);
            let key = selector.register(unclosed(left), watch, ()).unwrap();
            let other = selector.register(unclosed(other), R, ()).unwrap();
            if is_seen_before && !watch.is_oneshot() {
                look(&mut selector);
            }
            close(&selector, key);
            expect_invalid_once(&mut selector, key);
            other_peer.write_all(b"!").unwrap();
            assert_eq!(expect_one(&mut selector, other), Ready::READABLE);
            drop(selector.unregister(other).unwrap().into_parts().0.into_inner());
        }
    }
}

#[cfg(windows)]
fn a_socket_that_is_closed_during_a_wait_is_invalid_once(backend: Backend) {
    // The others look at their sockets when the wait begins.
    if backend != Backend::Afd {
        skip("this backend does not notice it before the next wait");
    }
    let (left, _right) = pair();
    let number = number_of(&left);
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(A_WHILE);
            close_number(number);
        });
        assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
    });
    expect_silence(&mut selector);
}

fn each_change_of_a_closed_descriptor_is_invalid(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    close(&selector, key);
    expect_invalid_once(&mut selector, key);
    for interest in [W, R | W] {
        selector.modify(key, interest).unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
        expect_silence(&mut selector);
    }
    selector.modify(key, NOTHING).unwrap();
    expect_silence(&mut selector);
}

fn the_same_watch_of_a_closed_descriptor_is_tried_again(backend: Backend) {
    for watch in [R.into(), R.oneshot()] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (left, _right) = pair();
        let mut selector = open(backend);
        let key = selector.register(unclosed(left), W, ()).unwrap();
        let number = close(&selector, key);
        // Some backends report the first watch as invalid, and all report this one.
        selector.set_watch(key, watch).unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
        for _ in 0..2 {
            expect_silence(&mut selector);
            selector.set_watch(key, watch).unwrap();
            assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
        }
        // A file that reuses the number is watched from then on.
        let (_fresh, mut fresh_peer) = connect_with_number(number, &listener);
        selector.set_watch(key, watch).unwrap();
        expect_silence(&mut selector);
        fresh_peer.write_all(b"!").unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
        selector.unregister(key).unwrap();
    }
}

fn a_closed_descriptor_is_invalid_once_although_the_selector_is_rebuilt(backend: Backend) {
    let (lower_numbers, (left, _right)) = ([pair(), pair()], pair());
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    close(&selector, key);
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

fn a_closed_descriptor_can_be_unregistered(backend: Backend) {
    for is_seen_before in [false, true] {
        let (left, _right) = pair();
        let mut selector = open(backend);
        let key = selector.register(unclosed(left), R, "data").unwrap();
        if is_seen_before {
            look(&mut selector);
        }
        let number = close(&selector, key);
        let (left, data) = selector.unregister(key).unwrap().into_parts();
        assert_eq!((number_of(&*left.0), data), (number, "data"));
        expect_silence(&mut selector);
    }
}

/// The kernel may go on to report it, but never under another key.
fn a_duplicate_of_a_closed_descriptor_reaches_no_other_registration(backend: Backend) {
    let (left, mut right) = pair();
    let twin = left.try_clone().unwrap();
    let mut selector: Streams = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    close(&selector, key);
    right.write_all(b"!").unwrap();
    wait_for_data(&twin);
    for event in select(&mut selector, A_WHILE) {
        assert_eq!(event.key, key);
    }
    selector.unregister(key).unwrap();
    expect_silence(&mut selector);
}

fn a_closed_descriptor_with_a_duplicate_can_be_unregistered(backend: Backend) {
    let ((left, mut right), (other, mut other_peer)) = (pair(), pair());
    let twin = left.try_clone().unwrap();
    let mut selector: Streams = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    let other = selector.register(unclosed(other), R, ()).unwrap();
    look(&mut selector);
    close(&selector, key);
    selector.unregister(key).unwrap();
    right.write_all(b"!").unwrap();
    wait_for_data(&twin);
    let (time, waited) = processor_time(|| expect_silence(&mut selector));
    assert!(time < waited, "{time:?} of {waited:?}");
    other_peer.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, other), Ready::READABLE);
    drop(selector.unregister(other).unwrap().into_parts().0.into_inner());
}

/// The old registration is gone; the new one has its descriptor and slot, but none of its events.
fn a_reused_number_belongs_to_the_new_registration(backend: Backend) {
    let (left, _right) = pair();
    let mut selector: Streams = open(backend);
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
    drop(selector.unregister(key).unwrap().into_parts().0.into_inner());
}

fn a_number_reused_with_a_change_pending_belongs_to_the_new_registration(backend: Backend) {
    let (left, _right) = pair();
    let mut selector: Streams = open(backend);
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
    drop(selector.unregister(key).unwrap().into_parts().0.into_inner());
}

/// The same file under the same descriptor again: to the kernel it may never have been closed.
fn a_duplicate_that_takes_the_number_belongs_to_the_new_registration(backend: Backend) {
    let (left, mut right) = pair();
    let twin = left.try_clone().unwrap();
    let mut selector: Streams = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    look(&mut selector);
    let number = close(&selector, key);
    selector.unregister(key).unwrap();
    let again = with_number(number, || twin.try_clone().unwrap());
    let key = selector.register(unclosed(again), R, ()).unwrap();
    expect_silence(&mut selector);
    right.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    drain(&twin);
    expect_silence(&mut selector);
    drop(selector.unregister(key).unwrap().into_parts().0.into_inner());
}
