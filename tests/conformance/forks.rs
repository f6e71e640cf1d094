//! Forks: parent and child do not affect each other's events.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use polyselect::{Backend, Ready, Selector};

use crate::support::process::fork;
use crate::support::*;

cases! {
    in_a_child_only_rebuilding_and_dropping_work,
    a_child_that_rebuilds_leaves_its_parent_alone,
    a_child_that_drops_takes_nothing_along,
    a_child_that_just_ends_takes_nothing_along,
    a_waker_used_in_a_child_belongs_to_its_rebuilt_selector,
    a_wake_pending_at_the_fork_is_pending_for_both,
    a_parent_may_drop_its_selector_while_the_child_lives,
    a_child_of_a_child_may_rebuild,
    a_child_with_nesting_gets_a_descriptor_of_its_own needs nesting,
}

fn with_one(backend: Backend) -> (Selector<TcpStream>, polyselect::Key, TcpStream) {
    let (left, right) = pair();
    let mut selector = open(backend);
    let key = selector.register(left, R, ()).unwrap();
    look(&mut selector);
    (selector, key, right)
}

fn check(selector: &mut Selector<TcpStream>, key: polyselect::Key, mut peer: &TcpStream) {
    expect_silence(selector);
    peer.write_all(b"!").unwrap();
    assert_eq!(expect_one(selector, key), Ready::READABLE);
    drain(selector[key].source());
    expect_silence(selector);
}

fn in_a_child_only_rebuilding_and_dropping_work(backend: Backend) {
    let (mut selector, key, peer) = with_one(backend);
    fork(|| {
        let (left, _right) = pair();
        let mut events = polyselect::Events::with_capacity(8);
        let errors = [
            selector.select(&mut events, SURELY).unwrap_err(),
            selector.modify(key, W).unwrap_err(),
            selector.unregister(key).map(drop).unwrap_err(),
            selector.register(left, R, ()).unwrap_err().into_error(),
            selector.waker().map(drop).unwrap_err(),
            selector.retain(|_, _| true).unwrap_err(),
            selector.drain().map(drop).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Other);
            assert!(error.to_string().contains("rebuild()"), "{error}");
        }
        assert_eq!(selector.len(), 1);
        selector.rebuild().unwrap();
        check(&mut selector, key, &peer);
    })
    .join();
    check(&mut selector, key, &peer);
}

fn a_child_that_rebuilds_leaves_its_parent_alone(backend: Backend) {
    let (mut selector, key, peer) = with_one(backend);
    fork(|| {
        selector.rebuild().unwrap();
        check(&mut selector, key, &peer);
        // Would remove the parent's registration if both still shared the kernel object.
        drop(selector.unregister(key).unwrap());
    })
    .join();
    check(&mut selector, key, &peer);
    fork(|| {
        selector.rebuild_with(Backend::Poll).unwrap();
        check(&mut selector, key, &peer);
    })
    .join();
    check(&mut selector, key, &peer);
}

fn a_child_that_drops_takes_nothing_along(backend: Backend) {
    let (mut selector, key, peer) = with_one(backend);
    // The child gets a copy to drop, the parent keeps its own.
    let mut kept = Some(selector);
    fork(|| drop(kept.take())).join();
    selector = kept.take().unwrap();
    check(&mut selector, key, &peer);
}

fn a_child_that_just_ends_takes_nothing_along(backend: Backend) {
    let (mut selector, key, peer) = with_one(backend);
    fork(|| {}).join();
    check(&mut selector, key, &peer);
}

fn a_waker_used_in_a_child_belongs_to_its_rebuilt_selector(backend: Backend) {
    let (mut selector, _key, _peer) = with_one(backend);
    let waker = selector.waker().unwrap();
    fork(|| {
        selector.rebuild().unwrap();
        expect_silence(&mut selector);
        waker.wake().unwrap();
        let (_, waited) = processor_time(|| assert!(select(&mut selector, SURELY).is_empty()));
        assert!(waited < SURELY, "the child's own wake was lost");
        // The child does not read the last one, which must not reach the parent.
        waker.wake().unwrap();
    })
    .join();
    // The parent is not woken by the child, and still gets its own wakes.
    let (_, waited) = processor_time(|| expect_silence(&mut selector));
    assert!(waited >= A_WHILE, "woken by the child");
    waker.wake().unwrap();
    let (_, waited) = processor_time(|| assert!(select(&mut selector, SURELY).is_empty()));
    assert!(waited < SURELY, "the parent's wake was lost");
}

fn a_wake_pending_at_the_fork_is_pending_for_both(backend: Backend) {
    let (mut selector, _key, _peer) = with_one(backend);
    let waker = selector.waker().unwrap();
    waker.wake().unwrap();
    fork(|| {
        selector.rebuild().unwrap();
        for wakes in (0..3).rev() {
            let (_, waited) = processor_time(|| assert!(select(&mut selector, SURELY).is_empty()));
            assert!(waited < SURELY, "a wake was lost in the child");
            if wakes > 0 {
                waker.wake().unwrap();
            }
        }
    })
    .join();
    let (_, waited) = processor_time(|| assert!(select(&mut selector, SURELY).is_empty()));
    assert!(waited < SURELY, "the wake was lost in the parent");
    let (_, waited) = processor_time(|| expect_silence(&mut selector));
    assert!(waited >= A_WHILE, "there was but one wake");
}

fn a_parent_may_drop_its_selector_while_the_child_lives(backend: Backend) {
    let (selector, key, peer) = with_one(backend);
    let mut kept = Some(selector);
    let (mut go, ready) = std::io::pipe().map(|(reader, writer)| (writer, reader)).unwrap();
    let child = fork(|| {
        // Works on after the parent has dropped its own.
        std::io::Read::read_exact(&mut &ready, &mut [0]).unwrap();
        let mut selector = kept.take().unwrap();
        selector.rebuild().unwrap();
        check(&mut selector, key, &peer);
    });
    drop(kept.take());
    go.write_all(b"!").unwrap();
    child.join();
}

fn a_child_of_a_child_may_rebuild(backend: Backend) {
    let (mut selector, key, peer) = with_one(backend);
    fork(|| {
        selector.rebuild().unwrap();
        fork(|| {
            assert!(selector.modify(key, R).is_err());
            selector.rebuild().unwrap();
            check(&mut selector, key, &peer);
        })
        .join();
        check(&mut selector, key, &peer);
    })
    .join();
    check(&mut selector, key, &peer);
}

fn a_child_with_nesting_gets_a_descriptor_of_its_own(backend: Backend) {
    let (mut selector, key, peer) = with_one(backend);
    selector.descriptor().unwrap();
    fork(|| {
        selector.rebuild_with(Backend::Poll).unwrap();
        check(&mut selector, key, &peer);
        selector.rebuild_with(backend).unwrap();
        selector.descriptor().unwrap();
        check(&mut selector, key, &peer);
    })
    .join();
    check(&mut selector, key, &peer);
}
