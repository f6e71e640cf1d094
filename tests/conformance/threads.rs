//! A selector may move to another thread, and outlive the one that created it.

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use polyselect::{Backend, Ready, Selector};

use crate::support::*;

cases! {
    a_selector_works_after_its_thread_has_ended,
    a_selector_works_while_its_first_thread_goes_on,
    a_selector_moves_to_a_thread_and_back,
    a_selector_moves_to_a_thread_that_has_another,
}

fn check(selector: &mut Selector<TcpStream, TcpStream>) {
    let keys: Vec<_> = selector.iter().map(|(key, _)| key).collect();
    for key in keys {
        assert!(look(selector).is_empty());
        selector[key].data().write_all(b"!").unwrap();
        assert_eq!(expect_one(selector, key), Ready::READABLE);
        drain(selector[key].source());
        assert!(look(selector).is_empty());
    }
}

fn with_two(backend: Backend) -> Selector<TcpStream, TcpStream> {
    let mut selector = open(backend);
    for _ in 0..2 {
        let (left, right) = pair();
        selector.register(left, R, right).unwrap();
    }
    check(&mut selector);
    selector
}

fn a_selector_works_after_its_thread_has_ended(backend: Backend) {
    let mut selector = thread::spawn(move || with_two(backend)).join().unwrap();
    check(&mut selector);
    let (left, right) = pair();
    let key = selector.register(left, R, right).unwrap();
    check(&mut selector);
    drop(selector.unregister(key).unwrap());
    check(&mut selector);
}

fn a_selector_works_while_its_first_thread_goes_on(backend: Backend) {
    let mut selector = with_two(backend);
    thread::scope(|scope| {
        scope.spawn(move || {
            check(&mut selector);
            let (left, right) = pair();
            let key = selector.register(left, R, right).unwrap();
            check(&mut selector);
            drop(selector.unregister(key).unwrap());
        });
    });
}

fn a_selector_moves_to_a_thread_and_back(backend: Backend) {
    let mut selector = with_two(backend);
    for _ in 0..3 {
        selector = thread::spawn(move || {
            check(&mut selector);
            selector
        })
        .join()
        .unwrap();
        check(&mut selector);
    }
}

fn a_selector_moves_to_a_thread_that_has_another(backend: Backend) {
    let mut moved = with_two(backend);
    thread::spawn(move || {
        let mut own = with_two(backend);
        for _ in 0..3 {
            check(&mut moved);
            check(&mut own);
        }
        drop(own);
        check(&mut moved);
    })
    .join()
    .unwrap();
}
