//! Windows: sockets that unsafe code closes while they are registered.

#![allow(unsafe_code)] // Closing a socket that has an owner.

use std::io::{ErrorKind, Write};
use std::mem::ManuallyDrop;
use std::net::{TcpStream, UdpSocket};
use std::os::windows::io::{
    AsRawSocket, AsSocket, BorrowedSocket, FromRawSocket, OwnedSocket, RawSocket,
};
use std::thread;

use polyselect::{Backend, Key, Ready, Selector};

use crate::support::*;

cases! {
    a_socket_that_is_not_open_is_refused,
    a_closed_socket_is_invalid_once_and_the_others_are_not_affected,
    a_socket_that_is_closed_during_a_wait_is_invalid_once,
    each_change_of_a_closed_socket_is_invalid,
    a_closed_socket_can_be_unregistered,
    a_socket_with_a_second_handle_can_be_unregistered,
    a_reused_number_belongs_to_the_new_registration,
}

/// A source that is never closed by its owner.
struct Unclosed<T>(ManuallyDrop<T>);

impl<T: AsSocket> AsSocket for Unclosed<T> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.0.as_socket()
    }
}

fn unclosed<T>(socket: T) -> Unclosed<T> {
    Unclosed(ManuallyDrop::new(socket))
}

/// Closes a socket although it has an owner, as only unsafe code can.
fn close(socket: RawSocket) {
    // SAFETY: none; the case wants to see what comes of it, and forgets the owner.
    drop(unsafe { OwnedSocket::from_raw_socket(socket) });
}

fn close_source<D>(selector: &Selector<Unclosed<TcpStream>, D>, key: Key) -> RawSocket {
    let socket = selector[key].source().0.as_raw_socket();
    close(socket);
    socket
}

fn a_socket_that_is_not_open_is_refused(backend: Backend) {
    for watch in [R.into(), W.oneshot(), NOTHING.into()] {
        let mut selector = open(backend);
        let (left, _right) = pair();
        let left = unclosed(left);
        close(left.0.as_raw_socket());
        let error = selector.register(left, watch, "data").unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::InvalidInput);
        let (_, _, data) = error.into_parts();
        assert_eq!((data, selector.len()), ("data", 0));
        expect_silence(&mut selector);
    }
}

fn a_closed_socket_is_invalid_once_and_the_others_are_not_affected(backend: Backend) {
    for watch in [R.into(), W.into(), (R | W).oneshot()] {
        for is_seen_before in [false, true] {
            let ((left, _right), (other, mut other_peer)) = (pair(), pair());
            let mut selector = open(backend);
            let key = selector.register(unclosed(left), watch, ()).unwrap();
            let other = selector.register(unclosed(other), R, ()).unwrap();
            if is_seen_before && !watch.is_oneshot() {
                look(&mut selector);
            }
            close_source(&selector, key);
            assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
            expect_silence(&mut selector);
            other_peer.write_all(b"!").unwrap();
            assert_eq!(expect_one(&mut selector, other), Ready::READABLE);
        }
    }
}

fn a_socket_that_is_closed_during_a_wait_is_invalid_once(backend: Backend) {
    // The others look at their sockets when the wait begins.
    if backend != Backend::Afd {
        skip("this backend does not notice it before the next wait");
    }
    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    let socket = selector[key].source().0.as_raw_socket();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(A_WHILE);
            close(socket);
        });
        assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
    });
    expect_silence(&mut selector);
}

fn each_change_of_a_closed_socket_is_invalid(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    close_source(&selector, key);
    assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
    for interest in [W, R | W] {
        selector.modify(key, interest).unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::INVALID);
        expect_silence(&mut selector);
    }
    selector.modify(key, NOTHING).unwrap();
    expect_silence(&mut selector);
}

fn a_closed_socket_can_be_unregistered(backend: Backend) {
    let (left, _right) = pair();
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, "data").unwrap();
    look(&mut selector);
    let socket = close_source(&selector, key);
    let (left, data) = selector.unregister(key).unwrap().into_parts();
    assert_eq!((left.0.as_raw_socket(), data), (socket, "data"));
    expect_silence(&mut selector);
}

fn a_socket_with_a_second_handle_can_be_unregistered(backend: Backend) {
    let ((left, mut right), (other, mut other_peer)) = (pair(), pair());
    let twin = left.try_clone().unwrap();
    let mut selector = open(backend);
    let key = selector.register(unclosed(left), R, ()).unwrap();
    let other = selector.register(unclosed(other), R, ()).unwrap();
    look(&mut selector);
    close_source(&selector, key);
    selector.unregister(key).unwrap();
    right.write_all(b"!").unwrap();
    wait_for_data(&twin);
    expect_silence(&mut selector);
    other_peer.write_all(b"!").unwrap();
    assert_eq!(expect_one(&mut selector, other), Ready::READABLE);
}

fn a_reused_number_belongs_to_the_new_registration(backend: Backend) {
    let (left, _right) = pair();
    let old = UdpSocket::from(OwnedSocket::from(left));
    let mut selector = open(backend);
    let key = selector.register(unclosed(old), R, ()).unwrap();
    look(&mut selector);
    let number = selector[key].source().0.as_raw_socket();
    close(number);
    let mut others = Vec::new();
    let fresh = loop {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        if socket.as_raw_socket() == number {
            break socket;
        }
        others.push(socket);
        if others.len() == 1000 {
            skip("the system does not use the number again");
        }
    };
    // While the old registration is there the number is taken.
    let error = selector.register(unclosed(fresh), R, ()).unwrap_err();
    assert_eq!(error.error().kind(), ErrorKind::AlreadyExists);
    let (_, fresh, ()) = error.into_parts();
    let address = fresh.0.local_addr().unwrap();
    selector.unregister(key).unwrap();
    let key = selector.register(fresh, R, ()).unwrap();
    expect_silence(&mut selector);
    let sender = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    sender.send_to(b"!", address).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
    let (fresh, ()) = selector.unregister(key).unwrap().into_parts();
    drop(ManuallyDrop::into_inner(fresh.0));
}
