//! Exclusive delivery, where the kernel supports it.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use polyselect::{Backend, Ready};

use crate::support::*;

cases! {
    combinations_that_the_kernel_rejects_are_rejected needs exclusive,
    an_exclusive_registration_can_be_modified_and_paused needs exclusive,
    a_half_closed_peer_is_readable_with_exclusive needs exclusive,
    at_least_one_of_two_selectors_reports_an_event needs exclusive,
    an_exclusive_edge_is_reported_for_each_arrival needs exclusive edge,
}

fn combinations_that_the_kernel_rejects_are_rejected(backend: Backend) {
    let mut selector = open(backend);
    for watch in [R.exclusive().oneshot(), (R | P).exclusive(), P.exclusive().edge()] {
        let (left, _right) = pair();
        let error = selector.register(left, watch, ()).unwrap_err();
        assert_eq!(error.error().kind(), ErrorKind::InvalidInput, "{error}");
    }
    let (left, _right) = pair();
    let key = selector.register(left, W.exclusive(), ()).unwrap();
    assert_eq!(selector.modify(key, W | P).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(selector[key].interest(), W);
    assert_eq!(expect_one(&mut selector, key), Ready::WRITABLE);
}

fn an_exclusive_registration_can_be_modified_and_paused(backend: Backend) {
    let (left, mut right) = pair();
    right.write_all(b"!").unwrap();
    wait_for_data(&left);
    let mut selector = open(backend);
    let key = selector.register(left, R.exclusive(), ()).unwrap();
    for (interest, ready) in [(W, Ready::WRITABLE), (R, Ready::READABLE)] {
        selector.modify(key, interest).unwrap();
        assert_eq!(expect_one(&mut selector, key), ready);
        assert!(selector[key].watch().is_exclusive());
        selector.modify(key, NOTHING).unwrap();
        expect_silence(&mut selector);
    }
    selector.modify(key, R | W).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE | Ready::WRITABLE);
}

fn a_half_closed_peer_is_readable_with_exclusive(backend: Backend) {
    let (left, right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R.exclusive(), ()).unwrap();
    expect_silence(&mut selector);
    right.shutdown(Shutdown::Write).unwrap();
    wait_until(&mut selector, key, Ready::READABLE);
}

fn at_least_one_of_two_selectors_reports_an_event(backend: Backend) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Arc::new(listener);
    let (mut one, mut two) = (open(backend), open(backend));
    one.register(Arc::clone(&listener), R.exclusive(), ()).unwrap();
    two.register(Arc::clone(&listener), R.exclusive(), ()).unwrap();
    for _ in 0..5 {
        let _client = TcpStream::connect(address).unwrap();
        assert!(!look(&mut one).is_empty() || !look(&mut two).is_empty());
        listener.accept().unwrap();
        assert!(look(&mut one).is_empty() && look(&mut two).is_empty());
    }
}

fn an_exclusive_edge_is_reported_for_each_arrival(backend: Backend) {
    let (left, mut right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R.exclusive().edge(), ()).unwrap();
    for _ in 0..3 {
        right.write_all(b"!").unwrap();
        assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
        expect_silence(&mut selector);
    }
    selector.modify(key, R).unwrap();
    assert_eq!(expect_one(&mut selector, key), Ready::READABLE);
}
